"""Layers that only move elements, and upsampling."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from a1400.graph.tensor import Tensor
from a1400.keras.layers.windows import channels_first, channels_last
from a1400.keras.registry import converts
from a1400.keras.tracing import Call
from a1400.kernels.resize_tables import axis_tables


@converts("Flatten")
def _flatten(c: Call) -> Tensor:
    x = c.x
    if channels_first(c) and x.rank > 1:
        x = x.transpose([0, *range(2, x.rank), 1])
    return x.reshape((x.shape[0], int(np.prod(x.shape[1:]))))


@converts("Reshape")
def _reshape(c: Call) -> Tensor:
    x = c.x
    shape = [int(n) for n in c.layer.target_shape]
    if -1 in shape:
        shape[shape.index(-1)] = int(np.prod(x.shape[1:])) // max(int(np.prod([n for n in shape if n != -1])), 1)
    return x.reshape((x.shape[0], *shape))


@converts("Permute")
def _permute(c: Call) -> Tensor:
    return c.x.transpose([0, *c.layer.dims])


@converts("RepeatVector")
def _repeat(c: Call) -> Tensor:
    x = c.x
    return x.reshape((x.shape[0], 1, *x.shape[1:])).expand((x.shape[0], int(c.layer.n), *x.shape[1:]))


def _pairs(value: Any, count: int) -> list[tuple[int, int]]:
    """Keras's cropping or padding: always pairs, but in one dimension a single pair."""
    pairs = [value] if count == 1 and isinstance(value[0], int) else value
    return [(int(a), int(b)) for a, b in pairs]


@converts("ZeroPadding1D", "ZeroPadding2D", "ZeroPadding3D")
def _pad(c: Call) -> Tensor:
    def work(x: Tensor) -> Tensor:
        pairs = _pairs(c.layer.padding, x.rank - 2)
        return x.pad([0, *(a for a, _ in pairs), 0], [0, *(b for _, b in pairs), 0])

    return channels_last(c, c.x, work)


@converts("Cropping1D", "Cropping2D", "Cropping3D")
def _crop(c: Call) -> Tensor:
    def work(x: Tensor) -> Tensor:
        pairs = _pairs(c.layer.cropping, x.rank - 2)
        sizes = [n - a - b for n, (a, b) in zip(x.shape[1:-1], pairs)]
        return x.slice([0, *(a for a, _ in pairs), 0], [x.shape[0], *sizes, x.shape[-1]])

    return channels_last(c, c.x, work)


def repeated(x: Tensor, factors: Sequence[int]) -> Tensor:
    """Each element of [N, *spatial, C] ``factors`` times along each spatial axis."""
    apart = [x.shape[0], *(k for n in x.shape[1:-1] for k in (n, 1)), x.shape[-1]]
    wide = [x.shape[0], *(k for n, f in zip(x.shape[1:-1], factors) for k in (n, f)), x.shape[-1]]
    shape = [x.shape[0], *(n * f for n, f in zip(x.shape[1:-1], factors)), x.shape[-1]]
    return x.reshape(apart).expand(wide).reshape(shape)


def resized(x: Tensor, sizes: Sequence[int], mode: str, antialias: bool = False) -> Tensor:
    """[N, *spatial, C] resampled to ``sizes`` with half-pixel centres; mode nearest or linear."""
    tables = tuple(
        None if n == out else axis_tables(n, out, mode=mode, nearest_mode="round_prefer_ceil", antialias=antialias)
        for n, out in zip(x.shape[1:-1], sizes)
    )
    return x.op("resize", tables=tables) if any(t is not None for t in tables) else x


@converts("UpSampling1D", "UpSampling2D", "UpSampling3D")
def _upsample(c: Call) -> Tensor:
    size = c.layer.size
    mode = c.option("interpolation", "nearest")
    if mode not in ("nearest", "bilinear"):
        c.refuse(f"interpolation={mode!r} is not supported; nearest and bilinear are")

    def work(x: Tensor) -> Tensor:
        factors = [size] * (x.rank - 2) if isinstance(size, int) else [int(f) for f in size]
        if mode == "nearest":
            return repeated(x, factors)
        return resized(x, [n * f for n, f in zip(x.shape[1:-1], factors)], "linear")

    return channels_last(c, c.real, work)
