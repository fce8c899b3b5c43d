"""The report of a verification on a terminal: devices by kernels, every failure in a line of its own, the verdict."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table
from rich.text import Text

from a1400.text import clean
from a1400.verify.results import PASS, DeviceRun, Report
from a1400.verify.summary import (
    Cell,
    Tally,
    cells,
    figure,
    modes,
    subjects,
    tally,
    verdict,
    what_failed,
    why_failed,
)

_COLOURS = {PASS: "green", "fail": "red", "error": "red", "hang": "magenta", "crash": "magenta"}
_LONGEST_NAME = 40
_GAP = 3


def print_report(console: Console, report: Report) -> None:
    """Print ``report``: kernels by devices, or a list per device where the console is narrow; failures; the verdict.

    Names and messages come from models and drivers: they are shown as text and never as markup or control codes.
    """
    if report.model:
        _line(console, Text(f"model: {clean(report.model)}"))
    for run in report.runs:
        _line(console, _heading(run))
    found = [cells(run) for run in report.runs]
    names, used = subjects(report), modes(report)
    if names:
        console.print()
        whole = _matrix(report, found, names, used, console.width)
        if whole is not None:
            console.print(whole)
        for run, one in zip(report.runs, found):
            if whole is None:
                _list(console, run, one, names, used)
        _line(console, Text(f"each cell: checks passed of all; largest ULPs {'/'.join(used)}; largest error", "dim"))
    _failures(console, report)
    console.print()
    _line(console, Text(clean(verdict(report)), "bold green" if report.passed else "bold red"))


def _line(console: Console, text: Text) -> None:
    """One line, which the terminal itself folds where it is too narrow."""
    console.print(text, soft_wrap=True, overflow="ignore", no_wrap=True, crop=False)


def _heading(run: DeviceRun) -> Text:
    count = tally(run.results)
    text = Text(f"{clean(run.id)}  ", "bold")
    text.append(clean(f"{run.name}, {run.platform}, driver {run.driver}"), "not bold")
    good = run.passed and count.total > 0
    colour = "not bold green" if good else "not bold red"
    text.append(f"  {count.passed:,}/{count.total:,} in {run.seconds:.0f} s", colour)
    if run.problem:
        text.append(f"  {clean(run.problem)}", "bold red")
    return text


def _short(name: str) -> str:
    name = clean(name)
    return name if len(name) <= _LONGEST_NAME else name[: _LONGEST_NAME - 3] + "..."


def _passed(count: Tally) -> Text:
    """``12/12``, or ``11/12 FAIL``: the outcome is said in words, not by colour alone."""
    said = "" if count.outcome == PASS else f" {clean(count.outcome).upper()}"
    return Text(f"{count.passed}/{count.total}{said}", _COLOURS.get(count.outcome, "red"))


def _ulps(cell: Cell, used: list[str]) -> str:
    return "/".join(figure(cell.modes[m].ulps) or "-" if m in cell.modes else "-" for m in used)


def _summary(cell: Cell, used: list[str]) -> Text:
    text = _passed(cell.whole)
    text.append(f"  {_ulps(cell, used)}  {figure(cell.whole.error)}".rstrip(), "default")
    return text


def _matrix(
    report: Report, found: list[dict[str, Cell]], names: list[str], used: list[str], width: int
) -> Table | None:
    """Kernels by devices; None where that is wider than ``width``."""
    columns = [[Text("model" if report.model else "kernel", "bold"), *(Text(_short(name)) for name in names)]]
    for run, one in zip(report.runs, found):
        shown = [_summary(one[name], used) if name in one else Text("-", "dim") for name in names]
        columns.append([Text(clean(run.id), "bold"), *shown])
    if sum(max(text.cell_len for text in column) + _GAP for column in columns) > width + _GAP:
        return None
    made = Table(box=None, pad_edge=False, padding=(0, _GAP, 0, 0), show_header=False)
    for _ in columns:
        made.add_column(no_wrap=True)
    for row in zip(*columns):
        made.add_row(*row)
    return made


def _list(console: Console, run: DeviceRun, one: dict[str, Cell], names: list[str], used: list[str]) -> None:
    """One device's kernels, each name above its figures where they do not fit beside each other."""
    console.print(Text(clean(run.id), "bold"))
    for name in names:
        if name not in one:
            continue
        title, figures = Text(f"  {clean(name)}  "), _summary(one[name], used)
        if title.cell_len + figures.cell_len <= console.width:
            console.print(title + figures)
        else:
            console.print(title)
            console.print(Text("    ") + figures)


def _failures(console: Console, report: Report) -> None:
    failures = list(report.failures())
    if failures:
        console.print()
    for run, result in failures:
        text = Text(f"{clean(result.outcome).upper()} ", _COLOURS.get(result.outcome, "red"))
        text.append(f"{clean(run.id)} {what_failed(result)}: ", "bold default")
        text.append(why_failed(result), "not bold default")
        if result.repro:
            text.append(f"; repro: {clean(result.repro)}", "not bold default")
        _line(console, text)
