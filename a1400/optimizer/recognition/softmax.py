"""Softmax from its arithmetic: ``e / sum(e)`` with ``e = exp(x - max(x))``."""

from __future__ import annotations

from a1400.graph.graph import Node, Value
from a1400.optimizer.recognition.match import either_way, made_by, operand
from a1400.optimizer.rewriter import Rewriter, merge_sources


def _one_axis(node: Node | None, kind: str) -> int | None:
    if node is None or node.attrs["kind"] != kind or len(node.attrs["axes"]) != 1 or not node.attrs["keepdims"]:
        return None
    return int(node.attrs["axes"][0])


def recognise_softmax(walk: Rewriter, node: Node) -> Value | None:
    """Softmax from its last division (or product with a reciprocal)."""
    pairs = [(operand(node, 0), operand(node, 1))] if node.op == "div" else list(either_way(node))
    for e, below in pairs:
        turned = made_by(below, "reciprocal") if node.op == "mul" else None
        if node.op == "mul" and turned is None:
            continue
        total = made_by(operand(turned) if turned is not None else below, "reduce")
        exp = made_by(e, "exp")
        axis = _one_axis(total, "sum")
        if exp is None or total is None or axis is None or total.inputs[0] is not e:
            continue
        shifted = made_by(operand(exp), "sub")
        top = made_by(operand(shifted, 1), "reduce") if shifted is not None else None
        if shifted is None or top is None or _one_axis(top, "max") != axis or top.inputs[0] is not shifted.inputs[0]:
            continue
        sources = merge_sources(top.sources, shifted.sources, exp.sources, total.sources, node.sources)
        return walk.op("softmax", operand(shifted), axis=axis, sources=sources)
    return None
