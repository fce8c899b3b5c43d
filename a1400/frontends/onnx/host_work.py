"""What is worked out on the host while tracing, from what the inputs of one run hold."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from typing import Any

import numpy as np

from a1400.frontends.onnx.context import Dictionary, Item, Spelled
from a1400.frontends.onnx.definitions import GraphDef, NodeDef
from a1400.graph.graph import Graph, Value
from a1400.graph.records import Records

OBJECT = np.dtype(object)
#: operators whose first operand is a file that the host decodes
DECODERS = frozenset({("", "ImageDecoder")})
#: those, and operators over dicts: what they make of one run's inputs the device is given
_TELLERS = DECODERS | {("ai.onnx.ml", "DictVectorizer"), ("ai.onnx.ml", "CastMap")}


class HostWork:
    """Keeps the graph's ``on_host`` and ``told``, and in ``trail`` all that strings and files decide about the graph.

    Numbers that come of them become inputs of the graph, so that the device computes with them and a plan serves
    other texts too; but for those of a node in ``fixed``, which decide shapes: they stay constants.
    """

    def __init__(self, graph: Graph, inputs: Iterable[Item], fixed: Collection[str]) -> None:
        self._graph, self._fixed = graph, fixed
        # kept alive, so that an id cannot come to mean another value
        self._known = {id(v): v for v in tensors(inputs) if v.data is not None}
        self.trail: list[Any] = []

    @property
    def begun(self) -> bool:
        """True when there is anything to note."""
        return bool(self._known)

    def note(self, node: NodeDef, label: str, read: list[Item], outputs: list[Item]) -> list[Item]:
        """Note a node whose result, sequence or choice was worked out here; returns what its outputs are to be."""
        known = [v for v in tensors(read) if id(v) in self._known]
        if not known:
            return outputs
        made = [v for v in tensors(outputs) if v.data is not None]
        if made or any(a.graph is not None for a in node.attrs.values()) or any(isinstance(v, list) for v in outputs):
            self._graph.on_host.add(label)
        if (node.domain, node.op) in _TELLERS or any(v.dtype == OBJECT for v in known):
            outputs = [self._fed(label, item) for item in outputs]
            self.trail.append((label, *map(_described, outputs)))
        self._known.update({id(v): v for v in tensors(outputs) if v.data is not None})
        return outputs

    def _fed(self, label: str, item: Item) -> Item:
        """``item`` with its constant numbers made inputs of the graph, where this very node made them (no name yet)."""
        if isinstance(item, list):
            return [self._fed(label, part) for part in item]
        if not isinstance(item, Value) or item.data is None or item.name or item.dtype == OBJECT:
            return item
        if label in self._fixed:
            return item
        name = f"{label}#{len(self._graph.told)}"
        self._graph.told[name] = np.ascontiguousarray(item.data).reshape(item.shape)
        return self._graph.input(name, item.shape, item.dtype)


def encoded(root: GraphDef, function: Callable[[NodeDef], object]) -> set[str]:
    """Names of values of ``root`` that only :data:`DECODERS` read, as files; ``function`` finds a model's own ops."""
    files: set[str] = set()
    others = set(root.outputs)
    for node in root.nodes:
        decodes = (node.domain, node.op) in DECODERS and function(node) is None
        files.update(node.inputs[:1] if decodes else ())
        others.update(node.inputs[1:] if decodes else node.inputs, node.captured)
    return files - others


def source_of(name: str) -> str:
    """The node that the graph's input ``name``, one of its ``told``, comes from."""
    return name.rpartition("#")[0]


def _described(item: Item) -> Any:
    """All about ``item`` that the rest of the graph can depend on."""
    if isinstance(item, list):
        return tuple(map(_described, item))
    if not isinstance(item, Value):
        return None
    new = item.data is not None and not item.name and item.dtype != OBJECT
    return item.name, item.shape, item.dtype, item.data.tobytes() if new and item.data is not None else b""


def tensors(items: Iterable[Item]) -> Iterator[Value]:
    """The tensors in ``items``, those in sequences too."""
    for item in items:
        if isinstance(item, Value):
            yield item
        elif isinstance(item, Spelled):
            yield item.places
        elif isinstance(item, Records):
            yield item.rows
        elif isinstance(item, Dictionary):
            yield from (item.keys, item.values)
        elif item is not None:
            yield from tensors(item)
