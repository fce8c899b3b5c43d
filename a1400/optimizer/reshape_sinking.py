"""Reshapes sink below matrix products and pointwise nodes, so that they do not stand between a kernel and its epilogue.

A reshape moves no data, so nothing is lost by moving it; it only ever moves towards the outputs, so this ends.
"""

from __future__ import annotations

from a1400.graph.graph import Node, Value
from a1400.ops import OPS
from a1400.optimizer.rewriter import Rewriter, merge_sources
from a1400.optimizer.slots import EPILOGUE_OPS


def _reshape_of(value: Value | None) -> Node | None:
    node = value.producer if value is not None else None
    return node if node is not None and node.op == "reshape" else None


def sink_below_matmul(walk: Rewriter, node: Node) -> Value | None:
    """``reshape(x) @ w`` is ``reshape(x @ w)`` when the reshape keeps the rows."""
    a, w = node.inputs
    before = _reshape_of(a)
    if before is None or w is None or w.rank != 2 or before.inputs[0] is None:
        return None
    x = before.inputs[0]
    # the rows of a transposed x are not evenly spaced: there the reshape is a copy, which several products may share
    if x.producer is not None and x.producer.op == "transpose":
        return None
    if x.rank < 2 or node.output.rank < 2 or x.shape[-1] != w.shape[0]:
        return None
    product = walk.op("matmul", x, w, sources=node.sources)
    return walk.op("reshape", product, shape=node.output.shape, sources=before.sources)


def sink_below_pointwise(walk: Rewriter, node: Node) -> Value | None:
    """``f(reshape(x), ...)`` is ``reshape(f(x, ...))`` when the other operands can follow without moving data."""
    out = node.output
    full = [v for v in node.inputs if v is not None and v.shape == out.shape]
    reshapes = [r for v in full if (r := _reshape_of(v)) is not None]
    if not reshapes:
        return None
    chosen = _choose(walk, full, reshapes)
    if chosen is None or chosen.inputs[0] is None:
        return None
    shape = chosen.inputs[0].shape
    if not shape:
        return None
    inputs: list[Value | None] = []
    for v in node.inputs:
        assert v is not None
        target = shape if v.shape == out.shape else _last_only(v, out.shape, shape)
        if target is None:
            return None
        inputs.append(v if v.shape == target else walk.op("reshape", v, shape=target))
    sources = merge_sources(*(r.sources for r in reshapes))
    result = walk.op(node.op, *inputs, sources=node.sources, **node.attrs)
    return walk.op("reshape", result, shape=out.shape, sources=sources)


def _choose(walk: Rewriter, full: list[Value], reshapes: list[Node]) -> Node | None:
    """The reshape to sink: the only shape there is, or that of the one operand whose kernel could take the node in."""
    shapes = {r.inputs[0].shape for r in reshapes if r.inputs[0] is not None}
    others = [v for v in full if _reshape_of(v) is None and v.data is None]
    if len(shapes) == 1 and not others:
        return reshapes[0]
    hosts = [r for r in reshapes if _is_host(walk, r.inputs[0]) and walk.single_use(r.output)]
    if len(hosts) == 1 and not any(_is_host(walk, v) for v in others):
        return hosts[0]
    return None


def _is_host(walk: Rewriter, value: Value | None) -> bool:
    producer = value.producer if value is not None else None
    if producer is None or value is None or not walk.single_use(value):
        return False
    return producer.op in EPILOGUE_OPS or OPS[producer.op].pointwise


def _last_only(value: Value, out: tuple[int, ...], shape: tuple[int, ...]) -> tuple[int, ...] | None:
    """The shape in which an operand that varies along the last axis of ``shape`` only (or not at all) broadcasts to it.

    That axis may be several of ``out``: the bias of attention's projections is [heads, size].
    """
    if value.size == 1:
        return value.shape if value.rank <= len(shape) else ()
    ones = next(i for i, d in enumerate(value.shape) if d != 1)
    own = value.shape[ones:]
    if value.size == shape[-1] and out[len(out) - len(own) :] == own:
        return (shape[-1],)
    return None
