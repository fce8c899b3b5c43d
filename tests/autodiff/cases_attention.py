"""Gradients of attention: grouped heads, masks (a trained one too), causal with and without a cache, hidden rows.

With one head of keys there are fewer heads than compute units, and CPUs take two launches; with more, one.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from a1400.graph.tensor import Tensor
from tests.autodiff.cases import T, case, normal, via


def _seen(length: int, count: int, offset: int) -> np.ndarray:
    return np.arange(count)[None, :] <= np.arange(length)[:, None] + offset


def _attention(q: Any, k: Any, v: Any, mask: Any = None, scale: float = 0.5) -> Any:
    return T().nn.functional.scaled_dot_product_attention(
        q, k, v, attn_mask=mask, scale=scale, enable_gqa=q.shape[1] != k.shape[1]
    )


case("attention", via("attention", scale=0.5), normal(2, 2, 5, 4), normal(2, 2, 6, 4), normal(2, 2, 6, 3),
     torch=_attention)  # fmt: skip
case("attention_one_head", via("attention", scale=0.5), normal(1, 1, 5, 4), normal(1, 1, 6, 4), normal(1, 1, 6, 3),
     torch=_attention)  # fmt: skip
case(
    "attention_grouped_causal", via("attention", scale=0.5, causal=True, causal_offset=2), normal(1, 4, 5, 4),
    normal(1, 2, 7, 4), normal(1, 2, 7, 4),
    torch=lambda q, k, v: _attention(q, k, v, T().tensor(_seen(5, 7, 2))),
)  # fmt: skip
case(
    "attention_trained_bias", via("attention", scale=0.5), normal(2, 2, 3, 4), normal(2, 1, 5, 4), normal(2, 1, 5, 2),
    normal(2, 3, 5), torch=_attention,
)  # fmt: skip
case(
    "attention_trained_bias_causal", via("attention", scale=0.5, causal=True, causal_offset=0), normal(1, 1, 4, 4),
    normal(1, 1, 4, 4), normal(1, 1, 4, 4), normal(4, 4),
    torch=lambda q, k, v, m: _attention(q, k, v, m.masked_fill(T().tensor(~_seen(4, 4, 0)), -np.inf)),
)  # fmt: skip
_keep = np.array([[True, False, True], [False, False, False], [True, True, True]])
case("attention_hidden_row", lambda q, k, v, m: q.op("attention", k, v, m, scale=0.5), normal(1, 2, 3, 4),
     normal(1, 2, 3, 4), normal(1, 2, 3, 4), _keep)  # fmt: skip
case("attention_rows_before_the_keys", via("attention", scale=0.5, causal=True, causal_offset=-2), normal(1, 1, 4, 3),
     normal(1, 1, 3, 3), normal(1, 1, 3, 3))  # fmt: skip
case(
    "attention_large_heads", via("attention", scale=0.1), normal(1, 2, 3, 260), normal(1, 1, 4, 260),
    normal(1, 1, 4, 260), torch=lambda q, k, v: _attention(q, k, v, scale=0.1), smooth=False,
)  # fmt: skip


def _layer(x: Tensor, w: Tensor) -> Tensor:
    """Queries, keys and values by one product, two heads of 3, merged again."""
    joined = (x @ w).reshape((*x.shape[:2], 3, 2, 3)).transpose((2, 0, 3, 1, 4))
    q, k, v = (joined.slice((i, 0, 0, 0, 0), (1, *joined.shape[1:])).reshape(joined.shape[1:]) for i in range(3))
    return q.op("attention", k, v, scale=0.5).transpose((0, 2, 1, 3)).reshape((*x.shape[:2], 6))


def _their_layer(x: Any, w: Any) -> Any:
    q, k, v = (x @ w).reshape(*x.shape[:2], 3, 2, 3).permute(2, 0, 3, 1, 4)
    return _attention(q, k, v).permute(0, 2, 1, 3).reshape(*x.shape[:2], 6)


case("attention_layer", _layer, normal(2, 4, 5), normal(5, 18), torch=_their_layer)
