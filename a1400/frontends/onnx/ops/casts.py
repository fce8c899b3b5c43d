"""Conversions between element types."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import onnx

from a1400 import dtypes
from a1400.errors import GraphError
from a1400.frontends.onnx.context import Ctx
from a1400.frontends.onnx.ops.registry import translates
from a1400.frontends.onnx.ops.strings import OBJECT, numbers, written
from a1400.frontends.onnx.tensors import dtype_of
from a1400.graph.graph import Value

F32 = np.dtype(np.float32)
_POWERS = np.dtype(ml_dtypes.float8_e8m0fnu)


@translates("Cast")
def cast(c: Ctx) -> Value:
    """Conversion to the type in attribute ``to``."""
    to = c.integer("to")
    return converted(c, c[0], OBJECT if to == onnx.TensorProto.STRING else dtype_of(to, "the result"))


@translates("CastLike")
def cast_like(c: Ctx) -> Value:
    """Conversion to the second operand's type."""
    return converted(c, c[0], c[1].dtype)


def converted(c: Ctx, x: Value, to: np.dtype) -> Value:
    """``x`` as ``to``; the node's ``saturate`` and ``round_mode`` say what becomes of what 8-bit floats do not hold."""
    if x.dtype == to:
        return x
    if to == OBJECT:
        return c.const(written(c.need_value(x, "what to write as strings", 0)))
    if x.dtype == OBJECT:
        return c.const(numbers(c.need_value(x, "what the strings say", 0), to))
    if not dtypes.is_low(to) or not dtypes.is_float(to):
        return c.cast(x, to)
    x = x if x.dtype == np.float64 else c.cast(x, F32)
    saturates = c.flag("saturate", True)
    if to == _POWERS:
        return _power(c, c.cast(x, F32), saturates, c.text("round_mode", "up") or "up")
    return c.cast(c.cast(saturated(c, x, to) if saturates else x, F32), to)


def saturated(c: Ctx, x: Value, to: np.dtype) -> Value:
    """``x``, infinities too, no further from zero than the largest number of ``to``; NaN stays."""
    low, high = dtypes.limits(to)
    return c.op("min", c.op("max", x, c.scalar(low, x)), c.scalar(high, x))


def _power(c: Ctx, x: Value, saturates: bool, mode: str) -> Value:
    """To powers of two: the nearest one (halves up), or from there one step in the direction asked for."""
    if saturates:
        x = saturated(c, x, _POWERS)
    near = c.cast(x, _POWERS)
    if mode == "nearest":
        return near
    if mode not in ("up", "down"):
        raise GraphError(f"round_mode {mode!r} is none of up, down and nearest")
    back = c.cast(near, F32)
    if mode == "up":
        back = c.op("where", c.op("lt", back, x), c.op("mul", back, c.scalar(2, F32)), back)
    else:
        back = c.op("where", c.op("gt", back, x), c.op("mul", back, c.scalar(0.5, F32)), back)
    return c.cast(back, _POWERS)
