"""Comparisons, logic, bits, selection."""

from __future__ import annotations

import numpy as np

from a1400.frontends.onnx.context import Ctx
from a1400.frontends.onnx.ops.registry import MAYBE_STRINGS, Translator, translates
from a1400.graph.graph import Value

_BOOL = np.dtype(np.bool_)
_COMPARE = {"Greater": "gt", "Less": "lt", "GreaterOrEqual": "ge", "LessOrEqual": "le"}
_LOGIC = {
    "And": "and",
    "Or": "or",
    "Xor": "xor",
    "BitwiseAnd": "bit_and",
    "BitwiseOr": "bit_or",
    "BitwiseXor": "bit_xor",
}


def _binary(op: str) -> Translator:
    return lambda c: c.op(op, c[0], c[1])


for _onnx, _op in {**_COMPARE, **_LOGIC}.items():
    translates(_onnx, since=7)(_binary(_op))
translates("Not")(lambda c: c.op("not", c[0]))
translates("BitwiseNot")(lambda c: c.op("bit_not", c[0]))
translates("IsNaN")(lambda c: c.op("isnan", c[0]))


@translates("Equal", since=7, runs=MAYBE_STRINGS)
def equal(c: Ctx) -> Value:
    """Equality; of truth values it is the negated exclusive or (masks are not numbers in kernels)."""
    if c[0].dtype == _BOOL:
        return c.op("not", c.op("xor", c[0], c[1]))
    return c.op("eq", c[0], c[1])


@translates("IsInf")
def is_inf(c: Ctx) -> Value:
    """Infinite, of the signs asked for."""
    x = c[0]
    negative, positive = c.flag("detect_negative", True), c.flag("detect_positive", True)
    if negative and positive:
        return c.op("isinf", x)
    if not negative and not positive:
        return c.op("and", c.op("isinf", x), c.scalar(False, _BOOL))
    return c.op("eq", x, c.scalar(np.inf if positive else -np.inf, x))


@translates("Where")
def where(c: Ctx) -> Value:
    """Selection."""
    return select(c, c[0], c[1], c[2])


def select(c: Ctx, condition: Value, yes: Value, no: Value) -> Value:
    """``where``, by logic for truth values (masks are not numbers in kernels)."""
    if yes.dtype == _BOOL:
        return c.op("or", c.op("and", condition, yes), c.op("and", c.op("not", condition), no))
    return c.op("where", condition, yes, no)


@translates("BitShift")
def bit_shift(c: Ctx) -> Value:
    """Left or right shift; by less than nothing or the whole width leaves nothing, or the sign of a right shift."""
    x, y = c[0], c[1]
    left = c.text("direction") == "LEFT"
    zero, width = c.scalar(0, y), 8 * y.dtype.itemsize
    inside = c.op("lt", y, c.scalar(width, y))
    if y.dtype.kind == "i":
        inside = c.op("and", inside, c.op("ge", y, zero))
    shifted = c.op("shl" if left else "shr", x, c.op("where", inside, y, zero))
    rest: Value = c.scalar(0, x)
    if not left and x.dtype.kind == "i":
        rest = c.op("where", c.op("lt", x, rest), c.scalar(-1, x), rest)
    return c.op("where", inside, shifted, rest)
