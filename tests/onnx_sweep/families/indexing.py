"""Gathers and scatters."""

from __future__ import annotations

import numpy as np

from tests.onnx_sweep.case import EXACT, Draw, Node, Tolerance, sweep

ADDED = Tolerance("the same elements added or multiplied in another order", rel=16.0, abs=16.0, half=4.0, half_abs=1.0)


def _indices(draw: Draw, shape: tuple[int, ...], size: int, negative: bool = True) -> np.ndarray:
    low = -size if negative and draw.chance(0.6) else 0
    kind = draw.choose([np.int32, np.int64])
    return draw.rng.integers(low, max(size, 1), shape).astype(kind)


@sweep("Gather", tolerance=EXACT)
def gather(draw: Draw) -> Node:
    shape = draw.shape((1, 4), 4000, empty=0.0)
    axis = draw.axis(len(shape))
    taken = _indices(draw, draw.shape((0, 3), 17, empty=0.05), shape[axis], draw.opset >= 11)
    return Node([draw.values(shape, special=True), taken], {"axis": axis} if draw.chance(0.9) or axis else {},
                constants=draw.choose([frozenset(), frozenset({0}), frozenset({1})]))  # fmt: skip


def _beside(draw: Draw, shape: tuple[int, ...], axis: int, unique: bool) -> np.ndarray:
    """Indices along ``axis`` for part of every other axis; ``unique``: none twice in a line."""
    axis %= len(shape)
    part = [draw.integer(1, s) if draw.chance(0.5) else s for s in shape]
    part[axis] = min(draw.size(33), shape[axis]) if unique else draw.size(33)
    if not unique:
        return _indices(draw, tuple(part), shape[axis])
    lines = int(np.prod(part)) // part[axis]
    order = np.argsort(draw.rng.random((lines, shape[axis])), axis=1)[:, : part[axis]]
    others = [s for i, s in enumerate(part) if i != axis]
    found = np.moveaxis(order.reshape(*others, part[axis]), -1, axis).astype(np.int64)
    return found - shape[axis] * (draw.rng.random(found.shape) < 0.3)


@sweep("GatherElements", tolerance=EXACT)
def gather_elements(draw: Draw) -> Node:
    shape = draw.shape((1, 4), 6000, empty=0.0)
    axis = draw.axis(len(shape))
    return Node([draw.values(shape, special=True), _beside(draw, shape, axis, False)], {"axis": axis},
                constants=draw.fixed(1, probability=0.3))  # fmt: skip


def _tuples(draw: Draw, shape: tuple[int, ...], lead: tuple[int, ...], depth: int, unique: bool) -> np.ndarray:
    sizes = shape[:depth]
    count, total = int(np.prod(lead)), int(np.prod(sizes))
    flat = draw.rng.permutation(total)[:count] if unique else draw.rng.integers(0, total, count)
    found = np.stack(np.unravel_index(flat, sizes), axis=-1).reshape(*lead, depth).astype(np.int64)
    negative = draw.rng.random(found.shape) < (0.3 if draw.opset >= 11 else 0)
    return found - np.array(sizes, np.int64) * negative


@sweep("GatherND", tolerance=EXACT)
def gather_nd(draw: Draw) -> Node:
    shape = draw.shape((1, 4), 4000, empty=0.0)
    batch = draw.integer(0, len(shape) - 1) if draw.opset >= 12 and draw.chance(0.4) else 0
    depth = draw.integer(1, len(shape) - batch)
    lead = draw.shape((0, 2), 65, empty=0.0)
    found = _tuples(draw, shape[batch:], (*shape[:batch], *lead), depth, False)
    return Node([draw.values(shape, special=True), found], {"batch_dims": batch} if batch else {},
                constants=draw.fixed(1, probability=0.3))  # fmt: skip


def _reduction(draw: Draw) -> str | None:
    options = [
        None,
        "none",
        *(["add", "mul"] if draw.opset >= 16 else []),
        *(["max", "min"] if draw.opset >= 18 else []),
    ]
    if draw.dtype == np.bool_:
        options = [None, "none"]
    return draw.choose(options)


@sweep("ScatterElements", tolerance=ADDED)
def scatter_elements(draw: Draw) -> Node:
    shape = draw.shape((1, 4), 6000, empty=0.0)
    axis = draw.axis(len(shape))
    how = _reduction(draw)
    found = _beside(draw, shape, axis, how in (None, "none"))
    low, high = (-2, 2) if how == "mul" else (-9, 9)
    arrays = [draw.values(shape, low, high), found, draw.values(found.shape, low, high)]
    scale = float(2.0 ** min(found.shape[axis], 8))
    return Node(arrays, {"axis": axis, "reduction": how}, constants=draw.fixed(1, probability=0.3), scale=scale)


@sweep("ScatterND", tolerance=ADDED)
def scatter_nd(draw: Draw) -> Node:
    shape = draw.shape((1, 4), 4000, empty=0.0)
    depth = draw.integer(1, len(shape))
    how = _reduction(draw)
    unique = how in (None, "none")
    lead = draw.shape((1, 2), 65, empty=0.0)
    while unique and np.prod(lead) > np.prod(shape[:depth]):
        lead = tuple(max(n // 2, 1) for n in lead)
        if set(lead) == {1}:
            break
    found = _tuples(draw, shape, lead, depth, unique)
    low, high = (-2, 2) if how == "mul" else (-9, 9)
    more = draw.values((*lead, *shape[depth:]), low, high)
    if how == "mul" and draw.dtype.kind not in "iu":
        more = draw.values(more.shape, 0.5, 1.5)
    arrays, scale = [draw.values(shape, low, high), found, more], 9 * float(np.prod(lead))
    return Node(arrays, {"reduction": how}, constants=draw.fixed(1, probability=0.3), scale=scale)


@sweep("TensorScatter", tolerance=EXACT)
def tensor_scatter(draw: Draw) -> Node:
    shape = list(draw.shape((2, 4), 4000, empty=0.0))
    axis = draw.integer(1, len(shape) - 1)
    long = shape[axis]
    short = draw.integer(1, long)
    mode = draw.choose([None, "linear", "circular"])
    past = draw.values(shape, special=True)
    shape[axis] = short
    arrays = [past, draw.values(shape, special=True)]
    if draw.chance(0.7):
        at = draw.rng.integers(0, long if mode == "circular" else long - short + 1, shape[0])
        arrays.append(at.astype(np.int64))
    return Node(arrays, {"mode": mode, "axis": axis - len(shape) if draw.chance(0.5) else axis})
