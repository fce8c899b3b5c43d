"""Inputs whose values decide shapes: what the host works out from them, and what stays the device's work.

Integers and truth values that come of such inputs are shape arithmetic: the host computes them while tracing.  Each
such constant has a *twin*, the same value computed by the graph, which is what the device's arithmetic reads.  Floats
are left to the device altogether; only where a shape needs one does the host work it out as well.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np

from a1400.graph.graph import Graph, Node, Value, evaluate_node

#: elements of a tensor that still is shape arithmetic
_SMALL = 4096


class Steering:
    """The steering inputs of one trace: ``given`` maps their names to what they hold."""

    def __init__(self, graph: Graph, given: Mapping[str, np.ndarray]) -> None:
        self._graph = graph
        self.given = {name: np.asarray(array) for name, array in given.items() if name in graph.inputs}
        self._arrays = {id(graph.inputs[name]): array for name, array in self.given.items()}
        self._unknown: set[int] = set()
        # constants are kept alive, so that an id cannot come to mean another value
        self._twins: dict[int, tuple[Value, Value]] = {}

    def number(self, value: int) -> Value:
        """The constant ``value``, i64, with an input of the graph as its twin: graphs that differ in it are alike."""
        name, array = f"number {value}", np.array(value, np.int64)
        twin = self._graph.inputs.get(name)
        if twin is None:
            twin = self._graph.input(name, (), array.dtype)
            self._graph.told[name] = self.given[name] = self._arrays[id(twin)] = array
        constant = self._graph.constant(array)
        self.bind(constant, twin)
        return constant

    def bind(self, constant: Value, twin: Value) -> None:
        """Note that the graph computes ``constant`` as ``twin``."""
        self._twins[id(constant)] = constant, twin

    def twin(self, value: Value) -> Value:
        """What the graph computes where ``value`` is a constant that comes of steering inputs; else ``value``."""
        found = self._twins.get(id(value))
        return value if found is None else found[1]

    def reach(self, values: Iterable[Value | None]) -> bool:
        """True when one of ``values`` is a constant that comes of steering inputs."""
        return bool(self._twins) and any(id(v) in self._twins for v in values)

    def on_host(self, results: Iterable[Value]) -> bool:
        """True where ``results`` of constants are shape arithmetic."""
        return all(v.dtype.kind in "iub" and v.size <= _SMALL for v in results)

    def value_of(self, value: Value) -> np.ndarray | None:
        """What ``value`` holds, worked out by the host from steering inputs alone; None where that is not possible.

        The nodes of the model that are worked out so count as the host's.
        """
        stack = [value]
        while stack:
            v = stack[-1]
            if self._has(v) or id(v) in self._unknown:
                stack.pop()
                continue
            node = v.producer
            if node is None or any(o.size > _SMALL for o in node.outputs):
                self._unknown.add(id(v))
                continue
            inputs = [i for i in node.inputs if i is not None]
            if any(id(i) in self._unknown for i in inputs):
                self._unknown.add(id(v))
                continue
            missing = [i for i in inputs if not self._has(i)]
            if missing:
                stack += missing
            else:
                self._evaluate(node)
        return None if id(value) in self._unknown else self._array(value)

    def _has(self, value: Value) -> bool:
        return value.data is not None or id(value) in self._arrays

    def _array(self, value: Value) -> np.ndarray:
        return self._arrays[id(value)] if value.data is None else value.data

    def _evaluate(self, node: Node) -> None:
        arrays = [None if v is None else self._array(v) for v in node.inputs]
        for value, array in zip(node.outputs, evaluate_node(node.op, arrays, node.attrs)):
            self._arrays[id(value)] = np.asarray(array).astype(value.dtype, copy=False).reshape(value.shape)
        self._graph.on_host.update(node.sources)
