"""GroupNorm as PyTorch exports it: instance normalisation of ``[N, groups, everything else]``, reshaped back."""

from __future__ import annotations

from a1400.graph.graph import Node, Value
from a1400.optimizer.recognition.match import made_by, operand
from a1400.optimizer.rewriter import Rewriter, merge_sources
from a1400.optimizer.scalars import is_uniform

_SWAP = (0, 2, 1)


def recognise_group_norm(walk: Rewriter, node: Node) -> Value | None:
    """``reshape(transpose(group_norm(transpose(reshape(x)))))`` with one channel per group, from its last reshape."""
    back = made_by(operand(node), "transpose")
    norm = made_by(operand(back), "group_norm") if back is not None and back.attrs["perm"] == _SWAP else None
    if back is None or norm is None or norm.output.rank != 3:
        return None
    there = made_by(operand(norm), "transpose")
    grouped = made_by(operand(there), "reshape") if there is not None and there.attrs["perm"] == _SWAP else None
    if there is None or grouped is None:
        return None
    x, groups = operand(grouped), int(norm.attrs["groups"])
    if x.shape != node.output.shape or x.rank < 3 or groups != norm.output.shape[2]:
        return None
    n, channels = x.shape[:2]
    if grouped.output.shape[:2] != (n, groups) or channels % groups:
        return None
    parameters = [*norm.inputs[1:], None, None][:2]
    if not all(v is None or is_uniform(v, neutral) for v, neutral in zip(parameters, (1, 0))):
        return None
    sources = merge_sources(grouped.sources, norm.sources, node.sources)
    last = (0, *range(2, x.rank), 1)
    first = (0, x.rank - 1, *range(1, x.rank - 1))
    y = walk.op("transpose", x, perm=last, sources=sources)
    y = walk.op("group_norm", y, groups=groups, eps=norm.attrs["eps"], sources=sources)
    return walk.op("transpose", y, perm=first, sources=sources)
