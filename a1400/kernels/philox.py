"""Philox4x32-10 with NumPy: the counter-based generator behind every random number on a device.

Salmon, Moraes, Dror and Shaw, *Parallel random numbers: as easy as 1, 2, 3* (2011).  A block of four 32-bit words is a
function of a counter of four words and a key of two, so any element's number can be computed alone, and again.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

ROUNDS = 10
_MULTIPLIERS = np.uint64(0xD2511F53), np.uint64(0xCD9E8D57)
_WEYL = 0x9E3779B9, 0xBB67AE85
_LOW, _32 = np.uint64(0xFFFFFFFF), np.uint64(32)


def philox4x32(
    c0: np.ndarray, c1: np.ndarray, c2: np.ndarray, c3: np.ndarray, k0: np.ndarray, k1: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """The four words (uint32) of the blocks of counters ``(c0, c1, c2, c3)`` under keys ``(k0, k1)``; all broadcast."""
    a, b, c, d, k, m = (np.asarray(x).astype(np.uint64) for x in (c0, c1, c2, c3, k0, k1))
    for _ in range(ROUNDS):
        first, second = _MULTIPLIERS[0] * a, _MULTIPLIERS[1] * c
        a, b, c, d = (second >> _32) ^ b ^ k, second & _LOW, (first >> _32) ^ d ^ m, first & _LOW
        k, m = (k + np.uint64(_WEYL[0])) & _LOW, (m + np.uint64(_WEYL[1])) & _LOW
    return a.astype(np.uint32), b.astype(np.uint32), c.astype(np.uint32), d.astype(np.uint32)


def word(number: int) -> Callable[..., np.ndarray]:
    """A function that gives word ``number`` of :func:`philox4x32`."""
    return lambda *operands: philox4x32(*operands)[number]
