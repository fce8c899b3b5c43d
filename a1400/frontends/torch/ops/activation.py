"""Activation functions that have operators of their own, and their gradients."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from a1400.frontends.torch.context import Ctx
from a1400.frontends.torch.registry import translates
from a1400.graph.tensor import Tensor


@translates("relu")
def relu(c: Ctx, x: Tensor) -> Tensor:
    """The larger of each element and 0."""
    return x.relu()


@translates("hardtanh")
def hardtanh(c: Ctx, x: Tensor, low: Any = -1, high: Any = 1) -> Tensor:
    """Within two bounds."""
    return x.clip(low, high)


@translates("leaky_relu")
def leaky_relu(c: Ctx, x: Tensor, slope: Any = 0.01) -> Tensor:
    """Less steep below 0."""
    return (x > 0).where(x, x * slope)


@translates("elu")
def elu(c: Ctx, x: Tensor, alpha: Any = 1, scale: Any = 1, input_scale: Any = 1) -> Tensor:
    """Exponential below 0."""
    below = (x.minimum(0) * input_scale).exp() - 1.0
    return (x > 0).where(x * scale, below * (alpha * scale))


def _gelu(approximate: str) -> Callable[[Tensor], Tensor]:
    def exact(x: Tensor) -> Tensor:
        return 0.5 * x * ((x * math.sqrt(0.5)).op("erf") + 1.0)

    def by_tanh(x: Tensor) -> Tensor:
        return 0.5 * x * ((math.sqrt(2 / math.pi) * (x + 0.044715 * (x * x * x))).tanh() + 1.0)

    return exact if approximate == "none" else by_tanh


@translates("gelu")
def gelu(c: Ctx, x: Tensor, *, approximate: str = "none") -> Tensor:
    """Gaussian error linear unit."""
    return _gelu(approximate)(x)


@translates("gelu_backward")
def gelu_backward(c: Ctx, coming: Tensor, x: Tensor, *, approximate: str = "none") -> Tensor:
    """Gradient of :func:`gelu`."""
    return c.back(_gelu(approximate), x, coming)


@translates("silu")
def silu(c: Ctx, x: Tensor) -> Tensor:
    """x times its sigmoid."""
    return x * x.sigmoid()


@translates("silu_backward")
def silu_backward(c: Ctx, coming: Tensor, x: Tensor) -> Tensor:
    """Gradient of :func:`silu`."""
    s = x.sigmoid()
    return coming * (s * (1.0 + x * (1.0 - s)))


@translates("softplus")
def softplus(c: Ctx, x: Tensor, beta: Any = 1, threshold: Any = 20) -> Tensor:
    """log(1 + e**x)."""
    inner = x * beta if beta != 1 else x
    return (inner > threshold).where(x, inner.softplus() / beta)


@translates("sigmoid_backward")
def sigmoid_backward(c: Ctx, coming: Tensor, y: Tensor) -> Tensor:
    """Gradient of the sigmoid whose result is ``y``."""
    return coming * (y * (1.0 - y))


@translates("tanh_backward")
def tanh_backward(c: Ctx, coming: Tensor, y: Tensor) -> Tensor:
    """Gradient of the hyperbolic tangent whose result is ``y``."""
    return coming * (1.0 - y * y)


@translates("threshold_backward")
def threshold_backward(c: Ctx, coming: Tensor, x: Tensor, threshold: Any) -> Tensor:
    """The gradient where ``x`` is above the threshold."""
    return (x <= threshold).where(0, coming)
