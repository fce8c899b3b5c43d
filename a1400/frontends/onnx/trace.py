"""Tracing: walk the parsed model for concrete input shapes and emit primitive ops."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from a1400 import dtypes
from a1400.errors import A1400Error, GraphError, UnsupportedOpError
from a1400.frontends.errors import NeedsRun, NeedsValue
from a1400.frontends.onnx.context import Ctx, Dictionary, Item, Spelled
from a1400.frontends.onnx.definitions import Attr, FunctionDef, GraphDef, NodeDef
from a1400.frontends.onnx.fold import FoldMemo
from a1400.frontends.onnx.host_work import HostWork, tensors
from a1400.frontends.onnx.library import MAX_NODES, Library
from a1400.frontends.onnx.ops.registry import Translator
from a1400.frontends.onnx.spelled import places_of, spelled
from a1400.frontends.onnx.steering import Steering
from a1400.frontends.onnx.training import TrainingMode
from a1400.graph.graph import Graph, Value
from a1400.graph.records import Records

#: runs the graph so far and returns what a value holds; the values after it are wanted later
Reader = Callable[[Graph, Value, Sequence[Value]], np.ndarray]
#: elements that are read from the device at most: shapes, counts, conditions
_READ_LIMIT = 4096
#: how deep functions may call each other
_MAX_CALLS = 64


class Scope:
    """Names to values; subgraphs see the names of the graph around them."""

    def __init__(self, parent: Scope | None = None) -> None:
        self.parent, self.values = parent, {}  # type: tuple[Scope | None, dict[str, Item]]

    def __getitem__(self, name: str) -> Item:
        scope: Scope | None = self
        while scope is not None:
            if name in scope.values:
                return scope.values[name]
            scope = scope.parent
        raise GraphError(f"value {name!r} is not defined")

    def get(self, name: str) -> Item:
        """As ``scope[name]``; None for what is not defined yet."""
        try:
            return self[name]
        except GraphError:
            return None

    def __setitem__(self, name: str, value: Item) -> None:
        self.values[name] = value


@dataclass
class Frame:
    """Where a node stands: the opsets in force, the attributes bound by function calls, the label's prefix (the labels
    of the nodes around it), and how many function calls lie around it."""

    opsets: dict[str, int]
    bindings: dict[str, Attr] = field(default_factory=dict)
    prefix: str = ""
    calls: int = 0

    def inside(self, node: NodeDef) -> Frame:
        """The frame of the nodes in a subgraph of ``node``."""
        return replace(self, prefix=f"{self.prefix}{node.label}/")


@dataclass
class _Position:
    """How far the nodes of a graph or function are translated."""

    scope: Scope
    nodes: Sequence[NodeDef]
    outputs: Sequence[str]
    done: int = 0

    def live(self) -> list[Item]:
        """What the node at hand and those after it read, and the outputs."""
        left = self.nodes[self.done :]
        names = dict.fromkeys((*self.outputs, *(n for node in left for n in (*node.inputs, *node.captured))))
        return [self.scope.get(name) for name in names if name]


class Tracer:
    """One trace of a model into a new graph.  ``reader`` gives what values hold that only a run can tell."""

    def __init__(
        self, library: Library, memo: FoldMemo, graph: Graph, training: TrainingMode | None = None,
        reader: Reader | None = None,
    ) -> None:  # fmt: skip
        self.library, self.memo = library, memo
        self.graph, self.training = graph, training
        self._reader, self._positions = reader, []  # type: tuple[Reader | None, list[_Position]]
        self._count = 0
        self.drawn: dict[tuple[str, ...], int] = {}  # how often each node has drawn random numbers
        self.made = 0  # bytes of arrays made on the host
        self._host = HostWork(graph, (), ())
        self.steering = Steering(graph, {})

    def run(
        self, root: GraphDef, inputs: dict[str, Item], opsets: dict[str, int], fixed: Collection[str] = (),
        steering: Steering | None = None,
    ) -> Graph:  # fmt: skip
        """Translate ``root`` with ``inputs`` bound into a graph of its own; returns it finished.

        Inputs that are constants hold values of one run; for ``fixed`` see :class:`HostWork`.
        """
        self._host = HostWork(self.graph, inputs.values(), fixed)
        self.steering = steering or self.steering
        results = {name: self._placed(name, item) for name, item in self._outputs(root, inputs, opsets).items()}
        if not all(isinstance(place, str) for place in results.values()):
            self.graph.results = results
        self.graph.signature = tuple(self._host.trail)
        made = {source for node in self.graph.nodes for source in node.sources}
        self.graph.remove_dead()
        made.difference_update(source for node in self.graph.nodes for source in node.sources)
        for label in made:
            self.graph.fates.setdefault(label, "unused")
        for node in self.graph.nodes:
            for value in node.outputs:
                if value.dtype not in dtypes.EVERY:
                    raise UnsupportedOpError(
                        f"node {node.sources[0]!r} computes in {value.dtype}, which is not supported"
                    )
        return self.graph

    def translate(self, root: GraphDef, inputs: dict[str, Value], opsets: dict[str, int]) -> dict[str, Value]:
        """Append ``root`` to the graph, with ``inputs`` (initializers too) bound; returns its outputs."""
        outputs: dict[str, Value] = {}
        for name, item in self._outputs(root, dict(inputs), opsets).items():
            if not isinstance(item, Value):
                raise UnsupportedOpError(f"output {name!r} is a sequence or an optional, which cannot be trained")
            outputs[name] = item
        return outputs

    def _outputs(self, root: GraphDef, inputs: dict[str, Item], opsets: dict[str, int]) -> dict[str, Item]:
        scope = Scope()
        for name, item in inputs.items():
            scope[name] = item
        items = dict(zip(root.outputs, self.body(root, scope, Frame(opsets))))
        self.graph.source = ()
        return items

    def _placed(self, name: str, item: Item) -> Any:
        """Declare what output ``name`` is made of; how :attr:`Graph.results` names it."""
        if item is None:
            return None
        if isinstance(item, list):
            return [self._placed(f"{name}[{i}]", part) for i, part in enumerate(item)]
        if isinstance(item, Spelled):
            return self._placed(name, item.places), item.table
        if isinstance(item, Records):
            return Records(self._placed(name, item.rows), item.keys)
        if isinstance(item, Dictionary):
            raise UnsupportedOpError(f"output {name!r} is an input, a dict, as it is")
        if item.dtype == np.dtype(object):
            if item.data is None:
                raise UnsupportedOpError(f"output {name!r} holds strings that are only known at run time")
            return item.data
        self.graph.output(name, self.steering.twin(item))
        return name

    def body(self, graph: GraphDef, scope: Scope, frame: Frame) -> list[Item]:
        """Translate the nodes of a graph or subgraph into ``scope``; returns its outputs."""
        for name, array in graph.initializers.items():
            if name not in scope.values:
                scope[name] = self.graph.constant(self.memo.keep(array), name=name)
        self._nodes(_Position(scope, graph.nodes, list(graph.outputs)), frame)
        return [scope[name] for name in graph.outputs]

    def _nodes(self, position: _Position, frame: Frame) -> None:
        self._positions.append(position)
        try:
            for node in position.nodes:
                self.node(node, position.scope, frame)
                position.done += 1
        finally:
            self._positions.pop()

    def subgraph(self, graph: GraphDef, scope: Scope, frame: Frame, arguments: Sequence[Item] = ()) -> list[Item]:
        """Translate a subgraph attribute with its inputs bound to ``arguments``."""
        inner = Scope(scope)
        if len(arguments) != len(graph.inputs):
            raise GraphError(f"subgraph {graph.name!r} takes {len(graph.inputs)} inputs, got {len(arguments)}")
        for name, value in zip(graph.inputs, arguments):
            inner[name] = value
        return self.body(graph, inner, frame)

    # ---- one node ------------------------------------------------------------------------------------
    def node(self, node: NodeDef, scope: Scope, frame: Frame) -> None:
        """Translate one node and bind its outputs."""
        self._count += 1
        if self._count > MAX_NODES:
            raise GraphError(f"the model expands to more than {MAX_NODES} nodes")
        label = frame.prefix + node.label
        self.graph.source = (label,)
        self.scope = scope
        before = len(self.graph.nodes)
        try:
            with np.errstate(all="ignore"), warnings.catch_warnings():
                warnings.simplefilter("ignore")
                outputs = self._translate(node, scope, frame)
        except NeedsValue as error:
            raise NeedsValue(error.inputs, _context(node, label, error)) from None
        except A1400Error as error:
            raise type(error)(_context(node, label, error)) from None
        except RecursionError:
            raise GraphError(f"node {label!r} ({node.qualified}): nested too deep") from None
        except MemoryError:
            raise GraphError(f"node {label!r} ({node.qualified}): not enough memory to translate it") from None
        except (
            ArithmeticError, LookupError, TypeError, ValueError, AttributeError, AssertionError, RuntimeError
        ) as error:
            # a translator met something it did not foresee: a malformed node, reported as one
            text = f"node {label!r} ({node.qualified}) is malformed: {type(error).__name__}: {error}"
            raise GraphError(text) from error
        self.graph.source = (label,)
        if self._host.begun:
            given = [scope[name] for name in (*node.inputs, *node.captured) if name]
            outputs = self._host.note(node, label, given, outputs)
        made = list(tensors(outputs))
        if all(v.data is not None for v in made):
            read = tensors(scope[name] for name in (*node.inputs, *node.captured) if name)
            stable = all(v.data is not None and self.memo.is_stable(v.data) for v in read)
            self.graph.fates[label] = "folded at load" if stable else "shapes"
        elif len(self.graph.nodes) == before:
            self.graph.fates[label] = "view"
        for i, name in enumerate(node.outputs):
            if not name:
                continue
            if i >= len(outputs):
                raise GraphError(f"node {label!r} ({node.qualified}) has no output number {i} ({name!r})")
            value = outputs[i]
            if isinstance(value, Value) and not value.name:
                value.name = name
            scope[name] = value

    def _translate(self, node: NodeDef, scope: Scope, frame: Frame) -> list[Item]:
        inputs = [scope[name] if name else None for name in node.inputs]
        function = self.library.function(node)
        if function is not None:
            return self._call(function, node, inputs, frame, frame.opsets)
        translator = self.library.translator(node, frame.opsets)
        if translator is not None:
            outputs = self._own(translator, node, inputs, frame)
            if outputs is not None:
                return outputs
        body = self.library.schema_body(node, inputs, frame.opsets, self._bound(node, frame))
        if body is None:
            raise UnsupportedOpError("this operator, or this use of it, is not supported")
        return self._call(body, node, inputs, frame, body.opsets)

    def _own(self, translator: Translator, node: NodeDef, inputs: list[Item], frame: Frame) -> list[Item] | None:
        """What our translator makes of the node; None when it leaves this use to the op's ONNX body."""
        c = Ctx(self, node, inputs, frame, folding=False)
        strings = places_of(c)
        if strings is not None:
            outputs = _apply(translator, Ctx(self, node, strings[0], frame, folding=False))
            return outputs and [spelled(c, v, strings[1]) if isinstance(v, Value) else v for v in outputs]
        if self._memorable(node, inputs):
            # the node itself is among the things the memo keeps alive: bodies made for one call come and go
            operands = [node, *(v.data if isinstance(v, Value) else None for v in inputs)]
            key = ("node", frame.opsets.get(node.domain))
            made: list[Item] = []

            def fold() -> list[np.ndarray]:
                made.extend(_apply(translator, Ctx(self, node, inputs, frame, folding=True)) or ())
                if made and all(isinstance(v, Value) and v.data is not None for v in made):
                    return [v.data for v in made]  # type: ignore[union-attr,misc]
                raise _NotConstant

            try:
                return [self.graph.constant(a) for a in self.memo.results(key, operands, fold)]
            except _NotConstant:
                return made or None
        return _apply(translator, c)

    def _memorable(self, node: NodeDef, inputs: list[Item]) -> bool:
        """True when the node's result can only be the same on every trace."""
        if any(a.graph is not None or a.reference for a in node.attrs.values()):
            return False
        return all(
            v is None or (isinstance(v, Value) and v.data is not None and self.memo.is_stable(v.data)) for v in inputs
        )

    def _bound(self, node: NodeDef, frame: Frame) -> dict[str, Attr]:
        """The node's attributes with references to function attributes resolved."""
        bound: dict[str, Attr] = {}
        for name, attr in node.attrs.items():
            actual = frame.bindings.get(attr.reference) if attr.reference else attr
            if actual is not None:
                bound[name] = actual
        return bound

    def attribute(self, node: NodeDef, name: str, frame: Frame) -> Any:
        """Decoded attribute, None when absent."""
        attr = node.attrs.get(name)
        if attr is not None and attr.reference:
            attr = frame.bindings.get(attr.reference)
        if attr is None:
            return None
        value = attr.value
        return self.memo.keep(value) if isinstance(value, np.ndarray) else value

    def _call(
        self, function: FunctionDef, node: NodeDef, inputs: list[Item], frame: Frame, opsets: dict[str, int]
    ) -> list[Item]:
        """Inline a function body at ``node``."""
        if len(inputs) > len(function.inputs):
            raise GraphError(f"{len(inputs)} inputs given, {len(function.inputs)} taken")
        if frame.calls >= _MAX_CALLS:
            raise GraphError("functions call each other too deeply")
        scope = Scope()
        for i, name in enumerate(function.inputs):
            scope[name] = inputs[i] if i < len(inputs) else None
        bindings = {**function.defaults, **self._bound(node, frame)}
        inner = Frame(function.opsets or opsets, bindings, f"{frame.prefix}{node.label}/", frame.calls + 1)
        self._nodes(_Position(scope, function.nodes, function.outputs), inner)
        return [scope.values.get(name) for name in function.outputs]

    # ---- what only a run can tell --------------------------------------------------------------------
    def read(self, value: Value, keep: Sequence[Item], text: str, limit: int = _READ_LIMIT) -> np.ndarray:
        """What ``value`` holds, of at most ``limit`` elements, from a run of the graph so far.

        ``keep`` are values that the translator goes on with; those that nodes still to come read are found by name.
        Raises :class:`NeedsRun` with ``text`` where nobody can run the graph.
        """
        if self._reader is None:
            raise NeedsRun(text + "; shapes that depend on data are not supported here")
        if value.size > limit:
            raise UnsupportedOpError(f"{text}; it has {value.size} elements, and at most {limit} are read")
        live = [*keep, *(item for position in self._positions for item in position.live())]
        return self._reader(self.graph, value, list(tensors(live)))

    def number(self, value: int) -> Value:
        """``value`` as an i64 constant; where parts of the graph run by themselves, one that parts alike differ in."""
        if self._reader is None:
            return self.graph.constant(np.array(value, np.int64))
        return self.steering.number(value)

    @contextmanager
    def unread(self) -> Iterator[None]:
        """Within, whatever only a run can tell raises :class:`NeedsRun`."""
        reader, self._reader = self._reader, None
        try:
            yield
        finally:
            self._reader = reader

    # ---- what values depend on -----------------------------------------------------------------------
    def dependencies(self, value: Value) -> set[str]:
        """Names of the graph inputs whose run-time values reach ``value``."""
        names = {id(v): n for n, v in self.graph.inputs.items()}
        found: set[str] = set()
        seen: set[int] = set()
        stack = [value]
        while stack:
            v = stack.pop()
            if id(v) in seen:
                continue
            seen.add(id(v))
            if id(v) in names:
                found.add(names[id(v)])
            elif v.producer is not None:
                stack.extend(i for i in v.producer.inputs if i is not None)
        return found


class _NotConstant(Exception):
    """A node over constants whose result was too big to fold."""


def _apply(translator: Translator, c: Ctx) -> list[Item] | None:
    result = translator(c)
    if result is NotImplemented:
        return None
    return list(result) if isinstance(result, tuple) else [result]


def _context(node: NodeDef, label: str, error: Exception) -> str:
    """The message with the node named; inner nodes of functions and subgraphs keep their own names."""
    text = str(error)
    return text if text.startswith("node ") else f"node {label!r} ({node.qualified}): {text}"
