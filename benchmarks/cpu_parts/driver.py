"""The parent's side of an engine's process: start it, ask it, notice when it dies or hangs."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from benchmarks.common.document import ROOT
from benchmarks.cpu_parts.engines import Engine


class EngineFailed(Exception):
    """The engine's process died, hung or raised; the message is one line."""


class Worker:
    """One engine with one model in a process of its own; a context manager that leaves no process behind."""

    def __init__(self, engine: Engine, job: Mapping[str, Any], cache: Path | None) -> None:
        """Start the process; ``cache`` is the folder for what the engine keeps between processes (None: its own)."""
        self.engine = engine
        fill = {"cache": str(cache), "threads": str(job["threads"])}
        wanted = {k: v for k, v in engine.environment.items() if cache is not None or "{cache}" not in v}
        settings = {k: v.format(**fill) for k, v in wanted.items()}
        environment = {**os.environ, **settings}
        environment["OMP_NUM_THREADS"] = str(job["threads"])
        environment["PYTHONPATH"] = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
        command = [sys.executable, "-m", "benchmarks.cpu_parts.worker", json.dumps({**job, "opener": engine.opener})]
        self.errors = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the process
        self.process = subprocess.Popen(
            command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.errors, text=True,
            start_new_session=True,
        )  # fmt: skip
        self.lines: queue.Queue[str | None] = queue.Queue()
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.put(line)
        self.lines.put(None)

    def answer(self, patience: float) -> dict[str, Any]:
        """The next answer; raises :class:`EngineFailed` after ``patience`` seconds or when the process is gone."""
        try:
            line = self.lines.get(timeout=patience)
        except queue.Empty:
            self.close()
            raise EngineFailed(f"did nothing for {patience:.0f} s and was stopped") from None
        if line is None:
            status = self.process.wait()
            raise EngineFailed(self._died(status))
        return dict(json.loads(line))

    def started(self) -> dict[str, Any]:
        """The first answer: what ``worker.start`` tells."""
        return self.answer(self.engine.patience)

    def turn(self, seconds: float, least: int, patience: float) -> list[float]:
        """Have it run for ``seconds``, at least ``least`` times; returns the seconds of each run."""
        return list(self._ask({"do": "turn", "seconds": seconds, "least": least}, patience)["seconds"])

    def end(self) -> dict[str, Any]:
        """End it; returns its last words (``peak_memory``)."""
        told = self._ask({"do": "end"}, 30.0)
        self.close()
        return told

    def _ask(self, command: Mapping[str, Any], patience: float) -> dict[str, Any]:
        assert self.process.stdin is not None
        with contextlib.suppress(OSError):  # when it is dead, the answer will say so
            self.process.stdin.write(json.dumps(command) + "\n")
            self.process.stdin.flush()
        return self.answer(patience)

    def _died(self, status: int) -> str:
        if status < 0:
            return f"died of signal {-status} ({signal.Signals(-status).name})"
        self.errors.seek(0)
        words = self.errors.read().decode("utf-8", "replace").strip().splitlines()
        return words[-1][:200] if words else f"ended with status {status}"

    def close(self) -> None:
        """Stop the process and all that it started."""
        if self.process.poll() is None:
            if hasattr(os, "killpg"):
                os.killpg(self.process.pid, signal.SIGKILL)
            else:
                self.process.kill()
        self.process.wait()
        if self.process.stdin is not None:
            with contextlib.suppress(OSError):
                self.process.stdin.close()

    def __enter__(self) -> Worker:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
        self.errors.close()
