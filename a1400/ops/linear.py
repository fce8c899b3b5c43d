"""``matmul``: NumPy semantics (1-D operands, broadcast batches); any numeric dtype, accumulated wide."""

from __future__ import annotations

from typing import Any

import numpy as np

from a1400.graph.graph import Value
from a1400.ops.registry import Result, broadcast, op, require, widen


def _matmul(attrs: dict[str, Any], a: Value, b: Value) -> list[Result]:
    require(a.rank > 0 and b.rank > 0 and a.dtype == b.dtype, f"cannot multiply {a} by {b}")
    sa = a.shape if a.rank > 1 else (1, *a.shape)
    sb = b.shape if b.rank > 1 else (*b.shape, 1)
    require(sa[-1] == sb[-2], f"cannot multiply {list(a.shape)} by {list(b.shape)}: inner sizes differ")
    shape = [*broadcast(sa[:-2], sb[:-2]), sa[-2], sb[-1]]
    if a.rank == 1:
        del shape[-2]
    if b.rank == 1:
        del shape[-1]
    return [(tuple(shape), a.dtype)]


def _reference(attrs: dict[str, Any], a: np.ndarray, b: np.ndarray) -> np.ndarray:
    wide = np.float64 if a.dtype.kind not in "iub" else a.dtype
    return np.matmul(widen(a).astype(wide), widen(b).astype(wide)).astype(a.dtype)


op("matmul", "linear", _matmul, _reference)
