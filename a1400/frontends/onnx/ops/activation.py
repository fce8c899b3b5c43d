"""Activation functions, written in primitive pointwise ops (they fuse into one expression)."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from a1400 import dtypes
from a1400.frontends.onnx.context import Ctx
from a1400.frontends.onnx.ops.registry import Translator, translates
from a1400.graph.graph import Value

_HALVES = (np.dtype(np.float16), dtypes.bfloat16)


def _in_float32(function: Callable[[Ctx, Value], Value]) -> Translator:
    """Of 16-bit floats in float32, rounded once: constants such as 1/6 would lose digits that differences bring out."""

    def translate(c: Ctx) -> Value:
        x = c[0]
        if x.dtype not in _HALVES:
            return function(c, x)
        return c.cast(function(c, c.cast(x, np.float32)), x.dtype)

    return translate


@translates("Relu")
def relu(c: Ctx) -> Value:
    """max(x, 0)."""
    return c.op("max", c[0], c.scalar(0, c[0]))


@translates("Sigmoid")
def sigmoid(c: Ctx) -> Value:
    """1 / (1 + e^-x)."""
    return c.op("sigmoid", c[0])


@translates("Tanh")
def tanh(c: Ctx) -> Value:
    """Hyperbolic tangent."""
    return c.op("tanh", c[0])


@translates("LeakyRelu")
@_in_float32
def leaky_relu(c: Ctx, x: Value) -> Value:
    """x, or alpha x below zero."""
    return _below_zero(c, x, c.op("mul", x, c.scalar(c.number("alpha", 0.01), x)))


@translates("PRelu", since=7)
def prelu(c: Ctx) -> Value:
    """x, or slope x below zero; the slope broadcasts."""
    return _below_zero(c, c[0], c.op("mul", c[0], c[1]))


def _below_zero(c: Ctx, x: Value, other: Value) -> Value:
    return c.op("where", c.op("lt", x, c.scalar(0, x)), other, x)


def _exp_minus_one(c: Ctx, x: Value) -> Value:
    return c.op("sub", c.op("exp", x), c.scalar(1, x))


@translates("Elu")
@_in_float32
def elu(c: Ctx, x: Value) -> Value:
    """x, or alpha (e^x - 1) below zero."""
    return _below_zero(c, x, c.op("mul", _exp_minus_one(c, x), c.scalar(c.number("alpha", 1.0), x)))


@translates("Selu")
@_in_float32
def selu(c: Ctx, x: Value) -> Value:
    """Scaled Elu."""
    alpha, gamma = c.number("alpha", 1.67326319217681884765625), c.number("gamma", 1.05070102214813232421875)
    inner = _below_zero(c, x, c.op("mul", _exp_minus_one(c, x), c.scalar(alpha, x)))
    return c.op("mul", inner, c.scalar(gamma, x))


@translates("Celu")
@_in_float32
def celu(c: Ctx, x: Value) -> Value:
    """x, or alpha (e^(x/alpha) - 1) below zero."""
    alpha = c.number("alpha", 1.0)
    scaled = c.op("div", x, c.scalar(alpha, x))
    return _below_zero(c, x, c.op("mul", _exp_minus_one(c, scaled), c.scalar(alpha, x)))


@translates("Gelu")
@_in_float32
def gelu(c: Ctx, x: Value) -> Value:
    """x Phi(x), exact or with the tanh approximation."""
    if c.text("approximate", "none") == "tanh":
        return gelu_tanh(c, x)
    phi = c.op("add", c.op("erf", c.op("mul", x, c.scalar(math.sqrt(0.5), x))), c.scalar(1, x))
    return _half_times(c, x, phi)


def _half_times(c: Ctx, x: Value, twice: Value) -> Value:
    """x / 2 times what goes up to 2: halved first, so that the largest numbers do not overflow."""
    return c.op("mul", c.op("mul", x, c.scalar(0.5, x)), twice)


def gelu_tanh(c: Ctx, x: Value) -> Value:
    """The tanh approximation of Gelu."""
    # tanh is 1 long before the bound, which keeps its slope of 0 from meeting an infinite square in training
    square = c.op("min", c.op("mul", x, x), c.scalar(1e4, x))
    cube = c.op("mul", square, x)
    inner = c.op("add", x, c.op("mul", cube, c.scalar(0.044715, x)))
    t = c.op("tanh", c.op("mul", inner, c.scalar(math.sqrt(2 / math.pi), x)))
    return _half_times(c, x, c.op("add", t, c.scalar(1, x)))


def _hard_sigmoid(c: Ctx, x: Value, alpha: float, beta: float) -> Value:
    line = c.op("add", c.op("mul", x, c.scalar(alpha, x)), c.scalar(beta, x))
    return c.op("min", c.op("max", line, c.scalar(0, x)), c.scalar(1, x))


@translates("HardSigmoid")
@_in_float32
def hard_sigmoid(c: Ctx, x: Value) -> Value:
    """alpha x + beta, kept in [0, 1]."""
    return _hard_sigmoid(c, x, c.number("alpha", 0.2), c.number("beta", 0.5))


@translates("HardSwish")
@_in_float32
def hard_swish(c: Ctx, x: Value) -> Value:
    """x times its hard sigmoid."""
    return c.op("mul", x, _hard_sigmoid(c, x, 1 / 6, 0.5))


@translates("Softplus")
def softplus(c: Ctx) -> Value:
    """log(1 + e^x)."""
    return c.op("softplus", c[0])


@translates("Softsign")
def softsign(c: Ctx) -> Value:
    """x / (1 + |x|)."""
    return c.op("div", c[0], c.op("add", c.op("abs", c[0]), c.scalar(1, c[0])))


@translates("Mish")
def mish(c: Ctx) -> Value:
    """x tanh(softplus(x))."""
    return c.op("mul", c[0], c.op("tanh", c.op("softplus", c[0])))


@translates("Swish")
@_in_float32
def swish(c: Ctx, x: Value) -> Value:
    """x sigmoid(alpha x)."""
    alpha = c.number("alpha", 1.0)
    return c.op("mul", x, c.op("sigmoid", x if alpha == 1 else c.op("mul", x, c.scalar(alpha, x))))


@translates("ThresholdedRelu")
@_in_float32
def thresholded_relu(c: Ctx, x: Value) -> Value:
    """x above alpha, zero elsewhere."""
    return c.op("where", c.op("gt", x, c.scalar(c.number("alpha", 1.0), x)), x, c.scalar(0, x))


@translates("Shrink")
@_in_float32
def shrink(c: Ctx, x: Value) -> Value:
    """Zero within +-lambd, moved towards zero by bias outside."""
    bias, lambd = c.number("bias", 0.0), c.number("lambd", 0.5)
    high = c.op("sub", x, c.scalar(bias, x))
    inner = c.op("where", c.op("gt", x, c.scalar(lambd, x)), high, c.scalar(0, x))
    if x.dtype.kind == "u":
        return inner
    low = c.op("add", x, c.scalar(bias, x))
    return c.op("where", c.op("lt", x, c.scalar(-lambd, x)), low, inner)


@translates("Softmax", "LogSoftmax")
def softmax_flattened(c: Ctx) -> Value:
    """Before opset 13: over all axes from ``axis`` on, as one."""
    x = c[0]
    axis = c.axis(c.integer("axis", 1), max(x.rank, 1))
    op = "softmax" if c.node.op == "Softmax" else "log_softmax"
    if x.rank == 0 or axis == x.rank - 1:
        return c.op(op, x, axis=-1)
    flat = c.reshape(x, (math.prod(x.shape[:axis]), math.prod(x.shape[axis:])))
    return c.reshape(c.op(op, flat, axis=1), x.shape)


@translates("Softmax", "LogSoftmax", since=13)
def softmax(c: Ctx) -> Value:
    """Over one axis."""
    return c.op("softmax" if c.node.op == "Softmax" else "log_softmax", c[0], axis=c.integer("axis", -1))


def _one_hot_maximum(c: Ctx, x: Value, axis: int) -> Value:
    top = c.op("arg_reduce", x, kind="argmax", axis=axis, keepdims=True, select_last=False)
    shape = tuple(x.shape[axis] if d == axis else 1 for d in range(x.rank))
    c.claim(x.shape[axis])
    ramp = c.table(("ramp", shape), lambda: np.arange(math.prod(shape), dtype=np.int64).reshape(shape))
    return c.cast(c.op("eq", ramp, top), x.dtype)


@translates("Hardmax")
def hardmax_flattened(c: Ctx) -> Value:
    """Before opset 13: over all axes from ``axis`` on, as one."""
    x = c[0]
    axis = c.axis(c.integer("axis", 1), x.rank)
    flat = c.reshape(x, (math.prod(x.shape[:axis]), math.prod(x.shape[axis:])))
    return c.reshape(_one_hot_maximum(c, flat, 1), x.shape)


@translates("Hardmax", since=13)
def hardmax(c: Ctx) -> Value:
    """One at the first maximum along the axis, zero elsewhere."""
    return _one_hot_maximum(c, c[0], c.axis(c.integer("axis", -1), c[0].rank))
