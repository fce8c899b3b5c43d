"""Operations of ``keras.ops`` in functional models: arithmetic on symbolic tensors and what models commonly call."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from a1400.graph.tensor import Tensor
from a1400.keras.layers.activations import FUNCTIONS, gelu, relu, softmax_over
from a1400.keras.layers.core import einsum
from a1400.keras.registry import converts_operation
from a1400.keras.tracing import F32, Call
from a1400.ops.registry import is_real


def _pair(c: Call) -> tuple[Tensor, Tensor]:
    """Both operands in one dtype: a number or integer takes on the other's floating one."""
    given = list(c.arguments.values())[:2]
    tensors = [v for v in given if isinstance(v, Tensor)]
    real = any(is_real(t.dtype) for t in tensors) or any(isinstance(v, float) for v in given)
    dtype = F32 if real else tensors[0].dtype
    a, b = (c.lift(v).cast(dtype) if isinstance(v, Tensor) else c.constant(np.asarray(v), dtype) for v in given)
    return a, b


_BINARY: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "Add": lambda a, b: a + b,
    "Divide": lambda a, b: a.cast(F32) / b.cast(F32),
    "Equal": lambda a, b: a.equal(b),
    "Greater": lambda a, b: a > b,
    "GreaterEqual": lambda a, b: a >= b,
    "Less": lambda a, b: a < b,
    "LessEqual": lambda a, b: a <= b,
    "LogicalAnd": lambda a, b: a.cast(bool).op("and", b.cast(bool)),
    "LogicalOr": lambda a, b: a.cast(bool).op("or", b.cast(bool)),
    "Matmul": lambda a, b: a @ b,
    "Maximum": lambda a, b: a.op("max", b),
    "Minimum": lambda a, b: a.op("min", b),
    "Multiply": lambda a, b: a * b,
    "NotEqual": lambda a, b: a.op("ne", b),
    "Power": lambda a, b: a**b,
    "Subtract": lambda a, b: a - b,
    "TrueDivide": lambda a, b: a.cast(F32) / b.cast(F32),
}

_UNARY: dict[str, Callable[[Tensor], Tensor]] = {
    "Abs": lambda x: x.abs(),
    "Absolute": lambda x: x.abs(),
    "Cos": lambda x: x.op("cos"),
    "Erf": lambda x: x.op("erf"),
    "Exp": lambda x: x.exp(),
    "Log": lambda x: x.log(),
    "Negative": lambda x: -x,
    "Reciprocal": lambda x: 1.0 / x,
    "Rsqrt": lambda x: x.rsqrt(),
    "Sign": lambda x: x.sign(),
    "Sin": lambda x: x.op("sin"),
    "Sqrt": lambda x: x.sqrt(),
    "Square": lambda x: x * x,
    "Tanh": FUNCTIONS["tanh"],
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
    for name, kind in {"Mean": "mean", "Sum": "sum", "Max": "max", "Min": "min"}.items():
        converts_operation(name)(lambda c, kind=kind: _reduced(c, kind))  # type: ignore[misc]


def _reduced(c: Call, kind: str) -> Tensor:
    axis = c.option("axis")
    axes = None if axis is None else ((axis,) if isinstance(axis, int) else tuple(axis))
    x = c.real if kind == "mean" else c.x
    return x.reduce(kind, axes, keepdims=bool(c.option("keepdims", False)))


_enter()


@converts_operation("Gelu")
def _gelu(c: Call) -> Tensor:
    return gelu(c.real, bool(c.layer.approximate))


@converts_operation("Softmax")
def _softmax(c: Call) -> Tensor:
    axis = c.layer.axis
    x = c.real
    return softmax_over(x, list(range(x.rank)) if axis is None else [axis] if isinstance(axis, int) else list(axis))


@converts_operation("LeakyRelu")
def _leaky(c: Call) -> Tensor:
    return relu(c.real, float(c.layer.negative_slope))


@converts_operation("Cast")
def _cast(c: Call) -> Tensor:
    dtype = str(c.layer.dtype)
    if dtype in ("float16", "bfloat16", "float64"):
        c.refuse(f"it casts to {dtype}; only float32 is supported")
    return c.x.cast(dtype)


@converts_operation("Clip")
def _clip(c: Call) -> Tensor:
    return c.real.op("max", float(c.layer.x_min)).op("min", float(c.layer.x_max))


@converts_operation("Concatenate")
def _concatenate(c: Call) -> Tensor:
    first, *rest = c.many
    return first.op("concat", *rest, axis=c.layer.axis % first.rank) if rest else first


@converts_operation("Stack")
def _stack(c: Call) -> Tensor:
    parts = c.many
    axis = c.layer.axis % (parts[0].rank + 1)
    wide = [x.reshape((*x.shape[:axis], 1, *x.shape[axis:])) for x in parts]
    return wide[0].op("concat", *wide[1:], axis=axis) if len(wide) > 1 else wide[0]


@converts_operation("Reshape")
def _reshape(c: Call) -> Tensor:
    """A size that is not known (None) is the batch's."""
    x, shape = c.x, [x if isinstance(x, int) else -1 for x in c.layer.newshape]
    if -1 in shape:
        rest = int(np.prod([n for n in shape if n != -1]))
        shape[shape.index(-1)] = x.value.size // max(rest, 1)
    return x.reshape(shape)


@converts_operation("Transpose")
def _transpose(c: Call) -> Tensor:
    x = c.x
    return x.transpose(c.layer.axes if c.layer.axes is not None else range(x.rank)[::-1])


@converts_operation("SwapAxes", "Swapaxes")
def _swap(c: Call) -> Tensor:
    return c.x.swap(c.layer.axis1, c.layer.axis2)


@converts_operation("ExpandDims")
def _expand_dims(c: Call) -> Tensor:
    x = c.x
    axes = [c.layer.axis] if isinstance(c.layer.axis, int) else list(c.layer.axis)
    shape = list(x.shape)
    for axis in sorted(a % (x.rank + len(axes)) for a in axes):
        shape.insert(axis, 1)
    return x.reshape(shape)


@converts_operation("Squeeze")
def _squeeze(c: Call) -> Tensor:
    x, axis = c.x, c.layer.axis
    axes = [d for d, n in enumerate(x.shape) if n == 1] if axis is None else np.atleast_1d(axis) % x.rank
    return x.reshape([n for d, n in enumerate(x.shape) if d not in set(axes)])


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


@converts_operation("GetItem")
def _get_item(c: Call) -> Tensor:
    """Integers, slices with any step, ``None`` and ``...``."""
    x, key = c.x, c.arguments["key"]
    keys = list(key) if isinstance(key, tuple) else [key]
    if any(not isinstance(k, (int, slice, type(None), type(Ellipsis))) for k in keys):
        c.refuse("indexing with tensors is not supported")
    used = sum(isinstance(k, (int, slice)) for k in keys)
    if Ellipsis in keys:
        at = keys.index(Ellipsis)
        keys[at : at + 1] = [slice(None)] * (x.rank - used)
    else:
        keys += [slice(None)] * (x.rank - used)
    starts, sizes, steps, shape, axis = [], [], [], [], 0
    for k in keys:
        if k is None:
            shape.append(1)
            continue
        size = x.shape[axis]
        if isinstance(k, int):
            start, count, step = k % size, 1, 1
        else:
            start, stop, step = k.indices(size)
            count = len(range(start, stop, step))
            shape.append(count)
        starts.append(start if count else 0)
        sizes.append(count)
        steps.append(step)
        axis += 1
    return x.slice(starts, sizes, steps).reshape(shape)
