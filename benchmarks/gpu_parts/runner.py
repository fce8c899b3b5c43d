"""Each part in a process of its own, watched: one that dies or hangs costs one row and no more."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from benchmarks.gpu_parts.parts import DEVICE_LOST, Journal

#: seconds without a new line in the journal after which a process counts as hung
QUIET = 900.0
#: processes started for one part at most: each dies on a row of its own
MOST_PROCESSES = 25


def run_part(
    part: str, command: Sequence[str], journal: Path, deadline: float, quiet: float = QUIET,
    show: Callable[[str], None] = print,
) -> dict[str, Any]:  # fmt: skip
    """Run ``command`` (which measures ``part`` into ``journal``) until every row is there, or time is up.

    Returns the part's rows, notes, the names of rows that were left out, and problems of the processes.
    """
    problems: list[str] = []
    kept = Journal(journal, part)
    for _ in range(MOST_PROCESSES):
        before = len(kept.finished())
        status = _watch(command, kept, deadline, quiet, show)
        if status == 0:
            break
        if status == "late":
            problems.append("time was up")
            break
        entries = kept.read()
        begun = _unfinished(entries)
        if begun is not None:
            failure = f"the process {_died(status, quiet)} in this row"
            kept.write("done", begun, failure=failure)
            show(f"  {begun}: {failure}")
        elif status != DEVICE_LOST:
            problems.append(f"the process {_died(status, quiet)} outside of any row")
            if len(kept.finished()) == before:
                break
    return collect(kept.read(), problems)


def _watch(
    command: Sequence[str], journal: Journal, deadline: float, quiet: float, show: Callable[[str], None]
) -> int | str:
    """The exit status, or ``hung``, or ``late`` when the deadline passed."""
    process = subprocess.Popen(command, start_new_session=True)
    told = len(journal.read())
    changed = time.monotonic()
    try:
        while True:
            try:
                return process.wait(timeout=0.2)
            except subprocess.TimeoutExpired:
                pass
            finally:
                entries = journal.read()
                for entry in entries[told:]:
                    if entry["state"] == "done":
                        show(f"  {entry['row']}: {entry.get('failure') or 'done'}")
                if len(entries) > told:
                    told, changed = len(entries), time.monotonic()
            if time.time() > deadline + 20:  # the process stops by itself between rows
                return "late"
            if time.monotonic() - changed > quiet:
                return "hung"
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _unfinished(entries: Sequence[dict[str, Any]]) -> str | None:
    """The row that was begun last and has no figures."""
    done = {e["row"] for e in entries if e["state"] == "done"}
    return next((e["row"] for e in reversed(entries) if e["state"] == "started" and e["row"] not in done), None)


def _died(status: int | str, quiet: float) -> str:
    if status == "hung":
        return f"did nothing for {quiet:.0f} s and was stopped"
    if isinstance(status, int) and status < 0:
        return f"died of signal {-status} ({signal.Signals(-status).name})"
    return f"ended with status {status}"


def collect(entries: Sequence[dict[str, Any]], problems: Sequence[str] = ()) -> dict[str, Any]:
    """A part's result from its journal."""
    rows = [{k: v for k, v in e.items() if k not in ("part", "state")} for e in entries if e["state"] == "done"]
    started = _unfinished(entries)
    left_out = [e["row"] for e in entries if e["state"] == "skipped"] + ([started] if started is not None else [])
    notes = list(dict.fromkeys(e["text"] for e in entries if e["state"] == "note"))
    return {"rows": rows, "notes": notes, "left_out": left_out, "problems": list(problems)}
