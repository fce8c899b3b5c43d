"""An engine's process: opens one model, then does what the parent's lines say.

``python -m benchmarks.cpu_parts.worker JOB`` (JSON) first answers with the start's seconds, then to each line of
standard input - ``{"do": "turn", ...}`` or ``{"do": "end"}`` - with one line.  Whatever engines print goes to stderr.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.cpu_parts.opening import Opened

#: a run longer than this is not repeated to warm up, nor three times in a turn
LONG = 1.0


def main() -> int:
    """Serve until told to end; returns the exit status."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr] - or it would follow the last words of an error
    job = json.loads(sys.argv[1])
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: job["threads"]])

    def answer(value: Mapping[str, Any]) -> None:
        print(json.dumps(value), file=answers, flush=True)

    opened, told = start(job)
    answer(told)
    for line in sys.stdin:
        command = json.loads(line)
        if command["do"] == "end":
            answer({"peak_memory": peak_memory()})
            break
        answer({"seconds": turn(opened, command["seconds"], command["least"])})
    answers.flush()
    os._exit(0)  # drivers' own clean-up at exit is not what is measured, and some hang in it


def start(job: Mapping[str, Any]) -> tuple[Opened, dict[str, Any]]:
    """Open the model and run it once: seconds of imports, loading and first run, facts, and the outputs in a file."""
    with np.load(job["feeds"]) as archive:
        feeds = {name: archive[name] for name in archive.files}
    module, _, function = job["opener"].partition(":")
    opening = getattr(importlib.import_module(module), function)(job, feeds)
    begin = time.perf_counter()
    next(opening)
    imported = time.perf_counter()
    opened = next(opening)
    loaded = time.perf_counter()
    outputs = opened.run()
    done = time.perf_counter()
    told = {"imports": imported - begin, "load": loaded - imported, "first_run": done - loaded,
            "peak_memory": peak_memory(), "flops": opened.flops, **opened.facts()}  # fmt: skip
    if job.get("outputs"):
        arrays: dict[str, Any] = {f"{i:03}": np.asarray(array) for i, array in enumerate(outputs)}
        np.savez(job["outputs"], **arrays)
    return opened, told


def turn(opened: Opened, seconds: float, least: int) -> list[float]:
    """Seconds of each run of a turn: after one to warm up, at least ``least`` runs and as many as ``seconds`` hold."""
    times: list[float] = []
    begin = time.perf_counter()
    opened.run()
    warm = time.perf_counter() - begin
    if warm > LONG:
        return [warm]
    end = time.perf_counter() + seconds
    while len(times) < least or time.perf_counter() < end:
        begin = time.perf_counter()
        opened.run()
        times.append(time.perf_counter() - begin)
    return times


def peak_memory() -> int:
    """This process's largest resident size so far, in bytes; 0 where the system does not tell."""
    try:  # not ru_maxrss: on Linux it starts from the parent's
        for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
        import resource
    except (OSError, ImportError):
        return 0
    return int(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)  # macOS counts bytes


if __name__ == "__main__":
    sys.exit(main())
