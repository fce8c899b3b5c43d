"""``matmul_joined``: one product with several matrices side by side, each of which stays an array of its own.

``matmul_joined(a [..., K], b0 [K, N0], b1 [K, N1], ...)`` is ``matmul(a, concat(b0, b1, ..., axis=1))``.  A pass makes
it (:mod:`a1400.optimizer.merging`); with the matrices joined in the graph the weights would be in memory twice.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from a1400.graph.graph import Value
from a1400.ops.registry import OPS, Result, op, require


def _infer(attrs: dict[str, Any], a: Value, *parts: Value) -> list[Result]:
    require(a.rank > 1 and len(parts) > 0, f"a joined product needs rows and at least one matrix, not {a}")
    for b in parts:
        fits = b.rank == 2 and b.shape[0] == a.shape[-1] and b.dtype == a.dtype
        require(fits, f"cannot multiply {a} by {b} as one of several matrices")
    return [((*a.shape[:-1], sum(b.shape[1] for b in parts)), a.dtype)]


def _reference(attrs: dict[str, Any], a: np.ndarray, *parts: np.ndarray) -> np.ndarray:
    product = OPS["matmul"].reference
    return np.concatenate([product({}, a, b) for b in parts], axis=-1)


op("matmul_joined", "linear", _infer, _reference)
