"""Which operators AOTAutograd takes apart: those that PyTorch can write in core ATen and that have no translator."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

import torch
from torch.nn import functional

from a1400.frontends.torch.registry import supported

_ATEN = torch.ops.aten


@cache
def decompositions() -> Mapping[Any, Callable[..., Any]]:
    """The table, by overload."""
    from torch._decomp import _core_aten_decompositions_post_autograd, get_decompositions

    table: dict[Any, Callable[..., Any]] = dict(_core_aten_decompositions_post_autograd())
    table |= get_decompositions(_more())
    table |= _OWN
    return {op: function for op, function in table.items() if op not in supported()}


def _more() -> list[Any]:
    """Operators that core ATen leaves whole and that PyTorch can decompose further."""
    return [
        _ATEN._unsafe_index, _ATEN.native_batch_norm, _ATEN._native_batch_norm_legit, _ATEN.bernoulli_, _ATEN.uniform_,
        _ATEN.normal_, _ATEN.exponential_,
    ]  # fmt: skip


def _heads(x: torch.Tensor, heads: int) -> torch.Tensor:
    return x.unflatten(-1, (heads, -1)).transpose(1, 2)


def _allowed(mask: torch.Tensor | None, kind: int | None, scores: tuple[int, ...]) -> torch.Tensor | None:
    """Where attention may look, [N or 1, heads or 1, S or 1, T]: PyTorch's masks say where it may not."""
    if mask is None:
        return None
    if mask.dtype != torch.bool:
        return mask.expand(scores)
    if kind == 0 or mask.dim() == 4:
        return ~mask
    return ~mask[:, None, None, :] if kind == 1 and mask.dim() == 2 else ~mask


def _multi_head_attention(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, embed_dim: int, heads: int, qkv_weight: torch.Tensor,
    qkv_bias: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor, mask: torch.Tensor | None = None,
    need_weights: bool = True, average_attn_weights: bool = True, mask_type: int | None = None,
) -> tuple[torch.Tensor, torch.Tensor | None]:  # fmt: skip
    """``torch.nn.MultiheadAttention`` at inference."""
    if query is key and key is value:
        q, k, v = functional.linear(query, qkv_weight, qkv_bias).chunk(3, -1)
    else:
        parts = zip((query, key, value), qkv_weight.chunk(3), qkv_bias.chunk(3))
        q, k, v = (functional.linear(x, w, b) for x, w, b in parts)
    q, k, v = (_heads(x, heads) for x in (q, k, v))
    allowed = _allowed(mask, mask_type, (q.shape[0], heads, q.shape[2], k.shape[2]))
    made = functional.scaled_dot_product_attention(q, k, v, allowed)
    result = functional.linear(made.transpose(1, 2).flatten(-2), weight, bias)
    if not need_weights:
        return result, None
    scores = q @ k.transpose(-1, -2) / q.shape[-1] ** 0.5
    if allowed is not None:
        scores = scores.masked_fill(~allowed, -torch.inf) if allowed.dtype == torch.bool else scores + allowed
    weights = scores.softmax(-1)
    return result, weights.mean(1) if average_attn_weights else weights


def _encoder_layer(
    x: torch.Tensor, embed_dim: int, heads: int, qkv_weight: torch.Tensor, qkv_bias: torch.Tensor,
    weight: torch.Tensor, bias: torch.Tensor, use_gelu: bool, norm_first: bool, eps: float, w1: torch.Tensor,
    b1: torch.Tensor, w2: torch.Tensor, b2: torch.Tensor, up: torch.Tensor, up_bias: torch.Tensor, down: torch.Tensor,
    down_bias: torch.Tensor, mask: torch.Tensor | None = None, mask_type: int | None = None,
) -> torch.Tensor:  # fmt: skip
    """``torch.nn.TransformerEncoderLayer`` at inference."""

    def attended(x: torch.Tensor) -> torch.Tensor:
        return _multi_head_attention(
            x, x, x, embed_dim, heads, qkv_weight, qkv_bias, weight, bias, mask, False, True, mask_type
        )[0]

    def forwarded(x: torch.Tensor) -> torch.Tensor:
        inner = functional.linear(x, up, up_bias)
        return functional.linear(functional.gelu(inner) if use_gelu else inner.relu(), down, down_bias)

    def first(x: torch.Tensor) -> torch.Tensor:
        return functional.layer_norm(x, (embed_dim,), w1, b1, eps)

    def second(x: torch.Tensor) -> torch.Tensor:
        return functional.layer_norm(x, (embed_dim,), w2, b2, eps)

    if norm_first:
        x = x + attended(first(x))
        return x + forwarded(second(x))
    x = first(x + attended(x))
    return second(x + forwarded(x))


_OWN: dict[Any, Callable[..., Any]] = {
    _ATEN._native_multi_head_attention.default: _multi_head_attention,
    _ATEN._transformer_encoder_layer_fwd.default: _encoder_layer,
}
