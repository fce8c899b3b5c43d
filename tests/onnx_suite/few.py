"""The cases that a second path takes by default: between them they launch everything that the suite's programs hold.

A program is worth its compilation on a further path if it brings something new: a kernel's variant, a dtype, a
setting, an operation or operand of a slot (:func:`tests.kernels.coverage.features`).  ``few_cases.txt`` has a section
for each kind of device, whose variants differ, and is written by ``python -m tests.onnx_suite.report ... --few``.
``A1400_TEST_CASES=all`` takes every case.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.onnx_suite.runner import Result

FILE = Path(__file__).with_name("few_cases.txt")


def read(kind: str) -> list[str]:
    """The cases for devices of a kind, ``cpu`` or ``gpu``."""
    section, found = "", []
    for line in FILE.read_text().splitlines():
        line = line.partition("#")[0].strip()
        if line.startswith("["):
            section = line.strip("[]")
        elif line and section == kind:
            found.append(line)
    return found


def choose(results: Sequence[Result]) -> list[str]:
    """Cases that pass and between them have every feature that any such case has, at little cost (greedy set cover).

    The ImageNet models are too slow for it.
    """
    passed = {r.name: frozenset(r.features) for r in results if r.status == "passed" and r.kind != "Real"}
    left = frozenset[str]().union(*passed.values())
    taken = []
    while left:
        # the programs of a case take about as long as they have features, so the share of new ones is what counts
        best = max(passed, key=lambda name: (len(passed[name] & left) ** 2 / max(len(passed[name]), 1), name))
        left -= passed.pop(best)
        taken.append(best)
    return sorted(taken)


def write(by_kind: Mapping[str, Sequence[str]]) -> None:
    """Write the file anew."""
    lines = ["# Written by python -m tests.onnx_suite.report with --few; see few.py."]
    for kind, names in by_kind.items():
        lines += ["", f"[{kind}]", *names]
    FILE.write_text("\n".join(lines) + "\n")
