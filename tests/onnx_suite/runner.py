"""Run cases of ONNX's suite in worker processes, each case within a time limit."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import selectors
import subprocess
import sys
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
#: seconds that a case may take, its compilation included
TIME_LIMIT = 120.0
#: seconds until a worker has loaded the cases
START_LIMIT = 300.0


@dataclass(frozen=True)
class Result:
    """What became of a case; ``launches`` is how many kernels its plans launch, ``features`` what those are made of."""

    name: str
    status: str  # passed, failed, crashed, timeout
    error: str
    seconds: float
    launches: int
    kind: str
    features: tuple[str, ...] = ()
    device: str = ""  # in words


class Worker:
    """One worker process; ``kinds`` holds the cases it offers."""

    def __init__(self, device: str, environment: Mapping[str, str]) -> None:
        command = [sys.executable, "-m", "tests.onnx_suite.worker", device]
        self._process = subprocess.Popen(
            command, cwd=ROOT, env={**os.environ, **environment}, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=_log(),
        )  # fmt: skip
        answer = self._answer(START_LIMIT)
        if answer is None:
            self.close()
            raise RuntimeError("a worker of ONNX's suite did not start; A1400_SUITE_LOG=FILE shows why")
        self.kinds: dict[str, str] = answer["kinds"]  # Node, Simple, PyTorchConverted, PyTorchOperator, Real
        self.device: str = answer["device"]

    def run(self, name: str) -> dict | None:
        """The case's result as the worker tells it; None when the process did not answer."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(name + "\n")
            self._process.stdin.flush()
        except OSError:
            return None
        return self._answer(TIME_LIMIT)

    def _answer(self, limit: float) -> dict | None:
        assert self._process.stdout is not None
        with selectors.DefaultSelector() as ready:
            ready.register(self._process.stdout, selectors.EVENT_READ)
            if not ready.select(limit):
                return None
        line = self._process.stdout.readline()
        if not line:  # it has ended, or is about to
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(10.0)
            return None
        return json.loads(line)

    def close(self) -> str:
        """End the process; says how it ended if it had ended by itself."""
        code = self._process.poll()
        if code is None:
            try:
                assert self._process.stdin is not None
                self._process.stdin.close()
                self._process.wait(1.0)
            except (OSError, subprocess.TimeoutExpired):
                self._process.kill()
                self._process.wait()
            return ""
        return f"signal {-code}" if code < 0 else f"exit status {code}"


def _log() -> int:
    path = os.environ.get("A1400_SUITE_LOG")
    return subprocess.DEVNULL if not path else os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)


def run(
    device: str = "", workers: int = 1, names: Iterable[str] | None = None, part: tuple[int, int] = (0, 1),
    environment: Mapping[str, str] | None = None, real: bool = True,
) -> list[Result]:  # fmt: skip
    """Results by name on ``device`` (an id; empty: the best) of the cases that ``part`` (number, of how many) takes.

    ``names`` (None: all; without ``real``, all but the ImageNet models) are the cases to part.
    ``environment`` is set for the workers.
    """
    first = Worker(device, environment or {})
    wanted = [n for n, kind in first.kinds.items() if real or kind != "Real"] if names is None else list(names)
    unknown = sorted(set(wanted) - set(first.kinds))
    if unknown:
        first.close()
        raise ValueError(f"ONNX's suite has no case {unknown[0]!r}")
    todo: queue.SimpleQueue[str] = queue.SimpleQueue()
    for name in wanted[part[0] :: part[1]]:
        todo.put(name)
    results: list[Result] = []

    def serve(worker: Worker | None) -> None:
        while True:
            try:
                name = todo.get_nowait()
            except queue.Empty:
                break
            worker = worker or Worker(device, environment or {})
            answer = worker.run(name)
            if answer is None:
                how = worker.close()
                answer = {"name": name, "status": "crashed" if how else "timeout", "seconds": 0.0, "launches": 0,
                          "error": how or f"no answer within {TIME_LIMIT:.0f} s"}  # fmt: skip
                worker = None
            made_of = tuple(answer.pop("features", ()))
            results.append(Result(kind=first.kinds[name], features=made_of, device=first.device, **answer))
        if worker is not None:
            worker.close()

    with ThreadPoolExecutor(workers) as pool:
        for served in [pool.submit(serve, first if i == 0 else None) for i in range(workers)]:
            served.result()
    return sorted(results, key=lambda r: r.name)
