"""Scaled dot-product attention as one op."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from a1400.frontends.torch.context import Ctx
from a1400.frontends.torch.registry import translates
from a1400.graph.tensor import Tensor


def _attributes(c: Ctx, q: Tensor, dropout: float, causal: bool, scale: Any) -> dict[str, Any]:
    if dropout:
        raise c.refuse("attention with dropout is not supported as one operator")
    scale = 1 / math.sqrt(q.shape[-1]) if scale is None else float(scale)
    return {"scale": scale, "causal": causal, "causal_offset": 0}


@translates("_scaled_dot_product_flash_attention_for_cpu")
def attention(
    c: Ctx, q: Tensor, k: Tensor, v: Tensor, dropout_p: float = 0.0, is_causal: bool = False, *,
    attn_mask: Tensor | None = None, scale: Any = None,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """The result; what PyTorch keeps for its own gradient, the scores' logarithmic sums, is not known here: NaN."""
    operands = (q, k, v) if attn_mask is None else (q, k, v, attn_mask)
    y = c.op("attention", *operands, **_attributes(c, q, dropout_p, is_causal, scale))
    return y, c.full(q.shape[:3], math.nan, np.float32)


@translates("_scaled_dot_product_flash_attention_for_cpu_backward")
def attention_backward(
    c: Ctx, coming: Tensor, q: Tensor, k: Tensor, v: Tensor, out: Tensor, logsumexp: Any, dropout_p: float,
    is_causal: bool, *, attn_mask: Tensor | None = None, scale: Any = None,
) -> tuple[Tensor, ...]:  # fmt: skip
    """What reaches queries, keys and values."""
    operands = (q, k, v, out, coming) if attn_mask is None else (q, k, v, out, coming, attn_mask)
    return tuple(c.multi("attention_gradient", *operands, **_attributes(c, q, dropout_p, is_causal, scale)))
