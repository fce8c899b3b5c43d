"""``common_subexpressions``: equal operations on equal operands are computed once."""

from __future__ import annotations

from typing import Any

from a1400.graph.graph import Value
from a1400.optimizer.memo import attribute_key
from a1400.optimizer.rewriter import Context, Rewriter


def common_subexpressions(ctx: Context) -> None:
    """Compute equal operations once; constants are equal when their contents are (small) or they are one array."""
    walk = Rewriter(ctx)
    seen: dict[Any, list[Value]] = {}
    for node in walk.graph.nodes:
        node.inputs = [None if v is None else walk.value(v) for v in node.inputs]
        operands = tuple(id(v if v is None or v.data is None else ctx.memo.canonical(v.data)) for v in node.inputs)
        key = (node.op, operands, attribute_key(node.attrs))
        first = seen.setdefault(key, node.outputs)
        if first is node.outputs:
            walk.nodes.append(node)
            continue
        ctx.count()
        for old, new in zip(node.outputs, first):
            walk.redirect(old, new, node.sources)
    walk.finish()
