"""Counts and worst figures of checks, and texts that are safe to show: what the table and the page have in common."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from a1400.text import clean
from a1400.verify.results import CRASH, ERROR, FAIL, HANG, MODES, PASS, DeviceRun, Report, Result

#: outcomes from harmless to worst
SEVERITY = (PASS, FAIL, ERROR, HANG, CRASH)


@dataclass
class Tally:
    """How many checks passed, the worst outcome, and the largest error and ULPs (NaN counts as largest)."""

    total: int = 0
    passed: int = 0
    outcome: str = PASS
    error: float | None = None
    ulps: float | None = None

    def add(self, result: Result) -> None:
        """Count one check."""
        self.total += 1
        self.passed += result.passed
        self.outcome = max(self.outcome, result.outcome, key=severity)
        self.error = _larger(self.error, result.error)
        self.ulps = _larger(self.ulps, result.ulps)


@dataclass
class Cell:
    """All checks of one kernel (or model) on one device."""

    results: list[Result] = field(default_factory=list)
    whole: Tally = field(default_factory=Tally)
    modes: dict[str, Tally] = field(default_factory=dict)


def severity(outcome: str) -> int:
    """Rank of an outcome; one that is not known counts as the worst."""
    return SEVERITY.index(outcome) if outcome in SEVERITY else len(SEVERITY)


def _larger(a: float | None, b: float | None) -> float | None:
    if a is None or b is None:
        return b if a is None else a
    return math.nan if math.isnan(a) or math.isnan(b) else max(a, b)


def tally(results: Iterable[Result]) -> Tally:
    """Count checks."""
    made = Tally()
    for result in results:
        made.add(result)
    return made


def cells(run: DeviceRun) -> dict[str, Cell]:
    """The checks of a device by subject."""
    made: dict[str, Cell] = {}
    for result in run.results:
        cell = made.setdefault(result.subject, Cell())
        cell.results.append(result)
        cell.whole.add(result)
        cell.modes.setdefault(result.mode, Tally()).add(result)
    return made


def subjects(report: Report) -> list[str]:
    """Every kernel or model of a report, those with the worst outcome first, then by name."""
    worst: dict[str, int] = {}
    for run in report.runs:
        for result in run.results:
            worst[result.subject] = max(worst.get(result.subject, 0), severity(result.outcome))
    return sorted(worst, key=lambda name: (-worst[name], name))


def modes(report: Report) -> list[str]:
    """The modes that occur, in their usual order."""
    found = {result.mode for run in report.runs for result in run.results}
    return [m for m in MODES if m in found] + sorted(found - set(MODES))


def verdict(report: Report) -> str:
    """One sentence: what passed or how much did not."""
    total = sum(len(run.results) for run in report.runs)
    devices = f"{len(report.runs)} device{'s' * (len(report.runs) != 1)}"
    if not report.runs:
        return "FAIL: no device was verified"
    if not total and all(run.passed for run in report.runs):
        return f"FAIL: nothing was checked on {devices}"
    if report.passed:
        return f"PASS: {total:,} check{'s' * (total != 1)} on {devices}"
    failed = sum(not r.passed for run in report.runs for r in run.results)
    parts = [f"{failed:,} of {total:,} checks did not pass"] if failed else []
    broken = sum(bool(run.problem) for run in report.runs)
    parts += [f"{broken} of {devices} could not be verified to the end"] if broken else []
    return "FAIL: " + ", and ".join(parts)


def figure(value: float | None) -> str:
    """An error or a number of ULPs in a few characters: ``0``, ``1.5``, ``3e-08``, ``inf``; empty for None."""
    if value is None:
        return ""
    if not math.isfinite(value):
        return str(value)
    if value and not 0.01 <= abs(value) < 10_000:
        return f"{value:.0e}"
    return f"{value:.3g}" if abs(value) < 100 else f"{value:.0f}"


def settings(result: Result) -> str:
    """A kernel's variant and tunables: ``gpu BM=64 BN=64``."""
    return " ".join([result.variant, *(f"{k}={v}" for k, v in result.tunables.items())]).strip()


def types(result: Result) -> str:
    """Dtypes of a check: ``T=f32``, or just ``f32`` where all are the same."""
    names: Sequence[str] = sorted(set(result.types.values()))
    return names[0] if len(names) == 1 else " ".join(f"{k}={v}" for k, v in result.types.items())


def what_failed(result: Result) -> str:
    """Which check: kernel, variant, tunables, case, dtypes and mode."""
    place = "/".join(part for part in (result.subject, settings(result)) if part)
    detail = ", ".join(part for part in (result.case, types(result), result.mode) if part)
    return clean(f"{place} [{detail}]" if detail else place)


def why_failed(result: Result) -> str:
    """What was found: kind, message, the first node that departs, and how far."""
    parts = [": ".join(part for part in (result.kind, result.message) if part) or result.outcome]
    parts += [f"first at node {result.node}"] if result.node else []
    far = [f"{figure(result.ulps)} ULPs"] if result.ulps is not None else []
    far += [f"error {figure(result.error)}"] if result.error is not None else []
    parts += [f"({', '.join(far)})"] if far else []
    return clean(" ".join(parts))
