"""A part of a graph as a graph of its own: what given values need, from inputs and from what is there already."""

from __future__ import annotations

from collections.abc import Mapping

from a1400.graph.graph import Graph, Node, Value


def needed(graph: Graph, targets: list[Value], there: Mapping[int, str]) -> list[Node]:
    """The nodes that compute ``targets``, in the graph's order, none behind a value whose ``id`` is in ``there``."""
    wanted: set[int] = set()
    stack = [v for v in targets if id(v) not in there]
    seen = {id(v) for v in stack}
    while stack:
        producer = stack.pop().producer
        if producer is None or id(producer) in wanted:
            continue
        wanted.add(id(producer))
        for value in producer.inputs:
            if value is not None and id(value) not in there and id(value) not in seen:
                seen.add(id(value))
                stack.append(value)
    return [node for node in graph.nodes if id(node) in wanted]


def extract(graph: Graph, targets: Mapping[str, Value], there: Mapping[int, str]) -> Graph:
    """A new graph that gives ``targets`` by name; ``graph`` stays as it is.

    Its inputs are the inputs of ``graph`` that it reads, and for each value whose ``id`` is in ``there`` that it reads,
    an input of the name given there.  Constants keep their arrays.
    """
    part = Graph(graph.name)
    part.on_host, part.fates = set(graph.on_host), dict(graph.fates)
    copies: dict[int, Value] = {}
    inputs = {id(v): name for name, v in graph.inputs.items()} | dict(there)

    def copy(value: Value) -> Value:
        found = copies.get(id(value))
        if found is None:
            name = inputs.get(id(value))
            found = part.input(name, value.shape, value.dtype) if name is not None else _constant(value)
            copies[id(value)] = found
        return found

    for node in needed(graph, list(targets.values()), there):
        twin = Node(node.op, [None if v is None else copy(v) for v in node.inputs], dict(node.attrs), node.sources)
        twin.outputs = [Value(v.shape, v.dtype, v.name, producer=twin) for v in node.outputs]
        for old, new in zip(node.outputs, twin.outputs):
            copies.setdefault(id(old), new)
        part.nodes.append(twin)
    for name, value in targets.items():
        part.output(name, copy(value))
    return part


def _constant(value: Value) -> Value:
    assert value.data is not None, f"{value} belongs to another graph"
    return Value(value.shape, value.dtype, value.name, value.data)
