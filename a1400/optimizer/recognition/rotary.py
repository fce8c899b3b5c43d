"""Rotary embedding as one pointwise expression over the two halves of each head.

Exporters write ``x * cos + concat(-x[..., h:], x[..., :h]) * sin``; the concatenation is filled by two launches.
With the last axis as ``[2, h]`` it is the halves in reverse order times ``[-1, 1]``: a view and part of the expression.
"""

from __future__ import annotations

import numpy as np

from a1400.graph.graph import Node, Value
from a1400.optimizer.recognition.match import either_way, is_single, made_by, operand
from a1400.optimizer.rewriter import Rewriter, merge_sources


def _is_half(value: Value, x: Value, start: int) -> bool:
    """Whether ``value`` is the half of ``x`` from ``start`` on along the last axis."""
    node = made_by(value, "slice")
    if node is None or operand(node) is not x or set(node.attrs["steps"]) != {1}:
        return False
    starts = (*(0 for _ in x.shape[:-1]), start)
    return value.shape == (*x.shape[:-1], x.shape[-1] // 2) and tuple(node.attrs["starts"]) == starts


def _turned(walk: Rewriter, value: Value, x: Value) -> bool:
    """Whether ``value = concat(-x[..., h:], x[..., :h])`` and is read but once."""
    node = made_by(value, "concat")
    if node is None or len(node.inputs) != 2 or node.attrs["axis"] != x.rank - 1 or not walk.single_use(value):
        return False
    high, low = made_by(operand(node, 0), "neg"), operand(node, 1)
    return high is not None and _is_half(operand(high), x, x.shape[-1] // 2) and _is_half(low, x, 0)


def _halves(walk: Rewriter, value: Value, sources: tuple[str, ...]) -> Value:
    """``value``, which broadcasts to x, with its last axis as [2, h] (or [1, 1])."""
    if value.rank == 0:
        return value
    n = value.shape[-1]
    shape = (*value.shape[:-1], 2, n // 2) if n > 1 else (*value.shape[:-1], 1, 1)
    return walk.op("reshape", value, shape=shape, sources=sources)


def recognise_rotary(walk: Rewriter, node: Node) -> Value | None:
    """The sum that ends a rotary embedding, over halves."""
    for plain, crossed in either_way(node):
        first, second = made_by(plain, "mul"), made_by(crossed, "mul")
        if first is None or second is None or not is_single(node.output.dtype):
            continue
        for x, cosines in either_way(first):
            for turned, sines in either_way(second):
                even = x.rank > 0 and x.shape[-1] % 2 == 0 and x.shape == node.output.shape == turned.shape
                if even and _turned(walk, turned, x):
                    return _rotated(walk, node, x, cosines, sines, merge_sources(first.sources, second.sources))
    return None


def _rotated(
    walk: Rewriter, node: Node, x: Value, cosines: Value, sines: Value, sources: tuple[str, ...]
) -> Value | None:
    sources = merge_sources(sources, node.sources)
    pairs = _halves(walk, x, sources)
    last = pairs.rank - 2
    reverse = walk.op(
        "slice", pairs, starts=tuple(int(d == last) for d in range(pairs.rank)), shape=pairs.shape,
        steps=tuple(-1 if d == last else 1 for d in range(pairs.rank)), sources=sources,
    )  # fmt: skip
    signs = walk.constant(np.array([[-1], [1]], x.dtype))
    tables = _halves(walk, cosines, sources), _halves(walk, sines, sources)
    if sines.data is None:  # the sign goes where no launch of its own is needed for it
        reverse, table = walk.op("mul", reverse, signs, sources=sources), tables[1]
    else:
        table = walk.op("mul", tables[1], signs, sources=sources)
    product = walk.op("mul", reverse, table, sources=sources)
    total = walk.op("add", walk.op("mul", pairs, tables[0], sources=sources), product, sources=sources)
    return walk.op("reshape", total, shape=node.output.shape, sources=sources)
