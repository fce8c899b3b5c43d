"""Resampling of channels-last images.

``resize(x[N, *spatial, C])``: ``tables`` holds for each spatial axis None (unchanged) or (indices i32 [out, taps],
weights f64 [out, taps]) as :func:`a1400.kernels.resize_tables.axis_tables` makes them; every ONNX mode is a choice of
tables.  Output positions whose first index is -1 get ``extrapolation`` (tf_crop_and_resize).
``grid_sample(x[N, *spatial, C], grid[N, *out, k])`` with mode linear|nearest|cubic, padding zeros|border|reflection,
align_corners.
"""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np

from a1400.graph.graph import Value
from a1400.graph.tensor import Tensor
from a1400.ops.registry import Backward, Result, gradient, op, require, widen


def _resize(attrs: dict[str, Any], x: Value) -> list[Result]:
    require(len(attrs["tables"]) == x.rank - 2, f"resize of {list(x.shape)} needs {x.rank - 2} axis tables")
    out = [n if t is None else t[0].shape[0] for n, t in zip(x.shape[1:-1], attrs["tables"])]
    return [((x.shape[0], *out, x.shape[-1]), x.dtype)]


def _resize_reference(attrs: dict[str, Any], x: np.ndarray) -> np.ndarray:
    w = widen(x).astype(np.float64)
    outside = np.zeros((), bool)
    for d, table in enumerate(attrs["tables"]):
        if table is None:
            continue
        index, weight = table
        shape = [1] * x.ndim
        shape[1 + d] = -1
        w = sum(
            np.take(w, np.maximum(index[:, t], 0), axis=1 + d) * weight[:, t].reshape(shape)
            for t in range(index.shape[1])
        )
        outside = outside | (index[:, 0] < 0).reshape(shape)
    result = np.where(outside, attrs.get("extrapolation", 0.0), w)
    if x.dtype.kind in "iu":
        limits = np.iinfo(x.dtype)
        return np.clip(np.rint(result), limits.min, limits.max).astype(x.dtype)
    return result.astype(x.dtype)


def _grid_sample(attrs: dict[str, Any], x: Value, grid: Value) -> list[Result]:
    fits = grid.rank == x.rank and grid.shape[-1] == x.rank - 2 and grid.shape[0] == x.shape[0]
    require(fits, f"grid_sample of {list(x.shape)} with grid {list(grid.shape)}")
    return [((x.shape[0], *grid.shape[1:-1], x.shape[-1]), x.dtype)]


def _reflect(p: np.ndarray, low: float, high: float) -> np.ndarray:
    if high <= low:
        return np.zeros_like(p)
    span = high - low
    q = np.abs(p - low) % (2 * span)
    return np.where(q > span, 2 * span - q, q) + low


def _grid_sample_reference(attrs: dict[str, Any], x: np.ndarray, grid: np.ndarray) -> np.ndarray:
    sizes, corners, padding = x.shape[1:-1], attrs["align_corners"], attrs["padding"]
    g = widen(grid).astype(np.float64)
    spatial = len(sizes)
    positions = []
    for d, n in enumerate(sizes):
        p = g[..., spatial - 1 - d]  # the grid's last axis is (x, y, z): fastest axis first
        p = (p + 1) / 2 * (n - 1) if corners else ((p + 1) * n - 1) / 2
        positions.append(p)

    def bounded(p: np.ndarray, n: int) -> np.ndarray:
        if padding == "border":
            return np.clip(p, 0, n - 1)
        if padding == "reflection":
            p = _reflect(p, 0, n - 1) if corners else _reflect(p, -0.5, n - 0.5)
            return np.clip(p, 0, n - 1)
        return p

    cubic = attrs["mode"] == "cubic"
    if not cubic:
        positions = [bounded(p, n) for p, n in zip(positions, sizes)]
    choices = []
    for p in positions:
        base = np.floor(p)
        f = p - base
        if attrs["mode"] == "nearest":
            choices.append([(np.rint(p), np.ones_like(p))])
        elif attrs["mode"] == "linear":
            choices.append([(base, 1 - f), (base + 1, f)])
        else:
            a = -0.75
            w = [
                ((a * (f + 1) - 5 * a) * (f + 1) + 8 * a) * (f + 1) - 4 * a,
                ((a + 2) * f - (a + 3)) * f * f + 1,
                ((a + 2) * (1 - f) - (a + 3)) * (1 - f) ** 2 + 1,
                ((a * (2 - f) - 5 * a) * (2 - f) + 8 * a) * (2 - f) - 4 * a,
            ]
            choices.append([(base + k - 1, w[k]) for k in range(4)])
    result = np.zeros((x.shape[0], *grid.shape[1:-1], x.shape[-1]))
    batch = np.arange(x.shape[0]).reshape(-1, *[1] * spatial)
    for taps in itertools.product(*choices):
        weight, index, ok = np.ones(grid.shape[:-1]), [], np.ones(grid.shape[:-1], bool)
        for (p, w), n in zip(taps, sizes):
            q = bounded(p, n) if cubic else p
            ok &= (q >= 0) & (q <= n - 1)
            index.append(np.clip(np.rint(q), 0, n - 1).astype(np.int64))
            weight = weight * w
        place = (batch, *index)
        result += np.where(ok, weight, 0)[..., None] * widen(x)[place]
    return result.astype(x.dtype)


op("resize", "sampling", _resize, _resize_reference)
op("grid_sample", "sampling", _grid_sample, _grid_sample_reference)


@gradient("resize")
def _resize_gradient(b: Backward) -> tuple[Tensor]:
    """Resampling is linear, so its gradient is resampling with the transposed tables."""
    pairs = zip(b.attrs["tables"], b.x().shape[1:-1])
    return (b.g.op("resize", tables=[t and _transposed(t[0], t[1], size) for t, size in pairs]),)


def _transposed(index: np.ndarray, weight: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    """The table (indices and weights [size, taps]) of the transposed matrix; unused taps weigh nothing."""
    readers: list[list[tuple[int, float]]] = [[] for _ in range(size)]
    for out, (places, weights) in enumerate(zip(index, weight)):
        if places[0] >= 0:
            for place, w in zip(places, weights):
                if w != 0:
                    readers[max(int(place), 0)].append((out, float(w)))
    taps = max(1, max(map(len, readers), default=1))
    result = np.zeros((size, taps), np.int32), np.zeros((size, taps))
    for place, found in enumerate(readers):
        for t, (out, w) in enumerate(found):
            result[0][place, t], result[1][place, t] = out, w
    return result
