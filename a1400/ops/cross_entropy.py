"""Softmax and cross-entropy in one, with the logarithm of the sum of exponentials: no probability is ever divided by.

``softmax_cross_entropy(logits [..., C], target; ignore)`` gives ``loss``, ``lse`` and ``weight``, each ``[...]`` and
float32 for half types: ``loss = sum over classes of t * (lse - logit)``, ``lse = log(sum(exp(logits)))``, ``weight``
the sum of t.  ``target`` holds class numbers ``[...]`` (int32 or int64; t is 1 for that class) or t itself ``[..., C]``
(the logits' dtype).  Where a class number is ``ignore`` (None: nowhere), loss and weight are 0; a class that does not
exist gives a NaN.  A t of 0 takes no part, even where its logit is ``-inf``.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from a1400.graph.graph import Value
from a1400.graph.tensor import Tensor
from a1400.ops.registry import Backward, Result, gradient, is_real, op, require, wide_dtype, widen

_INDICES = (np.dtype(np.int32), np.dtype(np.int64))


def _infer(attrs: dict[str, Any], logits: Value, target: Value) -> list[Result]:
    require(logits.rank > 0 and is_real(logits.dtype), f"cross-entropy needs floating logits [..., C], not {logits}")
    if is_real(target.dtype):
        fits = (target.shape, target.dtype) == (logits.shape, logits.dtype)
        require(fits and attrs["ignore"] is None, f"the probabilities {target} do not fit the logits {logits}")
    else:
        require(target.dtype in _INDICES, f"class numbers must be int32 or int64, not {target.dtype}")
        require(target.shape == logits.shape[:-1], f"the class numbers {target} do not fit the logits {logits}")
    return [(logits.shape[:-1], wide_dtype(logits.dtype))] * 3


def _reference(attrs: dict[str, Any], logits: np.ndarray, target: np.ndarray) -> list[np.ndarray]:
    z = widen(logits).astype(np.float64)
    with np.errstate(all="ignore"):
        top = z.max(axis=-1, keepdims=True, initial=-np.inf)
        base = np.where(top == -np.inf, 0, top)
        lse = np.log(np.exp(z - base).sum(axis=-1)) + base[..., 0]
        if target.dtype.kind in "iu":
            ignored = np.zeros(target.shape, bool) if attrs["ignore"] is None else target == attrs["ignore"]
            there = (target >= 0) & (target < z.shape[-1])
            at = np.where(there, target, 0)[..., None]
            loss = np.where(there, lse - np.take_along_axis(z, at, -1)[..., 0], np.nan) if z.shape[-1] else lse * np.nan
            loss, weight = np.where(ignored, 0, loss), np.where(ignored, 0.0, 1.0)
        else:
            t = widen(target).astype(np.float64)
            weight = t.sum(axis=-1)
            loss = np.where(t == 0, 0, t * (lse[..., None] - z)).sum(axis=-1)
    return [v.astype(wide_dtype(logits.dtype)) for v in (loss, lse, weight)]


op("softmax_cross_entropy", "reduction", _infer, _reference)


def softmax_cross_entropy(
    logits: Tensor, target: Tensor, ignore: int | None = None
) -> tuple[Tensor, Tensor, Tensor]:
    """(loss, lse, weight) of ``logits [..., C]``: see the top of this file."""
    loss, lse, weight = logits.graph.multi("softmax_cross_entropy", logits.value, target.value, ignore=ignore)
    return Tensor(logits.graph, loss), Tensor(logits.graph, lse), Tensor(logits.graph, weight)


@gradient("softmax_cross_entropy")
def _gradient(b: Backward) -> tuple[Tensor, Tensor | None]:
    """``(softmax * weight - t) * g``: elementwise, as the sum over the classes is known."""
    logits, target = b.x(0), b.x(1)
    _, lse, weight = b.outputs
    rows = (*lse.shape, 1)
    wide = logits.cast(lse.dtype)
    g = b.g.reshape(rows)
    share = (wide - lse.reshape(rows)).exp()
    if not is_real(target.dtype):
        classes = Tensor(b.graph, b.graph.constant(np.arange(logits.shape[-1], dtype=np.int32)))
        hit = target.cast(np.int32).reshape(rows).equal(classes).cast(lse.dtype)
        of_logits = (share - hit) * (b.g * weight).reshape(rows)
        if b.coming[1] is not None:
            of_logits = of_logits + share * b.coming[1].reshape(rows)
        return of_logits.cast(logits.dtype), None
    t = target.cast(lse.dtype)
    of_logits = (share * weight.reshape(rows) - t) * g
    if b.coming[1] is not None:
        of_logits = of_logits + share * b.coming[1].reshape(rows)
    of_target = (lse.reshape(rows) - wide) * g
    if b.coming[2] is not None:
        of_target = of_target + b.coming[2].reshape(rows)
    return of_logits.cast(logits.dtype), of_target.cast(target.dtype)
