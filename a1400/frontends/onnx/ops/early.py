"""Forms that operators had before opset 7: operands aligned by an axis, shapes as attributes."""

from __future__ import annotations

from typing import Any

import numpy as np

from a1400.errors import GraphError
from a1400.frontends.onnx.context import Ctx
from a1400.frontends.onnx.ops.registry import AS_VIEW, Translator, find, translates
from a1400.graph.graph import Value


def _later(c: Ctx, op: str, version: int, *inputs: Any) -> Any:
    """What the operator of opset ``version`` makes of ``inputs``."""
    translator = find("", op, version)
    assert translator is not None
    c.inputs = list(inputs)
    return translator(c)


def _aligned(c: Ctx, a: Value, b: Value, axis: int) -> Value:
    """``b`` with its first axis put at axis ``axis`` of ``a``."""
    behind = a.rank - axis - b.rank
    if not 0 <= axis < max(a.rank, 1) or behind < 0:
        raise GraphError(f"a second operand {list(b.shape)} cannot start at axis {axis} of {list(a.shape)}")
    return c.reshape(b, (*b.shape, *[1] * behind))


def _binary(op: str) -> Translator:
    def translate(c: Ctx) -> Any:
        a, b = c[0], c[1]
        axis = c.attr("axis", None, int)
        if c.flag("broadcast") and axis is not None and b.rank:
            b = _aligned(c, a, b, axis + a.rank if axis < 0 else axis)
        return _later(c, op, 7, a, b)

    return translate


for _op in ("Add", "Sub", "Mul", "Div", "Pow", "And", "Or", "Xor", "Greater", "Less", "Equal"):
    translates(_op)(_binary(_op))


@translates("PRelu")
def prelu(c: Ctx) -> Any:
    """One slope, or one for each channel."""
    x, slope = c[0], c[1]
    if slope.size > 1 and slope.rank == 1 and x.rank > 1:
        slope = _aligned(c, x, slope, 1)
    return _later(c, "PRelu", 7, x, slope)


@translates("Reshape", runs=AS_VIEW)
def reshape(c: Ctx) -> Any:
    """The shape as attribute."""
    shape = c.ints("shape")
    if shape is None:
        raise GraphError("attribute 'shape' is missing")
    return _later(c, "Reshape", 5, c[0], c.const(np.array(shape, np.int64)))


@translates("Tile")
def tile(c: Ctx) -> Any:
    """How often, along one axis."""
    x = c[0]
    repeats = np.ones(x.rank, np.int64)
    repeats[c.axis(int(c.need_scalar(2, "the axis")), x.rank)] = int(c.need_scalar(1, "the number of tiles"))
    return _later(c, "Tile", 6, x, c.const(repeats))
