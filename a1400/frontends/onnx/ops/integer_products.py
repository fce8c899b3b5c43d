"""Products and convolutions of quantised tensors: 8-bit integers multiplied as such and summed in int32.

The kernels know nothing of zero points.  With ``za`` and ``zb`` those of the operands,

    sum (a - za)(b - zb) = sum a b - za sum b - zb sum a + n za zb

of which ``sum b`` is a constant where b is a weight, and the terms with ``zb`` go where it is 0 (or can be made so, by
moving the weights).  What is left is arithmetic on the product's results, which fusion puts into the kernel's epilogue,
as it does with the scaling to the next quantised tensor.
"""

from __future__ import annotations

import numpy as np

from a1400 import dtypes
from a1400.errors import GraphError
from a1400.frontends.onnx.context import Ctx
from a1400.frontends.onnx.ops.convolution import convolution_windows
from a1400.frontends.onnx.ops.quantization import F32, I32, dequantized, quantized
from a1400.frontends.onnx.ops.registry import translates
from a1400.graph.graph import Value

I8 = np.dtype(np.int8)


def _nothing(zero: Value | None) -> bool:
    """Whether a zero point is known to be 0 throughout."""
    return zero is None or (zero.data is not None and not np.any(zero.data))


def _moved(c: Ctx, w: Value, zero: Value | None) -> tuple[Value, Value | None]:
    """Constant weights less their zero point (shaped to broadcast), where that fits into i8; else both as they are."""
    if zero is None or _nothing(zero):
        return w, None
    if w.data is None or zero.data is None or w.size == 0:
        return w, zero
    difference = c.op("sub", c.cast(w, I32), c.cast(zero, I32))
    if difference.data is None or difference.data.min() < -128 or difference.data.max() > 127:
        return w, zero
    return c.cast(difference, I8), None


def product(c: Ctx, a: Value, b: Value, za: Value | None, zb: Value | None) -> Value:
    """The i32 product of a [..., M, K] and b [..., K, N], 8-bit, less their zero points.

    A vector of zero points counts rows of a and columns of b; with more axes it broadcasts as it is.
    """
    vectors = (a.rank == 1, b.rank == 1)
    a = c.reshape(a, (1, a.size)) if vectors[0] else a
    b = c.reshape(b, (b.size, 1)) if vectors[1] else b
    za = None if za is None else _rows(c, za)
    zb = None if zb is None else one(c, zb)
    b, zb = _moved(c, b, zb)
    y = c.op("matmul", a, b)
    count = c.scalar(a.shape[-1], I32)
    if za is not None and not _nothing(za):
        za = c.cast(za, I32)
        sums = c.reduce("sum", c.cast(b, I32), (b.rank - 2,))
        if zb is not None:
            sums = c.op("sub", sums, c.op("mul", c.cast(zb, I32), count))
        y = c.op("sub", y, c.op("mul", za, sums))
    if zb is not None:
        y = c.op("sub", y, c.op("mul", c.cast(zb, I32), c.reduce("sum", c.cast(a, I32), (a.rank - 1,))))
    shape = list(y.shape)
    if vectors[1]:
        del shape[-1]
    if vectors[0]:
        del shape[-1 if vectors[1] else -2]
    return c.reshape(y, shape)


def convolution(c: Ctx, x: Value, w: Value, zx: Value | None, zw: Value | None, bias: Value | None = None) -> Value:
    """The i32 convolution of x[N, C, *S] with w[OC, C/groups, *K], 8-bit, less their zero points, plus a bias i32[OC].

    Where x has a zero point, the image is padded with it, so that every window is a whole one.
    """
    windows, groups = convolution_windows(c, x, w), c.integer("group", 1)
    outputs, spatial = w.shape[0], x.rank - 2
    zw = None if zw is None else c.reshape(zw, (zw.size, *[1] * (w.rank - 1)) if zw.size > 1 else ())
    w, zw = _moved(c, w, zw)
    image, low, high = c.channels_last(x), windows.low, windows.high
    zx = None if _nothing(zx) or zx is None else c.reshape(zx, ())
    if zx is not None and any((*low, *high)):
        image = c.op("pad", image, c.cast(zx, x.dtype), low=(0, *low, 0), high=(0, *high, 0), mode="constant")
        low = high = (0,) * spatial
    attrs = {"strides": windows.strides, "dilations": windows.dilations, "low": low, "high": high, "groups": groups}
    if w.size == 0:
        y = c.table(("no channels", x.shape, w.shape), lambda: np.zeros((x.shape[0], *windows.out, outputs), np.int32))
    else:
        y = c.op("conv", image, w, **attrs)
    taps = c.scalar(w.size // max(outputs, 1), I32)
    if zx is not None:
        zx = c.cast(zx, I32)
        sums = c.reduce("sum", c.cast(w, I32), tuple(range(1, w.rank)), keepdims=False)
        if zw is not None:
            sums = c.op("sub", sums, c.op("mul", _channels(c, c.cast(zw, I32)), taps))
        y = c.op("sub", y, c.op("mul", zx, sums))
    if zw is not None:
        ones = c.table(("ones", w.shape, groups), lambda: np.ones((groups, *w.shape[1:]), np.int8))
        boxes = c.op("conv", image, ones, **attrs)
        if groups > 1:
            boxes = c.expand(c.reshape(boxes, (*boxes.shape, 1)), (*boxes.shape, outputs // groups))
            boxes = c.reshape(boxes, y.shape)
        y = c.op("sub", y, c.op("mul", _channels(c, c.cast(zw, I32)), boxes))
    if bias is not None:
        if bias.shape != (outputs,):
            raise GraphError(f"bias {list(bias.shape)} does not fit {outputs} channels")
        y = c.op("add", y, c.cast(bias, I32))
    return y


def _channels(c: Ctx, zero: Value) -> Value:
    """A zero point of weights, per channel or for all, to broadcast with the channels of the result."""
    return c.reshape(zero, (zero.size,)) if zero.size > 1 else c.reshape(zero, ())


def _requantized(c: Ctx, sums: Value, scale: Value, to_scale: Value, zero: Value) -> Value:
    """i32 sums times scale / to_scale, as quantised numbers."""
    factor = c.op("div", c.cast(scale, F32), c.cast(to_scale, F32))
    return quantized(c, c.op("mul", c.cast(sums, F32), factor), zero, zero.dtype)


def _rows(c: Ctx, value: Value) -> Value:
    return c.reshape(value, (value.size, 1)) if value.rank == 1 and value.size > 1 else one(c, value)


def one(c: Ctx, value: Value) -> Value:
    """A parameter of one element as a scalar, any other as it is."""
    return c.reshape(value, ()) if value.size == 1 else value


@translates("MatMulInteger")
def matmul_integer(c: Ctx) -> Value:
    """Product of 8-bit integers less their zero points, in i32."""
    return product(c, c[0], c[1], c.opt(2), c.opt(3))


@translates("QLinearMatMul")
def qlinear_matmul(c: Ctx) -> Value:
    """Product of quantised matrices, quantised again."""
    a, b = c[0], c[3]
    if dtypes.is_float(a.dtype) or dtypes.is_float(b.dtype):  # 8-bit floats multiply as f32
        left = dequantized(c, a, _rows(c, c[1]), _rows(c, c[2]))
        real = c.op("matmul", left, dequantized(c, b, one(c, c[4]), one(c, c[5])))
        return quantized(c, c.op("div", real, c.cast(one(c, c[6]), F32)), one(c, c[7]), c[7].dtype)
    sums = product(c, a, b, c[2], c[5])
    scale = c.op("mul", c.cast(_rows(c, c[1]), F32), c.cast(one(c, c[4]), F32))
    return _requantized(c, sums, scale, _rows(c, c[6]), _rows(c, c[7]))


@translates("ConvInteger")
def conv_integer(c: Ctx) -> Value:
    """Convolution of 8-bit integers less their zero points, in i32."""
    return c.channels_first(convolution(c, c[0], c[1], c.opt(2), c.opt(3)))


@translates("QLinearConv")
@translates("QLinearConv", domain="com.microsoft")
def qlinear_conv(c: Ctx) -> Value:
    """Convolution of quantised tensors, quantised again."""
    last = bool(c.node.domain) and c.flag("channels_last")
    sums = convolution(c, c.channels_first(c[0]) if last else c[0], c[3], c[2], c[5], c.opt(8))
    scale = c.op("mul", c.cast(one(c, c[1]), F32), c.cast(one(c, c[4]), F32))
    y = _requantized(c, sums, scale, one(c, c[6]), one(c, c[7]))
    return y if last else c.channels_first(y)
