"""Scaled dot-product attention and its gradient.

``attention(q[B,H,S,D], k[B,HK,T,D], v[B,HK,T,DV], mask?)`` -> ``[B,H,S,DV]``.  ``scale`` multiplies the scores;
``causal`` with ``causal_offset``: query ``i`` sees keys ``j <= i + causal_offset``.  ``mask`` broadcasts to
``[B,H,S,T]``: bool (False hides) or a float added to the scaled scores.  H is a multiple of HK (grouped queries).  The
score matrix is never stored.

``attention_gradient(q, k, v, o, g, mask?)`` with the same attributes -> dq, dk, dv: what reaches q, k and v when ``g``
reaches the result ``o`` of ``attention``.  It does not store the score matrix either.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from a1400.graph.graph import Value
from a1400.graph.tensor import Tensor
from a1400.ops.registry import Backward, Result, broadcast, gradient, is_real, op, require, widen


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


def _wide(x: np.ndarray, heads: int) -> np.ndarray:
    """In float64, with one of ``heads`` heads for each head of queries."""
    return np.repeat(widen(x).astype(np.float64), heads // x.shape[1], axis=1)


def _weights(attrs: dict[str, Any], q: np.ndarray, k: np.ndarray, mask: np.ndarray | None) -> np.ndarray:
    """The softmax of the scores, [B,H,S,T] in float64."""
    s = np.einsum("bhsd,bhtd->bhst", widen(q).astype(np.float64), _wide(k, q.shape[1])) * attrs["scale"]
    if mask is not None:
        s = np.where(mask, s, -np.inf) if mask.dtype == np.bool_ else s + widen(mask)
    if attrs.get("causal"):
        i, j = np.arange(s.shape[2])[:, None], np.arange(s.shape[3])
        s = np.where(j <= i + attrs.get("causal_offset", 0), s, -np.inf)
    top = s.max(axis=-1, keepdims=True, initial=-np.inf)
    e = np.exp(s - np.where(np.isfinite(top), top, 0))
    total = e.sum(axis=-1, keepdims=True)
    # a row that hides every key gives zeros, as PyTorch's fused kernels do
    return np.divide(e, total, out=np.zeros_like(e), where=total > 0)


def _reference(
    attrs: dict[str, Any], q: np.ndarray, k: np.ndarray, v: np.ndarray, mask: np.ndarray | None = None
) -> np.ndarray:
    return np.einsum("bhst,bhtd->bhsd", _weights(attrs, q, k, mask), _wide(v, q.shape[1])).astype(q.dtype)


op("attention", "attention", _attention, _reference)


def _infer_gradient(
    attrs: dict[str, Any], q: Value, k: Value, v: Value, o: Value, g: Value, mask: Value | None = None
) -> list[Result]:
    ((shape, dtype),) = _attention(attrs, q, k, v, mask)
    same = {value.dtype for value in (q, k, v, o, g)} == {dtype}
    require(o.shape == g.shape == shape and same, f"attention gradient of {q}, {k}, {v}, {o}, {g}")
    return [(value.shape, dtype) for value in (q, k, v)]


def _gradient_reference(
    attrs: dict[str, Any], q: np.ndarray, k: np.ndarray, v: np.ndarray, o: np.ndarray, g: np.ndarray,
    mask: np.ndarray | None = None,
) -> list[np.ndarray]:  # fmt: skip
    heads = q.shape[1]
    p, wide = _weights(attrs, q, k, mask), _wide(g, heads)
    delta = (wide * _wide(o, heads)).sum(axis=-1, keepdims=True)
    ds = p * (wide @ _wide(v, heads).swapaxes(-1, -2) - delta) * attrs["scale"]
    dk, dv = ds.swapaxes(-1, -2) @ _wide(q, heads), p.swapaxes(-1, -2) @ wide
    shared = [part.reshape(*k.shape[:2], heads // k.shape[1], *part.shape[2:]).sum(axis=2) for part in (dk, dv)]
    return [part.astype(q.dtype) for part in (ds @ _wide(k, heads), *shared)]


op("attention_gradient", "attention", _infer_gradient, _gradient_reference)


@gradient("attention")
def _attention_rule(b: Backward) -> list[Tensor | None]:
    q, k, v = (b.x(i) for i in range(3))
    mask = b.inputs[3] if len(b.inputs) > 3 else None
    found = b.graph.multi(
        "attention_gradient", *(t.value for t in (q, k, v, b.y, b.g)), *(() if mask is None else (mask.value,)),
        **b.attrs,
    )  # fmt: skip
    result: list[Tensor | None] = [Tensor(b.graph, value) for value in found]
    if mask is not None:
        result.append(_mask_gradient(b, mask) if b.wanted[3] and is_real(mask.dtype) else None)
    return result


def _mask_gradient(b: Backward, mask: Tensor) -> Tensor:
    """What reaches a trained mask (a bias of relative positions): as large as the scores, which are then stored too."""
    wide = np.dtype(np.float32) if b.y.dtype.itemsize == 2 else b.y.dtype
    q, k, v, o, g = (t.cast(wide) for t in (b.x(0), b.x(1), b.x(2), b.y, b.g))
    heads, keys, length, count = q.shape[1], k.shape[1], q.shape[2], k.shape[2]
    shape = (q.shape[0], heads, length, count)

    def against(rows: Tensor, columns: Tensor) -> Tensor:
        """Every query's row times every key's, the heads of keys repeated."""
        grouped = rows.reshape((rows.shape[0], keys, heads // keys * length, rows.shape[3]))
        return (grouped @ columns.swap(2, 3)).reshape(shape)

    scores = against(q, k) * float(b.attrs["scale"]) + mask.cast(wide)
    hidden = scores.equal(-np.inf)
    if b.attrs["causal"]:
        seen = np.arange(count)[None, :] <= np.arange(length)[:, None] + int(b.attrs["causal_offset"])
        later = Tensor(b.graph, b.graph.constant(~seen))
        scores, hidden = later.where(scores.filled(-np.inf, (1,)), scores), hidden.op("or", later)
    weights = hidden.where(scores.filled(0, (1,)), scores.op("softmax", axis=-1))
    delta = (g * o).sum((3,), keepdims=True)
    return (weights * (against(g, v) - delta)).cast(mask.dtype)
