"""Functions of one tensor, such as GELU: elementwise nodes that lead from one value to one other.

Their derivative is computed as a whole, by accumulation within them, and the gradient that comes in is multiplied with
it once.  It hangs on the forward pass alone, where it can be computed beside the function itself; the backward pass
then reads one tensor, not all those that the function was made of.  (Griewank and Walther, *Evaluating Derivatives*,
2008, chapter 10, call this preaccumulation.)
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

from a1400.graph.graph import Node, Value
from a1400.kernels.pointwise_ops import OPS as POINTWISE
from a1400.ops import OPS
from a1400.ops.registry import is_real

#: operations from which on it pays to keep a derivative instead of computing it where it is used
_HEAVY_FLOPS = 8


@dataclass
class Local:
    """``nodes`` (in order) that make ``result`` of ``source``, elementwise."""

    source: Value
    result: Value
    nodes: list[Node] = field(default_factory=list)


def local_functions(nodes: Sequence[Node], reached: Collection[int], apart: Collection[int]) -> list[Local]:
    """Functions of one tensor among ``nodes`` through which several ways lead, and which are heavy.

    ``reached`` are the values (by ``id``) that gradients are taken through; those ``apart`` are inside of no function.
    """
    origins: dict[int, Value] = {}
    members: dict[int, list[Node]] = {}
    sources: dict[int, Value] = {}
    for node in nodes:
        source = _source(node, reached, origins)
        if source is not None:
            origins[id(node.output)] = source
            sources[id(source)] = source
            members.setdefault(id(source), []).append(node)
    readers: dict[int, list[int]] = {}
    for node in nodes:
        for v in node.inputs:
            if v is not None:
                readers.setdefault(id(v), []).append(id(node))
    found = []
    for key, inside in members.items():
        own = {id(n) for n in inside}
        values = [n.output for n in inside]
        ends = [v for v in values if id(v) in apart or not own.issuperset(readers.get(id(v), (0,)))]
        several = any(sum(r in own for r in readers.get(k, ())) > 1 for k in (key, *map(id, values)))
        heavy = any(POINTWISE[n.op].flops >= _HEAVY_FLOPS for n in inside if n.op in POINTWISE)
        if len(ends) == 1 and several and heavy and ends[0].dtype == sources[key].dtype:
            found.append(Local(sources[key], ends[0], inside))
    return found


def _source(node: Node, reached: Collection[int], origins: dict[int, Value]) -> Value | None:
    """The one tensor of which the node's result is an elementwise function."""
    if not OPS[node.op].pointwise or "expr" in node.attrs:
        return None
    found: dict[int, Value] = {}
    for v in node.inputs:
        if v is None or (v.is_constant and v.size == 1):
            continue
        if id(v) not in reached:
            return None
        source = origins.get(id(v), v)
        found[id(source)] = source
    if len(found) != 1:
        return None
    (source,) = found.values()
    return source if is_real(source.dtype) and source.shape == node.output.shape else None
