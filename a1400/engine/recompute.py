"""Activations computed again instead of kept, where a memory limit asks for it.

A training step keeps what the forward pass made until the backward pass reads it.  What is cheap to make again
(elementwise work, normalisations, pooling) need not be kept: its node is repeated in front of its late readers.
Chosen greedily where most bytes live at once, as long as the operands that must live longer instead are smaller
("rematerialisation"; Chen et al., "Training Deep Nets with Sublinear Memory Cost", 2016).  Runs on the optimised graph,
as the passes would compute equal nodes once again, and repeats a node as it is, so results stay the same.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from a1400.backends.base import DeviceInfo
from a1400.engine.plan import placed_bytes
from a1400.engine.updates import VIEW_OPS, order_updates
from a1400.engine.weight_store import WeightStore
from a1400.graph.graph import Graph, Node, Value
from a1400.ops import OPS
from a1400.optimizer import PassResult, Report

#: ops that cost about what reading their operands costs, next to elementwise ones
CHEAP = frozenset({
    "layer_norm", "rms_norm", "group_norm", "softmax", "log_softmax", "pool", "concat", "pad", "reduce",
})  # fmt: skip
#: the estimate of lifetimes knows nothing of what kernels need besides: it is compared with the truth so often
_ROUNDS = 8
#: repetitions per node before giving up
_MOST = 2


def recompute_within(
    limit: int, graph: Graph, report: Report, info: DeviceInfo, weights: WeightStore, allow: frozenset[str]
) -> None:
    """Change ``graph`` so that its plan needs at most ``limit`` bytes, or as few as this can give; says so in
    ``report``."""
    result = PassResult("recomputation", nodes_before=len(graph.nodes))
    for _ in range(_ROUNDS):
        arena, others = placed_bytes(graph, info, weights, allow)
        if arena + others <= limit:
            break
        peak = _Lives(graph).peak()[1]
        target = peak * max(limit - others, 0) / arena
        repeated = _shrink(graph, min(target, peak - 1))
        if not repeated:
            break
        result.rewrites += repeated
        result.notes.append(f"{repeated} nodes computed again, as {arena + others:,} bytes are over {limit:,}")
    result.nodes_after = len(graph.nodes)
    if result.rewrites:
        report.passes.append(result)


@dataclass
class _Life:
    """A value that has memory of its own: where it is made, and who reads it when, views looked through."""

    value: Value
    made: int
    reads: list[int] = field(default_factory=list)

    @property
    def last(self) -> int:
        return max(self.reads, default=self.made)


class _Lives:
    """When each value of a graph lives, by the numbers of the nodes in the order in which they run."""

    def __init__(self, graph: Graph) -> None:
        order = order_updates(graph)
        self.nodes = [*order.early, *order.late]
        self.lives: dict[int, _Life] = {}
        self._base: dict[int, Value] = {}
        given = {id(graph.outputs[name]) for name in graph.outputs if name not in graph.aliases}
        for i, node in enumerate(self.nodes):
            if node.op in VIEW_OPS and node.inputs[0] is not None:
                self._base[id(node.output)] = self.base(node.inputs[0])
                continue
            for v in node.inputs:
                if v is not None and id(self.base(v)) in self.lives:
                    self.lives[id(self.base(v))].reads.append(i)
            for v in node.outputs:
                if id(v) not in order.in_place and id(v) not in given and not OPS[node.op].lazy:
                    self.lives[id(v)] = _Life(v, i)
        for value in graph.outputs.values():  # copied from at the end
            if id(self.base(value)) in self.lives:
                self.lives[id(self.base(value))].reads.append(len(self.nodes))

    def base(self, value: Value) -> Value:
        """The value in whose memory ``value`` lies."""
        return self._base.get(id(value), value)

    def peak(self) -> tuple[int, int]:
        """The node at which most bytes live, and how many."""
        change = [0] * (len(self.nodes) + 2)
        for life in self.lives.values():
            change[life.made] += life.value.nbytes
            change[life.last + 1] -= life.value.nbytes
        most, place, now = 0, 0, 0
        for i, by in enumerate(change):
            now += by
            if now > most:
                most, place = now, i
        return place, most


def _shrink(graph: Graph, target: float) -> int:
    """Repeat nodes until no more than ``target`` bytes live at once by estimate; how many were repeated."""
    count = 0
    lives = _Lives(graph)
    place, most = lives.peak()
    while most > target and count < _MOST * len(lives.nodes):
        node = _best(lives, place)
        if node is None:
            break
        _repeat(graph, lives, node, place)
        count += 1
        lives = _Lives(graph)
        place, most = lives.peak()
    return count


def _best(lives: _Lives, place: int) -> Node | None:
    """The node whose repetition behind ``place`` frees most bytes there."""
    best, most = None, 0
    for i, node in enumerate(lives.nodes[:place]):
        if node.op in VIEW_OPS or not (OPS[node.op].pointwise or node.op in CHEAP):
            continue
        gain = _gain(lives, i, node, place)
        if gain > most:
            best, most = node, gain
    return best


def _gain(lives: _Lives, made: int, node: Node, place: int) -> int:
    """Bytes that are free at ``place`` when ``node`` is repeated for its readers behind it."""
    found = [lives.lives[id(v)] for v in node.outputs if id(v) in lives.lives]
    later = [n for life in found for n in life.reads if n > place]
    if len(found) < len(node.outputs) or not later or max(later) >= len(lives.nodes):
        return 0
    if any(n == place for life in found for n in life.reads):
        return 0  # needed right there
    gain = sum(life.value.nbytes for life in found if life.last > place)
    for base in {id(b): b for b in (lives.base(v) for v in node.inputs if v is not None)}.values():
        life = lives.lives.get(id(base))
        if life is not None and life.last < place:
            gain -= base.nbytes
    return gain


def _repeat(graph: Graph, lives: _Lives, node: Node, place: int) -> None:
    """Let the readers of ``node`` behind ``place`` read a copy of it that runs right in front of the first of them."""
    copies: list[Node] = []
    again: dict[int, Value] = {}

    def copy(original: Node) -> None:
        made = Node(original.op, original.inputs, dict(original.attrs), original.sources)
        made.outputs = [Value(v.shape, v.dtype, v.name, producer=made) for v in original.outputs]
        again.update((id(old), new) for old, new in zip(original.outputs, made.outputs, strict=True))
        copies.append(made)

    copy(node)
    outputs = {id(v) for v in node.outputs}

    def now(value: Value) -> Value:
        """What a late reader reads instead: views of the node's outputs are repeated too."""
        if id(lives.base(value)) in outputs and id(value) not in again:
            view = value.producer
            assert view is not None and view.inputs[0] is not None
            source = now(view.inputs[0])
            copy(view)
            copies[-1].inputs = [source, *view.inputs[1:]]
        return again.get(id(value), value)

    first: int | None = None
    for i in range(place + 1, len(lives.nodes)):
        reader = lives.nodes[i]
        if reader.op in VIEW_OPS or not any(v is not None and id(lives.base(v)) in outputs for v in reader.inputs):
            continue
        first = i if first is None else first
        reader.inputs = [None if v is None else now(v) for v in reader.inputs]
    assert first is not None
    graph.nodes = [*lives.nodes[:first], *copies, *lives.nodes[first:]]
    graph.remove_dead()
