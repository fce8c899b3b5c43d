"""Gathers, scatters, one-hot."""

from __future__ import annotations

import numpy as np

from a1400.errors import GraphError
from a1400.frontends.onnx.context import Ctx
from a1400.frontends.onnx.ops.logic import select
from a1400.frontends.onnx.ops.registry import translates
from a1400.graph.graph import Value

I64 = np.dtype(np.int64)
_I32 = np.dtype(np.int32)


def as_index(c: Ctx, v: Value) -> Value:
    """``v`` in a type that gathers and scatters take."""
    return v if v.dtype in (_I32, I64) else c.cast(v, I64)


@translates("Gather")
def gather(c: Ctx) -> Value:
    """Rows by index; one constant index is a slice."""
    x, index = c[0], c[1]
    axis = c.axis(c.integer("axis", 0), x.rank)
    if not c.varies(index) and index.size == 1 and x.data is None:
        assert index.data is not None
        at = int(index.data.reshape(()))
        if not -x.shape[axis] <= at < x.shape[axis]:
            raise GraphError(f"index {at} is out of range for an axis of {x.shape[axis]}")
        piece = c.slice(x, axis, at % x.shape[axis], 1)
        return c.reshape(piece, (*x.shape[:axis], *index.shape, *x.shape[axis + 1 :]))
    return c.op("gather", x, as_index(c, index), axis=axis)


@translates("GatherElements")
def gather_elements(c: Ctx) -> Value:
    """Elements by index along an axis."""
    return c.op("gather_elements", c[0], as_index(c, c[1]), axis=c.integer("axis", 0))


@translates("GatherND")
def gather_nd(c: Ctx) -> Value:
    """Slices by index tuples."""
    return c.op("gather_nd", c[0], as_index(c, c[1]), batch_dims=c.integer("batch_dims", 0))


@translates("ScatterElements", "Scatter")
def scatter_elements(c: Ctx) -> Value:
    """Elements replaced or combined by index along an axis."""
    return c.op(
        "scatter_elements",
        c[0],
        as_index(c, c[1]),
        c[2],
        axis=c.integer("axis", 0),
        reduction=c.text("reduction", "none"),
    )


@translates("ScatterND")
def scatter_nd(c: Ctx) -> Value:
    """Slices replaced or combined by index tuples."""
    return c.op("scatter_nd", c[0], as_index(c, c[1]), c[2], reduction=c.text("reduction", "none"))


@translates("TensorScatter")
def tensor_scatter(c: Ctx) -> Value:
    """Write ``update`` into a cache at a position per batch entry, wrapping around in circular mode."""
    cache, update, at = c[0], c[1], c.opt(2)
    axis = c.axis(c.integer("axis", -2), cache.rank)
    size, count, batch = cache.shape[axis], update.shape[axis], cache.shape[0]
    if axis == 0:
        raise GraphError("the axis cannot be the batch axis")
    start = c.expand(c.scalar(0, I64), (batch,)) if at is None else c.cast(at, I64)
    c.claim(count)
    ramp = c.table(("ramp", (1, count)), lambda: np.arange(count, dtype=np.int64).reshape(1, count))
    where = c.op("add", c.reshape(start, (batch, 1)), ramp)
    if c.text("mode", "linear") == "circular":
        where = c.op("mod", where, c.scalar(size, I64))
    shape = tuple(batch if d == 0 else count if d == axis else 1 for d in range(cache.rank))
    index = c.expand(c.reshape(where, shape), update.shape)
    return c.op("scatter_elements", cache, index, update, axis=axis, reduction="none")


@translates("OneHot")
def one_hot(c: Ctx) -> Value:
    """``values[1]`` where the index is, ``values[0]`` elsewhere."""
    index, values = c.cast(c[0], I64), c[2]
    depth = int(c.need_scalar(1, "the depth"))
    if depth < 0 or values.shape != (2,):
        raise GraphError(f"depth {depth} with values of shape {list(values.shape)}")
    axis = c.axis(c.integer("axis", -1), index.rank + 1)
    ramp_shape = tuple(depth if d == axis else 1 for d in range(index.rank + 1))
    c.claim(depth)
    ramp = c.table(("ramp", ramp_shape), lambda: np.arange(depth, dtype=np.int64).reshape(ramp_shape))
    wrapped = c.op("where", c.op("lt", index, c.scalar(0, I64)), c.op("add", index, c.scalar(depth, I64)), index)
    at = c.reshape(wrapped, (*index.shape[:axis], 1, *index.shape[axis:]))
    off, on = (c.reshape(c.slice(values, 0, i, 1), ()) for i in range(2))
    return select(c, c.op("eq", ramp, at), on, off)
