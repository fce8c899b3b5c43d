"""Work in a process of its own, which may crash or hang: start it, read what it says, say how it ended."""

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
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import a1400

# Not ``-m``: the folder the user stands in must not come before the standard library.
_BOOT = "import sys; sys.path[:] = [p for p in sys.path if p]; from a1400.verify.worker import main; main()"
_TAIL = 3  # lines of the driver's last words that are shown
_GRACE = 30.0  # seconds for the interpreter's end


@dataclass(frozen=True)
class Ending:
    """How a child ended: ``how`` is ``done``, ``failed`` (it said why), ``crash`` or ``hang``; ``detail`` says more."""

    how: str
    detail: str = ""


def run_child(
    job: Mapping[str, Any], environment: Mapping[str, str], timeout: float, hear: Callable[[dict[str, Any]], None]
) -> Ending:
    """Run ``job`` in a new process and pass each message it sends to ``hear``.

    ``timeout`` is the longest silence in seconds before the child counts as hanging and is killed with everything it
    started; a message may change it for the silence that follows (``"timeout"``).  Raises nothing of the child's.
    """
    with Child(job, environment) as child:
        while True:
            got = child.hear(timeout)
            if isinstance(got, Ending):
                return got
            hear(got)


class Child:
    """A process that does a job, and may be told more while it does.

    A context manager: on leaving, the process is killed with everything it started, if it still runs.
    """

    def __init__(self, job: Mapping[str, Any], environment: Mapping[str, str]) -> None:
        self._words = tempfile.TemporaryFile()  # noqa: SIM115 - closed on leaving
        self._process = subprocess.Popen(
            [sys.executable, "-c", _BOOT], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._words,
            env={**environment, "PYTHONPATH": _python_path(environment)}, start_new_session=True,
        )  # fmt: skip
        assert self._process.stdout is not None
        self._lines: queue.Queue[bytes | None] = queue.Queue()
        threading.Thread(target=_pump, args=(self._process.stdout, self._lines), daemon=True).start()
        self._finished, self._failed = False, ""
        self._silence: float | None = None  # what the last message said of the next silence
        self.tell(job)

    def __enter__(self) -> Child:
        return self

    def __exit__(self, *_: object) -> None:
        _kill(self._process)
        self._words.close()

    def tell(self, message: Mapping[str, Any]) -> None:
        """Send a message; one that is dead already is found out by :meth:`hear`."""
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.write(json.dumps(message).encode() + b"\n")
            self._process.stdin.flush()  # and it stays open: its end tells the child that nobody listens any more

    def hear(self, timeout: float) -> dict[str, Any] | Ending:
        """The next message, or how the process ended; a silence of ``timeout`` seconds counts as a hang."""
        while True:
            silence = _GRACE if self._finished else timeout if self._silence is None else self._silence
            try:
                line = self._lines.get(timeout=silence)
            except queue.Empty:
                if self._finished:
                    return Ending("hang", f"the process did not end within {_GRACE:g} s of its last check")
                return Ending("hang", f"nothing came back within {silence:g} s{_last_words(self._words)}")
            if line is None:
                return self._ending()
            message = _message(line)
            if message is None:
                continue
            self._silence = float(message["timeout"]) if message.get("timeout") else None
            self._finished = self._finished or "end" in message
            self._failed = self._failed or str(message.get("failed", ""))
            if not self._finished and not self._failed:
                return message

    def _ending(self) -> Ending:
        try:
            code = self._process.wait(_GRACE)
        except subprocess.TimeoutExpired:
            return Ending("hang", f"the process closed its output and did not end{_last_words(self._words)}")
        if self._failed:
            return Ending("failed", self._failed)
        if self._finished and code == 0:
            return Ending("done")
        when = " after its last check" if self._finished else ""
        return Ending("crash", f"{_exit_text(code)}{when}{_last_words(self._words)}")


def _python_path(environment: Mapping[str, str]) -> str:
    """The child must import this very copy, installed or not."""
    parent = str(Path(a1400.__path__[0]).resolve().parent)
    return os.pathsep.join(filter(None, (parent, environment.get("PYTHONPATH"))))


def _pump(stream: IO[bytes], lines: queue.Queue[bytes | None]) -> None:
    for line in stream:
        lines.put(line)
    lines.put(None)


def _message(line: bytes) -> dict[str, Any] | None:
    """A line as a message; None for what the interpreter or a driver printed."""
    try:
        found = json.loads(line)
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


def _exit_text(code: int) -> str:
    if code >= 0:
        return f"the process ended by itself with status {code}"
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = f"signal {-code}"
    return f"the process was killed by {name}"


def _last_words(words: IO[bytes]) -> str:
    """The last lines of stderr, as the end of a sentence."""
    size = words.seek(0, os.SEEK_END)
    words.seek(max(0, size - 16384))
    lines = [line.strip()[:300] for line in words.read().decode(errors="replace").splitlines() if line.strip()]
    return "; it said: " + " | ".join(lines[-_TAIL:]) if lines else ""


def _kill(child: subprocess.Popen[bytes]) -> None:
    """End the child and what it started (a compiler it waits for, say)."""
    if child.poll() is None:
        if hasattr(os, "killpg"):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGKILL)
        else:
            child.kill()
        deadline = time.monotonic() + _GRACE
        while child.poll() is None and time.monotonic() < deadline:
            time.sleep(0.01)
    for stream in (child.stdin, child.stdout):
        if stream is not None:
            with contextlib.suppress(OSError):
                stream.close()
