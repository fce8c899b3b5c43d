"""Views over flat arrays, for kernel references: the NumPy meaning of an offset and a list of strides."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def strided(array: np.ndarray, offset: int, shape: Sequence[int], strides: Sequence[int]) -> np.ndarray:
    """View of ``array``'s elements at ``offset + sum(index * stride)``; strides in elements, any of them may be 0."""
    flat = array.reshape(-1)[offset:]
    return np.lib.stride_tricks.as_strided(flat, tuple(shape), tuple(int(s) * flat.itemsize for s in strides))


def dense(shape: Sequence[int]) -> tuple[int, ...]:
    """Strides in elements of a C-contiguous array of ``shape``."""
    result: list[int] = []
    step = 1
    for size in reversed(shape):
        result.append(step)
        step *= max(int(size), 1)
    return tuple(reversed(result))


def ceil_div(a: int | float, b: int) -> int:
    """``a / b`` rounded up, for counts of blocks."""
    return -(-int(a) // b)
