"""Strings that are only known at run time, moved by the device: it moves their places in a table."""

from __future__ import annotations

import numpy as np

from a1400.errors import GraphError
from a1400.frontends.onnx.context import Ctx, Item, Spelled
from a1400.graph.graph import Value

_OBJECT, _I32 = np.dtype(object), np.dtype(np.int32)
_FIRST = ("Expand", "Flatten", "Gather", "GatherElements", "GatherND", "Identity", "Reshape", "Slice", "Split",
          "Squeeze", "Tile", "Transpose", "Unsqueeze")  # fmt: skip
#: operators that move elements -> the inputs they take them from; None: all
_MOVES: dict[tuple[str, str], tuple[int, ...] | None] = {
    **{("", op): (0,) for op in _FIRST}, ("", "Where"): (1, 2), ("", "Concat"): None,
    ("ai.onnx.ml", "ArrayFeatureExtractor"): (0,),
}  # fmt: skip


def places_of(c: Ctx) -> tuple[list[Item], np.ndarray] | None:
    """The inputs of a node that moves strings with places instead of the strings, and the table of these.

    None where the node moves no strings, or moves strings known while tracing by what is known then as well.
    """
    key, inputs = (c.node.domain, c.node.op), c.inputs
    if key not in _MOVES:
        return None
    taken = _MOVES[key]
    which = [i for i in (range(len(inputs)) if taken is None else taken) if i < len(inputs)]
    moved = [inputs[i] for i in which]
    if not any(isinstance(item, Spelled) for item in moved):
        others = [item for i, item in enumerate(inputs) if i not in which]
        if not moved or not all(_known(item) for item in moved) or not any(_unknown(item) for item in others):
            return None
    tables: list[np.ndarray] = []
    changed = list(inputs)
    for i in which:
        item, offset = inputs[i], sum(map(len, tables))
        if isinstance(item, Spelled):
            places, table = item.places, item.table
        elif isinstance(item, Value) and item.dtype == _OBJECT and item.data is not None:
            places, table = c.const(np.arange(item.size, dtype=_I32).reshape(item.shape)), item.data.reshape(-1)
        else:
            raise GraphError("strings and numbers cannot be taken together")
        places = c.cast(places, _I32)
        changed[i] = c.op("add", places, c.scalar(offset, _I32)) if offset else places
        tables.append(table)
    return changed, np.concatenate(tables)


def spelled(c: Ctx, places: Value, table: np.ndarray) -> Item:
    """The strings of ``table`` at ``places``."""
    return Spelled(places, table) if places.data is None else c.const(np.asarray(table[places.data], object))


def _known(item: Item) -> bool:
    return isinstance(item, Value) and item.dtype == _OBJECT and item.data is not None


def _unknown(item: Item) -> bool:
    return isinstance(item, Value) and item.data is None
