"""Products, convolutions and activations as ONNX Runtime's optimizer joins them.

Each is written as what it stands for; fusion joins it again, as the kernels want it.
"""

from __future__ import annotations

import math
from typing import Any

from a1400.errors import GraphError
from a1400.frontends.onnx.context import Ctx
from a1400.frontends.onnx.ops.delegation import onnx_op
from a1400.frontends.onnx.ops.registry import translates
from a1400.graph.graph import Value

MICROSOFT = "com.microsoft"
#: activations of fused nodes -> their attributes in ONNX, in the order of the node's parameters
_ACTIVATIONS: dict[str, tuple[str, ...]] = {
    "Relu": (), "Tanh": (), "Sigmoid": (), "Softplus": (), "Softsign": (), "Gelu": (), "HardSwish": (),
    "LeakyRelu": ("alpha",), "Elu": ("alpha",), "Celu": ("alpha",), "ThresholdedRelu": ("alpha",),
    "HardSigmoid": ("alpha", "beta"), "Selu": ("alpha", "gamma"),
}  # fmt: skip


def tensor(c: Ctx, op: str, *inputs: Value | None, **attrs: Any) -> Value:
    """The one output, a tensor, of ONNX's operator ``op`` at opset 20; ``keep`` as in :func:`onnx_op`."""
    (y,) = onnx_op(c, op, *inputs, opset=20, **attrs)
    assert isinstance(y, Value)
    return y


def _activated(c: Ctx, y: Value, name: str, parameters: dict[str, float]) -> Value:
    if not name:
        return y
    known = _ACTIVATIONS.get(name)
    if known is None:
        raise c.unsupported(f"activation {name!r} in {c.node.op} is not supported")
    return tensor(c, name, y, **{n: v for n, v in parameters.items() if n in known})


def _parameters(c: Ctx) -> dict[str, float]:
    """The activation's parameters that products give each as an attribute."""
    found = {n: c.attr(f"activation_{n}", None, (float, int)) for n in ("alpha", "beta", "gamma")}
    return {n: float(v) for n, v in found.items() if v is not None}


def _turned(c: Ctx, x: Value, batch: bool, last: bool) -> Value:
    """x with its first axis moved in front of the last (``batch``), then its last two exchanged (``last``)."""
    if batch:
        if x.rank < 3:
            raise GraphError(f"transBatch needs a batch of matrices, not {list(x.shape)}")
        x = c.transpose(x, (*range(1, x.rank - 1), 0, x.rank - 1))
    return c.transpose(x, (*range(x.rank - 2), x.rank - 1, x.rank - 2)) if last and x.rank > 1 else x


def _fused_product(c: Ctx) -> Value:
    a = _turned(c, c[0], c.flag("transBatchA"), c.flag("transA"))
    b = _turned(c, c[1], c.flag("transBatchB"), c.flag("transB"))
    y, alpha = c.op("matmul", a, b), c.number("alpha", 1.0)
    return y if alpha == 1 else c.op("mul", y, c.scalar(alpha, y))


@translates("FusedMatMul", "TransposeMatMul", domain=MICROSOFT)
def fused_matmul(c: Ctx) -> Value:
    """alpha A' B' over batches of matrices."""
    return _fused_product(c)


@translates("FusedMatMulActivation", domain=MICROSOFT)
def fused_matmul_activation(c: Ctx) -> Value:
    """FusedMatMul and an activation."""
    y, name = _fused_product(c), c.text("activation")
    if name == "Softmax":
        return c.op("softmax", y, axis=c.axis(c.integer("activation_axis", -1), y.rank))
    return _activated(c, y, name, _parameters(c))


@translates("FusedGemm", domain=MICROSOFT)
def fused_gemm(c: Ctx) -> Value:
    """Gemm and an activation."""
    y = tensor(c, "Gemm", c[0], c[1], c.opt(2), keep=True)
    return _activated(c, y, c.text("activation", ""), _parameters(c))


@translates("GemmFastGelu", domain=MICROSOFT)
def gemm_fast_gelu(c: Ctx) -> Value:
    """Product, bias and the tanh approximation of Gelu."""
    return tensor(c, "Gelu", _with_bias(c, c.op("matmul", c[0], c[1]), c.opt(2)), approximate="tanh")


def _fused_convolution(c: Ctx, last: bool) -> Value:
    """Convolution, bias, a tensor added, an activation; images with channels first or ``last``."""
    x = c.channels_first(c[0]) if last else c[0]
    y = tensor(c, "Conv", x, c[1], c.opt(2), keep=True)
    if c.opt(3) is not None:
        y = c.op("add", y, c.channels_first(c[3]) if last else c[3])
    name, given = c.text("activation", ""), c.floats("activation_params", ())
    if name == "Clip":
        low, high = (*given, *(-3.4028234663852886e38, 3.4028234663852886e38)[len(given) :])[:2]
        y = c.op("min", c.op("max", y, c.scalar(low, y)), c.scalar(high, y))
    else:
        y = _activated(c, y, name, dict(zip(_ACTIVATIONS.get(name, ()), given)))
    return c.channels_last(y) if last else y


translates("FusedConv", domain=MICROSOFT)(lambda c: _fused_convolution(c, last=False))
translates("NhwcConv", "NhwcFusedConv", domain=MICROSOFT)(lambda c: _fused_convolution(c, last=True))


def _with_bias(c: Ctx, x: Value, bias: Value | None) -> Value:
    return x if bias is None else c.op("add", x, bias)


@translates("Gelu", domain=MICROSOFT)
def gelu(c: Ctx) -> Value:
    """x Phi(x)."""
    return tensor(c, "Gelu", c[0])


@translates("BiasGelu", domain=MICROSOFT)
def bias_gelu(c: Ctx) -> Value:
    """Gelu of a sum."""
    return tensor(c, "Gelu", _with_bias(c, c[0], c.opt(1)))


@translates("FastGelu", domain=MICROSOFT)
def fast_gelu(c: Ctx) -> Value:
    """The tanh approximation of Gelu, of a sum."""
    return tensor(c, "Gelu", _with_bias(c, c[0], c.opt(1)), approximate="tanh")


def _swish(c: Ctx, x: Value, alpha: float) -> Value:
    return c.op("mul", x, c.op("sigmoid", x if alpha == 1 else c.op("mul", x, c.scalar(alpha, x))))


@translates("QuickGelu", domain=MICROSOFT)
def quick_gelu(c: Ctx) -> Value:
    """x sigmoid(alpha x)."""
    return _swish(c, c[0], c.number("alpha", 1.702))


@translates("ScaledSiLU", domain=MICROSOFT)
def scaled_silu(c: Ctx) -> Value:
    """z sigmoid(z) with z = scale x."""
    x, given = c[0], c.opt(1)
    scale = c.scalar(c.number("alpha", 1.0), x) if given is None else c.cast(c.reshape(given, ()), x.dtype)
    return _swish(c, c.op("mul", x, scale), 1.0)


@translates("BiasSplitGelu", domain=MICROSOFT)
def bias_split_gelu(c: Ctx) -> Value:
    """The left half of a sum times Gelu of its right half."""
    y = _with_bias(c, c[0], c.opt(1))
    half, odd = divmod(y.shape[-1], 2)
    if odd:
        raise GraphError(f"{y.shape[-1]} channels cannot be halved")
    left, right = (c.slice(y, y.rank - 1, start, half) for start in (0, half))
    return c.op("mul", left, tensor(c, "Gelu", right))


@translates("BiasAdd", domain=MICROSOFT)
def bias_add(c: Ctx) -> Value:
    """Input, bias and residual added."""
    return c.op("add", c.op("add", c[0], c[1]), c[2])


@translates("BiasDropout", "BitmaskBiasDropout", domain=MICROSOFT)
def bias_dropout(c: Ctx) -> object:
    """Input plus bias plus residual: at inference nothing is dropped."""
    if c.node.op.startswith("Bitmask") and c.wants(1):
        raise c.unsupported("the packed mask of BitmaskBiasDropout is not supported: take BiasDropout")
    if c.opt(4) is not None and bool(c.need_scalar(4, "training_mode")):
        raise c.unsupported("BiasDropout in training mode is not supported: export the model for inference")
    y = _with_bias(c, _with_bias(c, c[0], c[1]), c.opt(2))
    return y, c.expand(c.scalar(True, bool), y.shape)


@translates("BiasSoftmax", domain=MICROSOFT)
def bias_softmax(c: Ctx) -> Value:
    """Softmax over the axes from ``axis`` on, of a sum whose bias is broadcast over inner or outer axes."""
    x, bias = c[0], c[1]
    axis = c.axis(c.integer("axis", 1), x.rank)
    size = math.prod(x.shape[axis:])
    rows = x.size // max(size, 1)
    groups = bias.size // max(size, 1)
    if groups < 1 or rows % groups or bias.size % max(size, 1):
        raise GraphError(f"bias {list(bias.shape)} does not fit {list(x.shape)} with the axis {axis}")
    inner = c.flag("is_inner_broadcast")
    shape = (groups, rows // groups, size) if inner else (rows // groups, groups, size)
    y = c.op("add", c.reshape(x, shape), c.reshape(bias, (groups, 1, size) if inner else (groups, size)))
    return c.reshape(c.op("softmax", y, axis=2), x.shape)
