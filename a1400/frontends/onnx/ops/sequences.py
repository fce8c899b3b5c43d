"""Sequences and optionals: Python lists (and None) while tracing, gone from the graph."""

from __future__ import annotations

import numpy as np

from a1400.errors import GraphError
from a1400.frontends.onnx.context import Ctx, Item
from a1400.frontends.onnx.ops.movement import split_parts
from a1400.frontends.onnx.ops.registry import CONTROL, FROM_SHAPES, ITEMS, translates
from a1400.graph.graph import Value


def _sequence(c: Ctx, i: int = 0) -> list[Value]:
    item = c.inputs[i] if i < len(c.inputs) else None
    if not isinstance(item, list):
        raise GraphError(f"input {i} is not a sequence")
    return item


def _position(c: Ctx, i: int, count: int, extra: int = 0) -> int:
    at = int(c.need_scalar(i, "the position"))
    if not -count <= at < count + extra:
        raise GraphError(f"position {at} is outside a sequence of {count}")
    return at + count if at < 0 else at


# a sequence output is a list inside the tuple of outputs, so that it is not taken for several outputs
translates("SequenceConstruct", runs=ITEMS)(lambda c: (c.tensors(),))
translates("SequenceEmpty", runs=FROM_SHAPES)(lambda c: ([],))
translates("SequenceLength", runs=FROM_SHAPES)(lambda c: c.const(np.array(len(_sequence(c)), np.int64)))


@translates("SequenceInsert", runs=ITEMS)
def sequence_insert(c: Ctx) -> object:
    """Insert before a position, or at the end."""
    items = list(_sequence(c))
    items.insert(len(items) if c.opt(2) is None else _position(c, 2, len(items), 1), c[1])
    return (items,)


@translates("SequenceErase", runs=ITEMS)
def sequence_erase(c: Ctx) -> object:
    """Remove the item at a position, or the last."""
    items = list(_sequence(c))
    del items[len(items) - 1 if c.opt(1) is None else _position(c, 1, len(items))]
    return (items,)


@translates("SequenceAt", runs=ITEMS)
def sequence_at(c: Ctx) -> Value:
    """The item at a position."""
    return _sequence(c)[_position(c, 1, len(_sequence(c)))]


@translates("SplitToSequence", runs=ITEMS)
def split_to_sequence(c: Ctx) -> object:
    """Cut along an axis into pieces of given sizes."""
    x = c[0]
    axis = c.axis(c.integer("axis", 0), x.rank)
    total = x.shape[axis]
    if c.opt(1) is None:
        parts = split_parts(c, x, axis, (1,) * total)
        if not c.flag("keepdims", True):
            parts = tuple(c.reshape(p, p.shape[:axis] + p.shape[axis + 1 :]) for p in parts)
        return (list(parts),)
    sizes = c.need_ints(1, "the split sizes")
    if c[1].rank == 0:
        if sizes[0] < 1:
            raise GraphError(f"pieces of {sizes[0]} elements")
        sizes = tuple(min(sizes[0], total - at) for at in range(0, total, sizes[0]))
    return (list(split_parts(c, x, axis, sizes)),)


@translates("ConcatFromSequence", runs=ITEMS)
def concat_from_sequence(c: Ctx) -> Value:
    """Join or stack the items."""
    items = _sequence(c)
    if not items:
        raise GraphError("the sequence is empty")
    if c.flag("new_axis"):
        axis = c.axis(c.integer("axis"), items[0].rank + 1)
        items = [c.reshape(v, (*v.shape[:axis], 1, *v.shape[axis:])) for v in items]
    return c.concat(items, c.axis(c.integer("axis"), items[0].rank))


@translates("Optional", runs=ITEMS)
def optional(c: Ctx) -> object:
    """An optional that holds the operand, or nothing."""
    return (c.inputs[0] if len(c.inputs) else None,)


@translates("OptionalGetElement", runs=ITEMS)
def optional_get_element(c: Ctx) -> object:
    """What the optional holds."""
    if c.inputs[0] is None:
        raise GraphError("the optional is empty")
    return (c.inputs[0],)


@translates("OptionalHasElement", runs=FROM_SHAPES)
def optional_has_element(c: Ctx) -> Value:
    """Whether the optional holds anything."""
    return c.const(np.array(len(c.inputs) > 0 and c.inputs[0] is not None, np.bool_))


@translates("SequenceMap", runs=CONTROL)
def sequence_map(c: Ctx) -> object:
    """A subgraph run on the items of a sequence, one by one; further sequences go along with it."""
    body, scope, first = c.subgraph("body"), c.tracer.scope, _sequence(c)
    for other in c.inputs[1:]:
        if isinstance(other, list) and len(other) != len(first):
            raise GraphError(f"sequences of {len(first)} and {len(other)} items cannot be mapped together")
    results: list[list[Item]] = [[] for _ in body.outputs]
    for i in range(len(first)):
        given = [item[i] if isinstance(item, list) else item for item in c.inputs]
        for column, item in zip(results, c.tracer.subgraph(body, scope, c.inner, given)):
            column.append(item)
    return tuple(results)
