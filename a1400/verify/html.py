"""The report of a verification as one page of HTML that needs nothing else: no network, no fonts, no other file.

Every name and message in it comes from models, kernels and drivers and is escaped; a content security policy lets
nothing run but the page's own few lines of script.
"""

from __future__ import annotations

import base64
import hashlib
import math
import os
import shlex
from collections.abc import Iterable, Iterator, Sequence
from html import escape
from itertools import groupby

from a1400.io.files import write_whole
from a1400.text import clean
from a1400.verify.html_style import LEGEND, SCRIPT, STYLE
from a1400.verify.results import MODES, PASS, DeviceRun, Report, Result
from a1400.verify.summary import (
    Cell,
    Tally,
    cells,
    figure,
    modes,
    settings,
    severity,
    subjects,
    types,
    verdict,
    what_failed,
    why_failed,
)

#: upper bounds of the steps of colour in ULPs; errors without ULPs count as multiples of float32's 2**-24
_STEPS = (0.0, 1.0, 4.0, 16.0, 128.0, 4096.0, math.inf)


def write_html(report: Report, path: str | os.PathLike[str]) -> None:
    """Write the page to ``path``, whole or not at all; raises ``OSError`` where that cannot be written."""
    write_whole(path, page(report))


def page(report: Report) -> str:
    """The page's text."""
    return "".join(_page(report))


def _text(value: object) -> str:
    return escape(clean(value))


def _page(report: Report) -> Iterator[str]:
    script = base64.b64encode(hashlib.sha256(SCRIPT.encode()).digest()).decode()
    model = f", model <code>{_text(report.model)}</code>" if report.model else ""
    policy = f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{script}'"
    yield f"""<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>a1400 verify: {"pass" if report.passed else "FAIL"}</title>
<style>{STYLE}</style></head><body>
<h1>a1400 verify</h1>
<p class="verdict {"good" if report.passed else "bad"}">{_text(verdict(report))}</p>
<p>a1400 {_text(report.version)}, {_text(report.date)}{model}</p>
"""
    yield from _failures(report)
    yield from _devices(report)
    found = [cells(run) for run in report.runs]
    names = subjects(report)
    yield from _matrix(report, found, names)
    yield from _details(report, found, names)
    yield f"<script>{SCRIPT}</script></body></html>\n"


def _failures(report: Report) -> Iterator[str]:
    failures = sorted(report.failures(), key=lambda f: -severity(f[1].outcome))
    if not failures:
        return
    yield f"<h2>What did not pass ({len(failures):,})</h2><table><tr><th>Outcome<th>Device<th>Check<th>Finding\n"
    for run, result in failures:
        yield f"<tr><td>{_mark(result.outcome)}<td>{_text(run.id)}<td>{_text(what_failed(result))}<td>"
        yield _text(why_failed(result))
        if result.repro:
            yield f"<br><code>a1400 verify --repro {_text(shlex.quote(result.repro))}</code>"
        yield "\n"
    yield "</table>\n"


def _devices(report: Report) -> Iterator[str]:
    yield "<h2>Devices</h2><table><tr><th>Id<th>Device<th>Platform<th>Driver<th>Kind<th>Passed<th>Seconds\n"
    for run in report.runs:
        passed = sum(r.passed for r in run.results)
        cells_ = (run.id, run.name, run.platform, run.driver, run.kind, f"{passed:,}/{len(run.results):,}")
        yield "<tr>" + "".join(f"<td>{_text(c)}" for c in cells_) + f"<td class=n>{run.seconds:.0f}\n"
        if run.problem:
            yield f'<tr><td><td colspan=6 class="bad">{_text(run.problem)}\n'
    yield "</table>\n"


def _matrix(report: Report, found: Sequence[dict[str, Cell]], names: Sequence[str]) -> Iterator[str]:
    if not names:
        return
    used = modes(report)
    yield f"<h2>{'Model' if report.model else 'Kernels'} by devices</h2>{LEGEND}"
    yield f"<p>Each cell: checks passed of all; largest ULPs in {_text(' / '.join(used))} mode; largest error relative "
    yield "to the largest value. A cell leads to its cases.</p><div class=wide><table class=matrix><tr><th>"
    yield "".join(f"<th>{_text(run.id)}<br><small>{_text(run.name)}</small>" for run in report.runs) + "\n"
    for row, name in enumerate(names):
        yield f"<tr><th>{_text(name)}"
        for column, one in enumerate(found):
            cell = one.get(name)
            if cell is None:
                yield "<td class=none>not run"
                continue
            ulps = " / ".join(figure(cell.modes[m].ulps) or "-" if m in cell.modes else "-" for m in used)
            yield f'<td class={_class(cell.whole)}><a href="#d{row}-{column}">'
            if cell.whole.outcome != PASS:
                yield _mark(cell.whole.outcome) + " "
            error = figure(cell.whole.error) or "-"
            yield f"{cell.whole.passed}/{cell.whole.total}<br><small>{ulps}; {error}</small></a>"
        yield "\n"
    yield "</table></div>\n"


def _details(report: Report, found: Sequence[dict[str, Cell]], names: Sequence[str]) -> Iterator[str]:
    if names:
        yield "<h2>Cases</h2>\n"
    for row, name in enumerate(names):
        for column, (run, one) in enumerate(zip(report.runs, found)):
            if cell := one.get(name):
                yield from _section(f"d{row}-{column}", run, name, cell)


def _section(anchor: str, run: DeviceRun, name: str, cell: Cell) -> Iterator[str]:
    """One cell's cases: a row per case, three columns (outcome, ULPs, error) per mode."""
    used = [m for m in MODES if m in cell.modes] + sorted(set(cell.modes) - set(MODES))
    tally = cell.whole
    yield f"<details id={anchor}><summary>{_text(name)} on {_text(run.id)}: {tally.passed}/{tally.total}</summary>"
    yield "<table><tr><th>Case<th>Types" + "".join(f"<th colspan=2>{_text(m)} (ULPs, error)" for m in used) + "\n"
    ordered = sorted(cell.results, key=lambda r: (settings(r), r.case, types(r)))
    for setting, group in groupby(ordered, key=settings):
        if setting:
            yield f"<tr><th colspan={2 + 2 * len(used)}>{_text(setting)}\n"
        for (case, kinds), results in groupby(group, key=lambda r: (r.case, types(r))):
            yield f"<tr><td>{_text(case)}<td>{_text(kinds)}" + "".join(_figures(results, used)) + "\n"
    yield "</table></details>\n"


def _figures(results: Iterable[Result], used: Sequence[str]) -> Iterator[str]:
    by_mode: dict[str, Tally] = {}
    for result in results:
        by_mode.setdefault(result.mode, Tally()).add(result)
    for mode in used:
        count = by_mode.get(mode)
        if count is None:
            yield "<td><td>"
        elif count.outcome == PASS:
            yield f"<td>{figure(count.ulps) or 'ok'}<td>{figure(count.error)}"
        else:
            yield f"<td>{_mark(count.outcome)} {figure(count.ulps)}<td>{figure(count.error)}"


def _mark(outcome: str) -> str:
    """An outcome in words and colour."""
    name = outcome if outcome in ("fail", "error", "hang", "crash") else "fail"
    return f"<b class={name}>{_text(outcome).upper()}</b>"


def _class(count: Tally) -> str:
    """Colour of a cell: the outcome's, or one of six steps of error on a logarithmic scale."""
    if count.outcome != PASS:
        return f"c-{count.outcome}" if count.outcome in ("fail", "error", "hang", "crash") else "c-fail"
    ulps = count.ulps if count.ulps is not None else (count.error or 0.0) * 2.0**24
    if math.isnan(ulps):
        return "u6"
    return f"u{next(i for i, bound in enumerate(_STEPS) if ulps <= bound)}"
