"""Arrays over mapped files: which are, and giving their memory back once what lies there has been used."""

from __future__ import annotations

import mmap
from typing import Any

import numpy as np


def map_of(array: np.ndarray) -> mmap.mmap | None:
    """The map of a file that ``array`` lies over; None for other memory."""
    base: Any = array
    while isinstance(base, np.ndarray):
        base = base.base
    return base if isinstance(base, mmap.mmap) else None


def release(array: np.ndarray) -> None:
    """Let the system have the pages of a mapped file that ``array`` lies over; reading it again brings them back.

    Does nothing for memory that is no read-only map of a file.
    """
    base = map_of(array)
    if base is None or not hasattr(mmap, "MADV_DONTNEED") or array.flags.writeable:
        return
    whole = np.frombuffer(base, np.uint8)
    if whole.flags.writeable or min(array.strides, default=0) < 0:  # such pages may hold what the file does not
        return
    length = array.itemsize + sum((n - 1) * s for n, s in zip(array.shape, array.strides, strict=True))
    offset = array.ctypes.data - whole.ctypes.data
    start = offset // mmap.PAGESIZE * mmap.PAGESIZE
    if array.size:
        base.madvise(mmap.MADV_DONTNEED, start, offset - start + length)
