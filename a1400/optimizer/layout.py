"""``layout``: let transposes sink until they meet their inverse, or disappear into constants and reshapes.

One forward walk in which a transposed value is not computed but *described*: a base value and a permutation.  An op
that can work on the base in its stead does so (``layout_rules.py``) and its result is described in turn; an op that
cannot gets the transpose after all.  Two transposes in a row compose; nothing is left of a permutation and its inverse.
Where operands come in different layouts, the one that moves the fewest elements is taken, with an eye on the transposes
that follow (:func:`wishes`).

Each walk visits each node once.  Walks are repeated, at most ``WALKS`` times, as long as the number of elements moved
by transposes falls; a walk that does not lower it (the first excepted, which may make room for fusion) is taken back.
"""

from __future__ import annotations

from typing import Any

from a1400.graph.graph import Node, Value
from a1400.ops import OPS
from a1400.optimizer.permutation import permuted
from a1400.optimizer.rewriter import Context, Rewriter, merge_sources
from a1400.optimizer.shape_folding import compose, inverse, is_identity, moves_only_ones

WALKS = 3
_MAX_WISHES = 4
Perm = tuple[int, ...]


def moved_elements(nodes: list[Node]) -> int:
    """Elements that the transposes among ``nodes`` move."""
    total = 0
    for node in nodes:
        x = node.inputs[0] if node.op == "transpose" else None
        if x is not None and not moves_only_ones(x.shape, node.attrs["perm"]):
            total += x.size
    return total


def wishes(nodes: list[Node], outputs: list[Value]) -> dict[int, set[Perm]]:
    """For each value (by ``id``) the permutations in which it is wanted further down; the identity: as it is."""
    table: dict[int, set[Perm]] = {}

    def want(value: Value | None, perm: Perm) -> None:
        if value is not None and value.data is None:
            found = table.setdefault(id(value), set())
            if len(found) < _MAX_WISHES:
                found.add(perm)

    for value in outputs:
        want(value, tuple(range(value.rank)))
    for node in reversed(nodes):
        out = node.outputs[0]
        wanted = table.get(id(out), set())
        if node.op == "transpose":
            for perm in wanted:
                want(node.inputs[0], compose(node.attrs["perm"], perm))
        elif OPS[node.op].pointwise or node.op in ("concat", "slice", "pad", "softmax", "log_softmax", "cumulate"):
            for v in node.inputs:
                if v is not None and v.rank == out.rank:
                    for perm in wanted:
                        want(v, perm)
        elif node.op not in ("reshape", "reduce", "arg_reduce", "expand"):
            for v in node.inputs:
                if v is not None:
                    want(v, tuple(range(v.rank)))
    return table


class Layout:
    """State of one walk: for each old value the value that stands for it, or its description (base, permutation)."""

    def __init__(self, ctx: Context) -> None:
        self.ctx, self.graph, self.memo = ctx, ctx.graph, ctx.memo
        self.writer = Rewriter(ctx)
        self.nodes = self.writer.nodes
        self.wishes = wishes(ctx.graph.nodes, list(ctx.graph.outputs.values()))
        self.absorbed = 0
        self._real: dict[int, Value] = {}
        self._virtual: dict[int, tuple[Value, Perm, tuple[str, ...]]] = {}

    def run(self) -> tuple[list[Node], dict[str, Value]]:
        """The rewritten nodes and outputs; the graph itself is not changed."""
        from a1400.optimizer.layout_rules import RULES

        for node in self.graph.nodes:
            if any(id(v) in self._virtual for v in node.inputs if v is not None) or node.op == "transpose":
                name = "pointwise" if OPS[node.op].pointwise else node.op
                rule = RULES.get(name)
                if rule is not None and rule(self, node):
                    self.absorbed += node.op != "transpose"
                    continue
            self.keep(node)
        return self.nodes, {name: self.real(v) for name, v in self.graph.outputs.items()}

    # ---- values --------------------------------------------------------------------------------------
    def described(self, value: Value) -> tuple[Value, Perm]:
        """(base, permutation) with ``value = transpose(base, permutation)``."""
        found = self._virtual.get(id(value))
        if found is not None:
            return found[0], found[1]
        return self._real.get(id(value), value), tuple(range(value.rank))

    def sources(self, value: Value) -> tuple[str, ...]:
        """Model nodes whose work the description of ``value`` stands for."""
        found = self._virtual.get(id(value))
        return found[2] if found is not None else ()

    def is_virtual(self, value: Value) -> bool:
        """True when the value is only described."""
        return id(value) in self._virtual

    def real(self, value: Value) -> Value:
        """The value itself, transposed now if it was only described."""
        found = self._real.get(id(value))
        if found is not None:
            return found
        if id(value) not in self._virtual:
            return value
        base, perm, sources = self._virtual[id(value)]
        made = self.move(base, perm, sources)
        self._real[id(value)] = made
        return made

    def move(self, base: Value, perm: Perm, sources: tuple[str, ...] = ()) -> Value:
        """``transpose(base, perm)`` in the cheapest form: nothing, a constant, a reshape, a transpose."""
        if is_identity(perm):
            return base
        if moves_only_ones(base.shape, perm):
            return self.reshape(base, permuted(base.shape, perm), sources)
        return self.writer.op("transpose", base, perm=perm, sources=sources)

    def reshape(self, x: Value, shape: tuple[int, ...], sources: tuple[str, ...] = ()) -> Value:
        """``x`` with another shape; looks through a reshape that made it."""
        while x.producer is not None and x.producer.op == "reshape":
            sources = merge_sources(x.producer.sources, sources)
            x = x.producer.inputs[0]  # type: ignore[assignment]
        return x if x.shape == shape else self.writer.op("reshape", x, shape=shape, sources=sources)

    def in_layout(self, value: Value, perm: Perm) -> Value:
        """The base that ``value`` has if it is described with ``perm``; a lower rank broadcasts."""
        base, own, sources = *self.described(value), self.sources(value)
        if own == perm:
            return base
        if base.rank < len(perm):
            if base.size == 1 and base.data is not None:
                return base
            missing = len(perm) - base.rank
            base = self.reshape(base, (1,) * missing + base.shape)
            own = (*range(missing), *(p + missing for p in own))
        return self.move(base, compose(own, inverse(perm)), sources)

    def cost(self, value: Value, perm: Perm) -> int:
        """Elements to move to get ``value`` described with ``perm``."""
        base, own = self.described(value)
        if base.data is not None:
            return 0
        missing = len(perm) - base.rank
        shape = (1,) * missing + base.shape
        own = (*range(missing), *(p + missing for p in own))
        return 0 if moves_only_ones(shape, compose(own, inverse(perm))) else base.size

    def choose(self, values: list[Value], out: Value) -> Perm:
        """The layout in which an op over same-rank or broadcast ``values`` moves the fewest elements."""
        identity = tuple(range(out.rank))
        candidates = {p: None for v in values if v.rank == out.rank for p in [self.described(v)[1]]}
        wanted = self.wishes.get(id(out), set())

        def total(perm: Perm) -> int:
            now = sum(self.cost(v, perm) for v in {id(v): v for v in values}.values())
            base = tuple(out.shape[i] for i in inverse(perm))
            later = sum(1 for wish in wanted if not moves_only_ones(base, compose(perm, wish)))
            return now + later * out.size

        # on a tie the transpose stays above the op's result: it may still meet its inverse
        return min([*candidates, identity], key=lambda p: (total(p), p == identity))

    # ---- nodes ---------------------------------------------------------------------------------------
    def keep(self, node: Node) -> None:
        """The op as it is, on real operands."""
        inputs = [None if v is None else self.real(v) for v in node.inputs]
        if all(a is b for a, b in zip(inputs, node.inputs)):
            self.nodes.append(node)
            return
        self.emit(node, inputs, dict(node.attrs), [o.shape for o in node.outputs])

    def emit(
        self, node: Node, inputs: list[Value | None], attrs: dict[str, Any], shapes: list[tuple[int, ...]],
        perms: list[Perm] | None = None,
    ) -> None:  # fmt: skip
        """Replace ``node`` by the same op on other operands; ``perms`` describes its outputs by the new ones."""
        made = Node(node.op, inputs, attrs, node.sources)
        made.outputs = [Value(shape, o.dtype, o.name, producer=made) for shape, o in zip(shapes, node.outputs)]
        self.nodes.append(made)
        for i, (old, new) in enumerate(zip(node.outputs, made.outputs)):
            if perms is None:
                self._real[id(old)] = new
            else:
                self.describe(old, new, perms[i])

    def describe(self, old: Value, base: Value, perm: Perm, sources: tuple[str, ...] = ()) -> None:
        """From now on ``old`` is ``transpose(base, perm)``."""
        if moves_only_ones(base.shape, perm) and base.producer is not None and base.producer.op == "reshape":
            # dimensions of size 1 go where they are wanted for free
            base = self.reshape(base, permuted(base.shape, perm), sources)
            perm = tuple(range(base.rank))
        if is_identity(perm):
            self._real[id(old)] = base
            if base.producer is not None and sources:
                base.producer.sources = merge_sources(base.producer.sources, sources)
        else:
            self._virtual[id(old)] = (base, perm, sources)


def layout(ctx: Context) -> None:
    """Sink transposes through the graph, cancel inverse pairs, turn those that move no data into reshapes."""
    before = moved_elements(ctx.graph.nodes)
    first = before
    count = sum(n.op == "transpose" for n in ctx.graph.nodes)
    if not count:
        return
    for walk in range(WALKS):
        state = Layout(ctx)
        old = (ctx.graph.nodes, ctx.graph.outputs)
        ctx.graph.nodes, ctx.graph.outputs = state.run()
        ctx.graph.remove_dead()
        after = moved_elements(ctx.graph.nodes)
        if after > before or (walk > 0 and after >= before):
            ctx.graph.nodes, ctx.graph.outputs = old
            break
        ctx.count(state.absorbed)
        before = after
    left = sum(n.op == "transpose" for n in ctx.graph.nodes)
    ctx.count(max(count - left, 0))
    ctx.result.notes.append(f"transposes {count} -> {left}, elements moved {first} -> {before}")
