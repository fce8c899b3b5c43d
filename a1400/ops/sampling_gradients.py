"""Gradient of grid sampling, and the op that it needs.

``grid_sample_gradient(g, x, grid)`` with the attributes of ``grid_sample`` -> what reaches x and what reaches the grid.
Positions that padding holds at a border have gradient zero, as have all with mode nearest.
"""

from __future__ import annotations

import itertools
from math import prod
from typing import Any

import numpy as np

from a1400.graph.graph import Value
from a1400.graph.tensor import Tensor
from a1400.ops.registry import Backward, Result, gradient, op, require, widen


def _shapes(attrs: dict[str, Any], g: Value, x: Value, grid: Value) -> list[Result]:
    wanted = (x.shape[0], *grid.shape[1:-1], x.shape[-1])
    require(g.shape == wanted and g.dtype == x.dtype, f"grid_sample's gradient of {g}, {x} and {grid}")
    return [(x.shape, x.dtype), (grid.shape, grid.dtype)]


def _bounded(p: np.ndarray, n: int, attrs: dict[str, Any]) -> tuple[np.ndarray, np.ndarray]:
    """Positions after padding, and their derivatives by what they were before."""
    slope = np.ones_like(p)
    if attrs["padding"] == "zeros":
        return p, slope
    if attrs["padding"] == "reflection":
        low, span = (0.0, n - 1.0) if attrs["align_corners"] else (-0.5, float(n))
        if span <= 0:
            return np.zeros_like(p), np.zeros_like(p)
        q = np.abs(p - low) % (2 * span)
        slope = np.where(p < low, -1.0, 1.0) * np.where(q > span, -1.0, 1.0)
        p = np.where(q > span, 2 * span - q, q) + low
    return np.clip(p, 0, n - 1), np.where((p > 0) & (p < n - 1), slope, 0.0)


def _taps(p: np.ndarray, n: int, attrs: dict[str, Any]) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Pixel, weight and the weight's derivative by ``p`` of each tap along an axis of ``n`` pixels."""
    mode, a = attrs["mode"], -0.75
    if mode == "cubic":
        base = np.floor(p)
        f = p - base
        far = (lambda t: ((a * t - 5 * a) * t + 8 * a) * t - 4 * a), (lambda t: (3 * a * t - 10 * a) * t + 8 * a)
        near = (lambda t: ((a + 2) * t - (a + 3)) * t * t + 1), (lambda t: (3 * (a + 2) * t - 2 * (a + 3)) * t)
        parts = ((far, f + 1, 1), (near, f, 1), (near, 1 - f, -1), (far, 2 - f, -1))
        return [
            (_bounded(base + k - 1, n, attrs)[0], value(t), sign * slope(t))
            for k, ((value, slope), t, sign) in enumerate(parts)
        ]
    q, moved = _bounded(p, n, attrs)
    if mode == "nearest":
        return [(np.rint(q), np.ones_like(q), np.zeros_like(q))]
    base = np.floor(q)
    return [(base, 1 - (q - base), -moved), (base + 1, q - base, moved)]


def _reference(attrs: dict[str, Any], g: np.ndarray, x: np.ndarray, grid: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    sizes, corners = x.shape[1:-1], attrs["align_corners"]
    wide, coming = widen(x).astype(np.float64), widen(g).astype(np.float64)
    points, spatial = widen(grid).astype(np.float64), len(sizes)
    dx, dgrid = np.zeros(x.shape), np.zeros(grid.shape)
    choices, scales = [], []
    for d, n in enumerate(sizes):
        p = points[..., spatial - 1 - d]  # the grid's last axis is (x, y, z): fastest axis first
        scales.append((n - 1) / 2 if corners else n / 2)
        choices.append(_taps((p + 1) / 2 * (n - 1) if corners else ((p + 1) * n - 1) / 2, n, attrs))
    batch = np.arange(x.shape[0]).reshape(-1, *[1] * spatial)
    for taps in itertools.product(*choices):
        inside, index = np.ones(grid.shape[:-1], bool), []
        for (q, _, _), n in zip(taps, sizes):
            inside &= (q >= 0) & (q <= n - 1)
            index.append(np.clip(np.rint(q), 0, n - 1).astype(np.int64))
        place = (np.broadcast_to(batch, inside.shape), *index)
        weights = [w for _, w, _ in taps]
        np.add.at(dx, place, np.where(inside, np.prod(weights, axis=0), 0)[..., None] * coming)
        met = np.where(inside, (wide[place] * coming).sum(-1), 0)
        for d, (_, _, slope) in enumerate(taps):
            others = prod(w for e, w in enumerate(weights) if e != d)
            dgrid[..., spatial - 1 - d] += scales[d] * slope * others * met
    return dx.astype(x.dtype), dgrid.astype(grid.dtype)


op("grid_sample_gradient", "sampling", _shapes, _reference)


@gradient("grid_sample")
def _grid_sample_gradient(b: Backward) -> list[Tensor | None]:
    graph = b.graph
    found = graph.multi("grid_sample_gradient", b.g.value, b.x(0).value, b.x(1).value, **b.attrs)
    return [Tensor(graph, value) for value in found]
