"""Nodes that make constants, and those that do nothing at inference."""

from __future__ import annotations

import math

import numpy as np

from a1400.errors import GraphError
from a1400.frontends.onnx.context import Ctx
from a1400.frontends.onnx.ops.randomness import draw
from a1400.frontends.onnx.ops.registry import AS_VIEW, FROM_SHAPES, translates
from a1400.frontends.onnx.tensors import dtype_of
from a1400.graph.graph import Value


@translates("Constant", runs=FROM_SHAPES)
def constant(c: Ctx) -> Value:
    """A tensor, number or list kept in an attribute."""
    for name, dtype in (
        ("value", None), ("sparse_value", None), ("value_float", np.float32), ("value_int", np.int64),
        ("value_floats", np.float32), ("value_ints", np.int64), ("value_string", object), ("value_strings", object),
    ):  # fmt: skip
        value = c.attr(name)
        if value is not None:
            array = np.asarray(value, dtype)
            return c.const(array)
    raise c.unsupported("this kind of constant is not supported")


@translates("Range")
def arange(c: Ctx) -> Value:
    """Numbers from start to limit."""
    names = ("the start", "the limit", "the step")
    start, limit, delta = (c.need_scalar(i, names[i]) for i in range(3))
    if delta == 0:
        raise GraphError("the step of Range is 0")
    count = max(math.ceil((limit - start) / delta), 0)
    if count > 2**31 - 1:
        raise GraphError(f"a range of {count} numbers is not possible")
    dtype = c[0].dtype
    if count and c.varies(c[0], c[1], c[2]):
        ramp = c.cast(c.ramp(count, [c[0], c[1], c[2]]), dtype)
        return c.op("add", c.op("mul", ramp, c.reshape(c[2], ())), c.reshape(c[0], ()))
    c.claim(count)
    return c.table(("range", start, delta, count, str(dtype)), lambda: (start + np.arange(count) * delta).astype(dtype))


@translates("EyeLike", runs=FROM_SHAPES)
def eye_like(c: Ctx) -> Value:
    """Ones on a diagonal, in the operand's shape."""
    if c[0].rank != 2:
        raise GraphError(f"a matrix is needed, not {list(c[0].shape)}")
    (rows, columns), k = c[0].shape, c.integer("k", 0)
    to = c.attr("dtype", None, int)
    dtype = c[0].dtype if to is None else dtype_of(to, "the result")
    c.claim(rows * columns)
    return c.table(("eye", rows, columns, k, str(dtype)), lambda: np.eye(rows, columns, k).astype(dtype))


@translates("Dropout", runs=AS_VIEW)
def dropout(c: Ctx) -> object:
    """Nothing at inference, where the mask is all ones; random while the model is trained."""
    if c.training is not None and not c.wants(1):
        if c.opset >= 12:
            ratio = 0.5 if c.opt(1) is None else float(c.need_scalar(1, "the ratio"))
        else:
            ratio = c.number("ratio", 0.5)
        return c.training.dropout(c[0], ratio) if ratio else c[0]
    training = c.opset >= 12 and c.opt(2) is not None and bool(c.need_scalar(2, "the training flag"))
    ratio = 0.5 if c.opt(1) is None or not training else float(c.need_scalar(1, "the ratio"))
    if training and ratio:
        return _dropped(c, ratio)
    if not c.wants(1):
        return c[0]
    return c[0], c.expand(c.scalar(1, np.bool_ if c.opset >= 10 else c[0].dtype), c[0].shape)


def _dropped(c: Ctx, ratio: float) -> object:
    """Elements set to 0 with probability ``ratio``, the others scaled up, and which those are."""
    if not 0 < ratio < 1:
        raise GraphError(f"a dropout ratio of {ratio} is not between 0 and 1")
    x = c[0]
    kept = c.op("ge", draw(c, "uniform", x.shape, np.dtype(np.float32), 0.0, 1.0), c.scalar(ratio, np.float32))
    scaled = c.op("where", kept, c.op("mul", x, c.scalar(1 / (1 - ratio), x)), c.scalar(0, x))
    return (scaled, kept) if c.wants(1) else scaled
