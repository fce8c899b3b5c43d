"""Gradients of the elementwise ops.

Where a derivative does not exist, the value is PyTorch's: 0 for ``abs`` and ``sign`` at 0, equal shares for equal
operands of ``max`` and ``min``.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from a1400.graph.tensor import Tensor
from a1400.ops import pointwise  # noqa: F401 - the ops must be declared first
from a1400.ops.registry import Backward, gradient, is_real, stepwise

stepwise("sign", "floor", "ceil", "round", "trunc")
stepwise("eq", "ne", "lt", "le", "gt", "ge", "isnan", "isinf", "and", "or", "xor", "not")
stepwise("bit_and", "bit_or", "bit_xor", "bit_not", "shl", "shr")
stepwise("philox0", "philox1", "philox2", "philox3")

#: name -> derivative from x and y = f(x)
_UNARY: dict[str, Callable[[Tensor, Tensor], Tensor | float]] = {
    "neg": lambda x, y: -1.0,
    "abs": lambda x, y: x.sign(),
    "reciprocal": lambda x, y: -(y * y),
    "sqrt": lambda x, y: 0.5 / y,
    "rsqrt": lambda x, y: -0.5 * (y * y * y),
    "exp": lambda x, y: y,
    "log": lambda x, y: 1.0 / x,
    "tanh": lambda x, y: 1.0 - y * y,
    "sigmoid": lambda x, y: y * (1.0 - y),
    "erf": lambda x, y: (2.0 / math.sqrt(math.pi)) * (-(x * x)).exp(),
    "softplus": lambda x, y: x.op("sigmoid"),
    "sin": lambda x, y: x.op("cos"),
    "cos": lambda x, y: -x.op("sin"),
    "tan": lambda x, y: 1.0 + y * y,
    "asin": lambda x, y: (1.0 - x * x).rsqrt(),
    "acos": lambda x, y: -(1.0 - x * x).rsqrt(),
    "atan": lambda x, y: 1.0 / (1.0 + x * x),
    "sinh": lambda x, y: x.op("cosh"),
    "cosh": lambda x, y: x.op("sinh"),
    "asinh": lambda x, y: (x * x + 1.0).rsqrt(),
    "acosh": lambda x, y: (x * x - 1.0).rsqrt(),
    "atanh": lambda x, y: 1.0 / (1.0 - x * x),
}


def _unary(derivative: Callable[[Tensor, Tensor], Tensor | float]) -> Callable[[Backward], tuple[Tensor]]:
    return lambda b: (b.g * derivative(b.x(), b.y),)


for _name, _derivative in _UNARY.items():
    gradient(_name)(_unary(_derivative))


@gradient("add")
def _add(b: Backward) -> tuple[Tensor, Tensor]:
    return b.g, b.g


@gradient("sub")
def _sub(b: Backward) -> tuple[Tensor, Tensor]:
    return b.g, -b.g


@gradient("mul")
def _mul(b: Backward) -> tuple[Tensor, Tensor]:
    return b.g * b.x(1), b.g * b.x(0)


@gradient("div")
def _div(b: Backward) -> tuple[Tensor, Tensor]:
    part = b.g / b.x(1)
    return part, -(part * b.y)


@gradient("max", "min")
def _larger(b: Backward) -> tuple[Tensor | None, Tensor | None]:
    """Equal ones share; a constant bound takes it all, as frameworks have it for max(x, 0).

    Against a bound the result tells what the operand would: what is bounded need not be kept for this.
    """
    x, y = b.x(0), b.x(1)
    if x.value.is_constant or y.value.is_constant:
        bound = x if x.value.is_constant else y
        inside = (b.y > bound if b.op == "max" else b.y < bound).where(b.g, 0.0)
        return (None, inside) if bound is x else (inside, None)
    half = x.equal(y).where(0.5 * b.g, 0.0)
    first, second = (x > y, y > x) if b.op == "max" else (x < y, y < x)
    return first.where(b.g, half), second.where(b.g, half)


@gradient("mod")
def _mod(b: Backward) -> tuple[Tensor, Tensor]:
    return b.g, -(b.g * (b.x(0) / b.x(1)).op("floor"))


@gradient("fmod")
def _fmod(b: Backward) -> tuple[Tensor, Tensor]:
    return b.g, -(b.g * (b.x(0) / b.x(1)).op("trunc"))


@gradient("pow")
def _pow(b: Backward) -> tuple[Tensor, Tensor]:
    """x**(p-1) by itself, not y / x, so that x = 0 is right; 0 where p = 0; log only where the base is positive."""
    x, p = b.x(0), b.x(1)
    zero = p.equal(0.0)
    base = b.g * zero.where(0.0, p * x ** zero.where(p.lift(0.0), p - 1.0))
    positive = x > 0.0
    power = positive.where(b.g * b.y * positive.where(x, 1.0).log(), 0.0)
    return base, power


@gradient("atan2")
def _atan2(b: Backward) -> tuple[Tensor, Tensor]:
    y, x = b.x(0), b.x(1)
    part = b.g / (x * x + y * y)
    return part * x, -(part * y)


@gradient("where")
def _where(b: Backward) -> tuple[None, Tensor, Tensor]:
    return None, b.x(0).where(b.g, 0.0), b.x(0).where(b.g.lift(0.0), b.g)


@gradient("cast")
def _cast(b: Backward) -> tuple[Tensor | None]:
    return (b.g.cast(b.x().dtype) if is_real(b.x().dtype) else None,)
