"""When two graphs are the same but for the names of their inputs and outputs."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

import numpy as np

from a1400.graph.graph import Graph, Value

#: bytes of a constant up to which its contents are compared; larger ones must be the same array
_SMALL = 4096


def likeness(graph: Graph) -> tuple[Hashable, list[np.ndarray]] | None:
    """What is equal for graphs that compute the same of their inputs, taken in order, for the same model nodes.

    With it come the arrays it knows by identity, to be kept alive as long as it is.  None for a graph with an attribute
    that cannot be compared.
    """
    places: dict[int, Hashable] = {}
    arrays: list[np.ndarray] = []

    def place(value: Value | None) -> Hashable:
        if value is None or value.data is None:
            return None if value is None else places[id(value)]
        if value.data.nbytes <= _SMALL and value.dtype != object:
            return "constant", value.shape, value.dtype, value.data.tobytes()
        arrays.append(value.data)
        return "array", value.shape, value.dtype, id(value.data)

    told: list[Hashable] = []
    for number, value in enumerate(graph.inputs.values()):
        places[id(value)] = "input", number
        told.append((value.shape, value.dtype))
    try:
        for number, node in enumerate(graph.nodes):
            inputs = tuple(place(v) for v in node.inputs)
            told.append((node.op, _frozen(node.attrs), inputs, node.sources))
            for output, value in enumerate(node.outputs):
                places[id(value)] = number, output
    except TypeError:
        return None
    return (*told, *(place(v) for v in graph.outputs.values())), arrays


def _frozen(value: Any) -> Hashable:
    """A hashable form of an attribute; raises ``TypeError`` for what has none."""
    if isinstance(value, dict):
        return tuple((key, _frozen(item)) for key, item in sorted(value.items()))
    if isinstance(value, (list, tuple)):
        return tuple(map(_frozen, value))
    if isinstance(value, np.ndarray):
        return value.shape, value.dtype, value.tobytes()
    hash(value)
    return value
