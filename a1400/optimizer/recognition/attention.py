"""Attention from its products: ``softmax(scale * q @ k^T + mask) @ v``.

Taken as exporters write it: the scale on the scores, on q, on k or split over both, before or after heads are split;
the mask added (also in steps, or to a reshaped score) or selected with ``where``; probabilities guarded against NaN
rows; softmax in a wider type; heads as ``[B, H, S, D]``, flattened ``[B H, S, D]``, or with more dimensions in front; k
in either orientation; keys and values repeated for grouped queries.

A row of scores that is minus infinity throughout gives 0, as PyTorch's attention does, where plain softmax gives NaN.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

from a1400 import dtypes
from a1400.graph.graph import Node, Value
from a1400.optimizer.permutation import reshape_permuted
from a1400.optimizer.recognition.masks import Mask, hides, simplify
from a1400.optimizer.recognition.match import is_single, made_by, operand, scalar_factor
from a1400.optimizer.rewriter import Rewriter, merge_sources
from a1400.optimizer.scalars import is_uniform

_MAX_STEPS = 12


@dataclass
class _Scores:
    """The product of q and k^T behind a chain of scalings and masks."""

    product: Node
    scale: float = 1.0
    masks: list[tuple[Value, tuple[int, ...]]] = field(
        default_factory=list
    )  # with the scores' leading dimensions there
    sources: tuple[str, ...] = ()


def _probabilities(walk: Rewriter, value: Value) -> tuple[Node, tuple[str, ...]] | None:
    """(softmax over the last axis, sources) behind casts and a guard against NaN rows; nobody else reads between."""
    sources: tuple[str, ...] = ()
    while True:
        node = value.producer
        if node is None:
            return None
        readers = 1
        sources = merge_sources(node.sources, sources)
        if node.op == "where":
            guard, inner = made_by(node.inputs[0], "isnan"), operand(node, 2)
            if guard is None or guard.inputs[0] is not inner or not is_uniform(node.inputs[1], 0):
                return None
            if not walk.single_use(value) or inner.shape != value.shape:
                return None
            value, readers = inner, 2
            node = value.producer
            if node is None or walk.uses.get(id(value), 0) > readers:
                return None
            sources = merge_sources(node.sources, sources)
        elif not walk.single_use(value):
            return None
        if node.op == "softmax":
            return (node, sources) if node.attrs["axis"] == value.rank - 1 else None
        if node.op != "cast" or not dtypes.is_float(operand(node).dtype):
            return None
        value = operand(node)


def _scores(walk: Rewriter, value: Value) -> _Scores | None:
    """Walk from softmax's operand back to the product of queries and keys."""
    scale = 1.0
    masks: list[tuple[Value, tuple[int, ...]]] = []
    sources: tuple[str, ...] = ()
    for _ in range(_MAX_STEPS):
        node = value.producer
        if node is None or not walk.single_use(value):
            return None
        sources = merge_sources(node.sources, sources)
        factor = scalar_factor(node)
        if node.op == "matmul":
            return _Scores(node, scale, masks, sources)
        if factor is not None:
            value, scale = factor[0], scale * factor[1]
        elif _passes_scores(node):
            value = operand(node)
        elif node.op in ("add", "where"):
            split = _split_sum(node) if node.op == "add" else _split_selection(walk, node)
            if split is None or split[0].shape != node.output.shape:
                return None
            value, mask = split
            # the mask as it is added to the wholly scaled scores
            if scale != 1.0 and mask.dtype != np.bool_:
                mask = walk.op("mul", mask, walk.constant(np.asarray(scale, mask.dtype)), sources=node.sources)
            masks.append((mask, node.output.shape[:-2]))
        else:
            return None
    return None


def _passes_scores(node: Node) -> bool:
    """A conversion between floats, or a reshape that leaves queries and keys alone."""
    if node.op == "cast":
        return dtypes.is_float(operand(node).dtype)
    return node.op == "reshape" and node.output.shape[-2:] == operand(node).shape[-2:]


def _leads_to_product(value: Value) -> bool:
    for _ in range(_MAX_STEPS):
        node = value.producer
        if node is None:
            return False
        if node.op == "matmul":
            return True
        if node.op not in ("mul", "div", "cast", "reshape", "add", "where"):
            return False
        tensors = [v for v in node.inputs if v is not None and v.data is None and v.shape == node.output.shape]
        if not tensors and node.op != "reshape":
            return False
        if node.op == "where":
            tensors = [v for v in tensors if v.dtype != np.bool_]
        value = operand(node) if node.op in ("reshape", "cast") else max(tensors, key=_is_product)
    return False


def _is_product(value: Value) -> bool:
    return made_by(value, "matmul", "mul", "div") is not None


def _split_sum(node: Node) -> tuple[Value, Value] | None:
    """(scores, mask) of a sum."""
    a, b = operand(node, 0), operand(node, 1)
    for scores, mask in ((a, b), (b, a)):
        if mask.data is not None or (scores.shape == node.output.shape and mask.shape != scores.shape):
            return scores, mask
    # same shape: the scores are the operand that comes from a product
    for scores, mask in ((a, b), (b, a)):
        if _leads_to_product(scores) and not _leads_to_product(mask):
            return scores, mask
    return None


def _split_selection(walk: Rewriter, node: Node) -> tuple[Value, Value] | None:
    """(scores, mask) of ``where(visible, scores, hidden)`` or ``where(hidden, number, scores)``."""
    condition, a, b = operand(node, 0), operand(node, 1), operand(node, 2)
    if hides(b):
        scores, number, visible = a, b, condition
    elif hides(a):
        scores, number = b, a
        visible = walk.op("not", condition, sources=node.sources)
    else:
        return None
    if is_uniform(number, -math.inf):
        return scores, visible
    zero = walk.constant(np.zeros((), number.dtype))
    return scores, walk.op("where", visible, zero, number, sources=node.sources)


def _unscaled(walk: Rewriter, value: Value, depth: int = 0) -> tuple[Value, float, tuple[str, ...]]:
    """(x, c, sources) with ``value = c x``: scalings are found through transposes and reshapes."""
    node = value.producer
    if node is None or depth > _MAX_STEPS:
        return value, 1.0, ()
    factor = scalar_factor(node)
    if factor is not None and dtypes.is_float(value.dtype):
        inner, c, sources = _unscaled(walk, factor[0], depth + 1)
        return inner, c * factor[1], merge_sources(sources, node.sources)
    if node.op in ("transpose", "reshape"):
        inner, c, sources = _unscaled(walk, operand(node), depth + 1)
        if sources:
            return walk.op(node.op, inner, sources=node.sources, **node.attrs), c, sources
    return value, 1.0, ()


def _swapped(walk: Rewriter, value: Value, sources: tuple[str, ...]) -> Value:
    """``value`` with its last two dimensions swapped; an existing transpose is changed, not followed by another."""
    rank = value.rank
    swap = (*range(rank - 2), rank - 1, rank - 2)
    node = value.producer
    reshape = node if node is not None and node.op == "reshape" else None
    inner = made_by(operand(reshape), "transpose") if reshape is not None else None
    if reshape is not None and inner is not None:
        moved = reshape_permuted(operand(inner).shape, inner.attrs["perm"], value.shape)
        if moved is not None:
            x = walk.op("reshape", operand(inner), shape=moved[0], sources=reshape.sources)
            return walk.op("transpose", x, perm=tuple(moved[1][i] for i in swap), sources=inner.sources)
    if node is not None and node.op == "transpose":
        return walk.op(
            "transpose", operand(node), perm=tuple(node.attrs["perm"][i] for i in swap), sources=node.sources
        )
    return walk.op("transpose", value, perm=swap, sources=sources)


def _four(walk: Rewriter, value: Value, batch: tuple[int, ...], like: tuple[int, ...]) -> Value | None:
    """``value[..., rows, columns]`` as rank 4; ``like`` are batch and heads."""
    lead = value.shape[:-2]
    if math.prod(lead) != math.prod(batch):
        return None
    shape = (*like, *value.shape[-2:])
    return value if value.shape == shape else walk.op("reshape", value, shape=shape)


def _mask4(walk: Rewriter, mask: Value, batch: tuple[int, ...], like: tuple[int, ...]) -> Value | None:
    """A mask over ``[*batch, S, T]`` as one over ``[*like, S, T]``."""
    missing = len(batch) + 2 - mask.rank
    if missing < 0:
        return None
    shape = (1,) * missing + mask.shape
    lead = shape[: len(batch)]
    if math.prod(lead) == 1:
        target = (1, 1, *shape[-2:])
    elif batch == like:
        target = shape
    elif lead == batch:
        target = (*like, *shape[-2:])
    elif lead and like[1] == batch[-1]:  # heads stay apart: only the dimensions before them are merged
        if math.prod(lead[:-1]) != 1:
            mask = walk.op("expand", mask, shape=(*batch[:-1], *shape[len(batch) - 1 :]))
        target = (1 if math.prod(lead[:-1]) == 1 else like[0], *shape[len(batch) - 1 :])
    else:
        wide = (*batch, *shape[-2:])
        mask, target = walk.op("expand", mask, shape=wide), (*like, *shape[-2:])
    return mask if mask.shape == target else walk.op("reshape", mask, shape=target)


def _heads(batch: tuple[int, ...], q: Value) -> tuple[int, int]:
    """Batch and heads of the queries; for flattened ones, as they were before they were flattened."""
    if len(batch) >= 2:
        return math.prod(batch[:-1]), batch[-1]
    count = batch[0] if batch else 1
    flat = made_by(q, "reshape")
    before = operand(flat) if flat is not None else None
    if before is not None and before.rank == 4 and before.shape[2:] == q.shape[-2:]:
        return before.shape[0], before.shape[1]
    return count, 1


def _combined(
    walk: Rewriter, masks: list[tuple[Value, tuple[int, ...]]], like: tuple[int, ...], plane: tuple[int, ...]
) -> Mask | None:
    """All masks as one over ``[*like, S, T]``; None when that cannot be."""
    values: list[Value] = []
    offset: int | None = None
    for value, lead in masks:
        simple = simplify(walk, value, *plane)
        if simple.causal_offset is not None:
            offset = simple.causal_offset if offset is None else min(offset, simple.causal_offset)
        if simple.value is not None:
            four = _mask4(walk, simple.value, lead, like)
            if four is None:
                return None
            values.append(four)
    total = _one_mask(walk, values)
    return None if values and total is None else Mask(total, offset)


def _one_mask(walk: Rewriter, masks: list[Value]) -> Value | None:
    """Several masks as one: additive ones are added, boolean ones joined, a boolean one applied to an additive one."""
    if not masks:
        return None
    total = masks[0]
    for m in masks[1:]:
        if total.dtype == m.dtype:
            total = walk.op("and" if m.dtype == np.bool_ else "add", total, m)
            continue
        condition, added = (total, m) if total.dtype == np.bool_ else (m, total)
        if condition.dtype != np.bool_:
            return None
        total = walk.op("where", condition, added, walk.constant(np.asarray(-np.inf, added.dtype)))
    return total


def recognise_attention(walk: Rewriter, node: Node) -> Value | None:
    """Attention from its last product."""
    p, v = operand(node, 0), operand(node, 1)
    if p.rank < 2 or v.rank < 2 or not is_single(v.dtype):
        return None
    found = _probabilities(walk, p)
    scores = _scores(walk, operand(found[0])) if found is not None else None
    if found is None or scores is None:
        return None
    q, kt = operand(scores.product, 0), operand(scores.product, 1)
    batch = scores.product.output.shape[:-2]
    reshaped = p.shape[:-2]  # scores may have been reshaped between the product and softmax
    if q.rank < 2 or kt.rank < 2 or q.shape[:-2] != batch or q.dtype != v.dtype or q.dtype != kt.dtype:
        return None
    if p.shape[-2:] != scores.product.output.shape[-2:] or math.prod(reshaped) != math.prod(batch):
        return None
    if kt.shape[:-2] != batch or v.shape[:-2] != reshaped or node.output.shape[:-2] != reshaped:
        return None
    if kt.data is not None or v.data is not None or q.size == 0 or kt.size == 0:
        return None

    sources = merge_sources(scores.sources, found[1], node.sources)
    q, by_q, q_sources = _unscaled(walk, q)
    kt, by_k, k_sources = _unscaled(walk, kt)
    k = _swapped(walk, kt, scores.product.sources)
    like = _heads(batch, q)
    hidden = _combined(walk, scores.masks, like, p.shape[-2:])
    if hidden is None:
        return None
    final = hidden.value
    if final is not None and final.dtype not in (np.dtype(np.bool_), np.dtype(np.float32), q.dtype):
        final = walk.op("cast", final, to=q.dtype)
    parts = [_four(walk, x, batch, like) for x in (q, k, v)]
    attrs = {"scale": scores.scale * by_q * by_k, "causal": hidden.causal_offset is not None}
    attrs["causal_offset"] = hidden.causal_offset or 0
    sources = merge_sources(q_sources, k_sources, sources)
    y = walk.op("attention", *parts, *([final] if final is not None else []), sources=sources, **attrs)
    return y if y.shape == node.output.shape else walk.op("reshape", y, shape=node.output.shape)


def share_heads(walk: Rewriter, node: Node) -> Value | None:
    """Keys and values repeated for grouped queries need not be repeated: the op shares them."""
    q, k, v = (operand(node, i) for i in range(3))
    fewer = [_before_repeat(x) for x in (k, v)]
    if any(x is None for x in fewer):
        return None
    (k0, k_heads), (v0, v_heads) = fewer  # type: ignore[misc]
    if k_heads != v_heads or q.shape[1] % k_heads:
        return None
    parts = [walk.op("reshape", x, shape=(y.shape[0], k_heads, *y.shape[2:])) for x, y in ((k0, k), (v0, v))]
    return walk.op("attention", q, *parts, *node.inputs[3:], sources=node.sources, **node.attrs)


def _before_repeat(value: Value) -> tuple[Value, int] | None:
    """(x, heads) when ``value[B, heads * n, T, D]`` repeats each head of x n times in a row."""
    b, h, t, d = value.shape
    reshape = made_by(value, "reshape")
    expand = made_by(operand(reshape), "expand") if reshape is not None else made_by(value, "expand")
    if expand is None:
        return None
    x = operand(expand)
    if expand.output.rank == 4:  # one head for all
        return (x, 1) if x.shape == (b, 1, t, d) else None
    if expand.output.rank != 5 or x.rank != 5:
        return None
    heads, times = expand.output.shape[1], expand.output.shape[2]
    fits = expand.output.shape == (b, heads, times, t, d) and heads * times == h and x.shape == (b, heads, 1, t, d)
    return (x, heads) if fits else None
