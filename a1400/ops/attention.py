"""``attention(q[B,H,S,D], k[B,HK,T,D], v[B,HK,T,DV], mask?)`` -> ``[B,H,S,DV]``: scaled dot-product attention.

``scale`` multiplies the scores; ``causal`` with ``causal_offset``: query ``i`` sees keys ``j <= i + causal_offset``.
``mask`` broadcasts to ``[B,H,S,T]``: bool (False hides) or a float added to the scaled scores.  H is a multiple of HK
(grouped queries).  The score matrix is never stored.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from a1400.graph.graph import Value
from a1400.ops.registry import Result, broadcast, op, require, widen


def _attention(attrs: dict[str, Any], q: Value, k: Value, v: Value, mask: Value | None = None) -> list[Result]:
    fits = q.rank == k.rank == v.rank == 4 and q.shape[3] == k.shape[3] and k.shape[:3] == v.shape[:3]
    require(fits and q.shape[0] == k.shape[0], f"attention of {q}, {k}, {v}")
    require(k.shape[1] > 0 and q.shape[1] % k.shape[1] == 0, f"{q.shape[1]} query heads over {k.shape[1]} key heads")
    scores = (*q.shape[:3], k.shape[2])
    require(
        mask is None or broadcast(mask.shape, scores) == scores, f"attention mask {mask} does not fit {list(scores)}"
    )
    attrs.setdefault("causal", False)
    attrs.setdefault("causal_offset", 0)
    return [((*q.shape[:3], v.shape[3]), q.dtype)]


def _reference(
    attrs: dict[str, Any], q: np.ndarray, k: np.ndarray, v: np.ndarray, mask: np.ndarray | None = None
) -> np.ndarray:
    group = q.shape[1] // k.shape[1]
    k, v = np.repeat(k, group, axis=1), np.repeat(v, group, axis=1)
    s = np.einsum("bhsd,bhtd->bhst", widen(q).astype(np.float64), widen(k).astype(np.float64)) * attrs["scale"]
    if mask is not None:
        s = np.where(mask, s, -np.inf) if mask.dtype == np.bool_ else s + widen(mask)
    if attrs.get("causal"):
        i, j = np.arange(s.shape[2])[:, None], np.arange(s.shape[3])
        s = np.where(j <= i + attrs.get("causal_offset", 0), s, -np.inf)
    top = s.max(axis=-1, keepdims=True, initial=-np.inf)
    e = np.exp(s - np.where(np.isfinite(top), top, 0))
    total = e.sum(axis=-1, keepdims=True)
    # a row that hides every key gives zeros, as PyTorch's fused kernels do
    p = np.divide(e, total, out=np.zeros_like(e), where=total > 0)
    return np.einsum("bhst,bhtd->bhsd", p, widen(v).astype(np.float64)).astype(q.dtype)


op("attention", "attention", _attention, _reference)
