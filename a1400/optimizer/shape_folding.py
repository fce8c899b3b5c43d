"""``shape_folding``: movement operations that do nothing, or that two of which do as one."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from a1400.graph.graph import Node, Value
from a1400.ops import OPS
from a1400.optimizer.reshape_sinking import sink_below_matmul, sink_below_pointwise
from a1400.optimizer.rewriter import Context, Rewriter, Rule, merge_sources

_IDENTITY_OVER_ONE = ("sum", "mean", "max", "min", "prod")


def compose(first: Sequence[int], second: Sequence[int]) -> tuple[int, ...]:
    """The permutation that does ``first`` and then ``second``."""
    return tuple(first[i] for i in second)


def inverse(perm: Sequence[int]) -> tuple[int, ...]:
    """The permutation that undoes ``perm``."""
    result = [0] * len(perm)
    for i, p in enumerate(perm):
        result[p] = i
    return tuple(result)


def is_identity(perm: Sequence[int]) -> bool:
    """True when ``perm`` moves nothing."""
    return all(i == p for i, p in enumerate(perm))


def moves_only_ones(shape: Sequence[int], perm: Sequence[int]) -> bool:
    """True when transposing ``shape`` by ``perm`` keeps the order of elements in memory."""
    order = [p for p in perm if shape[p] != 1]
    return order == sorted(order)


def _input(node: Node) -> Value:
    value = node.inputs[0]
    assert value is not None
    return value


def _from(value: Value, op: str) -> Node | None:
    node = value.producer
    return node if node is not None and node.op == op else None


def _reshape(walk: Rewriter, node: Node) -> Value | None:
    x, shape = _input(node), node.outputs[0].shape
    if x.shape == shape:
        return x
    before = _from(x, "reshape")
    if before is not None:
        return walk.op("reshape", _input(before), shape=shape, sources=merge_sources(before.sources, node.sources))
    return None


def _transpose(walk: Rewriter, node: Node) -> Value | None:
    x, perm = _input(node), node.attrs["perm"]
    if is_identity(perm):
        return x
    before = _from(x, "transpose")
    if before is not None:
        sources = merge_sources(before.sources, node.sources)
        return walk.op("transpose", _input(before), perm=compose(before.attrs["perm"], perm), sources=sources)
    return None


def _expand(walk: Rewriter, node: Node) -> Value | None:
    x, shape = _input(node), node.outputs[0].shape
    if x.shape == shape:
        return x
    if x.size == node.outputs[0].size:
        return walk.op("reshape", x, shape=shape, sources=node.sources)
    before = _from(x, "expand")
    if before is not None:
        return walk.op("expand", _input(before), shape=shape, sources=merge_sources(before.sources, node.sources))
    return None


def _slice(walk: Rewriter, node: Node) -> Value | None:
    x, out, attrs = _input(node), node.outputs[0], node.attrs
    if x.shape == out.shape and all(s >= 0 for d, s in zip(out.shape, attrs["steps"]) if d > 1):
        return x
    before = _from(x, "slice")
    if before is not None:
        a = before.attrs
        starts = [s0 + s1 * t0 for s0, s1, t0 in zip(a["starts"], attrs["starts"], a["steps"])]
        steps = [t0 * t1 for t0, t1 in zip(a["steps"], attrs["steps"])]
        sources = merge_sources(before.sources, node.sources)
        return walk.op("slice", _input(before), starts=starts, shape=out.shape, steps=steps, sources=sources)
    joined = _from(x, "concat")
    return _slice_of_concat(walk, node, joined) if joined is not None else None


def _slice_of_concat(walk: Rewriter, node: Node, joined: Node) -> Value | None:
    """A slice that lies within one part of a concatenation is a slice of that part."""
    axis, out, attrs = joined.attrs["axis"], node.outputs[0], node.attrs
    start, step = attrs["starts"][axis], attrs["steps"][axis]
    if out.size == 0:
        return None
    low, high = sorted((start, start + (out.shape[axis] - 1) * step))
    offset = 0
    for part in joined.inputs:
        assert part is not None
        if offset <= low and high < offset + part.shape[axis]:
            starts = list(attrs["starts"])
            starts[axis] = start - offset
            return walk.op("slice", part, starts=starts, shape=out.shape, steps=attrs["steps"], sources=node.sources)
        offset += part.shape[axis]
    return None


def _pad(walk: Rewriter, node: Node) -> Value | None:
    return _input(node) if not any(node.attrs["low"]) and not any(node.attrs["high"]) else None


def _concat(walk: Rewriter, node: Node) -> Value | None:
    axis = node.attrs["axis"]
    parts = [v for v in node.inputs if v is not None and v.shape[axis] > 0]
    if len(parts) == 1:
        return parts[0]
    parts = _reunited(walk, parts, axis)
    if parts and len(parts) < len(node.inputs):
        return walk.op("concat", *parts, axis=axis, sources=node.sources) if len(parts) > 1 else parts[0]
    return None


def _reunited(walk: Rewriter, parts: list[Value], axis: int) -> list[Value]:
    """Parts of a concatenation, of which neighbouring slices of one value that continue each other became one: networks
    split channels, and join the halves with what they made of one of them."""
    found: list[Value] = []
    for part in parts:
        before, after = _from(found[-1], "slice") if found else None, _from(part, "slice")
        if before is None or after is None or not _continues(before, after, axis):
            found.append(part)
            continue
        x, shape = _input(before), list(part.shape)
        shape[axis] += found[-1].shape[axis]
        attrs = {**before.attrs, "shape": tuple(shape)}
        sources = merge_sources(before.sources, after.sources)
        found[-1] = x if x.shape == tuple(shape) else walk.op("slice", x, **attrs, sources=sources)
    return found


def _continues(before: Node, after: Node, axis: int) -> bool:
    """Whether a slice begins along ``axis`` where another of the same value ends, and both go on by ones."""
    a, b, ends = before.attrs, after.attrs, list(before.attrs["starts"])
    ends[axis] += before.outputs[0].shape[axis]
    of_one = _input(before) is _input(after)
    ones = all(step == 1 for step in (*a["steps"], *b["steps"]))
    same = all(n == m for d, (n, m) in enumerate(zip(before.outputs[0].shape, after.outputs[0].shape)) if d != axis)
    return of_one and ones and same and ends == list(b["starts"])


def _cast(walk: Rewriter, node: Node) -> Value | None:
    x = _input(node)
    return x if x.dtype == node.outputs[0].dtype else None


def _reduce(walk: Rewriter, node: Node) -> Value | None:
    x = _input(node)
    if node.attrs["kind"] in _IDENTITY_OVER_ONE and all(x.shape[a] == 1 for a in node.attrs["axes"]):
        return walk.op("reshape", x, shape=node.outputs[0].shape, sources=node.sources)
    return None


def _gather(walk: Rewriter, node: Node) -> Value | None:
    """A gather by one constant index, or by evenly spaced ones, is a slice: no data need move."""
    x, index, axis = _input(node), node.inputs[1], node.attrs["axis"]
    if index is None or index.data is None or not 0 < index.size <= x.shape[axis] or x.data is not None:
        return None
    places = index.data.reshape(-1).astype(np.int64)
    places = np.where(places < 0, places + x.shape[axis], places)
    step = int(places[1] - places[0]) if places.size > 1 else 1
    if step == 0 or (places.size > 1 and np.any(np.diff(places) != step)):
        return None
    starts, steps, shape = [0] * x.rank, [1] * x.rank, list(x.shape)
    starts[axis], steps[axis], shape[axis] = int(places[0]), step, places.size
    part = walk.op("slice", x, starts=starts, shape=shape, steps=steps, sources=node.sources)
    return walk.op("reshape", part, shape=node.outputs[0].shape, sources=node.sources)


def _gather_nd(walk: Rewriter, node: Node) -> Value | None:
    """Constant indices into leading axes pick along one flattened axis."""
    x, index = _input(node), node.inputs[1]
    if index is None or index.data is None or x.data is not None or node.attrs["batch_dims"] or not index.shape[-1]:
        return None
    depth = index.shape[-1]
    lead = x.shape[:depth]
    if index.size == 0 or 0 in lead:
        return None
    places = np.clip(np.where(index.data < 0, index.data + np.asarray(lead), index.data), 0, np.asarray(lead) - 1)
    flat = np.ravel_multi_index(tuple(np.moveaxis(places, -1, 0)), lead).astype(np.int64)
    rows = walk.op("reshape", x, shape=(int(np.prod(lead)), *x.shape[depth:]), sources=node.sources)
    return walk.op("gather", rows, walk.constant(flat), axis=0, sources=node.sources)


def _drop_expands(walk: Rewriter, node: Node) -> Value | None:
    """Pointwise operations broadcast by themselves: read what is behind an ``expand``, expand the result if need be."""
    inputs = list(node.inputs)
    for i, v in enumerate(inputs):
        before = _from(v, "expand") if v is not None else None
        if before is not None:
            inputs[i] = _input(before)
    if all(a is b for a, b in zip(inputs, node.inputs)):
        return None
    out = node.outputs[0]
    shape = np.broadcast_shapes(*(v.shape for v in inputs if v is not None))
    if shape != out.shape:
        small = walk.op(node.op, *inputs, sources=node.sources, **node.attrs)
        return walk.op("expand", small, shape=out.shape, sources=node.sources)
    node.inputs = inputs  # the same node, reading less
    walk.ctx.count()
    return None


def _drop_mask_expand(walk: Rewriter, node: Node) -> Value | None:
    """Attention and its gradient broadcast their mask themselves."""
    at = {"attention": 3, "attention_gradient": 5}[node.op]
    mask = node.inputs[at] if len(node.inputs) > at else None
    before = None if mask is None else _from(mask, "expand")
    if before is not None:
        node.inputs[at] = _input(before)  # the same node, reading less
        walk.ctx.count()
    return None


RULES: dict[str, tuple[Rule, ...]] = {
    "reshape": (_reshape,),
    "transpose": (_transpose,),
    "expand": (_expand,),
    "slice": (_slice,),
    "pad": (_pad,),
    "concat": (_concat,),
    "reduce": (_reduce,),
    "gather": (_gather,),
    "gather_nd": (_gather_nd,),
    "matmul": (sink_below_matmul,),
    "attention": (_drop_mask_expand,),
    "attention_gradient": (_drop_mask_expand,),
    **{name: (_drop_expands, sink_below_pointwise) for name, op in OPS.items() if op.pointwise},
}
RULES["cast"] = (_cast, *RULES["cast"])


def shape_folding(ctx: Context) -> None:
    """Remove reshapes, transposes, expands, slices, pads and casts that do nothing; merge pairs."""
    Rewriter(ctx, RULES).run()
