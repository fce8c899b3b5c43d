"""``recognition``: groups of primitive nodes that are one operation with a kernel of its own.

Exporters write LayerNorm, RMSNorm, softmax, attention and GroupNorm out as primitives; each is found from its last node
backwards and replaced by the op; rotary embedding is written anew as one pointwise expression.  A group is only taken
when nobody else needs what would no longer be computed.
Activations (GELU, SiLU, ...) need no op, fusion makes one expression of them: they are labelled, so that the report and
``explain`` can name them.

The pass runs before and after ``layout``: some patterns are plain only before transposes have moved, some only after.
"""

from __future__ import annotations

from collections import Counter

from a1400.optimizer.recognition.activations import label_activations
from a1400.optimizer.recognition.attention import recognise_attention, share_heads
from a1400.optimizer.recognition.group_norm import recognise_group_norm
from a1400.optimizer.recognition.norms import absorb_bias, absorb_scale, recognise_layer_norm, recognise_rms_norm
from a1400.optimizer.recognition.rotary import recognise_rotary
from a1400.optimizer.recognition.softmax import recognise_softmax
from a1400.optimizer.rewriter import Context, Rewriter, Rule

RULES: dict[str, tuple[Rule, ...]] = {
    "mul": (recognise_layer_norm, recognise_rms_norm, recognise_softmax, absorb_scale),
    "div": (recognise_layer_norm, recognise_rms_norm, recognise_softmax),
    "add": (absorb_bias, recognise_rotary),
    "matmul": (recognise_attention,),
    "attention": (share_heads,),
    "reshape": (recognise_group_norm,),
}
_WHOLE = ("attention", "group_norm", "layer_norm", "rms_norm", "softmax")


def recognition(ctx: Context) -> None:
    """Replace decomposed LayerNorm, RMSNorm, softmax, attention and GroupNorm by their ops; label activations."""
    before = Counter(n.op for n in ctx.graph.nodes)
    Rewriter(ctx, RULES).run()
    after = Counter(n.op for n in ctx.graph.nodes)
    ctx.result.notes += [f"{op}: {after[op] - before[op]}" for op in _WHOLE if after[op] > before[op]]
    labels = label_activations(ctx.graph)
    ctx.count(sum(labels.values()))
    ctx.result.notes += [f"{name}: {number}" for name, number in sorted(labels.items())]
