"""Pointwise regions: maximal groups of elementwise nodes with one result, and their expressions.

Nodes are visited from the outputs back.  A node joins its readers' region when they are all in that one region and its
result has the region's shape: what is computed on a smaller, broadcast shape must not be computed again per element.
So only the region's last value is read from outside, and a region never depends on itself through another node.

What is marked as ``kept`` (a function's derivative) ends a region: it is computed where its operands are at hand, and
kept for later readers instead of all of those.

What is made of elements' numbers and single values alone (random masks) is computed in every region that reads it: no
memory has to be read for it, and keeping it from the forward to the backward pass would take some.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from a1400.graph.graph import Graph, Node, Value
from a1400.kernels import expr as expressions
from a1400.kernels.expr import Expr
from a1400.ops import OPS
from a1400.optimizer.rewriter import merge_sources
from a1400.optimizer.scalars import uniform

#: operands a fused kernel may read, and operations it may hold
MAX_OPERANDS = 12
MAX_OPERATIONS = 96
_CHEAP = frozenset({"cast", "neg", "abs", "not", "add", "sub", "mul", "max", "min", "eq", "ne", "lt", "le", "gt", "ge"})


@dataclass
class Region:
    """Pointwise nodes (in order) that become one; ``root`` is the last, ``operands`` the values read from outside."""

    root: Node
    nodes: list[Node] = field(default_factory=list)
    operands: dict[int, Value] = field(default_factory=dict)
    operations: int = 0

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the result."""
        return self.root.output.shape


def _scalar(value: Value, shape: tuple[int, ...]) -> bool:
    """True for a constant that is written into the expression."""
    return value.data is not None and value.size == 1 and value.rank <= len(shape)


def _weight(node: Node) -> int:
    return len(expressions.topological([node.attrs["expr"]])) if node.op == "pointwise" else 1


def find_regions(graph: Graph, epilogue_ops: frozenset[str]) -> list[Region]:
    """Regions in the order of their roots; cheap nodes with several readers may be in several regions."""
    users = graph.users()
    outputs = {id(v) for v in graph.outputs.values()}
    counted = made_of_numbers(graph)
    home: dict[int, Region | None] = {}  # node -> its region; None when it was copied into its readers' regions
    regions: list[Region] = []
    for node in reversed(graph.nodes):
        if not OPS[node.op].pointwise:
            continue
        value = node.output
        readers = users.get(id(value), [])
        region: Region | None = None
        inner = id(value) not in outputs and "kept" not in node.attrs
        if inner and readers and all(OPS[r.op].pointwise for r in readers):
            targets = _regions_of(readers, value, home, regions)
            if len(targets) == 1 and _fits(targets[0], node):
                region = targets[0]
            elif (
                targets
                and (id(value) in counted or _is_worth_copying(node, users, epilogue_ops))
                and all(_fits(t, node) for t in targets)
            ):
                for target in targets:
                    _join(target, node)
                home[id(node)] = None
                continue
        if region is None:
            region = Region(node)
            regions.append(region)
            region.operands[id(value)] = value
        home[id(node)] = region
        _join(region, node)
    regions.reverse()
    for region in regions:
        region.nodes.reverse()
    return regions


def _regions_of(
    readers: list[Node], value: Value, home: dict[int, Region | None], regions: list[Region]
) -> list[Region]:
    """Regions that read ``value``, each once."""
    found: dict[int, Region] = {}
    for reader in readers:
        region = home[id(reader)]
        if region is not None:
            found[id(region)] = region
        else:  # the reader was copied: look for the value among the operands
            found.update({id(r): r for r in regions if id(value) in r.operands})
    return list(found.values())


def _fits(region: Region, node: Node) -> bool:
    if node.output.shape != region.shape or region.operations + _weight(node) > MAX_OPERATIONS:
        return False
    new = {id(v) for v in node.inputs if v is not None and not _scalar(v, region.shape)}
    return len(new | set(region.operands)) - 1 <= MAX_OPERANDS


def _join(region: Region, node: Node) -> None:
    region.operands.pop(id(node.output), None)
    region.nodes.append(node)
    region.operations += _weight(node)
    for v in node.inputs:
        if v is not None and not _scalar(v, region.shape):
            region.operands[id(v)] = v


def made_of_numbers(graph: Graph) -> set[int]:
    """Values (by ``id``) that are ``iota``, views of it, or computed from it and single elements."""
    found: set[int] = set()
    for node in graph.nodes:
        inputs = [v for v in node.inputs if v is not None]
        definition = OPS[node.op]
        if node.op == "iota" or (
            (definition.view or definition.pointwise)
            and any(id(v) in found for v in inputs)
            and all(id(v) in found or (definition.pointwise and v.size == 1) for v in inputs)
        ):
            found.update(id(v) for v in node.outputs)
    return found


def _is_worth_copying(node: Node, users: dict[int, list[Node]], epilogue_ops: frozenset[str]) -> bool:
    """One cheap operation on one tensor that is in memory anyway: reading that costs what reading the result would."""
    if node.op not in _CHEAP:
        return False
    tensors = [v for v in node.inputs if v is not None and not _scalar(v, node.output.shape)]
    if len(tensors) != 1 or tensors[0].shape != node.output.shape:
        return False
    source = tensors[0]
    if source.dtype.itemsize > node.output.dtype.itemsize:
        return False
    producer = source.producer
    if producer is None:
        return True
    # as the epilogue of its only-read producer it would cost nothing at all
    attachable = producer.op in epilogue_ops or OPS[producer.op].pointwise
    return not (attachable and len(users.get(id(source), ())) == 1)


def region_expression(region: Region) -> tuple[Expr, list[Value]]:
    """The region as an expression, and the values its operands stand for, in order."""
    (expr,), operands = expressions_of(region.nodes, [region.root.output])
    return expr, operands


def expressions_of(nodes: Sequence[Node], results: Sequence[Value]) -> tuple[list[Expr], list[Value]]:
    """``results``, which pointwise ``nodes`` (in order) make, as expressions; and the values of their operands."""
    shape = results[0].shape
    operands: list[Value] = []
    made: dict[int, Expr] = {}

    def get(value: Value) -> Expr:
        found = made.get(id(value))
        if found is None:
            if _scalar(value, shape):
                number = uniform(value)
                assert number is not None
                found = expressions.const(number, value.dtype)
            else:
                found = expressions.arg(len(operands), value.dtype)
                operands.append(value)
            made[id(value)] = found
        return found

    for node in nodes:
        inputs = [get(v) for v in node.inputs if v is not None]
        if node.op == "pointwise":
            result = expressions.substitute(node.attrs["expr"], dict(enumerate(inputs)))
        elif node.op == "cast":
            result = expressions.cast(inputs[0], node.attrs["to"])
        else:
            result = expressions.apply(node.op, *inputs)
        made[id(node.output)] = result
    found = [made[id(value)] for value in results]
    if not operands or np.broadcast_shapes(*(v.shape for v in operands)) != shape:
        # a one-element constant gave the result its rank (or there is nothing else): keep one as an operand
        for node in nodes:
            for v in node.inputs:
                if v is not None and _scalar(v, shape):
                    operands.append(v)
                    if np.broadcast_shapes(*(o.shape for o in operands)) == shape:
                        return found, operands
    return found, operands


def sources_of(nodes: Sequence[Node]) -> tuple[str, ...]:
    """Model nodes behind pointwise ``nodes``."""
    return merge_sources(*(n.sources for n in nodes))


def labels_of(nodes: Sequence[Node]) -> tuple[str, ...]:
    """Names of recognised functions (``gelu``, ``silu``) among ``nodes``."""
    return tuple(n.attrs["label"] for n in nodes if "label" in n.attrs)
