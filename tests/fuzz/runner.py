"""Give cases to a worker process, watch it, and say what became of each."""

from __future__ import annotations

import json
import os
import re
import selectors
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tests.fuzz.case import Case, pack, unpack

ROOT = Path(__file__).parents[2]
#: seconds of work that a case may take, on programs that are compiled
TIME_LIMIT = 10.0
#: seconds on the clock after which a case that does no work hangs, however busy the machine is
CLOCK_LIMIT = 90.0
_START_LIMIT = 180.0


@dataclass(frozen=True)
class Outcome:
    """``kind``: ran, loaded, refused (an error of ours), raised, crashed, hung or wrong.

    ``finding`` is empty where all is well; equal findings have one cause.
    """

    kind: str
    error: str = ""
    finding: str = ""
    seconds: float = 0.0


class Runner:
    """A worker, started when it is needed and again when it is gone."""

    def __init__(self, device: str = "") -> None:
        self._device = device
        self._process: subprocess.Popen[bytes] | None = None
        self._folder = tempfile.TemporaryDirectory(prefix="a1400-fuzz-")
        self._stack = Path(self._folder.name) / "stack.txt"

    def __enter__(self) -> Runner:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the worker."""
        self._end()
        self._folder.cleanup()

    def run(self, case: Case) -> Outcome:
        """What becomes of the case.  One that hangs is tried again, as time may have gone into compilers."""
        outcome = self._run(case)
        return self._run(case) if outcome.kind == "hung" else outcome

    def _run(self, case: Case) -> Outcome:
        folder = case.write(Path(self._folder.name))
        process = self._worker()
        feeds = {name: pack(array) for name, array in case.feeds.items()}
        asked = {"folder": str(folder), "feeds": feeds, "answer": case.expected is not None}
        began, worked = time.perf_counter(), _worked(process.pid)
        answer, hung = self._ask(process, asked, began, worked)
        seconds = time.perf_counter() - began
        if answer is None:
            if hung:
                process.send_signal(signal.SIGUSR1)  # it tells where it is
                for _ in range(50):
                    time.sleep(0.1)
                    if "a1400" in self._stack.read_text():
                        break
            code, where = process.poll(), self._where()
            self._end()
            if hung:
                return Outcome("hung", finding=f"hung{where}", seconds=seconds)
            how = f"signal {-code}" if code is not None and code < 0 else f"exit status {code}"
            return Outcome("crashed", finding=f"crashed: {how}{where}", seconds=seconds)
        finding, kind = answer["finding"], answer["outcome"]
        if not finding and case.expected is not None:
            outputs = None if answer["outputs"] is None else [unpack(a) for a in answer["outputs"]]
            wrong = "no answer: " + answer["error"] if outputs is None else differ(outputs, case.expected)
            if wrong:
                kind, finding = "wrong", f"wrong: {wrong}"
        return Outcome(kind, answer["error"], finding, seconds)

    def _where(self) -> str:
        """The library's innermost line that the worker was in when it was asked, or when it crashed."""
        found = re.search(r'File ".*/a1400/([^"]+)", line \d+ in (\w+)', self._stack.read_text())
        return f" in {found[1]}:{found[2]}" if found else ""

    def _ask(
        self, process: subprocess.Popen[bytes], asked: Any, began: float, worked: float
    ) -> tuple[dict[str, Any] | None, bool]:
        """The worker's answer, or None and whether it hangs."""
        assert process.stdin is not None
        try:
            process.stdin.write(json.dumps(asked).encode() + b"\n")
            process.stdin.flush()
        except OSError:
            process.wait()
            return None, False
        while True:
            line = self._line(process, 1.0)
            if line is not None:
                if not line:
                    process.wait()
                return (json.loads(line) if line else None), False
            passed = time.perf_counter() - began
            if passed > CLOCK_LIMIT or (passed > TIME_LIMIT and _worked(process.pid) - worked > TIME_LIMIT):
                return None, True

    def _line(self, process: subprocess.Popen[bytes], limit: float) -> bytes | None:
        """A line of the worker's, empty when it has ended, None when none came within ``limit`` seconds."""
        assert process.stdout is not None
        with selectors.DefaultSelector() as ready:
            ready.register(process.stdout, selectors.EVENT_READ)
            return process.stdout.readline() if ready.select(limit) else None

    def _worker(self) -> subprocess.Popen[bytes]:
        if self._process is not None and self._process.poll() is None:
            return self._process
        command = [sys.executable, "-m", "tests.fuzz.worker", self._device, str(self._stack)]
        log = os.environ.get("A1400_FUZZ_LOG")
        with open(log or os.devnull, "ab") as errors:
            self._process = subprocess.Popen(
                command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors,
                env={**os.environ, "A1400_BUILD_PROCESSES": "0"},
            )  # fmt: skip
        if not self._line(self._process, _START_LIMIT):
            raise RuntimeError("the fuzzer's worker did not start; A1400_FUZZ_LOG=FILE shows why")
        return self._process

    def _end(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            for pipe in (self._process.stdin, self._process.stdout):
                if pipe is not None:
                    with suppress(OSError):  # what it never read
                        pipe.close()
            self._process = None


def _worked(pid: int) -> float:
    """Seconds of processor time that a process has used."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def differ(outputs: list[np.ndarray], expected: list[np.ndarray]) -> str:
    """In what ``outputs`` are not what is expected; empty where they are."""
    if len(outputs) != len(expected):
        return f"{len(outputs)} outputs, not {len(expected)}"
    for i, (a, b) in enumerate(zip(outputs, expected)):
        if a.shape != b.shape or a.dtype != b.dtype:
            return f"output {i} is {a.dtype}{list(a.shape)}, not {b.dtype}{list(b.shape)}"
        if a.dtype == object or a.dtype.kind in "biu":
            same = bool(np.array_equal(a, b))
        else:
            near = 1e-2 if a.dtype.itemsize <= 2 else 1e-3
            x, y = a.astype(np.float64), b.astype(np.float64)
            same = bool(np.allclose(x, y, rtol=near, atol=near * 0.1, equal_nan=True))
        if not same:
            return f"output {i} has other values"
    return ""
