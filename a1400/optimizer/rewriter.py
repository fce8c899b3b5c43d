"""How passes rewrite: one forward walk that builds the new node list.

A pass never deletes: it redirects values to better ones, and what nobody reads any more is dropped at the end.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from a1400.backends.base import DeviceInfo
from a1400.graph.graph import Graph, Node, Value, evaluate_node
from a1400.ops import OPS
from a1400.ops.effort import too_much
from a1400.optimizer.memo import Memo, attribute_key, constant
from a1400.optimizer.report import PassResult

#: a rule may rewrite what another rule made, so often
MAX_DEPTH = 16


@dataclass
class Context:
    """What a pass is given: the graph, the model's memo, the device it will run on (if known), where to report."""

    graph: Graph
    memo: Memo
    info: DeviceInfo | None = None
    result: PassResult = field(default_factory=lambda: PassResult(""))

    def count(self, number: int = 1) -> None:
        """Report rewrites."""
        self.result.rewrites += number


def merge_sources(*groups: Iterable[str]) -> tuple[str, ...]:
    """Names of model nodes, each once, in order."""
    return tuple(dict.fromkeys(name for group in groups for name in group))


def use_counts(graph: Graph) -> dict[int, int]:
    """How many nodes read each value (by ``id``), graph outputs counted as readers."""
    counts: dict[int, int] = {}
    for node in graph.nodes:
        for key in {id(v) for v in node.inputs if v is not None}:
            counts[key] = counts.get(key, 0) + 1
    for value in graph.outputs.values():
        counts[id(value)] = counts.get(id(value), 0) + 1
    return counts


def is_fold_too_big(inputs: Iterable[Value | None], shapes: Iterable[tuple[tuple[int, ...], np.dtype]]) -> bool:
    """True when folding would store more than 4 times what it reads and more than a megabyte."""
    before = sum(v.nbytes for v in inputs if v is not None)
    after = sum(int(np.prod(shape, dtype=np.int64)) * np.dtype(dtype).itemsize for shape, dtype in shapes)
    return after > 4 * before and after > 1 << 20


def fold(memo: Memo, op: str, inputs: list[Value | None], attrs: dict[str, Any]) -> list[Value] | None:
    """Constants that a node over constants gives, through the memo; None when the result would be too big."""
    results = OPS[op].infer(attrs, *inputs)
    if OPS[op].lazy or is_fold_too_big(inputs, results) or too_much(OPS[op], attrs, inputs, results):
        return None
    arrays = [None if v is None else v.data for v in inputs]
    key = ("fold", op, attribute_key(attrs), tuple(a is None for a in arrays))

    def make() -> list[np.ndarray]:
        made = evaluate_node(op, arrays, attrs)
        # contiguous: the engine uploads constants as they lie, and a view would keep a larger array alive
        return [np.ascontiguousarray(np.asarray(a, dtype=dt)).reshape(shape) for a, (shape, dt) in zip(made, results)]

    return [constant(memo, a) for a in memo.derive(key, [a for a in arrays if a is not None], make)]


Rule = Callable[["Rewriter", Node], "Value | None"]


class Rewriter:
    """One forward walk over a graph.

    ``rules`` maps an op to functions tried in order on each such node (its inputs already rewritten); a rule gives the
    value that replaces the node's first output, or None.  Nodes made by :meth:`op` are offered to the rules too.
    """

    def __init__(self, ctx: Context, rules: Mapping[str, tuple[Rule, ...]] | None = None) -> None:
        self.ctx, self.graph, self.memo, self.rules = ctx, ctx.graph, ctx.memo, rules or {}
        self.nodes: list[Node] = []
        self.uses = use_counts(ctx.graph)
        self._mapping: dict[int, Value] = {}
        self._kept_alive: list[Value] = []
        self._depth = 0

    def run(self) -> None:
        """Walk the whole graph with the rules and install the result."""
        for node in self.graph.nodes:
            self.visit(node)
        self.finish()

    def visit(self, node: Node) -> None:
        """Rewrite one node of the old graph."""
        node.inputs = [None if v is None else self.value(v) for v in node.inputs]
        replacement = self._apply(node)
        if replacement is None:
            self.nodes.append(node)
        else:
            self.ctx.count()
            if "kept" in node.attrs and replacement.producer is not None:
                replacement.producer.attrs["kept"] = True
            self.redirect(node.outputs[0], replacement, node.sources)

    def _apply(self, node: Node) -> Value | None:
        if self._depth >= MAX_DEPTH:
            return None
        self._depth += 1
        try:
            for rule in self.rules.get(node.op, ()):
                value = rule(self, node)
                if value is not None:
                    return value
        finally:
            self._depth -= 1
        return None

    # ---- for rules -----------------------------------------------------------------------------------
    def value(self, value: Value) -> Value:
        """What stands for ``value`` now."""
        while id(value) in self._mapping:
            value = self._mapping[id(value)]
        return value

    def redirect(self, old: Value, new: Value, sources: tuple[str, ...] = ()) -> None:
        """Let every reader of ``old`` read ``new``; the producer of ``new`` inherits ``sources``."""
        if new is old:
            return
        self._mapping[id(old)] = new
        self._kept_alive.append(old)  # an id must not be given to another value while the walk lasts
        self.uses[id(new)] = self.uses.get(id(new), 0) + self.uses.get(id(old), 1)
        if new.producer is not None and sources:
            new.producer.sources = merge_sources(new.producer.sources, sources)

    def op(self, op: str, *inputs: Value | None, sources: tuple[str, ...] = (), **attrs: Any) -> Value:
        """A new one-output node (a constant when all operands are), offered to the rules."""
        if all(v is None or v.data is not None for v in inputs):
            folded = fold(self.memo, op, list(inputs), attrs)
            if folded is not None:
                return folded[0]
        node = Node(op, inputs, attrs, sources)
        results = OPS[op].infer(attrs, *inputs)
        node.outputs = [Value(shape, dtype, producer=node) for shape, dtype in results]
        replacement = self._apply(node)
        if replacement is not None:
            return replacement
        for v in node.inputs:
            if v is not None:
                self.uses[id(v)] = self.uses.get(id(v), 0) + 1
        self.nodes.append(node)
        return node.outputs[0]

    def constant(self, array: Any, dtype: np.dtype | None = None) -> Value:
        """A constant over an array shared within the model."""
        return constant(self.memo, array, dtype)

    def single_use(self, value: Value) -> bool:
        """True when one node reads ``value`` (counted when the walk began) and it is no graph output."""
        return self.uses.get(id(value), 0) <= 1

    # ---- the end -------------------------------------------------------------------------------------
    def finish(self) -> None:
        """Install the new node list and drop what nobody reads."""
        self.graph.nodes = self.nodes
        self.graph.outputs = {name: self.value(v) for name, v in self.graph.outputs.items()}
        self.graph.remove_dead()
