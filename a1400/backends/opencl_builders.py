"""Helper processes that build OpenCL programs beside this one.

Intel's runtime builds one program at a time in a process, whatever the number of threads, and its compiler keeps the
memory it took.  So while this process builds one program, further ones go to helpers, which put the binaries into the
disk cache.  A helper ends by itself soon after its last job.  Whatever goes wrong with one only means that this process
builds the program itself.

``A1400_BUILD_PROCESSES`` says how many helpers there may be (default: one less than there are cores, at most 3).
"""

from __future__ import annotations

import atexit
import io
import json
import os
import select
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path

_BUILT = b"a1400-built "
#: seconds that an idle helper stays
_PATIENCE = 2.0
#: seconds after which a helper at work is given up
_LONGEST = 120.0
#: bytes of a job's length, which comes before it
_HEAD = 8
_Helper = subprocess.Popen[bytes]
_living: set[_Helper] = set()


def most_helpers() -> int:
    """How many helpers this process may have; none where the interpreter cannot be started by itself."""
    if getattr(sys, "frozen", False) or "python" not in Path(sys.executable or "").name.lower():
        return 0
    text = os.environ.get("A1400_BUILD_PROCESSES", "")
    return int(text) if text.isdecimal() else min(3, (os.cpu_count() or 1) - 1)


class Builders:
    """The helpers for one device; ``identity`` is the device's and driver's in the disk cache."""

    def __init__(self, index: int, identity: str) -> None:
        self._index, self._identity = index, identity
        self._own = threading.Lock()  # held while this process builds
        self._idle: list[_Helper] = []
        self._busy = 0
        self._lock = threading.Lock()
        self._failed = False  # then there are no more helpers

    def elsewhere(self, key: bytes, source: str, options: str) -> bool:
        """Have a helper build the program if this process is building one; True once it is in the disk cache.

        Otherwise it is the caller's turn to build it, and he calls :meth:`done` afterwards.
        """
        if self._own.acquire(blocking=False):
            return False
        helper = self._take()
        if helper is not None:
            built = _ask(helper, {"key": key.hex(), "source": source, "options": options})
            with self._lock:
                self._busy -= 1
                self._failed |= not built
                if built:
                    self._idle.append(helper)
            if built:
                return True
            _end(helper)
        self._own.acquire()
        return False

    def done(self) -> None:
        """This process has built its program."""
        self._own.release()

    def _take(self) -> _Helper | None:
        """A helper for the caller alone; None when all are at work, or none can be had."""
        with self._lock:
            while self._idle:
                helper = self._idle.pop()
                if helper.poll() is None:
                    self._busy += 1
                    return helper
                _end(helper)
            if self._failed or self._busy >= most_helpers():
                return None
            self._busy += 1
        try:
            return self._start()
        except OSError:
            with self._lock:
                self._busy -= 1
                self._failed = True
            return None

    def _start(self) -> _Helper:
        command = [sys.executable, "-m", "a1400.backends.opencl_builders", str(self._index), self._identity]
        path = os.pathsep.join(filter(None, [str(Path(__file__).resolve().parents[2]), os.environ.get("PYTHONPATH")]))
        pipe = subprocess.PIPE
        helper = subprocess.Popen(
            command, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL, env={**os.environ, "PYTHONPATH": path}
        )
        _living.add(helper)
        return helper


def _ask(helper: _Helper, job: dict[str, str]) -> bool:
    """Whether the helper built the job's program."""
    assert helper.stdin is not None and helper.stdout is not None
    watch = threading.Timer(_LONGEST, helper.kill)
    watch.daemon = True
    watch.start()
    data = json.dumps(job).encode()
    try:
        helper.stdin.write(len(data).to_bytes(_HEAD, "little") + data)
        helper.stdin.flush()
        for line in helper.stdout:  # drivers may print, too
            if line.startswith(_BUILT):
                return line.strip() == _BUILT + job["key"].encode()
        return False
    except (OSError, ValueError):
        return False
    finally:
        watch.cancel()


def _end(helper: _Helper) -> None:
    _living.discard(helper)
    helper.kill()
    for pipe in (helper.stdin, helper.stdout):
        with suppress(OSError):
            if pipe is not None:
                pipe.close()
    helper.wait()


@atexit.register
def _end_all() -> None:
    for helper in list(_living):
        _end(helper)


def serve(index: int, identity: str, jobs: io.FileIO) -> None:
    """A helper's life: build what is asked for until nothing is for a while."""
    from a1400.backends.opencl import OpenCLBackend

    device = OpenCLBackend().open(index)
    while device.cache_identity == identity and select.select([jobs], [], [], _PATIENCE)[0]:
        head = _read(jobs, _HEAD)
        job = json.loads(_read(jobs, int.from_bytes(head, "little")))
        if not device.build_for_cache(bytes.fromhex(job["key"]), job["source"], job["options"]):
            return
        sys.stdout.buffer.write(b"\n" + _BUILT + job["key"].encode() + b"\n")
        sys.stdout.buffer.flush()


def _read(jobs: io.FileIO, count: int) -> bytes:
    data = b""
    while len(data) < count:
        part = jobs.read(count - len(data))
        if not part:
            sys.exit(0)  # nobody asks any more
        data += part
    return data


if __name__ == "__main__":
    serve(int(sys.argv[1]), sys.argv[2], io.FileIO(0, "rb", closefd=False))
