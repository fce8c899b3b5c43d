"""Small vocabulary for patterns."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from a1400 import dtypes
from a1400.graph.graph import Node, Value
from a1400.optimizer.scalars import split_uniform, uniform


def is_single(dtype: np.dtype) -> bool:
    """True for the floating types that the whole-op kernels are for: all but double."""
    return dtypes.is_float(dtype) and dtype.itemsize < 8


def made_by(value: Value | None, *ops: str) -> Node | None:
    """The node that computes ``value`` when it is one of ``ops``."""
    node = value.producer if value is not None else None
    return node if node is not None and node.op in ops else None


def operand(node: Node, index: int = 0) -> Value:
    """An operand that is there."""
    value = node.inputs[index]
    assert value is not None
    return value


def either_way(node: Node) -> Iterator[tuple[Value, Value]]:
    """Both orders of a commutative node's operands."""
    a, b = operand(node, 0), operand(node, 1)
    yield a, b
    yield b, a


def without_reshape(value: Value) -> Value:
    """What is behind reshapes."""
    while (node := made_by(value, "reshape")) is not None:
        value = operand(node)
    return value


def scalar_factor(node: Node) -> tuple[Value, float] | None:
    """(x, c) of a node that computes ``x * c`` or ``x / c`` with a constant number, in the shape of x."""
    if node.op not in ("mul", "div"):
        return None
    found = split_uniform(node)
    if found is None or found[0].shape != node.output.shape or (node.op == "div" and (found[2] == 0 or found[1] == 0)):
        return None
    return found[0], (float(found[1]) if node.op == "mul" else 1 / float(found[1]))


def plus_number(value: Value) -> tuple[Value, float] | None:
    """(x, c) when ``value = x + c`` with a constant number."""
    node = made_by(value, "add")
    if node is None:
        return None
    found = split_uniform(node)
    return (found[0], float(found[1])) if found is not None else None


def is_number(value: Value | None, number: float, tolerance: float = 1e-3) -> bool:
    """True when ``value`` is a constant number close to ``number``."""
    found = uniform(value)
    return found is not None and abs(float(found) - number) <= tolerance * max(abs(number), 1e-3)
