"""What a verification found: plain data that travels between processes as JSON and is shown in several ways."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

#: ``exact``: small integers, bit-equal to the reference and so on all devices; ``close``: random data within the
#: dtype's tolerance; ``repeat``: ten runs, bit-equal
MODES = ("exact", "close", "repeat")
PASS, FAIL, ERROR, CRASH, HANG = "pass", "fail", "error", "crash", "hang"


@dataclass
class Result:
    """One check on one device.

    ``subject`` is a kernel's or a model's name; ``variant``, ``case`` and ``tunables`` are a kernel's.  ``outcome`` is
    ``pass``, ``fail`` (a wrong answer), ``error`` (an error reported by driver or compiler), ``crash`` or ``hang`` (of
    the device's process).  ``kind`` says what kind of failure (``values``, ``canary``, ``input``, ``repeat``,
    ``compile`` ...), ``message`` the rest in one sentence.  ``error`` is the largest difference relative to the largest
    reference magnitude, ``ulps`` the largest difference in units in the last place of the output (None where neither
    applies).  ``node`` is the first node of a model whose output departs.  ``repro`` is the path of the file that
    ``a1400 verify --repro`` runs again.
    """

    subject: str
    variant: str
    case: str
    mode: str
    outcome: str
    tunables: dict[str, int] = field(default_factory=dict)
    types: dict[str, str] = field(default_factory=dict)
    kind: str = ""
    message: str = ""
    error: float | None = None
    ulps: float | None = None
    seconds: float = 0.0
    node: str = ""
    repro: str = ""

    @property
    def passed(self) -> bool:
        """Whether the check found nothing."""
        return self.outcome == PASS


@dataclass
class DeviceRun:
    """All checks on one device.

    ``problem`` says why the run is not whole (it crashed, hung, or was never started); ``notes`` are remarks that are
    no findings (what was left out on request, say).
    """

    id: str
    name: str
    platform: str
    driver: str
    kind: str
    results: list[Result] = field(default_factory=list)
    problem: str = ""
    seconds: float = 0.0
    notes: list[str] = field(default_factory=list)

    @property
    def passed(self) -> bool:
        """Whether every check passed and the run is whole."""
        return not self.problem and all(r.passed for r in self.results)


@dataclass
class Report:
    """A whole verification.  ``model`` is the model's path, empty for the kernels' own cases; ``notes`` are remarks."""

    version: str
    date: str
    model: str = ""
    runs: list[DeviceRun] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def passed(self) -> bool:
        """Whether anything was checked, on devices that all found nothing."""
        return any(run.results for run in self.runs) and all(run.passed for run in self.runs)

    def failures(self) -> Iterator[tuple[DeviceRun, Result]]:
        """Every check that did not pass, with its device."""
        for run in self.runs:
            for result in run.results:
                if not result.passed:
                    yield run, result

    def to_json(self) -> str:
        """JSON text; :meth:`from_json` reads it back."""
        return json.dumps({"passed": self.passed, **asdict(self)}, indent=1)

    @staticmethod
    def from_json(text: str) -> Report:
        """The report that :meth:`to_json` wrote."""
        data: Mapping[str, Any] = json.loads(text)
        runs = [DeviceRun(**{**run, "results": [Result(**r) for r in run["results"]]}) for run in data["runs"]]
        return Report(data["version"], data["date"], data["model"], runs, list(data.get("notes", ())))
