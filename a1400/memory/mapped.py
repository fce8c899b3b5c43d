"""Arrays over mapped files: which are, and giving their memory back once what lies there has been used."""

from __future__ import annotations

import mmap
from typing import Any

import numpy as np


def mapped(array: np.ndarray) -> bool:
    """Whether ``array`` lies over a mapped file."""
    return isinstance(_owner(array), mmap.mmap)


def _owner(array: np.ndarray) -> Any:
    base: Any = array
    while isinstance(base, np.ndarray):
        base = base.base
    return base


def release(array: np.ndarray) -> None:
    """Let the system have the pages of a mapped file that ``array`` lies over; reading it again brings them back.

    Does nothing for memory that is no read-only map of a file.
    """
    base = _owner(array)
    if not isinstance(base, mmap.mmap) or not hasattr(mmap, "MADV_DONTNEED") or array.flags.writeable:
        return
    whole = np.frombuffer(base, np.uint8)
    if whole.flags.writeable or min(array.strides, default=0) < 0:  # such pages may hold what the file does not
        return
    length = array.itemsize + sum((n - 1) * s for n, s in zip(array.shape, array.strides, strict=True))
    offset = array.ctypes.data - whole.ctypes.data
    start = offset // mmap.PAGESIZE * mmap.PAGESIZE
    if array.size:
        base.madvise(mmap.MADV_DONTNEED, start, offset - start + length)
