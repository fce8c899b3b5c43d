"""Elements that are chosen at run time, put side by side: running sums, a count that is read, and a search."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from a1400.frontends.onnx.context import Ctx, Item
from a1400.graph.graph import Value

I32, I64 = np.dtype(np.int32), np.dtype(np.int64)


def numbers(c: Ctx, shape: Sequence[int]) -> Value:
    """0, 1, 2 ... in ``shape`` as i32; in memory nowhere."""
    return c.cast(c.op("iota", shape=tuple(shape)), I32)


def places(c: Ctx, chosen: Value, what: str, keep: Sequence[Item] = ()) -> Value:
    """Where ``chosen`` (bool ``[n]``) holds, rising, as i32; the device counts and only the count is read.

    ``what`` names the count in errors, ``keep`` are values of the translator that it goes on with.
    """
    n = chosen.shape[0]
    if n == 0:
        return c.const(np.zeros(0, I32))
    if chosen.data is not None:
        return c.const(np.flatnonzero(chosen.data).astype(I32))
    sums = c.op("cumulate", c.cast(chosen, I32), kind="sum", axis=0, exclusive=False, reverse=False)
    count = c.count(c.slice(sums, 0, n - 1, 1), what, [*keep, sums])
    if count == 0:
        return c.const(np.zeros(0, I32))
    return search(c, sums, numbers(c, (count,)))


def search(c: Ctx, sums: Value, targets: Value) -> Value:
    """For each target the first place where ``sums`` (i32 ``[n]``, rising) is larger: a binary search in parallel."""
    n = sums.shape[0]
    place = c.expand(c.scalar(0, I32), targets.shape)
    step = 1 << (n.bit_length() - 1)
    while step:
        # the step as a number of elements: one program serves all steps
        ahead = c.op("add", place, c.cast(c.op("iota", shape=(1,), start=step), I32))
        here = c.op("gather", sums, c.op("sub", ahead, c.scalar(1, I32)), axis=0)  # clamped beyond the end
        inside = c.op("le", ahead, c.scalar(n, I32))
        place = c.op("where", c.op("and", inside, c.op("le", here, targets)), ahead, place)
        step //= 2
    return place
