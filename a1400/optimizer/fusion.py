"""``fusion``: pointwise regions become one node each, or part of the node that makes or reads their data.

What is left behind, and the engine reads:

* node ``pointwise`` with attr ``expr`` over its inputs, and attr ``more`` where regions that work on the same data
  became one node of several results (:mod:`a1400.optimizer.groups`);
* attr ``epilogue`` on a node of :data:`~a1400.optimizer.slots.EPILOGUE_OPS`: an expression whose operand 0 is the op's
  own value and whose other operands are the last ``epilogue_inputs`` inputs; the node's output has its dtype;
* attr ``prologue`` on a node of :data:`~a1400.optimizer.slots.PROLOGUE_OPS`: an expression whose operand 0 is input 0
  and whose other operands are the ``prologue_inputs`` inputs in front of the epilogue's; the op works on its value.

``inputs = [own inputs..., prologue extras..., epilogue extras...]``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from a1400 import dtypes
from a1400.graph.graph import Node, Value
from a1400.kernels.expr import Expr, arg, substitute, topological
from a1400.kernels.pointwise_ops import OPS as POINTWISE
from a1400.ops import OPS
from a1400.optimizer.groups import Group, group_regions
from a1400.optimizer.regions import Region, expressions_of, find_regions, labels_of, region_expression, sources_of
from a1400.optimizer.rewriter import Context, merge_sources
from a1400.optimizer.slots import (
    EPILOGUE_OPS,
    PROLOGUE_OPS,
    Groups,
    epilogue_groups,
    prologue_groups,
    slot_operand_ok,
)

#: operands that one slot may read besides the value itself
MAX_EXTRAS = 8
#: a prologue is computed as often as its kernel reads its input: softmax and normalisations do so several times
_PROLOGUE_FLOPS = {"reduce": 64, "matmul": 1}
_PROLOGUE_FLOPS_OTHERS = 8
#: every column block of a matrix product computes its prologue again: only narrow ones take one
_MATMUL_PROLOGUE_COLUMNS = 128
#: on CPUs an epilogue fills the registers that its kernel's sums are in: random numbers are better made by themselves
_CPU_EPILOGUE_FLOPS = 72
_HEAVY = ("conv", "matmul", "matmul_joined", "matmul_nbits", "conv_transpose")


@dataclass
class Attachment:
    """An expression moved into a node: operand 0 is the node's value, the others are ``extras``."""

    region: Region
    expr: Expr
    extras: list[Value]
    main: Value


@dataclass
class _Plan:
    epilogues: dict[int, Attachment] = field(default_factory=dict)
    prologues: dict[int, Attachment] = field(default_factory=dict)
    attached: dict[int, tuple[str, Node]] = field(default_factory=dict)  # region -> where it went


def _as_slot(region: Region, expr: Expr, operands: list[Value], main: Value) -> Attachment:
    """``expr`` with ``main`` as operand 0 and the other operands behind it."""
    extras = [v for v in operands if v is not main]
    numbers = {id(main): 0, **{id(v): i + 1 for i, v in enumerate(extras)}}
    renumbered = {i: arg(numbers[id(v)], v.dtype) for i, v in enumerate(operands)}
    return Attachment(region, substitute(expr, renumbered), extras, main)


def _extras_fit(extras: list[Value], full: tuple[int, ...], groups: Groups) -> bool:
    return len(extras) <= MAX_EXTRAS and all(slot_operand_ok(v.shape, full, groups) for v in extras)


def _register(dtype: np.dtype) -> str:
    return dtypes.info(dtype).register


class _Fuser:
    def __init__(self, ctx: Context) -> None:
        self.ctx, self.graph = ctx, ctx.graph
        self.regions = find_regions(ctx.graph, EPILOGUE_OPS)
        self.expressions = [region_expression(r) for r in self.regions]
        self.order = {id(n): i for i, n in enumerate(ctx.graph.nodes)}
        self.readers = self._reader_table()
        self.plan = _Plan()
        self.groups: list[Group] = []

    def _reader_table(self) -> dict[int, list[Region | Node | None]]:
        """Who reads each value once regions are single nodes; None stands for a graph output."""
        table: dict[int, list[Region | Node | None]] = {}
        for region, (_, operands) in zip(self.regions, self.expressions):
            for v in operands:
                table.setdefault(id(v), []).append(region)
        for node in self.graph.nodes:
            if not OPS[node.op].pointwise:
                for key in {id(v) for v in node.inputs if v is not None}:
                    table.setdefault(key, []).append(node)
        for v in self.graph.outputs.values():
            table.setdefault(id(v), []).append(None)
        return table

    # ---- decisions -----------------------------------------------------------------------------------
    def decide(self) -> None:
        """Find a place for each region: epilogues first, they save a pass over memory for sure."""
        for region, (expr, operands) in zip(self.regions, self.expressions):
            self._try_epilogue(region, expr, operands)
        for region, (expr, operands) in zip(self.regions, self.expressions):
            if id(region) not in self.plan.attached:
                self._try_prologue(region, expr, operands)
        self.groups = group_regions(self.graph, self.regions, set(self.plan.attached))

    def _try_epilogue(self, region: Region, expr: Expr, operands: list[Value]) -> None:
        info = self.ctx.info
        if info is not None and info.kind == "cpu" and _flops(expr) > _CPU_EPILOGUE_FLOPS:
            return
        hosts = [(v, v.producer) for v in operands if v.producer is not None and self._can_host(v.producer, v, region)]
        # the heaviest op, and the latest of those: the other operands are there by then
        hosts.sort(key=lambda h: (h[1].op in _HEAVY, self.order[id(h[1])]), reverse=True)
        for value, node in hosts:
            slot = _as_slot(region, expr, operands, value)
            if _extras_fit(slot.extras, value.shape, epilogue_groups(node)):
                self.plan.epilogues[id(node)] = slot
                self.plan.attached[id(region)] = ("epilogue", node)
                return

    def _can_host(self, node: Node, value: Value, region: Region) -> bool:
        if node.op not in EPILOGUE_OPS or "epilogue" in node.attrs or id(node) in self.plan.epilogues:
            return False
        if value is not node.output or value.shape != region.shape or len(self.readers[id(value)]) != 1:
            return False
        if any(self._reads_early(v, region) for v in node.outputs[1:]):
            return False
        out = region.root.output.dtype
        if dtypes.is_low(out) or not _kernel_has_slot(node, out):
            return False
        if out == np.bool_ or value.dtype == np.bool_:
            return False
        # a product of integers may give real numbers, for its sums are exact and the epilogue scales them
        scaled = node.op in ("matmul", "conv") and value.dtype == np.int32 and out == np.float32
        return scaled or dtypes.is_float(out) == dtypes.is_float(value.dtype)

    def _reads_early(self, value: Value, region: Region) -> bool:
        """Whether something in front of the region's end needs ``value``: a node with an epilogue moves there."""
        readers = (r.root if isinstance(r, Region) else r for r in self.readers.get(id(value), []))
        return any(r is not None and self.order[id(r)] < self.order[id(region.root)] for r in readers)

    def _try_prologue(self, region: Region, expr: Expr, operands: list[Value]) -> None:
        value = region.root.output
        readers = self.readers.get(id(value), [])
        node = readers[0] if len(readers) == 1 else None
        if not isinstance(node, Node) or node.op not in PROLOGUE_OPS or "prologue" in node.attrs:
            return
        if node.inputs[0] is not value or any(v is value for v in node.inputs[1:]):
            return
        if _flops(expr) > _PROLOGUE_FLOPS.get(node.op, _PROLOGUE_FLOPS_OTHERS):
            return
        if node.op == "matmul" and not _narrow_scaling(node, region, operands):
            return
        if node.op == "reduce" and not node.attrs["axes"]:
            return
        for main in operands:
            if main.shape == value.shape and _register(main.dtype) == _register(value.dtype) and main.dtype != np.bool_:
                slot = _as_slot(region, expr, operands, main)
                if _extras_fit(slot.extras, value.shape, prologue_groups(node)):
                    self.plan.prologues[id(node)] = slot
                    self.plan.attached[id(region)] = ("prologue", node)
                return

    # ---- the new graph -------------------------------------------------------------------------------
    def rebuild(self) -> None:
        """Emit each region where its last node was; a node with an epilogue moves there."""
        roots = {id(r.root): i for i, r in enumerate(self.regions)}
        homes = {id(region): group for group in self.groups for region in group.regions}
        nodes: list[Node] = []
        for node in self.graph.nodes:
            if not OPS[node.op].pointwise:
                if id(node) not in self.plan.epilogues:
                    nodes.append(self._attach(node))
                continue
            index = roots.get(id(node))
            if index is None:
                continue
            region, (expr, operands) = self.regions[index], self.expressions[index]
            place, host = self.plan.attached.get(id(region), (None, None))
            if place == "epilogue" and host is not None:
                nodes.append(self._attach(host))
            elif place is None:
                group = homes[id(region)]
                if len(group.regions) == 1:
                    nodes.append(_pointwise(region.nodes, [expr], operands, [region.root.output]))
                elif region is group.regions[-1]:
                    results = group.results
                    nodes.append(_pointwise(group.nodes, *expressions_of(group.nodes, results), results))
        self.graph.nodes = nodes
        if any(len(group.regions) > 1 for group in self.groups):
            self.graph.sort()  # who reads an earlier result of a group comes behind the group
        self.graph.remove_dead()

    def _attach(self, node: Node) -> Node:
        before, after = self.plan.prologues.get(id(node)), self.plan.epilogues.get(id(node))
        if before is not None:
            node.inputs = [before.main, *node.inputs[1:], *before.extras]
            node.attrs |= {"prologue": before.expr, "prologue_inputs": len(before.extras)}
            _inherit(node, before.region, in_front=True)
        if after is not None:
            node.inputs = [*node.inputs, *after.extras]
            node.attrs |= {"epilogue": after.expr, "epilogue_inputs": len(after.extras)}
            _inherit(node, after.region)
            node.outputs = [after.region.root.output, *node.outputs[1:]]
            node.output.producer = node
        return node


def _kernel_has_slot(node: Node, out: np.dtype) -> bool:
    """False for the forms of an op that run without an EPILOGUE slot (or without one that changes the dtype)."""
    x, own = node.inputs[0], node.output.dtype
    if out == np.float64 and own != out:  # products that sum in float32 write no doubles
        return False
    if node.op == "resize":  # integers and doubles are moved by gathers
        return dtypes.is_float(own) and own.itemsize < 8 and out == own
    if node.op == "matmul":
        return all(v is not None and v.rank >= 2 for v in node.inputs[:2])
    return node.op != "reduce" or (x is not None and bool(node.attrs["axes"]))


def _inherit(node: Node, region: Region, in_front: bool = False) -> None:
    groups = (sources_of(region.nodes), node.sources)
    node.sources = merge_sources(*(groups if in_front else reversed(groups)))
    labels = (*node.attrs.get("labels", ()), *labels_of(region.nodes))
    if labels:
        node.attrs["labels"] = labels


def _pointwise(nodes: Sequence[Node], exprs: Sequence[Expr], operands: list[Value], results: Sequence[Value]) -> Node:
    node = Node("pointwise", operands, {"expr": exprs[0]}, sources_of(nodes))
    if len(exprs) > 1:
        node.attrs["more"] = tuple(exprs[1:])
    if labels := labels_of(nodes):
        node.attrs["labels"] = labels
    node.outputs = list(results)
    for value in results:
        value.producer = node
    return node


def _flops(expr: Expr) -> int:
    return sum(POINTWISE[e.op].flops for e in topological([expr]) if e.op in POINTWISE)


def _narrow_scaling(node: Node, region: Region, operands: list[Value]) -> bool:
    """A single product or sum with a vector, in front of a matrix product with few columns."""
    a, b = node.inputs[:2]
    assert a is not None and b is not None
    if a.rank < 2 or b.rank < 2 or b.shape[-1] > _MATMUL_PROLOGUE_COLUMNS or region.operations != 1:
        return False
    small = max(a.shape[-1], a.size // max(a.shape[-1], 1))
    extras = [v for v in operands if v.shape != a.shape]
    one_vector = len(operands) - len(extras) == 1 and all(v.size <= small for v in extras)
    return region.root.op in ("mul", "add") and one_vector


def fusion(ctx: Context) -> None:
    """Fuse pointwise regions; put them into the kernels that make (epilogue) or read (prologue) their data."""
    fuser = _Fuser(ctx)
    pointwise = sum(len(r.nodes) for r in fuser.regions)
    fuser.decide()
    fuser.rebuild()
    ctx.count(pointwise)
    places = Counter(place for place, _ in fuser.plan.attached.values())
    alone, joined = len(fuser.groups), sum(len(group.regions) > 1 for group in fuser.groups)
    ctx.result.notes.append(
        f"{pointwise} pointwise nodes in {len(fuser.regions)} regions: {places['epilogue']} epilogues, "
        f"{places['prologue']} prologues, {alone} on their own" + (f", {joined} of several regions" if joined else "")
    )
