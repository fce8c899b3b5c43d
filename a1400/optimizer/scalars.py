"""Looking at constants: uniform values and the constant operand of a binary operation."""

from __future__ import annotations

import numpy as np

from a1400.graph.graph import Node, Value

#: larger constants are not searched for being uniform, unless they are one element spread over a shape
SEARCH_LIMIT = 1 << 14


def uniform(value: Value | None) -> float | int | bool | None:
    """The Python scalar that every element of a constant equals, else None."""
    if value is None or value.data is None or not value.size:
        return None
    data = value.data
    first = data.flat[0]
    if data.size > 1 and not is_spread(data) and (data.size > SEARCH_LIMIT or not np.all(data == first)):
        return None
    if data.dtype == np.bool_:
        return bool(first)
    return int(first) if data.dtype.kind in "iu" else float(first)


def is_spread(data: np.ndarray) -> bool:
    """Whether an array is one element, seen many times."""
    return all(stride == 0 or size == 1 for stride, size in zip(data.strides, data.shape))


def is_uniform(value: Value | None, number: float) -> bool:
    """True when ``value`` is a constant whose every element equals ``number``."""
    found = uniform(value)
    return found is not None and found == number


def split_constant(node: Node) -> tuple[Value, Value, int] | None:
    """(operand, constant, position of the constant) of a binary node with exactly one constant operand."""
    if len(node.inputs) != 2:
        return None
    a, b = node.inputs
    assert a is not None and b is not None
    if b.data is not None and a.data is None:
        return a, b, 1
    if a.data is not None and b.data is None:
        return b, a, 0
    return None


def split_uniform(node: Node) -> tuple[Value, float, int] | None:
    """As :func:`split_constant` for a constant all of whose elements are equal."""
    found = split_constant(node)
    if found is None:
        return None
    number = uniform(found[1])
    return None if number is None else (found[0], number, found[2])
