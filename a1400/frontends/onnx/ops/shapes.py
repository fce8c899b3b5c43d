"""Ops that know only shapes: they fold away while tracing."""

from __future__ import annotations

import numpy as np

from a1400.errors import GraphError
from a1400.frontends.onnx.context import Ctx
from a1400.frontends.onnx.ops.registry import AS_VIEW, FROM_SHAPES, translates
from a1400.graph.graph import Value
from a1400.ops.registry import broadcast

I64 = np.dtype(np.int64)


@translates("Shape", runs=FROM_SHAPES)
def shape(c: Ctx) -> Value:
    """The (part of the) shape as i64."""
    dims = c[0].shape
    start, end = c.integer("start", 0), c.integer("end", len(dims))
    return c.const(np.array(dims, I64)[max(min(start, len(dims)), -len(dims)) : max(min(end, len(dims)), -len(dims))])


@translates("Size", runs=FROM_SHAPES)
def size(c: Ctx) -> Value:
    """The number of elements as i64."""
    return c.const(np.array(c[0].size, I64))


@translates("Reshape", since=5, runs=AS_VIEW)
def reshape(c: Ctx) -> Value:
    """Another shape: 0 copies a size (without ``allowzero``), -1 is what is left."""
    x = c[0]
    wanted = list(c.need_ints(1, "the new shape"))
    if not c.flag("allowzero"):
        for d, n in enumerate(wanted):
            if n == 0:
                if d >= x.rank:
                    raise GraphError(f"shape {wanted} copies axis {d} of a tensor of rank {x.rank}")
                wanted[d] = x.shape[d]
    if wanted.count(-1) > 1 or any(n < -1 for n in wanted):
        raise GraphError(f"{wanted} is not a shape")
    if -1 in wanted:
        rest = 1
        for n in wanted:
            rest *= n if n != -1 else 1
        if (rest == 0 and x.size) or (rest and x.size % rest):
            raise GraphError(f"cannot reshape {list(x.shape)} to {wanted}")
        wanted[wanted.index(-1)] = x.size // rest if rest else 0
    return c.reshape(x, wanted)


@translates("Flatten", runs=AS_VIEW)
def flatten(c: Ctx) -> Value:
    """To two axes, split before ``axis``."""
    x = c[0]
    axis = c.integer("axis", 1)
    if not -x.rank <= axis <= x.rank:
        raise GraphError(f"axis {axis} is out of range for rank {x.rank}")
    axis = axis + x.rank if axis < 0 else axis
    rows = 1
    for n in x.shape[:axis]:
        rows *= n
    columns = 1
    for n in x.shape[axis:]:
        columns *= n
    return c.reshape(x, (rows, columns))


def _squeeze(c: Ctx, axes: tuple[int, ...] | None) -> Value:
    x = c[0]
    if axes is None:
        return c.reshape(x, [n for n in x.shape if n != 1])
    drop = {c.axis(a, x.rank) for a in axes}
    if any(x.shape[d] != 1 for d in drop):
        raise GraphError(f"cannot squeeze axes {sorted(drop)} of {list(x.shape)}")
    return c.reshape(x, [n for d, n in enumerate(x.shape) if d not in drop])


def _unsqueeze(c: Ctx, axes: tuple[int, ...]) -> Value:
    x = c[0]
    rank = x.rank + len(axes)
    new = {c.axis(a, rank) for a in axes}
    if len(new) != len(axes):
        raise GraphError(f"axes {list(axes)} are repeated")
    sizes = iter(x.shape)
    return c.reshape(x, [1 if d in new else next(sizes) for d in range(rank)])


@translates("Squeeze", runs=AS_VIEW)
def squeeze_attribute(c: Ctx) -> Value:
    """Drop axes of size 1 (axes as attribute)."""
    return _squeeze(c, c.ints("axes"))


@translates("Squeeze", since=13, runs=AS_VIEW)
def squeeze(c: Ctx) -> Value:
    """Drop axes of size 1 (axes as input)."""
    return _squeeze(c, None if c.opt(1) is None else c.need_ints(1, "the axes"))


@translates("Unsqueeze", runs=AS_VIEW)
def unsqueeze_attribute(c: Ctx) -> Value:
    """Insert axes of size 1 (axes as attribute)."""
    axes = c.ints("axes")
    if axes is None:
        raise GraphError("attribute 'axes' is missing")
    return _unsqueeze(c, axes)


@translates("Unsqueeze", since=13, runs=AS_VIEW)
def unsqueeze(c: Ctx) -> Value:
    """Insert axes of size 1 (axes as input)."""
    return _unsqueeze(c, c.need_ints(1, "the axes"))


@translates("Expand", runs=AS_VIEW)
def expand(c: Ctx) -> Value:
    """Broadcast with a shape, both ways."""
    x = c[0]
    wanted = c.need_ints(1, "the shape")
    return c.expand(x, broadcast(x.shape, wanted))


@translates("Tile", since=6)
def tile(c: Ctx) -> Value:
    """Repeat along each axis."""
    x, repeats = c[0], c.need_ints(1, "the repeats")
    if len(repeats) != x.rank or any(r < 0 for r in repeats):
        raise GraphError(f"repeats {list(repeats)} do not fit rank {x.rank}")
    if all(r == 1 for r in repeats):
        return x
    split = [k for r, n in zip(repeats, x.shape) for k in ((1, n) if r != 1 else (n,))]
    grown = [k for r, n in zip(repeats, x.shape) for k in ((r, n) if r != 1 else (n,))]
    return c.reshape(c.expand(c.reshape(x, split), grown), [r * n for r, n in zip(repeats, x.shape)])


@translates("ConstantOfShape", runs=FROM_SHAPES)
def constant_of_shape(c: Ctx) -> Value:
    """A constant of a shape (never stored: one element, broadcast)."""
    wanted = c.need_ints(0, "the shape")
    if any(n < 0 for n in wanted):
        raise GraphError(f"{list(wanted)} is not a shape")
    value = c.attr("value", None, np.ndarray)
    fill = c.scalar(0, np.float32) if value is None else c.scalar(value.reshape(-1)[0], value.dtype)
    return c.expand(fill, wanted)
