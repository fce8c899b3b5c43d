"""A graph's answer in float64, through the ops' NumPy references.

Every floating-point value is float64, whatever the graph says, so that half-precision models are judged by what they
should compute and not by another rounding of it.  Integers and bools stay as they are.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any

import numpy as np

from a1400 import dtypes
from a1400.graph.graph import Graph, Node, Value, evaluate_fused
from a1400.kernels.expr import Expr, topological

WIDE = np.dtype(np.float64)


def widen(array: np.ndarray) -> np.ndarray:
    """Floats as float64."""
    return array.astype(WIDE) if dtypes.is_float(array.dtype) else array


def _wide_dtype(dtype: np.dtype) -> np.dtype:
    return WIDE if dtypes.is_float(dtype) else np.dtype(dtype)


def widen_expr(root: Expr) -> Expr:
    """The same expression over float64."""
    made: dict[int, Expr] = {}
    for node in topological([root]):
        arguments = tuple(made[id(a)] for a in node.args)
        made[id(node)] = Expr(node.op, arguments, _wide_dtype(node.dtype), node.value)
    return made[id(root)]


def _wide_attribute(value: Any) -> Any:
    if isinstance(value, Expr):
        return widen_expr(value)
    if isinstance(value, np.dtype):
        return _wide_dtype(value)
    return value


def evaluate_wide(
    graph: Graph, feeds: Mapping[str, np.ndarray], wanted: Collection[Value] = (),
    note: Callable[[Node], None] = lambda node: None,
) -> dict[int, np.ndarray]:  # fmt: skip
    """Values by ``id``: the graph's outputs and ``wanted``.  ``note`` is called before each node.

    Other intermediate values are dropped after their last use, so memory stays near what the graph itself needs.
    """
    kept = {id(v) for v in (*graph.outputs.values(), *wanted)}
    last: dict[int, int] = {}
    for number, node in enumerate(graph.nodes):
        for value in node.inputs:
            if value is not None:
                last[id(value)] = number
    values: dict[int, np.ndarray] = {
        id(v): widen(np.asarray(feeds[name], v.dtype)) for name, v in graph.inputs.items()
    }

    def get(value: Value | None) -> np.ndarray | None:
        if value is None:
            return None
        return values[id(value)] if value.data is None else widen(value.data)

    for number, node in enumerate(graph.nodes):
        note(node)
        wide = Node(node.op, node.inputs, {k: _wide_attribute(v) for k, v in node.attrs.items()}, node.sources)
        arrays = evaluate_fused(wide, [get(v) for v in node.inputs])
        for value, array in zip(node.outputs, arrays):
            values[id(value)] = np.asarray(array).astype(_wide_dtype(value.dtype), copy=False).reshape(value.shape)
        for used in node.inputs:
            if used is not None and last[id(used)] == number and id(used) not in kept:
                values.pop(id(used), None)
    for value in (*graph.outputs.values(), *wanted):
        if id(value) not in values:
            values[id(value)] = widen(value.data) if value.data is not None else values[id(value)]
    return values
