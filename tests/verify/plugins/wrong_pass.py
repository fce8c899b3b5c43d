"""An optimizer pass that drops every addition's second operand... of rank 1: a bias is lost."""

from a1400.optimizer import passes
from a1400.optimizer.rewriter import Context


def lose_a_bias(ctx: Context) -> None:
    """Take the first sum with a constant for its other operand."""
    for node in ctx.graph.nodes:
        if node.op == "add" and any(v is not None and v.is_constant for v in node.inputs):
            kept = next(v for v in node.inputs if v is not None and not v.is_constant)
            if kept.shape == node.output.shape:
                ctx.graph.replace({id(node.output): kept})
                ctx.result.rewrites += 1
                return


passes.PASSES["algebra"] = (lose_a_bias, "planted")
