"""Activation functions, and the layers that are nothing else."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import keras

from a1400.graph.tensor import Tensor
from a1400.keras.registry import converts
from a1400.keras.tracing import Call


def relu(x: Tensor, slope: float = 0.0, maximum: float | None = None, threshold: float = 0.0) -> Tensor:
    """Zero (or ``slope`` times the distance) below ``threshold``; its derivative at 0 is that below, as in Keras."""
    if slope == 0 and threshold == 0:
        y = x.op("max", 0.0)
    else:
        y = (x <= threshold).where(x.filled(0.0) if slope == 0 else (x - threshold) * slope, x)
    return y if maximum is None else (y > float(maximum)).where(float(maximum), y)


def elu(x: Tensor, alpha: float = 1.0) -> Tensor:
    """x, or alpha (e^x - 1) below zero; the exponential never sees a positive number, so that no infinity arises."""
    return (x <= 0.0).where((x.op("min", 0.0).exp() - 1.0) * alpha, x)


def gelu(x: Tensor, approximate: bool = False) -> Tensor:
    """x Phi(x), exact or with the tanh approximation."""
    if approximate:
        # tanh is 1 long before the bound, which keeps its slope of 0 from meeting an infinite square
        cube = (x * x).op("min", 1e4) * x
        return x * 0.5 * (1.0 + (math.sqrt(2 / math.pi) * (x + 0.044715 * cube)).op("tanh"))
    return x * 0.5 * (1.0 + (x * math.sqrt(0.5)).op("erf"))


def _clip(x: Tensor, low: float, high: float) -> Tensor:
    return (x < low).where(low, (x > high).where(high, x))


def hard_sigmoid(x: Tensor) -> Tensor:
    """(x + 3) / 6, kept in [0, 1]."""
    return _clip(x / 6.0 + 0.5, 0.0, 1.0)


def _selu(x: Tensor) -> Tensor:
    return elu(x, 1.6732632423543772848170429916717) * 1.0507009873554804934193349852946


def _glu(x: Tensor) -> Tensor:
    half = (*x.shape[:-1], x.shape[-1] // 2)
    start = (*[0] * (x.rank - 1), half[-1])
    return x.slice([0] * x.rank, half) * x.slice(start, half).op("sigmoid")


def _soft_shrink(x: Tensor) -> Tensor:
    return (x > 0.5).where(x - 0.5, (x < -0.5).where(x + 0.5, 0.0))


def _sparse_plus(x: Tensor) -> Tensor:
    return (x <= -1.0).where(0.0, (x < 1.0).where(0.25 * (x + 1.0) * (x + 1.0), x))


def _sparsemax(x: Tensor) -> Tensor:
    """As Keras has it, over the last axis: the threshold is made of the sums of sums of what is held.

    Martins and Astudillo, *From Softmax to Sparsemax* (2016), whose algorithm this follows, have the sums themselves.
    """
    size, axis = x.shape[-1], x.rank - 1
    ordered = x.op("topk", k=size, axis=axis, largest=True, sorted=True)
    sums = ordered.op("cumulate", kind="sum", axis=axis, exclusive=False, reverse=False)
    rank = x.lift([float(i + 1) for i in range(size)])
    held = (1.0 + rank * ordered > sums).cast(x.dtype)
    count = held.sum((axis,), keepdims=True)
    threshold = ((held * sums).sum((axis,), keepdims=True) - 1.0) / count
    return relu(x - threshold)


#: Keras's functions by name, with the parameters they have when they are given by name
FUNCTIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "celu": elu,
    "elu": elu,
    "exponential": lambda x: x.exp(),
    "gelu": gelu,
    "glu": _glu,
    "hard_shrink": lambda x: (x.abs() > 0.5).where(x, 0.0),
    "hard_sigmoid": hard_sigmoid,
    "hard_silu": lambda x: x * hard_sigmoid(x),
    "hard_tanh": lambda x: _clip(x, -1.0, 1.0),
    "leaky_relu": lambda x: relu(x, 0.2),
    "linear": lambda x: x,
    "log_sigmoid": lambda x: -(-x).op("softplus"),
    "log_softmax": lambda x: x.op("log_softmax", axis=x.rank - 1),
    "mish": lambda x: x * x.op("softplus").op("tanh"),
    "relu": relu,
    "relu6": lambda x: relu(x, maximum=6.0),
    "selu": _selu,
    "sigmoid": lambda x: x.op("sigmoid"),
    "silu": lambda x: x * x.op("sigmoid"),
    "soft_shrink": _soft_shrink,
    "softmax": lambda x: x.op("softmax", axis=x.rank - 1),
    "softplus": lambda x: x.op("softplus"),
    "softsign": lambda x: x / (1.0 + x.abs()),
    "sparse_plus": _sparse_plus,
    "sparse_sigmoid": lambda x: (x <= -1.0).where(0.0, (x >= 1.0).where(1.0, 0.5 * (x + 1.0))),
    "sparsemax": _sparsemax,
    "squareplus": lambda x: (x + (x * x + 4.0).sqrt()) / 2.0,
    "tanh": lambda x: x.op("tanh"),
    "tanh_shrink": lambda x: x - x.op("tanh"),
}


def activation_name(function: Any) -> str | None:
    """The name of one of Keras's own activation functions; None for anything else."""
    name = getattr(function, "__name__", "")
    own = str(getattr(function, "__module__", "")).partition(".")[0] == "keras"
    return name if own and name in FUNCTIONS else None


def activate(c: Call, x: Tensor, function: Any) -> Tensor:
    """``x`` through what a layer has as its ``activation``: None, a function of Keras's, or a layer."""
    if function is None:
        return x
    if isinstance(function, keras.layers.Layer):
        result: Tensor = c.apply(function, x)
        return result
    name = activation_name(function)
    if name is None:
        c.refuse(f"its activation {getattr(function, '__name__', function)!r} is not one of Keras's own")
    return FUNCTIONS[name](x)


@converts("Activation")
def _activation(c: Call) -> Tensor:
    return activate(c, c.real, c.layer.activation)


@converts("ReLU")
def _relu(c: Call) -> Tensor:
    return relu(c.real, float(c.layer.negative_slope), c.layer.max_value, float(c.layer.threshold))


@converts("LeakyReLU")
def _leaky(c: Call) -> Tensor:
    return relu(c.real, float(c.layer.negative_slope))


@converts("ELU")
def _elu(c: Call) -> Tensor:
    return elu(c.real, float(c.layer.alpha))


@converts("PReLU")
def _prelu(c: Call) -> Tensor:
    x = c.real
    return (x <= 0.0).where(x * c.weight(c.layer.alpha), x)


@converts("Softmax")
def _softmax(c: Call) -> Tensor:
    x, axes = c.real, c.layer.axis
    axes = [axes] if isinstance(axes, int) else list(axes)
    if c.given("mask") is None:
        return softmax_over(x, axes)
    mask = c.lift(c.given("mask"))
    mask = mask if mask.dtype == bool else mask > 0.5
    return mask.where(softmax_over(mask.where(x, -1e9), axes), 0.0)


def softmax_over(x: Tensor, axes: list[int]) -> Tensor:
    """Softmax over one axis or several."""
    where = tuple(sorted(axis % x.rank for axis in axes))
    if len(where) == 1:
        return x.op("softmax", axis=where[0])
    return (x - x.reduce("logsumexp", where, keepdims=True)).exp()
