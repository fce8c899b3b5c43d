"""Updates of states: which are written straight into the state's memory, and the order of nodes that this asks for.

An update is written in place where an elementwise node makes it, which reads the state at no other index than the one
it writes, and where everything else that reads the state can run before.  Such nodes, and what depends on them, run
after all others.
"""

from __future__ import annotations

import heapq
from collections import Counter
from dataclasses import dataclass, field

from a1400.graph.graph import Graph, Node, Value
from a1400.ops import OPS

#: ops that give a view of their input
VIEW_OPS = frozenset({"bitcast", "stop_gradient", "reshape", "transpose", "expand", "slice"})


@dataclass
class Order:
    """Nodes in the order to run: ``early`` ones need no update made in place, ``late`` ones make or need one.

    ``in_place`` says in which state's memory a value (by ``id``) is written.
    """

    early: list[Node]
    late: list[Node] = field(default_factory=list)
    in_place: dict[int, str] = field(default_factory=dict)


def order_updates(graph: Graph) -> Order:
    """Decide for each update of ``graph`` whether it is made in place."""
    if not graph.aliases:
        return Order(list(graph.nodes))
    users = graph.users()
    in_place: dict[int, str] = {}
    waiting: dict[int, list[Node]] = {}  # node -> those that overwrite what it reads
    for output, name in graph.aliases.items():
        value = behind_reshapes(graph.outputs[output])
        node, state = value.producer, graph.inputs[name]
        if node is None or id(value) in in_place or not OPS[node.op].pointwise or not _at_one_index(node, value, state):
            continue
        before = [n for n in _readers(state, users) if n is not node]
        if not _reach(node, users, waiting).isdisjoint(map(id, before)):
            continue
        in_place[id(value)] = name
        for reader in before:
            waiting.setdefault(id(reader), []).append(node)
    late: set[int] = set()
    for node in graph.nodes:
        made = any(id(value) in in_place for value in node.outputs)
        if made or any(v is not None and v.producer is not None and id(v.producer) in late for v in node.inputs):
            late.add(id(node))
    early = [node for node in graph.nodes if id(node) not in late]
    return Order(early, _sorted([node for node in graph.nodes if id(node) in late], waiting), in_place)


def behind_reshapes(value: Value) -> Value:
    """The value that ``value`` is a reshape of."""
    while value.producer is not None and value.producer.op == "reshape" and value.producer.inputs[0] is not None:
        value = value.producer.inputs[0]
    return value


def _base(value: Value) -> Value:
    """The value whose memory ``value`` may be a view of."""
    while value.producer is not None and value.producer.op in VIEW_OPS and value.producer.inputs[0] is not None:
        value = value.producer.inputs[0]
    return value


def _at_one_index(node: Node, value: Value, state: Value) -> bool:
    """Whether ``node`` reads ``state`` only where it writes ``value``."""
    reading = [v for v in node.inputs if v is not None and _base(v) is state]
    return all(v.shape == value.shape and behind_reshapes(v) is state for v in reading)


def _readers(state: Value, users: dict[int, list[Node]]) -> list[Node]:
    """Nodes that may read the state's memory, directly or through views; a convolution may be computed by the pooling
    behind it."""
    found: list[Node] = []
    stack = [state]
    while stack:
        for node in users.get(id(stack.pop()), ()):
            found.append(node)
            if node.op in VIEW_OPS:
                stack.append(node.output)
            elif node.op == "conv":
                found += [n for n in users.get(id(node.output), ()) if n.op == "pool"]
    return found


def _reach(start: Node, users: dict[int, list[Node]], waiting: dict[int, list[Node]]) -> set[int]:
    """Nodes (by ``id``) that can run only after ``start``."""
    found: set[int] = set()
    stack = [start]
    while stack:
        node = stack.pop()
        behind = [n for value in node.outputs for n in users.get(id(value), ())]
        for n in (*behind, *waiting.get(id(node), ())):
            if id(n) not in found:
                found.add(id(n))
                stack.append(n)
    return found


def _sorted(nodes: list[Node], waiting: dict[int, list[Node]]) -> list[Node]:
    """``nodes`` so that each comes after those it reads from and those that still read what it overwrites; stable."""
    place = {id(node): i for i, node in enumerate(nodes)}
    behind: list[set[int]] = [set() for _ in nodes]
    for i, node in enumerate(nodes):
        for value in node.inputs:
            if value is not None and value.producer is not None and id(value.producer) in place:
                behind[place[id(value.producer)]].add(i)
        behind[i].update(place[id(n)] for n in waiting.get(id(node), ()))
    missing = Counter(i for each in behind for i in each)
    ready = [i for i in range(len(nodes)) if not missing[i]]
    order: list[Node] = []
    while ready:
        i = heapq.heappop(ready)
        order.append(nodes[i])
        for j in behind[i]:
            missing[j] -= 1
            if not missing[j]:
                heapq.heappush(ready, j)
    assert len(order) == len(nodes), "updates wait for each other"
    return order
