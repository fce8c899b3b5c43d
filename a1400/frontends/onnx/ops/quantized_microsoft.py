"""Quantised operators of ONNX Runtime's own domain, as its optimizer and its quantiser write them.

Elementwise ones are one launch: numbers are taken back to f32, computed with and quantised again in registers.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from a1400.errors import GraphError
from a1400.frontends.onnx.context import Ctx
from a1400.frontends.onnx.ops.integer_products import one, product
from a1400.frontends.onnx.ops.pooling import window_attrs
from a1400.frontends.onnx.ops.quantization import F32, I32, dequantized, dynamically_quantized, quantized
from a1400.frontends.onnx.ops.registry import translates
from a1400.graph.graph import Value

MICROSOFT = "com.microsoft"
U8 = np.dtype(np.uint8)


def _real(c: Ctx, x: int, scale: int, zero: int) -> Value:
    """Inputs ``x``, ``scale`` and ``zero`` (it may be absent) as f32."""
    point = c.opt(zero)
    return dequantized(c, c[x], one(c, c[scale]), None if point is None else one(c, point))


def _back(c: Ctx, y: Value, scale: int, zero: int, like: Value) -> Value:
    """``y`` quantised as inputs ``scale`` and ``zero`` (it may be absent) say."""
    point = c.opt(zero)
    divided = c.op("div", y, c.cast(one(c, c[scale]), F32))
    return quantized(c, divided, None if point is None else one(c, point), like.dtype)


def _binary(op: str) -> Callable[[Ctx], Value]:
    return lambda c: _back(c, c.op(op, _real(c, 0, 1, 2), _real(c, 3, 4, 5)), 6, 7, c[0])


for _name, _op in {"QLinearAdd": "add", "QLinearMul": "mul"}.items():
    translates(_name, domain=MICROSOFT)(_binary(_op))


@translates("QLinearSigmoid", domain=MICROSOFT)
def qlinear_sigmoid(c: Ctx) -> Value:
    """Logistic function."""
    return _back(c, c.op("sigmoid", _real(c, 0, 1, 2)), 3, 4, c[0])


@translates("QLinearLeakyRelu", domain=MICROSOFT)
def qlinear_leaky_relu(c: Ctx) -> Value:
    """The number itself, or ``alpha`` times it below zero."""
    x = _real(c, 0, 1, 2)
    below = c.op("mul", x, c.scalar(c.number("alpha", 0.01), x))
    return _back(c, c.op("where", c.op("lt", x, c.scalar(0, x)), below, x), 3, 4, c[0])


@translates("QLinearSoftmax", domain=MICROSOFT)
def qlinear_softmax(c: Ctx) -> Value:
    """Softmax along an axis; before opset 13 over all axes from there on."""
    x, axis = _real(c, 0, 1, 2), c.axis(c.integer("axis", -1), c[0].rank)
    if c.integer("opset") >= 13:
        return _back(c, c.op("softmax", x, axis=axis), 3, 4, c[0])
    rows = int(np.prod(x.shape[:axis], dtype=np.int64))
    flat = c.op("softmax", c.reshape(x, (rows, x.size // max(rows, 1))), axis=1)
    return _back(c, c.reshape(flat, x.shape), 3, 4, c[0])


@translates("QLinearGlobalAveragePool", domain=MICROSOFT)
def qlinear_global_average_pool(c: Ctx) -> Value:
    """Mean over the spatial axes."""
    rank = c[0].rank
    axes = range(1, rank - 1) if c.flag("channels_last") else range(2, rank)
    return _back(c, c.reduce("mean", _real(c, 0, 1, 2), axes), 3, 4, c[0])


@translates("QLinearAveragePool", domain=MICROSOFT)
def qlinear_average_pool(c: Ctx) -> Value:
    """Mean of each window, over images with channels first or last."""
    last, x = c.flag("channels_last"), _real(c, 0, 1, 2)
    x = c.channels_first(x) if last else x
    counted = c.flag("count_include_pad")
    attrs = window_attrs(c, x)
    y = c.op("pool", c.channels_last(x), kind="average", count_include_pad=counted, **attrs)
    y = _back(c, y, 3, 4, c[0])
    return y if last else c.channels_first(y)


@translates("QLinearReduceMean", domain=MICROSOFT)
def qlinear_reduce_mean(c: Ctx) -> Value:
    """Mean over axes."""
    x = _real(c, 0, 1, 2)
    axes = [c.axis(a, x.rank) for a in c.ints("axes") or range(x.rank)]
    return _back(c, c.reduce("mean", x, axes, keepdims=c.flag("keepdims", True)), 3, 4, c[0])


@translates("QLinearConcat", domain=MICROSOFT)
def qlinear_concat(c: Ctx) -> Value:
    """Tensors of several scales, brought to one and joined."""
    if len(c) < 5 or (len(c) - 2) % 3:
        raise GraphError("QLinearConcat takes a scale, a zero point, and three inputs for each tensor")
    axis = c.axis(c.integer("axis"), c[2].rank)
    parts = [_back(c, _real(c, i, i + 1, i + 2), 0, 1, c[2]) for i in range(2, len(c), 3)]
    return c.concat(parts, axis)


@translates("QLinearWhere", domain=MICROSOFT)
def qlinear_where(c: Ctx) -> Value:
    """One tensor or the other, at a scale of its own."""
    return _back(c, c.op("where", c[0], _real(c, 1, 2, 3), _real(c, 4, 5, 6)), 7, 8, c[1])


def _scaled(c: Ctx, sums: Value, scale: Value, bias: Value | None) -> Value:
    y = c.op("mul", c.cast(sums, F32), scale)
    return y if bias is None else c.op("add", y, bias)


@translates("MatMulIntegerToFloat", domain=MICROSOFT)
def matmul_integer_to_float(c: Ctx) -> Value:
    """Product of quantised matrices as real numbers, plus a bias."""
    scale = c.op("mul", one(c, c[2]), one(c, c[3]))
    return _scaled(c, product(c, c[0], c[1], c.opt(4), c.opt(5)), scale, c.opt(6))


@translates("DynamicQuantizeMatMul", domain=MICROSOFT)
def dynamic_quantize_matmul(c: Ctx) -> Value:
    """Real rows, quantised by their range, times a quantised matrix, as real numbers plus a bias."""
    a, scale, zero = dynamically_quantized(c, c[0])
    return _scaled(c, product(c, a, c[1], zero, c.opt(3)), c.op("mul", scale, one(c, c[2])), c.opt(4))


@translates("QGemm", domain=MICROSOFT)
def qgemm(c: Ctx) -> Value:
    """alpha x A x B + C of quantised matrices: real numbers, or quantised where the result's scale is given."""
    a = c.transpose(c[0], (1, 0)) if c.flag("transA") else c[0]
    b, zb = (c.transpose(c[3], (1, 0)) if c.flag("transB") else c[3]), one(c, c[5])
    sums, bias, alpha = product(c, a, b, one(c, c[2]), zb), c.opt(6), c.number("alpha", 1.0)
    if bias is not None:
        sums = c.op("add", sums, c.cast(bias, I32))
    scale = c.op("mul", c.op("mul", one(c, c[1]), one(c, c[4])), c.scalar(alpha, F32))
    real = _scaled(c, sums, scale, None)
    return real if c.opt(7) is None else _back(c, real, 7, 8, c[0])
