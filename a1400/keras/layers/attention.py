"""Attention layers.  Where nobody asks for the scores, they are one op that never stores them."""

from __future__ import annotations

import math

import numpy as np

from a1400.graph.tensor import Tensor
from a1400.keras.layers.regularization import dropout
from a1400.keras.registry import converts
from a1400.keras.tracing import F32, Call


def _heads_first(x: Tensor) -> Tensor:
    """[B, T, N, H] as [B, N, T, H]."""
    return x.transpose((0, 2, 1, 3))


def _both(a: Tensor | None, b: Tensor) -> Tensor:
    return b if a is None else a.op("and", b)


def _causal(c: Call, queries: int, keys: int) -> Tensor:
    return c.constant(np.tril(np.ones((queries, keys), bool)), bool)


#: what is added to a hidden score: the sum is this number itself, whatever the score was
_HIDDEN = -1e30


def _added(mask: Tensor) -> Tensor:
    """A mask as numbers to add to scores; where everything is hidden, all weights are alike, as in Keras."""
    zero = Tensor(mask.graph, mask.graph.constant(0, F32))
    return mask.where(zero, _HIDDEN)


def _mask(c: Call, queries: int, keys: int) -> Tensor | None:
    """What the call's masks let pass, broadcastable to [B, T, S]; the causal one is not among them."""
    found = c.given("attention_mask")
    mask = None if found is None else c.lift(found).cast(bool)
    for name, axis in (("query_mask", 2), ("value_mask", 1), ("key_mask", 1)):
        part = c.given(name)
        if part is not None:
            part = c.lift(part).cast(bool)
            shape = (part.shape[0], part.shape[1], 1) if axis == 2 else (part.shape[0], 1, part.shape[1])
            mask = _both(mask, part.reshape(shape))
    window = c.option("sliding_window") or c.option("_sliding_window")
    if window is not None:
        near = np.abs(np.arange(queries)[:, None] - np.arange(keys)) < window
        mask = _both(mask, c.constant(near, bool))
    return mask


def _attend(
    c: Call, q: Tensor, k: Tensor, v: Tensor, scale: float, rate: float, scores_wanted: bool
) -> tuple[Tensor, Tensor | None]:
    """Queries [B, N, T, H] over keys and values of as many heads or a part of them: result, and weights if wanted."""
    queries, keys = q.shape[2], k.shape[2]
    mask, causal = _mask(c, queries, keys), bool(c.given("use_causal_mask", False))
    if mask is not None and mask.rank == 3:
        mask = mask.reshape((mask.shape[0], 1, *mask.shape[1:]))
    if not scores_wanted and not rate > 0:
        given = [k, v]
        if mask is not None:
            given.append(_added(_both(mask, _causal(c, queries, keys)) if causal else mask))
        return q.op("attention", *given, scale=scale, causal=causal and mask is None), None
    if not scores_wanted and not c.training and mask is None:
        return q.op("attention", k, v, scale=scale, causal=causal), None
    group = q.shape[1] // k.shape[1]
    k, v = _repeated(k, group), _repeated(v, group)
    scores = (q @ k.swap(2, 3)) * scale
    if causal:
        mask = _both(mask, _causal(c, queries, keys))
    if mask is None:
        weights = scores.op("softmax", axis=3)
    else:
        weights = mask.where(mask.where(scores, -1e9).op("softmax", axis=3), 0.0)
    return dropout(c, weights, rate) @ v, weights


def _repeated(x: Tensor, times: int) -> Tensor:
    if times == 1:
        return x
    batch, heads, *rest = x.shape
    wide = x.reshape((batch, heads, 1, *rest)).expand((batch, heads, times, *rest))
    return wide.reshape((batch, heads * times, *rest))


def _projected(c: Call, size: int, rate: float) -> Tensor | tuple[Tensor, Tensor]:
    """The whole of multi-head attention: projections, attention, output projection."""
    layer = c.layer
    query, value = c.lift(c.given("query")).cast(F32), c.lift(c.given("value")).cast(F32)
    key = c.lift(c.given("key", value)).cast(F32)
    if query.rank != 3 or key.rank != 3 or value.rank != 3:
        c.refuse("only queries, keys and values of rank 3 are supported")
    # the projections have no public names
    q, k, v = (
        _heads_first(c.apply(dense, x))
        for dense, x in ((layer._query_dense, query), (layer._key_dense, key), (layer._value_dense, value))
    )
    wanted = bool(c.given("return_attention_scores", False))
    found, weights = _attend(c, q, k, v, 1 / math.sqrt(float(size)), rate, wanted)
    y = _heads_first(found)
    if getattr(layer, "_use_gate", False) or getattr(layer, "use_gate", False):
        y = y * c.apply(layer._gate_dense, query)
    result: Tensor = c.apply(layer._output_dense, y)
    return (result, weights) if wanted and weights is not None else result


@converts("MultiHeadAttention")
def _multi_head(c: Call) -> Tensor | tuple[Tensor, Tensor]:
    masks = c.tracing.masks
    # Keras takes the queries' mask from their tensor alone, and takes the tensors' masks away
    query_mask = c.arguments["query_mask"] = masks.get(c.given("query"))
    for name in ("query", "value", "key"):
        masks.put(c.given(name), None)
    result = _scored(c)
    masks.put(result if isinstance(result, Tensor) else result[0], query_mask)
    return result


def _scored(c: Call) -> Tensor | tuple[Tensor, Tensor]:
    if tuple(c.layer._attention_axes or (1,)) != (1,):
        c.refuse("attention_axes other than the sequence's are not supported")
    return _projected(c, int(c.layer._key_dim), float(c.layer._dropout))


@converts("GroupedQueryAttention")
def _grouped(c: Call) -> Tensor | tuple[Tensor, Tensor]:
    return _projected(c, int(c.layer.head_dim), float(c.layer.dropout))


def _luong(c: Call, score: str) -> Tensor | tuple[Tensor, Tensor]:
    """Keras's ``Attention`` and ``AdditiveAttention``: one head, no projections."""
    layer = c.layer
    masks = [None if m is None else c.lift(m).cast(bool) for m in c.given("mask", ())]
    query_mask, value_mask = (*masks, None, None)[:2]
    parts = [x.cast(F32) for x in c.many]
    q, v = parts[:2]
    k = parts[2] if len(parts) > 2 else v
    rate, wanted = float(layer.dropout), bool(c.given("return_attention_scores", False))
    scale = None if layer.scale is None else c.weight(layer.scale)
    if score == "dot" and scale is None and not wanted and not (c.training and rate > 0):
        one = [x.reshape((x.shape[0], 1, *x.shape[1:])) for x in (q, k, v)]
        causal, extra = bool(c.given("use_causal_mask", False)), []
        if value_mask is not None:
            seen = value_mask.reshape((value_mask.shape[0], 1, 1, value_mask.shape[1]))
            seen = seen & _causal(c, q.shape[1], k.shape[1]) if causal else seen
            extra, causal = [_added(seen)], False
        y = one[0].op("attention", one[1], one[2], *extra, scale=1.0, causal=causal)
        return _of_queries(y.reshape((y.shape[0], *y.shape[2:])), query_mask)
    if score == "dot":
        scores = q @ k.swap(1, 2)
        scores = scores if scale is None else scores * scale
    else:
        each = q.reshape((*q.shape[:2], 1, q.shape[2])) + k.reshape((k.shape[0], 1, *k.shape[1:]))
        if score == "concat":
            scores = (each if scale is None else each * scale).op("tanh").sum((3,)) * c.weight(
                layer.concat_score_weight
            )
        else:
            each = each.op("tanh")
            scores = (each if scale is None else each * scale).sum((3,))
    visible: Tensor | None = None if value_mask is None else value_mask.expand_dims(1)
    if c.given("use_causal_mask", False):
        visible = _both(visible, _causal(c, q.shape[1], k.shape[1]))
    if visible is not None:
        scores = visible.where(scores, scores - 1e9)
    weights = dropout(c, scores.op("softmax", axis=2), rate)
    y = _of_queries(weights @ v, query_mask)
    return (y, weights) if wanted else y


def _of_queries(y: Tensor, mask: Tensor | None) -> Tensor:
    """Zeros for queries that are masked."""
    return y if mask is None else mask.expand_dims(-1).where(y, 0.0)


@converts("Attention")
def _attention(c: Call) -> Tensor | tuple[Tensor, Tensor]:
    return _luong(c, str(c.layer.score_mode))


@converts("AdditiveAttention")
def _additive(c: Call) -> Tensor | tuple[Tensor, Tensor]:
    return _luong(c, "additive")
