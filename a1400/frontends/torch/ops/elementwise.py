"""Arithmetic, comparisons and logic, element by element."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch

from a1400.frontends.torch.context import Ctx
from a1400.frontends.torch.dtypes import promoted
from a1400.frontends.torch.registry import enter, translates
from a1400.graph.tensor import Tensor
from a1400.ops.registry import is_real

#: ATen's name and ours, where ours does all of it
_UNARY = {
    "abs": "abs", "acos": "acos", "acosh": "acosh", "asin": "asin", "asinh": "asinh", "atan": "atan", "atanh": "atanh",
    "cos": "cos", "cosh": "cosh", "erf": "erf", "exp": "exp", "log": "log", "neg": "neg", "reciprocal": "reciprocal",
    "rsqrt": "rsqrt", "sigmoid": "sigmoid", "sign": "sign", "sin": "sin", "sinh": "sinh", "sqrt": "sqrt", "tan": "tan",
    "tanh": "tanh",
}  # fmt: skip
_ROUNDING = {"ceil": "ceil", "floor": "floor", "round": "round", "trunc": "trunc"}
_COMPARING = {"eq": "eq", "ne": "ne", "lt": "lt", "le": "le", "gt": "gt", "ge": "ge"}
_LOGICAL = {"logical_and": "and", "logical_or": "or", "logical_xor": "xor"}
_BITWISE = {"bitwise_and": "and", "bitwise_or": "or", "bitwise_xor": "xor"}
_LOG2E, _LN2, _LN10 = 1 / math.log(2), math.log(2), math.log(10)


def _unary(name: str, ours: str) -> None:
    @translates(name)
    def translate(c: Ctx, x: Tensor) -> Tensor:
        return x if x.dtype == np.bool_ and ours in ("abs", "sign") else x.cast(c.dtype).op(ours)


for _name, _ours in _UNARY.items():
    _unary(_name, _ours)


def _rounding(name: str, ours: str) -> None:
    @translates(name)
    def translate(c: Ctx, x: Tensor) -> Tensor:
        return x.op(ours) if is_real(x.dtype) else x


for _name, _ours in _ROUNDING.items():
    _rounding(_name, _ours)


@translates("round.decimals")
def round_to(c: Ctx, x: Tensor, *, decimals: int) -> Tensor:
    """Half to even at a decimal place."""
    scale = 10.0 ** abs(decimals)
    return (x * scale).op("round") / scale if decimals >= 0 else (x / scale).op("round") * scale


def _comparing(name: str, ours: str) -> None:
    @translates(f"{name}.Tensor", f"{name}.Scalar")
    def translate(c: Ctx, a: Tensor, b: Any) -> Tensor:
        a, b = c.together(a, b)
        if a.dtype == np.bool_:
            a, b = a.cast(np.int32), b.cast(np.int32)
        return a.op(ours, b)


for _name, _ours in _COMPARING.items():
    _comparing(_name, _ours)


def _logical(name: str, ours: str) -> None:
    @translates(name)
    def translate(c: Ctx, a: Tensor, b: Tensor) -> Tensor:
        return truth(a).op(ours, truth(b))


for _name, _ours in _LOGICAL.items():
    _logical(_name, _ours)


def truth(x: Tensor) -> Tensor:
    """Where a tensor is not zero: bool."""
    return x if x.dtype == np.bool_ else x.not_equal(0)


@translates("logical_not")
def logical_not(c: Ctx, x: Tensor) -> Tensor:
    """Where a tensor is zero."""
    return ~truth(x)


def _bitwise(name: str, ours: str) -> None:
    @translates(f"{name}.Tensor", f"{name}.Scalar", f"{name}.Scalar_Tensor")
    def translate(c: Ctx, a: Any, b: Any) -> Tensor:
        a, b = c.together(a, b)
        return a.op(ours if a.dtype == np.bool_ else f"bit_{ours}", b)


for _name, _ours in _BITWISE.items():
    _bitwise(_name, _ours)


@translates("bitwise_not")
def bitwise_not(c: Ctx, x: Tensor) -> Tensor:
    """Every bit turned."""
    return x.op("not" if x.dtype == np.bool_ else "bit_not")


@translates("bitwise_left_shift.Tensor", "bitwise_left_shift.Tensor_Scalar", "__lshift__.Scalar", "__lshift__.Tensor")
def left_shift(c: Ctx, a: Tensor, b: Any) -> Tensor:
    """Bits moved up."""
    a, b = c.together(a, b)
    return a.op("shl", b)


@translates("bitwise_right_shift.Tensor", "bitwise_right_shift.Tensor_Scalar", "__rshift__.Scalar", "__rshift__.Tensor")
def right_shift(c: Ctx, a: Tensor, b: Any) -> Tensor:
    """Bits moved down, the sign kept."""
    a, b = c.together(a, b)
    return a.op("shr", b)


# ---- sums and products --------------------------------------------------------------------------------
def scaled(c: Ctx, x: Tensor, factor: Any) -> Tensor:
    """``x`` times a number that is mostly 1."""
    return x if factor == 1 and not isinstance(factor, Tensor) else x * c.lift(factor, x.dtype)


@translates("add.Tensor", "add.Scalar")
def add(c: Ctx, a: Any, b: Any, alpha: Any = 1) -> Tensor:
    """``a + alpha * b``; of bools their disjunction."""
    a, b = c.together(a, b)
    if a.dtype == np.bool_:
        return a.op("or", b) if alpha else a
    return a + scaled(c, b, alpha)


@translates("sub.Tensor", "sub.Scalar")
def sub(c: Ctx, a: Any, b: Any, alpha: Any = 1) -> Tensor:
    """``a - alpha * b``."""
    a, b = c.together(a, b)
    return a - scaled(c, b, alpha)


@translates("rsub.Tensor", "rsub.Scalar")
def rsub(c: Ctx, a: Any, b: Any, alpha: Any = 1) -> Tensor:
    """``b - alpha * a``."""
    return sub(c, b, a, alpha)


@translates("mul.Tensor", "mul.Scalar")
def mul(c: Ctx, a: Any, b: Any) -> Tensor:
    """Products; of bools their conjunction."""
    a, b = c.together(a, b)
    return a.op("and" if a.dtype == np.bool_ else "mul", b)


@translates("div.Tensor", "div.Scalar", "div.Tensor_mode", "div.Scalar_mode")
def div(c: Ctx, a: Any, b: Any, *, rounding_mode: str | None = None) -> Tensor:
    """Quotients, true or rounded toward zero or down."""
    if rounding_mode is None:
        return c.lift(a, c.dtype) / c.lift(b, c.dtype)
    a, b = c.together(a, b)
    quotient = a / b
    if is_real(a.dtype):
        if rounding_mode == "trunc":
            return quotient.op("trunc")
        # a remainder decides, as the quotient may have been rounded up to a whole number
        rest = a.op("mod", b)
        whole = ((a - rest) / b).op("round")
        return (b.equal(0) | quotient.op("isinf")).where(quotient, whole)
    if rounding_mode == "trunc":
        return quotient
    rest = a - quotient * b
    down = rest.not_equal(0) & (rest.op("bit_xor", b) < 0) if a.dtype.kind == "i" else None
    return quotient if down is None else quotient - down.cast(a.dtype)


@translates("floor_divide")
def floor_divide(c: Ctx, a: Any, b: Any) -> Tensor:
    """Quotients rounded down."""
    return div(c, a, b, rounding_mode="floor")


@translates("remainder.Tensor", "remainder.Scalar", "remainder.Scalar_Tensor")
def remainder(c: Ctx, a: Any, b: Any) -> Tensor:
    """Remainder with the divisor's sign."""
    a, b = c.together(a, b)
    return a.op("mod", b)


@translates("fmod.Tensor", "fmod.Scalar")
def fmod(c: Ctx, a: Any, b: Any) -> Tensor:
    """Remainder with the dividend's sign."""
    a, b = c.together(a, b)
    return a.op("fmod", b)


@translates("pow.Tensor_Tensor", "pow.Tensor_Scalar", "pow.Scalar")
def power(c: Ctx, a: Any, b: Any) -> Tensor:
    """Powers; those that are products or roots as such."""
    if isinstance(a, Tensor) and not isinstance(b, Tensor):
        x = a.cast(c.dtype)
        if b == 0:
            return x.filled(1)
        if b in (1, 2, 3):
            return x if b == 1 else x * x if b == 2 else x * x * x
        if is_real(x.dtype) and b in (0.5, -0.5, -1, -2):
            root = {0.5: "sqrt", -0.5: "rsqrt", -1: "reciprocal", -2: "reciprocal"}[b]
            return (x * x if b == -2 else x).op(root)
    return c.lift(a, c.dtype).op("pow", c.lift(b, c.dtype))


@translates("maximum")
def maximum(c: Ctx, a: Tensor, b: Tensor) -> Tensor:
    """The larger of two; NaN where one of them is."""
    a, b = c.together(a, b)
    return a.op("or" if a.dtype == np.bool_ else "max", b)


@translates("minimum")
def minimum(c: Ctx, a: Tensor, b: Tensor) -> Tensor:
    """The smaller of two; NaN where one of them is."""
    a, b = c.together(a, b)
    return a.op("and" if a.dtype == np.bool_ else "min", b)


def _numeric(a: Tensor, b: Tensor, ours: str) -> Tensor:
    return a.op("isnan").where(b, b.op("isnan").where(a, a.op(ours, b))) if is_real(a.dtype) else a.op(ours, b)


@translates("fmax")
def fmax(c: Ctx, a: Tensor, b: Tensor) -> Tensor:
    """The larger of two; the other one where one is NaN."""
    a, b = c.together(a, b)
    return _numeric(a, b, "max")


@translates("fmin")
def fmin(c: Ctx, a: Tensor, b: Tensor) -> Tensor:
    """The smaller of two; the other one where one is NaN."""
    a, b = c.together(a, b)
    return _numeric(a, b, "min")


@translates("clamp", "clamp.Tensor")
def clamp(c: Ctx, x: Tensor, low: Any = None, high: Any = None) -> Tensor:
    """Not below ``low``, not above ``high``."""
    dtype = promoted(x, low, high)
    x = x.cast(dtype)
    x = x if low is None else x.maximum(c.lift(low, dtype))
    return x if high is None else x.minimum(c.lift(high, dtype))


@translates("clamp_min", "clamp_min.Tensor")
def clamp_min(c: Ctx, x: Tensor, low: Any) -> Tensor:
    """Not below ``low``."""
    return clamp(c, x, low)


@translates("clamp_max", "clamp_max.Tensor")
def clamp_max(c: Ctx, x: Tensor, high: Any) -> Tensor:
    """Not above ``high``."""
    return clamp(c, x, None, high)


@translates("atan2")
def atan2(c: Ctx, a: Tensor, b: Tensor) -> Tensor:
    """The angle of the point (b, a)."""
    return a.cast(c.dtype).op("atan2", b.cast(c.dtype))


@translates("copysign.Tensor", "copysign.Scalar")
def copysign(c: Ctx, a: Tensor, b: Any) -> Tensor:
    """Magnitudes of ``a`` with the signs of ``b``."""
    a, b = a.cast(c.dtype).abs(), c.lift(b, c.dtype)
    negative = (b < 0) | (b.equal(0) & (b.op("reciprocal") < 0))
    return negative.where(-a, a)


@translates("hypot")
def hypot(c: Ctx, a: Tensor, b: Tensor) -> Tensor:
    """Length of the hypotenuse, without overflow on the way."""
    a, b = (x.abs() for x in c.together(a, b))
    large, small = a.maximum(b), a.minimum(b)
    ratio = small / large
    found = large * (ratio * ratio + 1).sqrt()
    return large.op("isinf").where(large, large.equal(0).where(large, found))


def fma(c: Ctx, a: Tensor, b: Tensor, rest: Tensor) -> Tensor:
    """``a * b + rest``."""
    a, b, rest = c.together(a, b, rest)
    return a * b + rest


enter(torch.ops.prims.fma.default, fma)


# ---- logarithms and exponentials near their zeros -----------------------------------------------------
@translates("expm1")
def expm1(c: Ctx, x: Tensor) -> Tensor:
    """e**x - 1, exact near 0 by way of the hyperbolic tangent of half of x."""
    x = x.cast(c.dtype)
    half = (x * 0.5).tanh()
    return (x.abs() < 0.5).where(2.0 * half / (1.0 - half), x.exp() - 1.0)


@translates("log1p")
def log1p(c: Ctx, x: Tensor) -> Tensor:
    """log(1 + x), exact near 0 by way of the inverse hyperbolic tangent of x / (2 + x)."""
    x = x.cast(c.dtype)
    return (x.abs() < 0.5).where(2.0 * (x / (x + 2.0)).op("atanh"), (x + 1.0).log())


@translates("log2")
def log2(c: Ctx, x: Tensor) -> Tensor:
    """Logarithm to the base 2."""
    return x.cast(c.dtype).log() * _LOG2E


@translates("log10")
def log10(c: Ctx, x: Tensor) -> Tensor:
    """Logarithm to the base 10."""
    return x.cast(c.dtype).log() / _LN10


@translates("exp2")
def exp2(c: Ctx, x: Tensor) -> Tensor:
    """2**x."""
    x = x.cast(c.dtype)
    return x.filled(2.0).op("pow", x)


@translates("ldexp.Tensor")
def ldexp(c: Ctx, x: Tensor, exponent: Tensor) -> Tensor:
    """x * 2**exponent."""
    exponent = exponent.cast(c.dtype)
    return x.cast(c.dtype) * exponent.filled(2.0).op("pow", exponent)


@translates("erfc")
def erfc(c: Ctx, x: Tensor) -> Tensor:
    """1 - erf(x)."""
    return 1.0 - x.cast(c.dtype).op("erf")


@translates("logaddexp")
def logaddexp(c: Ctx, a: Tensor, b: Tensor) -> Tensor:
    """log(e**a + e**b), without overflow."""
    a, b = c.together(a, b)
    top = a.maximum(b)
    both = (a.equal(b) & a.op("isinf")).where(top, top + (-(a - b).abs()).softplus() + 0.0)
    return both


# ---- choosing -----------------------------------------------------------------------------------------
@translates("where.self")
def where(c: Ctx, condition: Tensor, a: Tensor, b: Tensor) -> Tensor:
    """``a`` where the condition holds, else ``b``."""
    a, b = c.together(a, b)
    return truth(condition).where(a, b)


@translates("masked_fill.Scalar", "masked_fill.Tensor")
def masked_fill(c: Ctx, x: Tensor, mask: Tensor, value: Any) -> Tensor:
    """``value`` where the mask holds."""
    return truth(mask).where(c.lift(value, x.dtype), x)


@translates("isnan")
def isnan(c: Ctx, x: Tensor) -> Tensor:
    """Where elements are no numbers."""
    return x.op("isnan") if is_real(x.dtype) else c.full(x.shape, False, np.bool_)


@translates("isinf")
def isinf(c: Ctx, x: Tensor) -> Tensor:
    """Where elements are infinite."""
    return x.op("isinf") if is_real(x.dtype) else c.full(x.shape, False, np.bool_)


@translates("signbit")
def signbit(c: Ctx, x: Tensor) -> Tensor:
    """Where elements are negative, minus zero included."""
    if not is_real(x.dtype):
        return x < 0 if x.dtype.kind == "i" else c.full(x.shape, False, np.bool_)
    return (x < 0) | (x.equal(0) & (x.op("reciprocal") < 0))


