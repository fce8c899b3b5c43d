"""Attention (opset 23 on): the common uses map to the one primitive; the rest goes through ONNX's own body."""

from __future__ import annotations

import math

import numpy as np

from a1400.errors import GraphError
from a1400.frontends.onnx.context import Ctx
from a1400.frontends.onnx.ops.registry import translates
from a1400.graph.graph import Value

_BOOL = np.dtype(np.bool_)


def _heads(c: Ctx, x: Value, attribute: str) -> Value:
    """[B,S,H*D] to [B,H,S,D]; tensors of rank 4 have that form already."""
    if x.rank == 4:
        return x
    heads = c.integer(attribute)
    if x.rank != 3 or heads < 1 or x.shape[2] % heads:
        raise GraphError(f"{list(x.shape)} does not divide into {heads} heads")
    return c.transpose(c.reshape(x, (*x.shape[:2], heads, x.shape[2] // heads)), (0, 2, 1, 3))


@translates("Attention", since=23)
def attention(c: Ctx) -> object:
    """Scaled dot-product attention with a cache, grouped queries, masks and causality."""
    windowed = c.integer("left_window_size", -1) >= 0 or c.integer("right_window_size", -1) >= 0
    if c.wants(3) or c.number("softcap", 0.0) != 0 or windowed or c.opt(6) is not None:
        return NotImplemented
    q, k, v = _heads(c, c[0], "q_num_heads"), _heads(c, c[1], "kv_num_heads"), _heads(c, c[2], "kv_num_heads")
    past = 0
    if c.opt(4) is not None and c.opt(5) is not None:
        past = c[4].shape[2]
        k, v = c.concat([c[4], k], 2), c.concat([c[5], v], 2)
    total = k.shape[2]
    mask = c.opt(3)
    if mask is not None and mask.rank and mask.shape[-1] not in (1, total):
        return NotImplemented
    if mask is not None and mask.dtype != _BOOL:
        mask = c.cast(mask, q.dtype)
    scale = c.attr("scale", None, float)
    scale = 1 / math.sqrt(max(q.shape[3], 1)) if scale is None else scale
    y = c.op(
        "attention", q, k, v, *(() if mask is None else (mask,)), scale=scale,
        causal=c.flag("is_causal"), causal_offset=past,
    )  # fmt: skip
    if c[0].rank == 3:
        y = c.reshape(c.transpose(y, (0, 2, 1, 3)), (y.shape[0], y.shape[2], y.shape[1] * y.shape[3]))
    return y, k, v
