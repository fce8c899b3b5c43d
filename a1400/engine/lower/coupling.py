"""Probabilities of classes from those of their pairs."""

from __future__ import annotations

from a1400.engine.lowering import Lowering, lowers
from a1400.graph.graph import Node


@lowers("pairwise_coupling")
def _coupling(lw: Lowering, node: Node) -> None:
    r = node.inputs[0]
    assert r is not None
    rows, k, _ = r.shape
    target = lw.result(node.output)
    buffers = {"r": lw.bind(lw.dense(r)), "p": lw.bind(target), "q": lw.bind(lw.temporary((rows, k), r.dtype))}
    lw.launch("pairwise_coupling", {"T": r.dtype}, buffers, {"R": rows, "k": k})
