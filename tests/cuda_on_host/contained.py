"""Runs a launch in a child process, so that a kernel that crashes or never ends is a finding and not the end."""

from __future__ import annotations

import faulthandler
import mmap
import os
import resource
import signal
import time
import warnings
from collections.abc import Callable

import numpy as np


def shared_bytes(nbytes: int) -> np.ndarray:
    """Memory that child processes write and this one sees, page-aligned."""
    return np.frombuffer(mmap.mmap(-1, max(nbytes, 1)), np.uint8, nbytes)


def run(action: Callable[[], int], seconds: float) -> tuple[int, str]:
    """The status that ``action`` returns in a child process, and what ended the child otherwise ("" if nothing did)."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # the child runs a C function and ends
        child = os.fork()
    if child == 0:
        status = 1
        faulthandler.disable()  # the parent tells
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        try:
            status = action()
        finally:
            os._exit(status)
    deadline = time.monotonic() + seconds
    while True:
        pid, status = os.waitpid(child, os.WNOHANG)
        if pid:
            break
        if time.monotonic() > deadline:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            return 1, f"did not end within {seconds:g} s"
        time.sleep(0.001)
    if os.WIFSIGNALED(status):
        return 1, f"was ended by {signal.Signals(os.WTERMSIG(status)).name}"
    return os.WEXITSTATUS(status), ""
