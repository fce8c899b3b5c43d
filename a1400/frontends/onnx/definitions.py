"""The parsed model as plain Python objects: what tracing walks over, checked once."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx

from a1400.frontends.onnx.external import ExternalData
from a1400.frontends.onnx.tensors import sparse_array, tensor_array
from a1400.frontends.signature import ShapeDtype

_A = onnx.AttributeProto
#: subgraphs up to this many bytes (those without weights) stay whole, for ops whose ONNX body is made from them
_SMALL = 1 << 16


class Attr:
    """One attribute of a node; decoded at first use, and the same object on every use after."""

    __slots__ = ("_external", "_value", "_where", "graph", "proto")

    def __init__(self, proto: onnx.AttributeProto, external: ExternalData, where: str) -> None:
        # a copy of its own: a reference into the parsed file would keep the whole file in memory
        self.proto = onnx.AttributeProto()
        if proto.HasField("g") and proto.ByteSize() > _SMALL:
            self.proto.name, self.proto.type = proto.name, proto.type  # the parser keeps the subgraph in its own form
        else:
            self.proto.CopyFrom(proto)
        self._external, self._where = external, where
        self.graph: GraphDef | None = None  # set by the parser for graph attributes
        self._value: Any = None

    @property
    def reference(self) -> str:
        """Name of the function attribute this one stands for, or empty."""
        return str(self.proto.ref_attr_name)

    @property
    def value(self) -> Any:
        """int, float, str, array, :class:`GraphDef`, or a tuple of them; None for kinds that are not decoded."""
        if self._value is None:
            self._value = self._decode()
        return self._value

    def _decode(self) -> Any:
        p = self.proto
        kind = _A.GRAPH if self.graph is not None else p.type or _guess(p)
        if kind == _A.FLOAT:
            return float(p.f)
        if kind == _A.INT:
            return int(p.i)
        if kind == _A.STRING:
            return bytes(p.s).decode("utf-8", "replace")
        if kind == _A.TENSOR:
            return tensor_array(p.t, self._external, f"attribute {p.name!r} of {self._where}")
        if kind == _A.SPARSE_TENSOR:
            return sparse_array(p.sparse_tensor, self._external, f"attribute {p.name!r} of {self._where}")
        if kind == _A.GRAPH:
            return self.graph
        if kind == _A.FLOATS:
            return tuple(float(v) for v in p.floats)
        if kind == _A.INTS:
            return tuple(int(v) for v in p.ints)
        if kind == _A.STRINGS:
            return tuple(bytes(v).decode("utf-8", "surrogateescape") for v in p.strings)
        return None


def _guess(p: onnx.AttributeProto) -> int:
    """Old files leave the type out; the filled field tells it."""
    for name, kind in (("f", _A.FLOAT), ("i", _A.INT), ("s", _A.STRING), ("t", _A.TENSOR)):
        if p.HasField(name):
            return int(kind)
    for name, kind in (("floats", _A.FLOATS), ("ints", _A.INTS), ("strings", _A.STRINGS)):
        if len(getattr(p, name)):
            return int(kind)
    return 0


@dataclass(eq=False)
class NodeDef:
    """A node of the model; ``label`` is its name, or one made of its type and place."""

    label: str
    op: str
    domain: str
    overload: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attrs: dict[str, Attr]
    captured: frozenset[str] = frozenset()  # names that its subgraphs take from outside

    @property
    def key(self) -> tuple[str, str, str]:
        """(domain, op, overload): how model-local functions are found."""
        return self.domain, self.op, self.overload

    @property
    def qualified(self) -> str:
        """``domain::op``, without the standard domain."""
        return f"{self.domain}::{self.op}" if self.domain else self.op


@dataclass(eq=False)
class GraphDef:
    """A graph or subgraph: nodes in topological order, only those that an output needs."""

    name: str
    nodes: list[NodeDef]
    inputs: dict[str, ShapeDtype]
    outputs: dict[str, ShapeDtype]
    initializers: dict[str, np.ndarray]
    captured: frozenset[str] = frozenset()


@dataclass(eq=False)
class FunctionDef:
    """A model-local function, or the body that a schema gives an op."""

    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    nodes: list[NodeDef]
    opsets: dict[str, int]
    attributes: tuple[str, ...] = ()
    defaults: dict[str, Attr] = field(default_factory=dict)
