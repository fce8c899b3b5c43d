"""Between real numbers and quantised ones: ``q = round(x / scale) + zero``, saturated, and back."""

from __future__ import annotations

import numpy as np

from a1400 import dtypes
from a1400.errors import GraphError
from a1400.frontends.onnx.context import Ctx
from a1400.frontends.onnx.ops.casts import saturated
from a1400.frontends.onnx.ops.registry import translates
from a1400.frontends.onnx.tensors import dtype_of
from a1400.graph.graph import Value

F32, I32, U8 = np.dtype(np.float32), np.dtype(np.int32), np.dtype(np.uint8)


def spread(c: Ctx, parameter: Value, x: Value, axis: int = 1, block: int = 0) -> Value:
    """Scale or zero point shaped to broadcast with ``x``: per tensor, per axis or per ``block`` along the axis."""
    if parameter.size == 1 and parameter.rank <= 1:
        return c.reshape(parameter, ())
    axis = c.axis(axis, x.rank)
    if parameter.rank == 1 and not (block and x.rank == 1):
        if parameter.shape[0] != x.shape[axis]:
            raise GraphError(f"scale or zero point {list(parameter.shape)} does not fit axis {axis} of {list(x.shape)}")
        return c.reshape(parameter, [x.shape[axis] if d == axis else 1 for d in range(x.rank)])
    shape = parameter.shape
    others = [d for d in range(x.rank) if d != axis]
    fits = parameter.rank == x.rank and all(shape[d] == x.shape[d] for d in others)
    if not fits or block < 1 or -(-x.shape[axis] // block) != shape[axis]:
        raise GraphError(f"scale or zero point {list(shape)} does not fit {list(x.shape)} in blocks of {block}")
    grown = (*shape[: axis + 1], block, *shape[axis + 1 :])
    wide = c.expand(c.reshape(parameter, (*shape[: axis + 1], 1, *shape[axis + 1 :])), grown)
    wide = c.reshape(wide, (*shape[:axis], shape[axis] * block, *shape[axis + 1 :]))
    return c.slice(wide, axis, 0, x.shape[axis])


def quantized(c: Ctx, y: Value, zero: Value | None, dtype: np.dtype) -> Value:
    """``y`` (already divided by the scale) rounded, moved by ``zero`` and saturated to ``dtype``; zero broadcasts."""
    if dtypes.is_float(dtype):
        y = c.cast(y, F32)
        y = y if zero is None else c.op("add", y, c.cast(zero, F32))
        return c.cast(saturated(c, y, dtype), dtype)
    if not dtypes.is_int(dtype) or dtype.itemsize > 2:
        raise c.unsupported(f"quantising to {dtype} is not supported")
    y = c.op("round", c.cast(y, F32) if y.dtype.itemsize < 4 else y)
    y = y if zero is None else c.op("add", y, c.cast(zero, y.dtype))
    return c.cast(saturated(c, y, dtype), dtype)


def dequantized(c: Ctx, x: Value, scale: Value, zero: Value | None) -> Value:
    """(x - zero) * scale in f32; the difference of integers is taken in integers."""
    wide = I32 if dtypes.is_int(x.dtype) else F32
    x = c.cast(x, wide)
    x = x if zero is None else c.op("sub", x, c.cast(zero, wide))
    return c.op("mul", c.cast(x, F32), c.cast(scale, F32))


@translates("QuantizeLinear")
@translates("QuantizeLinear", domain="com.microsoft")
def quantize_linear(c: Ctx) -> Value:
    """To integers or floats of few bits, per tensor, axis or block."""
    x, scale, zero = c[0], c[1], c.opt(2)
    to, precision = c.integer("output_dtype", 0), c.integer("precision", 0)
    dtype = zero.dtype if zero is not None else dtype_of(to, "the result") if to else U8
    if to and dtype != dtype_of(to, "the result"):
        raise GraphError(f"output_dtype is {dtype_of(to, 'the result')} where the zero point is {dtype}")
    kind = dtype_of(precision, "the division") if precision else F32 if dtypes.is_low(scale.dtype) else scale.dtype
    kind = kind if dtypes.is_float(kind) else F32
    axis, block = c.integer("axis", 1), c.integer("block_size", 0)
    y = c.op("div", c.cast(x, kind), c.cast(spread(c, scale, x, axis, block), kind))
    offset = None if zero is None else spread(c, zero, x, axis, block)
    if dtypes.is_float(dtype) and not c.flag("saturate", True):
        return c.cast(c.cast(y, F32), dtype)
    return quantized(c, y, offset, dtype)


@translates("DequantizeLinear")
@translates("DequantizeLinear", domain="com.microsoft")
def dequantize_linear(c: Ctx) -> Value:
    """From integers or floats of few bits, per tensor, axis or block."""
    x, scale, zero = c[0], c[1], c.opt(2)
    to = c.integer("output_dtype", 0)
    dtype = dtype_of(to, "the result") if to else F32 if dtypes.is_low(scale.dtype) else scale.dtype
    axis, block = c.integer("axis", 1), c.integer("block_size", 0)
    offset = None if zero is None else spread(c, zero, x, axis, block)
    return c.cast(dequantized(c, x, spread(c, scale, x, axis, block), offset), dtype)


@translates("DynamicQuantizeLinear")
def dynamic_quantize_linear(c: Ctx) -> object:
    """To u8 with the scale that the data's range asks for."""
    return dynamically_quantized(c, c[0])


def dynamically_quantized(c: Ctx, x: Value) -> tuple[Value, Value, Value]:
    """``x`` (f32) as u8, its scale (f32) and its zero point (u8), both scalars: zero is always among the numbers."""
    axes, zero = range(x.rank), c.scalar(0, x)
    low = c.op("min", c.reduce("min", x, axes, keepdims=False), zero)
    high = c.op("max", c.reduce("max", x, axes, keepdims=False), zero)
    scale = c.op("div", c.op("sub", high, low), c.scalar(255, x))
    safe = c.op("where", c.op("eq", scale, zero), c.scalar(1, x), scale)
    point = quantized(c, c.op("div", c.op("sub", zero, low), safe), None, U8)
    return quantized(c, c.op("div", x, safe), point, U8), safe, point
