"""The table of elementwise operations: result type, NumPy reference, C text.

``c`` is a format string over ``{0} {1} {2}`` that must be valid for scalars in both languages *and* for
OpenCL vectors; ``a_*`` names come from the preludes.  Comparisons yield a mask: 0/1 for scalars, 0/-1
lanes for OpenCL vectors; only ``where``, the logical operations and ``cast`` consume masks.
``{t}`` in a format string stands for the register type at the width being printed (for literals).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from a1400 import dtypes
from a1400.kernels import philox

BOOL = np.dtype(np.bool_)


@dataclass(frozen=True)
class PointwiseOp:
    """One elementwise operation.  ``flops`` is what the roofline counts for it.

    ``takes`` says which operands its C text is right for: "all", "floats", or "bits" (integers and bool).
    """

    name: str
    arity: int
    c: str
    reference: Callable[..., Any]
    boolean: bool = False
    flops: int = 1
    takes: str = "all"

    def result_dtype(self, args: Sequence[np.dtype]) -> np.dtype:
        """Result type from operand types; operands must agree (``where``: behind a condition that is bool).

        Raises ``TypeError`` for operands that the operation does not take.
        """
        if len(args) != self.arity:
            raise TypeError(f"{self.name} takes {self.arity} operands, got {len(args)}")
        same = args[1:] if self.name == "where" else args
        if any(a != same[0] for a in same):
            raise TypeError(f"{self.name} needs operands of one dtype, got {[str(a) for a in args]}")
        if self.name == "where" and args[0] != BOOL:
            raise TypeError(f"{self.name} needs a condition of bool, not {args[0]}")
        if self.takes != "all" and dtypes.is_float(np.dtype(same[0])) != (self.takes == "floats"):
            kinds = {"floats": "floating-point operands", "bits": "operands of integers or bool"}
            raise TypeError(f"{self.name} needs {kinds[self.takes]}, not {same[0]}")
        return BOOL if self.boolean else np.dtype(same[0])


OPS: dict[str, PointwiseOp] = {}


def _op(name: str, arity: int, c: str, reference: Callable[..., Any], *, boolean: bool = False, flops: int = 1,
        takes: str = "all") -> None:  # fmt: skip
    OPS[name] = PointwiseOp(name, arity, c, reference, boolean, flops, takes)


def _erf(x: np.ndarray) -> np.ndarray:
    # NumPy has no erf: Python's own, exact to float64, element by element.
    import math

    return np.vectorize(math.erf, otypes=[np.float64])(x).astype(x.dtype)


def _sigmoid(x: np.ndarray) -> np.ndarray:
    e = np.exp(-np.abs(x))
    return np.where(x >= 0, 1 / (1 + e), e / (1 + e))


def _int_div(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """C division: integers truncate toward zero; division by zero gives 0 (undefined in C)."""
    if np.issubdtype(np.asarray(a).dtype, np.floating):
        return a / b
    safe = np.where(b == 0, 1, b)
    quotient = np.floor_divide(a, safe)
    remainder = a - quotient * safe
    return np.where(b == 0, 0, quotient + ((remainder != 0) & ((a < 0) != (safe < 0))))


def _pow(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Power; integers wrap, and a negative exponent gives what rounding toward zero leaves (0, 1 or -1)."""
    if not np.issubdtype(np.asarray(a).dtype, np.integer):
        return np.power(a, b)
    if np.issubdtype(np.asarray(b).dtype, np.unsignedinteger):
        return np.power(a, b)
    inverse = np.where(a == 1, 1, np.where(a == -1, 1 - 2 * (b & 1), 0))
    return np.where(b < 0, inverse, np.power(a, np.maximum(b, 0)))


# arithmetic
_op("add", 2, "({0} + {1})", np.add)
_op("sub", 2, "({0} - {1})", np.subtract)
_op("mul", 2, "({0} * {1})", np.multiply)
_op("div", 2, "a_div({0}, {1})", _int_div)
_op("neg", 1, "(-{0})", np.negative)
_op("abs", 1, "a_abs({0})", np.abs)
_op("sign", 1, "a_sign({0})", np.sign)
_op("reciprocal", 1, "({t}(1) / {0})", lambda x: 1 / x)
_op("max", 2, "a_max({0}, {1})", np.maximum)  # NaN in either operand gives NaN, as NumPy and ONNX
_op("min", 2, "a_min({0}, {1})", np.minimum)
_op("mod", 2, "a_mod({0}, {1})", np.mod)  # sign of the divisor (Python's %)
_op("fmod", 2, "a_fmod({0}, {1})", np.fmod)  # sign of the dividend (C's %)
_op("pow", 2, "a_pow({0}, {1})", _pow, flops=10)
_op("normalize", 4, "(({0} - {1}) * {2} + {3})", lambda x, mean, factor, shift: (x - mean) * factor + shift, flops=3)
# rounding
_op("floor", 1, "floor({0})", np.floor, takes="floats")
_op("ceil", 1, "ceil({0})", np.ceil, takes="floats")
_op("round", 1, "rint({0})", np.rint, takes="floats")  # half to even
_op("trunc", 1, "trunc({0})", np.trunc, takes="floats")
# exponentials
_op("sqrt", 1, "sqrt({0})", np.sqrt, takes="floats")
_op("rsqrt", 1, "({t}(1) / sqrt({0}))", lambda x: 1 / np.sqrt(x), flops=2, takes="floats")
_op("exp", 1, "a_exp({0})", np.exp, flops=8, takes="floats")
_op("log", 1, "a_log({0})", np.log, flops=8, takes="floats")
_op("tanh", 1, "a_tanh({0})", np.tanh, flops=10, takes="floats")
_op("sigmoid", 1, "a_sigmoid({0})", _sigmoid, flops=10, takes="floats")
_op("erf", 1, "a_erf({0})", _erf, flops=12, takes="floats")
_op("softplus", 1, "a_softplus({0})", lambda x: np.logaddexp(x, 0).astype(x.dtype), flops=16, takes="floats")
# trigonometry
for _name, _ref in {
    "sin": np.sin, "cos": np.cos, "tan": np.tan, "asin": np.arcsin, "acos": np.arccos, "atan": np.arctan,
    "sinh": np.sinh, "cosh": np.cosh, "asinh": np.arcsinh, "acosh": np.arccosh, "atanh": np.arctanh,
}.items():  # fmt: skip
    _op(_name, 1, f"{_name}({{0}})", _ref, flops=10, takes="floats")
_op("atan2", 2, "atan2({0}, {1})", np.arctan2, flops=12, takes="floats")
# comparisons
_op("eq", 2, "({0} == {1})", np.equal, boolean=True)
_op("ne", 2, "({0} != {1})", np.not_equal, boolean=True)
_op("lt", 2, "({0} < {1})", np.less, boolean=True)
_op("le", 2, "({0} <= {1})", np.less_equal, boolean=True)
_op("gt", 2, "({0} > {1})", np.greater, boolean=True)
_op("ge", 2, "({0} >= {1})", np.greater_equal, boolean=True)
_op("isnan", 1, "({0} != {0})", np.isnan, boolean=True, takes="floats")
_op("isinf", 1, "a_isinf({0})", np.isinf, boolean=True, takes="floats")
# logic on masks
_op("and", 2, "({0} & {1})", np.logical_and, boolean=True, takes="bits")
_op("or", 2, "({0} | {1})", np.logical_or, boolean=True, takes="bits")
_op("xor", 2, "({0} ^ {1})", np.logical_xor, boolean=True, takes="bits")
_op("not", 1, "a_not({0})", np.logical_not, boolean=True, takes="bits")
_op("where", 3, "a_where({0}, {1}, {2})", np.where)
# bits
_op("bit_and", 2, "({0} & {1})", np.bitwise_and, takes="bits")
_op("bit_or", 2, "({0} | {1})", np.bitwise_or, takes="bits")
_op("bit_xor", 2, "({0} ^ {1})", np.bitwise_xor, takes="bits")
_op("bit_not", 1, "(~{0})", np.bitwise_not, takes="bits")
_op("shl", 2, "({0} << {1})", np.left_shift, takes="bits")
_op("shr", 2, "({0} >> {1})", np.right_shift, takes="bits")
# random bits: word 0 .. 3 of the Philox block of a counter (four words) under a key (two), all uint32
for _word in range(4):
    _text = f"a_philox({_word}, {{0}}, {{1}}, {{2}}, {{3}}, {{4}}, {{5}})"
    _op(f"philox{_word}", 6, _text, philox.word(_word), flops=80)
