"""Operations of ``keras.ops`` in functional models: arithmetic on symbolic tensors and what models commonly call."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from a1400.graph.tensor import Tensor
from a1400.keras.layers.activations import FUNCTIONS, relu
from a1400.keras.layers.core import einsum
from a1400.keras.registry import converts_operation
from a1400.keras.tracing import F32, Call
from a1400.ops.registry import is_real
from a1400.train.reductions import divide_no_nan


def _pair(c: Call) -> tuple[Tensor, Tensor]:
    """Both operands in one dtype: a number or integer takes on the other's floating one."""
    given = [v if isinstance(v, (bool, int, float)) else c.lift(v) for v in list(c.arguments.values())[:2]]
    tensors = [v for v in given if isinstance(v, Tensor)]
    real = any(is_real(t.dtype) for t in tensors) or any(isinstance(v, float) for v in given)
    whole = [t.dtype for t in tensors if t.dtype != bool]
    if not whole and any(type(v) is int for v in given):
        whole = [np.dtype(np.int32)]
    dtype = F32 if real else np.result_type(*whole) if whole else tensors[0].dtype
    a, b = (v.cast(dtype) if isinstance(v, Tensor) else c.constant(np.asarray(v), dtype) for v in given)
    return a, b


def axes_of(c: Call, rank: int) -> tuple[int, ...]:
    """The operation's ``axis`` as a tuple of axes counted from the front; all of them when it is None."""
    axis = c.option("axis")
    given = range(rank) if axis is None else (axis,) if isinstance(axis, int) else axis
    return tuple(int(a) % rank for a in given)


_BINARY: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "Add": lambda a, b: a + b,
    "Arctan2": lambda a, b: a.cast(F32).op("atan2", b.cast(F32)),
    "Divide": lambda a, b: a.cast(F32) / b.cast(F32),
    "DivideNoNan": lambda a, b: divide_no_nan(a.cast(F32), b.cast(F32)),
    "Equal": lambda a, b: a.equal(b),
    "FloorDivide": lambda a, b: (a / b).floor() if is_real(a.dtype) else _whole_quotient(a, b),
    "Greater": lambda a, b: a > b,
    "GreaterEqual": lambda a, b: a >= b,
    "Less": lambda a, b: a < b,
    "LessEqual": lambda a, b: a <= b,
    "LogicalAnd": lambda a, b: a.cast(bool).op("and", b.cast(bool)),
    "LogicalOr": lambda a, b: a.cast(bool).op("or", b.cast(bool)),
    "LogicalXor": lambda a, b: a.cast(bool).op("xor", b.cast(bool)),
    "Logaddexp": lambda a, b: a.maximum(b) + (-(a - b).abs()).softplus(),
    "Matmul": lambda a, b: a @ b,
    "Maximum": lambda a, b: a.op("max", b),
    "Minimum": lambda a, b: a.op("min", b),
    "Mod": lambda a, b: a.op("mod", b),
    "Multiply": lambda a, b: a * b,
    "NotEqual": lambda a, b: a.op("ne", b),
    "Power": lambda a, b: a**b,
    "SquaredDifference": lambda a, b: (a - b).square(),
    "Subtract": lambda a, b: a - b,
    "TrueDivide": lambda a, b: a.cast(F32) / b.cast(F32),
}

_UNARY: dict[str, Callable[[Tensor], Tensor]] = {
    "Abs": lambda x: x.abs(),
    "Absolute": lambda x: x.abs(),
    "Arccos": lambda x: x.op("acos"),
    "Arccosh": lambda x: x.op("acosh"),
    "Arcsin": lambda x: x.op("asin"),
    "Arcsinh": lambda x: x.op("asinh"),
    "Arctan": lambda x: x.op("atan"),
    "Arctanh": lambda x: x.op("atanh"),
    "Ceil": lambda x: x.op("ceil"),
    "Cos": lambda x: x.op("cos"),
    "Cosh": lambda x: x.op("cosh"),
    "Erf": lambda x: x.op("erf"),
    "Erfc": lambda x: 1.0 - x.op("erf"),
    "Exp": lambda x: x.exp(),
    "Exp2": lambda x: (x * math.log(2.0)).exp(),
    "Expm1": lambda x: x.exp() - 1.0,
    "Floor": lambda x: x.floor(),
    "Isfinite": lambda x: x.is_finite(),
    "Isinf": lambda x: x.op("isinf"),
    "Isnan": lambda x: x.op("isnan"),
    "Log": lambda x: x.log(),
    "Log10": lambda x: x.log() * (1.0 / math.log(10.0)),
    "Log1p": lambda x: (x + 1.0).log(),
    "Log2": lambda x: x.log() * (1.0 / math.log(2.0)),
    "Negative": lambda x: -x,
    "Reciprocal": lambda x: 1.0 / x,
    "Rsqrt": lambda x: x.rsqrt(),
    "Sign": lambda x: x.sign(),
    "Sin": lambda x: x.op("sin"),
    "Sinh": lambda x: x.op("sinh"),
    "Sqrt": lambda x: x.sqrt(),
    "Square": lambda x: x * x,
    "Tan": lambda x: x.op("tan"),
    "Tanh": FUNCTIONS["tanh"],
    "Trunc": lambda x: x.op("trunc"),
    "LogSigmoid": FUNCTIONS["log_sigmoid"],
    "Mish": FUNCTIONS["mish"],
    "HardTanh": FUNCTIONS["hard_tanh"],
    "SparsePlus": FUNCTIONS["sparse_plus"],
    "SparseSigmoid": FUNCTIONS["sparse_sigmoid"],
    "TanhShrink": FUNCTIONS["tanh_shrink"],
    "Sigmoid": FUNCTIONS["sigmoid"],
    "Silu": FUNCTIONS["silu"],
    "Softplus": FUNCTIONS["softplus"],
    "Softsign": FUNCTIONS["softsign"],
    "Selu": FUNCTIONS["selu"],
    "Relu": relu,
    "Relu6": FUNCTIONS["relu6"],
    "HardSigmoid": FUNCTIONS["hard_sigmoid"],
    "HardSilu": FUNCTIONS["hard_silu"],
}


def _enter() -> None:
    for name, both in _BINARY.items():
        converts_operation(name)(lambda c, both=both: both(*_pair(c)))  # type: ignore[misc]
    for name, one in _UNARY.items():
        converts_operation(name)(lambda c, one=one: one(c.real))  # type: ignore[misc]
    for name, kind in _REDUCTIONS.items():
        converts_operation(name)(lambda c, kind=kind: _reduced(c, kind))  # type: ignore[misc]


_REDUCTIONS = {
    "All": "all", "Amax": "max", "Amin": "min", "Any": "any", "Logsumexp": "logsumexp", "Max": "max", "Mean": "mean",
    "Min": "min", "Prod": "prod", "Sum": "sum",
}  # fmt: skip


def _reduced(c: Call, kind: str) -> Tensor:
    x = c.real if kind in ("mean", "logsumexp") else c.lift(c.first)
    if kind in ("any", "all"):
        x = x.cast(bool)
    elif x.dtype == bool:
        x = x.cast(np.int32)
    return x.reduce(kind, axes_of(c, x.rank), keepdims=bool(c.option("keepdims", False)))


def _whole_quotient(a: Tensor, b: Tensor) -> Tensor:
    """Rounded down: what is left over has the divisor's sign."""
    return (a - a.op("mod", b)) / b


_enter()


@converts_operation("Argmax", "Argmin")
def _arg(c: Call) -> Tensor:
    x, axis = c.x, c.layer.axis
    kind, keep = type(c.layer).__name__.lower(), bool(c.layer.keepdims)
    if axis is None:
        found = x.reshape((x.value.size,)).op("arg_reduce", kind=kind, axis=0, keepdims=False, select_last=False)
        return found.cast(np.int32).reshape((1,) * x.rank if keep else ())
    found = x.op("arg_reduce", kind=kind, axis=axis % x.rank, keepdims=keep, select_last=False)
    return found.cast(np.int32)


@converts_operation("Std", "Var")
def _spread(c: Call) -> Tensor:
    x = c.real
    axes = axes_of(c, x.rank)
    found = (x - x.mean(axes, keepdims=True)).square().mean(axes, keepdims=bool(c.layer.keepdims))
    return found if type(c.layer).__name__ == "Var" else found.sqrt()


@converts_operation("Moments")
def _moments(c: Call) -> tuple[Tensor, Tensor]:
    x, keep = c.real, bool(c.layer.keepdims)
    axes = tuple(np.atleast_1d(c.layer.axes) % x.rank)
    variance = (x - x.mean(axes, keepdims=True)).square().mean(axes, keepdims=keep)
    return x.mean(axes, keepdims=keep), variance


@converts_operation("CountNonzero")
def _count(c: Call) -> Tensor:
    x = c.x
    return x.cast(bool).cast(np.int32).sum(axes_of(c, x.rank))


@converts_operation("Average")
def _average(c: Call) -> Tensor:
    x, weights = c.real, c.given("weights")
    axes = axes_of(c, x.rank)
    if weights is None:
        return x.mean(axes)
    w = c.lift(weights).cast(F32)
    if w.rank < x.rank:
        w = w.reshape([x.shape[d] if d in axes else 1 for d in range(x.rank)])
    return (x * w).sum(axes) / w.expand(x.shape).sum(axes)


@converts_operation("Cumsum", "Cumprod")
def _cumulated(c: Call) -> Tensor:
    x, axis = c.x, c.layer.axis
    x = x.cast(np.int32) if x.dtype == bool else x
    x = x.reshape((x.value.size,)) if axis is None else x
    kind = type(c.layer).__name__.lower().removeprefix("cum")
    return x.op("cumulate", kind=kind, axis=(axis or 0) % x.rank, exclusive=False, reverse=False)


@converts_operation("Norm")
def _norm(c: Call) -> Tensor:
    x, order, axis = c.real, c.layer.ord, c.layer.axis
    axes, keep = axes_of(c, x.rank), bool(c.layer.keepdims)
    if order not in (None, "fro", 1, 2) or (len(axes) == 2 and axis is not None and order in (1, 2)):
        c.refuse(f"the norm of order {order!r} is not supported")
    return x.reduce("l1" if order == 1 else "l2", axes, keepdims=keep)


@converts_operation("LogicalNot")
def _not(c: Call) -> Tensor:
    return ~c.x.cast(bool)


@converts_operation("Round")
def _round(c: Call) -> Tensor:
    scale = 10.0 ** int(c.option("decimals", 0))
    return c.x.op("round") if scale == 1 else (c.real * scale).op("round") / scale


@converts_operation("Isclose")
def _close(c: Call) -> Tensor:
    a, b = _pair(c)
    a, b = a.cast(F32), b.cast(F32)
    return (a - b).abs() <= b.abs() * float(c.given("rtol", 1e-5)) + float(c.given("atol", 1e-8))


@converts_operation("Cast")
def _cast(c: Call) -> Tensor:
    dtype = str(c.layer.dtype)
    if dtype in ("float16", "bfloat16", "float64"):
        c.refuse(f"it casts to {dtype}; only float32 is supported")
    return c.x.cast(dtype)


@converts_operation("Clip")
def _clip(c: Call) -> Tensor:
    return c.real.op("max", float(c.layer.x_min)).op("min", float(c.layer.x_max))


@converts_operation("Where")
def _where(c: Call) -> Tensor:
    condition, yes, no = (c.lift(c.arguments[name]) for name in ("condition", "x1", "x2"))
    if yes.dtype != no.dtype:
        yes, no = yes.cast(F32), no.cast(F32)
    return condition.cast(bool).where(yes, no)


@converts_operation("Einsum")
def _einsum(c: Call) -> Tensor:
    operands = [c.lift(v) for v in _flat_operands(c)]
    if len(operands) != 2:
        c.refuse("only einsum of two operands is supported")
    return einsum(c, c.layer.subscripts, *operands)


def _flat_operands(c: Call) -> list[Any]:
    found: list[Any] = []
    for value in c.arguments.values():
        found += list(value) if isinstance(value, (list, tuple)) else [value]
    return found
