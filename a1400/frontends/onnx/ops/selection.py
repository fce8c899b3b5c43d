"""Selections whose size depends on what tensors hold: the device sorts, compares and counts, the count is read."""

from __future__ import annotations

import numpy as np

from a1400.errors import GraphError
from a1400.frontends.onnx.compaction import I32, I64, places
from a1400.frontends.onnx.context import Ctx
from a1400.frontends.onnx.ops.registry import translates
from a1400.graph.graph import Value

_BOOL = np.dtype(np.bool_)


@translates("NonZero")
def non_zero(c: Ctx) -> Value:
    """Indices of the non-zero elements, ``[rank, count]``."""
    x = c[0]
    if x.data is not None:
        return c.const(np.array(np.nonzero(np.atleast_1d(x.data)), I64)[: x.rank])
    flat = c.reshape(x, (x.size,))
    chosen = flat if x.dtype == _BOOL else c.op("not", c.op("eq", flat, c.scalar(0, x)))
    where = places(c, chosen, "the number of non-zero elements")
    if not x.rank or not where.size:
        return c.const(np.zeros((x.rank, where.size), I64))
    rows, stride = [], x.size
    for size in x.shape:
        stride //= size
        along = c.op("mod", c.op("div", where, c.scalar(stride, I32)), c.scalar(size, I32))
        rows.append(c.reshape(along, (1, where.size)))
    return c.cast(c.concat(rows, 0), I64)


@translates("Compress")
def compress(c: Ctx) -> Value:
    """The elements that the condition selects."""
    x, condition, axis = c[0], c[1], c.attr("axis", None, int)
    if axis is None:
        x, axis = c.reshape(x, (x.size,)), 0
    axis = c.axis(axis, x.rank)
    if condition.data is not None:
        chosen = np.flatnonzero(condition.data)
        if chosen.size and chosen[-1] >= x.shape[axis]:
            raise GraphError("the condition is longer than the axis")
        return c.op("gather", x, c.const(chosen, I64), axis=axis)
    condition = c.slice(condition, 0, 0, min(condition.shape[0], x.shape[axis]))
    where = places(c, condition, "the number of elements that the condition selects", [x])
    return c.op("gather", x, where, axis=axis)


@translates("Unique")
def unique(c: Ctx) -> object:
    """The distinct elements, or slices of an axis: where they come first, which each is, how often they come."""
    x, axis = c[0], c.attr("axis", None, int)
    if axis is None:
        lines, n = c.reshape(x, (x.size, 1)), x.size
    else:
        axis = c.axis(axis, x.rank)
        n = x.shape[axis]
        moved = c.transpose(x, (axis, *(d for d in range(x.rank) if d != axis)))
        lines = c.reshape(moved, (n, x.size // n if n else 0))
    if not x.size:
        empty = c.const(np.zeros(0, I64))
        return c.slice(c.reshape(x, (0,)) if axis is None else x, axis or 0, 0, 0), empty, empty, empty
    if lines.dtype == _BOOL:
        lines = c.cast(lines, np.uint8)
    order = _sorted(c, lines)
    ordered = c.op("gather", lines, order, axis=0)
    first, inverse, counts = _groups(c, ordered, order, x)
    if not c.flag("sorted", True):
        first, at = c.multi("topk", first, k=first.size, axis=0, largest=False, sorted=True)
        rank = c.multi("topk", at, k=first.size, axis=0, largest=False, sorted=True)[1]  # the inverse permutation
        inverse, counts = c.op("gather", rank, inverse, axis=0), c.op("gather", counts, at, axis=0)
    values = c.op("gather", c.reshape(x, (x.size,)) if axis is None else x, first, axis=axis or 0)
    return values, c.cast(first, I64), c.cast(inverse, I64), c.cast(counts, I64)


def _sorted(c: Ctx, lines: Value) -> Value:
    """The stable order of the rows of ``lines``, compared from the left.

    Numbers become their ranks in their column, then two columns one, until one is left: as many sorts as the number of
    columns has binary digits (prefix doubling: Karp, Miller and Rosenberg, 1972).
    """
    n, columns = lines.shape
    if n == 1:
        return c.const(np.zeros(1, I32))
    wide = I32 if n * n < 2**31 else I64
    while columns > 1:
        ranks = c.cast(_ranks(c, lines), wide)
        halves = columns // 2
        pairs = c.reshape(c.slice(ranks, 1, 0, 2 * halves), (n, halves, 2))
        left, right = (c.reshape(c.slice(pairs, 2, side, 1), (n, halves)) for side in range(2))
        lines = c.op("add", c.op("mul", left, c.scalar(n, wide)), right)
        if columns % 2:
            lines = c.concat([lines, c.slice(ranks, 1, columns - 1, 1)], 1)
        columns = lines.shape[1]
    return c.multi("topk", c.reshape(lines, (n,)), k=n, axis=0, largest=False, sorted=True)[1]


def _ranks(c: Ctx, lines: Value) -> Value:
    """How many different smaller numbers each one has in its column."""
    n, columns = lines.shape
    ordered, at = c.multi("topk", lines, k=n, axis=0, largest=False, sorted=True)
    steps = c.op("ne", c.slice(ordered, 0, 1, n - 1), c.slice(ordered, 0, 0, n - 1))
    steps = c.concat([c.const(np.zeros((1, columns), I32)), c.cast(steps, I32)], 0)
    kinds = c.op("cumulate", steps, kind="sum", axis=0, exclusive=False, reverse=False)
    back = c.multi("topk", at, k=n, axis=0, largest=False, sorted=True)[1]  # the inverse permutation
    return c.op("gather_elements", kinds, back, axis=0)


def _groups(c: Ctx, ordered: Value, order: Value, x: Value) -> tuple[Value, Value, Value]:
    """Of sorted rows: the place of the first of each kind, the kind of each row, and how many there are of each."""
    n = ordered.shape[0]
    same = c.op("eq", c.slice(ordered, 0, 1, n - 1), c.slice(ordered, 0, 0, n - 1))
    same = c.op("reduce", same, kind="all", axes=(1,), keepdims=False) if same.size else c.const(np.zeros(0, bool))
    begins = c.concat([c.const(np.ones(1, bool)), c.op("not", same)], 0) if n > 1 else c.const(np.ones(1, bool))
    kinds = c.op("cumulate", c.cast(begins, I32), kind="sum", axis=0, exclusive=False, reverse=False)
    starts = places(c, begins, "the number of distinct elements", [x, order, kinds])
    ends = c.concat([c.slice(starts, 0, 1, starts.size - 1), c.const(np.array([n], I32))], 0)
    rank = c.multi("topk", order, k=n, axis=0, largest=False, sorted=True)[1]  # where each row went
    inverse = c.op("sub", c.op("gather", kinds, rank, axis=0), c.scalar(1, I32))
    return c.op("gather", order, starts, axis=0), inverse, c.op("sub", ends, starts)


