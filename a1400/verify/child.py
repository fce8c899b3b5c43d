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
    with tempfile.TemporaryFile() as words:
        child = subprocess.Popen(
            [sys.executable, "-c", _BOOT], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=words,
            env={**environment, "PYTHONPATH": _python_path(environment)}, start_new_session=True,
        )  # fmt: skip
        try:
            return _listen(child, job, timeout, hear, words)
        finally:
            _kill(child)


def _python_path(environment: Mapping[str, str]) -> str:
    """The child must import this very copy, installed or not."""
    parent = str(Path(a1400.__path__[0]).resolve().parent)
    return os.pathsep.join(filter(None, (parent, environment.get("PYTHONPATH"))))


def _listen(
    child: subprocess.Popen[bytes], job: Mapping[str, Any], timeout: float,
    hear: Callable[[dict[str, Any]], None], words: IO[bytes],
) -> Ending:  # fmt: skip
    assert child.stdin is not None and child.stdout is not None
    lines: queue.Queue[bytes | None] = queue.Queue()
    threading.Thread(target=_pump, args=(child.stdout, lines), daemon=True).start()
    with contextlib.suppress(BrokenPipeError):  # it died at once; its end tells
        child.stdin.write(json.dumps(job).encode() + b"\n")
        child.stdin.flush()  # and it stays open: its end tells the child that nobody listens any more
    finished, failed, silence = False, "", timeout
    while True:
        try:
            line = lines.get(timeout=_GRACE if finished else silence)
        except queue.Empty:
            if finished:
                return Ending("hang", f"the process did not end within {_GRACE:g} s of its last check")
            return Ending("hang", f"nothing came back within {silence:g} s{_last_words(words)}")
        if line is None:
            break
        message = _message(line)
        if message is None:
            continue
        silence = float(message.get("timeout") or timeout)
        finished = finished or "end" in message
        failed = failed or str(message.get("failed", ""))
        if not finished and not failed:
            hear(message)
    try:
        code = child.wait(_GRACE)
    except subprocess.TimeoutExpired:
        return Ending("hang", f"the process closed its output and did not end{_last_words(words)}")
    if failed:
        return Ending("failed", failed)
    if finished and code == 0:
        return Ending("done")
    when = " after its last check" if finished else ""
    return Ending("crash", f"{_exit_text(code)}{when}{_last_words(words)}")


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
