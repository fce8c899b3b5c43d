"""``matmul``: NumPy semantics (1-D operands, broadcast batches); any numeric dtype, accumulated wide.

8-bit integers, of either sign each, give int32.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from a1400.graph.graph import Value
from a1400.graph.tensor import Tensor
from a1400.ops.registry import Backward, Result, broadcast, gradient, op, product_dtype, require, widen


def _matmul(attrs: dict[str, Any], a: Value, b: Value) -> list[Result]:
    dtype = product_dtype(a.dtype, b.dtype)
    require(a.rank > 0 and b.rank > 0 and dtype is not None, f"cannot multiply {a} by {b}")
    assert dtype is not None
    sa = a.shape if a.rank > 1 else (1, *a.shape)
    sb = b.shape if b.rank > 1 else (*b.shape, 1)
    require(sa[-1] == sb[-2], f"cannot multiply {list(a.shape)} by {list(b.shape)}: inner sizes differ")
    shape = [*broadcast(sa[:-2], sb[:-2]), sa[-2], sb[-1]]
    if a.rank == 1:
        del shape[-2]
    if b.rank == 1:
        del shape[-1]
    return [(tuple(shape), dtype)]


def _reference(attrs: dict[str, Any], a: np.ndarray, b: np.ndarray) -> np.ndarray:
    dtype = product_dtype(a.dtype, b.dtype)
    wide = np.float64 if a.dtype.kind not in "iub" else dtype
    return np.matmul(widen(a).astype(wide), widen(b).astype(wide)).astype(dtype)


op("matmul", "linear", _matmul, _reference)


@gradient("matmul")
def _gradient(b: Backward) -> tuple[Tensor, Tensor]:
    a, w, g = b.x(0), b.x(1), b.g
    left = a.reshape((1, *a.shape)) if a.rank == 1 else a
    right = w.reshape((*w.shape, 1)) if w.rank == 1 else w
    g = g.reshape((*broadcast(left.shape[:-2], right.shape[:-2]), left.shape[-2], right.shape[-1]))
    first = (g @ right.swap(-1, -2)).sum_to(left.shape).reshape(a.shape)
    if right.rank == 2:  # one product over all rows, instead of a sum over the batch's products
        second = _rows(left).swap(0, 1) @ _rows(g)
    else:
        second = (left.swap(-1, -2) @ g).sum_to(right.shape)
    return first, second.reshape(w.shape)


def _rows(x: Tensor) -> Tensor:
    count = 1
    for size in x.shape[:-1]:
        count *= size
    return x.reshape((count, x.shape[-1]))
