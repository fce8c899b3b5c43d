"""``dead_code`` and ``constant_folding``."""

from __future__ import annotations

from a1400.ops import OPS
from a1400.optimizer.rewriter import Context, Rewriter, fold


def dead_code(ctx: Context) -> None:
    """Drop nodes that no output needs."""
    ctx.count(ctx.graph.remove_dead())


def constant_folding(ctx: Context) -> None:
    """Compute nodes over constants once per model; results much larger than their operands are left to the device."""
    walk = Rewriter(ctx)
    refused = 0
    for node in walk.graph.nodes:
        node.inputs = [None if v is None else walk.value(v) for v in node.inputs]
        if all(v is None or v.data is not None for v in node.inputs):
            values = fold(ctx.memo, node.op, node.inputs, node.attrs)
            if values is not None:
                ctx.count()
                for old, new in zip(node.outputs, values):
                    walk.redirect(old, new)
                continue
            refused += not OPS[node.op].lazy
        walk.nodes.append(node)
    walk.finish()
    if refused:
        ctx.result.notes.append(f"{refused} left: the result would be much larger than the operands")
