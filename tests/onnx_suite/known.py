"""The cases that are known to fail, with the reason: ``known_failures.txt``.

The file has a section for each reason, ``[reason]``, and names below it.  The sections ``[random stream]`` and
``[sequences that hold an array without axes ...]`` stay: no implementation passes them.  The others are work to do, and
a case that passes must be taken out of them.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from tests.onnx_suite.runner import Result

FILE = Path(__file__).with_name("known_failures.txt")
#: what the expected output of a case can be that no other implementation gives
RANDOM = "random stream"


def read() -> dict[str, str]:
    """Case -> reason."""
    reason, known = "", {}
    for line in FILE.read_text().splitlines():
        line = line.partition("#")[0].strip()
        if line.startswith("["):
            reason = line.strip("[]")
        elif line:
            known[line] = reason
    return known


def surprises(results: Iterable[Result]) -> list[str]:
    """What differs from the file, a line each."""
    known, found = read(), []
    for result in results:
        if known.get(result.name) == RANDOM and result.status in ("passed", "failed"):
            continue  # ten coins may fall as they are expected to
        if result.status == "passed" and result.name in known:
            found.append(f"{result.name} passes: take it out of {FILE.name}")
        elif result.status != "passed" and result.name not in known:
            found.append(f"{result.name} {result.status}: {result.error}")
    return found


def prune(results: Iterable[Result]) -> int:
    """Take the cases out of the file that pass wherever they were run; returns how many."""
    results = list(results)
    passed = {r.name for r in results} - {r.name for r in results if r.status != "passed"}
    lines = FILE.read_text().splitlines()
    kept = [line for line in lines if line.partition("#")[0].strip() not in passed]
    headed = [
        line for line, after in zip(kept, [*kept[1:], "["])
        if not (line.startswith("[") and (not after.strip() or after.startswith("[")))
    ]  # fmt: skip
    text = "\n".join(headed)
    while "\n\n\n" in text:
        text = text.replace("\n\n\n", "\n\n")
    FILE.write_text(text.rstrip("\n") + "\n")
    return len(lines) - len(kept)
