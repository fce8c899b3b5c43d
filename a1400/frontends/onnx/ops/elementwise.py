"""Arithmetic, rounding, exponentials, trigonometry."""

from __future__ import annotations

import numpy as np

from a1400 import dtypes
from a1400.frontends.onnx.context import Ctx
from a1400.frontends.onnx.ops.registry import AS_VIEW, Translator, translates
from a1400.graph.graph import Value

_UNARY = {
    "Neg": "neg", "Abs": "abs", "Sign": "sign", "Reciprocal": "reciprocal", "Sqrt": "sqrt", "Exp": "exp", "Log": "log",
    "Sin": "sin", "Cos": "cos", "Tan": "tan", "Asin": "asin", "Acos": "acos", "Atan": "atan",
    "Sinh": "sinh", "Cosh": "cosh", "Asinh": "asinh", "Acosh": "acosh", "Atanh": "atanh",
}  # fmt: skip
_ROUNDING = {"Floor": "floor", "Ceil": "ceil", "Round": "round"}
_BINARY = {"Add": "add", "Sub": "sub", "Mul": "mul", "Div": "div"}
_VARIADIC = {"Sum": "add", "Max": "max", "Min": "min"}


def _unary(op: str) -> Translator:
    return lambda c: c.op(op, c[0])


def _binary(op: str) -> Translator:
    return lambda c: c.op(op, c[0], c[1])


def _rounding(op: str) -> Translator:
    # integers are whole already
    return lambda c: c.op(op, c[0]) if dtypes.is_float(c[0].dtype) else c[0]


def _variadic(op: str) -> Translator:
    def translate(c: Ctx) -> Value:
        first, *rest = c.tensors()
        for x in rest:
            first = c.op(op, first, x)
        return first

    return translate


for _onnx, _op in _UNARY.items():
    translates(_onnx)(_unary(_op))
for _onnx, _op in _ROUNDING.items():
    translates(_onnx)(_rounding(_op))
for _onnx, _op in _BINARY.items():
    translates(_onnx, since=7)(_binary(_op))
for _onnx, _op in _VARIADIC.items():
    translates(_onnx)(_variadic(_op))


@translates("Erf")
def erf(c: Ctx) -> Value:
    """The error function; of integers too, rounded towards zero."""
    x = c[0]
    return c.op("erf", x) if dtypes.is_float(x.dtype) else c.cast(c.op("erf", c.cast(x, np.float32)), x.dtype)


@translates("Mean")
def mean(c: Ctx) -> Value:
    """Mean of the operands."""
    total = _variadic("add")(c)
    return c.op("mul", total, c.scalar(1 / len(c), total))


@translates("Identity", runs=AS_VIEW)
def identity(c: Ctx) -> object:
    """The operand, whatever it is (sequences and absent optionals too)."""
    return c.inputs[0]


@translates("Pow", since=7)
def power(c: Ctx) -> Value:
    """``x ** y`` in the type of x; small constant exponents become multiplications and roots."""
    x, y = c[0], c[1]
    if y.data is not None and y.data.size == 1 and (x.rank >= y.rank):
        exponent = float(y.data.reshape(()))
        if exponent == 1:
            return x
        if exponent == 2:
            return c.op("mul", x, x)
        if exponent == 3:
            return c.op("mul", c.op("mul", x, x), x)
        if dtypes.is_float(x.dtype) and exponent == 0.5:
            return c.op("sqrt", x)
        if dtypes.is_float(x.dtype) and exponent == -0.5:
            return c.op("rsqrt", x)
        if dtypes.is_float(x.dtype) and exponent == -1:
            return c.op("reciprocal", x)
    if dtypes.is_int(x.dtype):
        # integer powers go through floats: exponents may be negative or fractions
        wide = np.float64 if x.dtype.itemsize == 8 else np.float32
        return c.cast(c.op("pow", c.cast(x, wide), c.cast(y, wide)), x.dtype)
    return c.op("pow", x, c.cast(y, x.dtype))


@translates("Mod")
def mod(c: Ctx) -> Value:
    """Remainder with the divisor's sign, or C's fmod."""
    return c.op("fmod" if c.flag("fmod") else "mod", c[0], c[1])


@translates("Clip")
def clip_attributes(c: Ctx) -> Value:
    """Bounds as attributes."""
    x = c[0]
    low, high = c.attr("min", None, float), c.attr("max", None, float)
    return _clip(c, x, None if low is None else c.scalar(low, x), None if high is None else c.scalar(high, x))


@translates("Clip", since=11)
def clip(c: Ctx) -> Value:
    """Bounds as optional inputs."""
    return _clip(c, c[0], c.opt(1), c.opt(2))


def _clip(c: Ctx, x: Value, low: Value | None, high: Value | None) -> Value:
    x = x if low is None else c.op("max", x, low)
    return x if high is None else c.op("min", x, high)
