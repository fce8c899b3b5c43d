"""Quantised ops, by composition: the numbers are right; integer kernels are not used."""

from __future__ import annotations

import numpy as np

from a1400.errors import GraphError
from a1400.frontends.onnx.context import Ctx
from a1400.frontends.onnx.ops.convolution import convolve
from a1400.frontends.onnx.ops.registry import translates
from a1400.frontends.onnx.tensors import dtype_of
from a1400.graph.graph import Value

F32, I32, U8 = np.dtype(np.float32), np.dtype(np.int32), np.dtype(np.uint8)
_LIMITS = {"int4": (-8, 7), "uint4": (0, 15)}


def _spread(c: Ctx, parameter: Value, x: Value) -> Value:
    """Scale or zero point shaped to broadcast with ``x``: per tensor, per axis or per block."""
    block = c.integer("block_size", 0)
    if parameter.size == 1 and parameter.rank <= 1:
        return c.reshape(parameter, ())
    axis = c.axis(c.integer("axis", 1), x.rank)
    if parameter.rank == 1:
        if parameter.shape[0] != x.shape[axis]:
            raise GraphError(f"scale or zero point {list(parameter.shape)} does not fit axis {axis} of {list(x.shape)}")
        return c.reshape(parameter, [x.shape[axis] if d == axis else 1 for d in range(x.rank)])
    if parameter.rank != x.rank or not block:
        raise GraphError(f"scale or zero point {list(parameter.shape)} does not fit {list(x.shape)}")
    shape = parameter.shape
    grown = (*shape[: axis + 1], block, *shape[axis + 1 :])
    wide = c.expand(c.reshape(parameter, (*shape[: axis + 1], 1, *shape[axis + 1 :])), grown)
    wide = c.reshape(wide, (*shape[:axis], shape[axis] * block, *shape[axis + 1 :]))
    return c.slice(wide, axis, 0, x.shape[axis])


def _limits(dtype: np.dtype) -> tuple[int, int]:
    if str(dtype) in _LIMITS:
        return _LIMITS[str(dtype)]
    if dtype.kind not in "iu":
        raise GraphError(f"{dtype} is not a quantised type")
    return int(np.iinfo(dtype).min), int(np.iinfo(dtype).max)


def quantized(c: Ctx, x: Value, scale: Value, zero: Value | None, dtype: np.dtype) -> Value:
    """round(x / scale) + zero, saturated; scale and zero broadcast."""
    low, high = _limits(dtype)
    y = c.op("round", c.op("div", x, c.cast(scale, x.dtype)))
    if zero is not None:
        y = c.op("add", y, c.cast(zero, y.dtype))
    return c.cast(c.op("min", c.op("max", y, c.scalar(low, y)), c.scalar(high, y)), dtype)


def dequantized(c: Ctx, x: Value, scale: Value, zero: Value | None) -> Value:
    """(x - zero) * scale; the difference is taken in integers."""
    if x.dtype.kind in "iu" or str(x.dtype) in _LIMITS:
        x = c.cast(x, I32)
        x = x if zero is None else c.op("sub", x, c.cast(zero, I32))
        return c.op("mul", c.cast(x, scale.dtype), scale)
    x = c.cast(x, scale.dtype)
    return c.op("mul", x if zero is None else c.op("sub", x, c.cast(zero, scale.dtype)), scale)


@translates("QuantizeLinear")
def quantize_linear(c: Ctx) -> Value:
    """To integers, per tensor, axis or block."""
    x, zero = c[0], c.opt(2)
    to = c.integer("output_dtype", 0)
    dtype = zero.dtype if zero is not None else dtype_of(to, "the result") if to else U8
    if dtype.kind not in "iu" and str(dtype) not in _LIMITS:
        raise c.unsupported(f"quantising to {dtype} is not supported")
    x = x if x.dtype.kind == "f" or x.dtype.kind == "V" else c.cast(x, c[1].dtype)
    return quantized(c, x, _spread(c, c[1], x), None if zero is None else _spread(c, zero, x), dtype)


@translates("DequantizeLinear")
def dequantize_linear(c: Ctx) -> Value:
    """From integers, per tensor, axis or block."""
    x, zero = c[0], c.opt(2)
    to = c.integer("output_dtype", 0)
    y = dequantized(c, x, _spread(c, c[1], x), None if zero is None else _spread(c, zero, x))
    return c.cast(y, dtype_of(to, "the result")) if to else y


@translates("DynamicQuantizeLinear")
def dynamic_quantize_linear(c: Ctx) -> object:
    """To u8 with the scale that the data's range asks for."""
    x = c[0]
    axes, zero = range(x.rank), c.scalar(0, x)
    low = c.op("min", c.reduce("min", x, axes, keepdims=False), zero)
    high = c.op("max", c.reduce("max", x, axes, keepdims=False), zero)
    scale = c.op("div", c.op("sub", high, low), c.scalar(255, x))
    safe = c.op("where", c.op("eq", scale, zero), c.scalar(1, x), scale)
    point = quantized(c, c.op("sub", zero, low), safe, None, U8)
    return quantized(c, x, safe, point, U8), scale, point


def _centred(c: Ctx, x: Value, zero: Value | None, column: bool) -> Value:
    """``x - zero`` as i32; a vector of zero points counts rows, or columns."""
    x = c.cast(x, I32)
    if zero is None:
        return x
    if zero.rank == 1 and zero.size > 1 and not column:
        zero = c.reshape(zero, (zero.size, 1))
    return c.op("sub", x, c.cast(zero if zero.size > 1 else c.reshape(zero, ()), I32))


@translates("MatMulInteger")
def matmul_integer(c: Ctx) -> Value:
    """Product of integers less their zero points, in i32."""
    return c.op("matmul", _centred(c, c[0], c.opt(2), False), _centred(c, c[1], c.opt(3), True))


@translates("QLinearMatMul")
def qlinear_matmul(c: Ctx) -> Value:
    """Product of quantised matrices, quantised again."""
    product = c.op("matmul", _centred(c, c[0], c[2], False), _centred(c, c[3], c[5], True))
    dtype = c[1].dtype
    scale = c.op("div", c.op("mul", _row(c, c[1]), c.cast(c[4], dtype)), c.cast(c[6], dtype))
    wide = c.op("mul", c.cast(product, F32), c.cast(scale, F32))
    return quantized(c, wide, c.scalar(1, F32), c.reshape(c[7], ()) if c[7].size == 1 else c[7], c[7].dtype)


def _row(c: Ctx, scale: Value) -> Value:
    return c.reshape(scale, (scale.size, 1)) if scale.rank == 1 and scale.size > 1 else scale


def _weights(c: Ctx, w: Value, zero: Value | None) -> Value:
    wide = c.cast(w, F32)
    if zero is None:
        return wide
    shape = (zero.size, *[1] * (w.rank - 1)) if zero.size > 1 else ()
    return c.op("sub", wide, c.cast(c.reshape(zero, shape), F32))


@translates("ConvInteger")
def conv_integer(c: Ctx) -> Value:
    """Convolution of integers less their zero points; exact in f32 up to 2^24."""
    x, zero = c.cast(c[0], F32), c.opt(2)
    x = x if zero is None else c.op("sub", x, c.cast(c.reshape(zero, ()), F32))
    return c.cast(convolve(c, x, _weights(c, c[1], c.opt(3)), None), I32)


@translates("QLinearConv")
def qlinear_conv(c: Ctx) -> Value:
    """Convolution of quantised tensors, quantised again."""
    x = c.op("sub", c.cast(c[0], F32), c.cast(c.reshape(c[2], ()), F32))
    bias = c.opt(8)
    y = convolve(c, x, _weights(c, c[3], c[5]), None if bias is None else c.cast(bias, F32))
    scale = c.op("div", c.op("mul", c.reshape(c[1], ()), c[4]), c.reshape(c[6], ()))
    scale = c.reshape(scale, (scale.size, *[1] * (y.rank - 2)) if scale.size > 1 else ())
    return quantized(c, c.op("mul", y, scale), c.scalar(1, F32), c.reshape(c[7], ()), c[7].dtype)
