"""Pooling over windows, over everything, and into a given number of bins."""

from __future__ import annotations

from typing import Any

import numpy as np

from a1400.graph.tensor import Tensor
from a1400.keras.layers.windows import channels_first, channels_last, windows
from a1400.keras.registry import converts
from a1400.keras.tracing import F32, Call

_DIMENSIONS = ("1D", "2D", "3D")


def _pool(c: Call, kind: str) -> Tensor:
    def work(x: Tensor) -> Tensor:
        kernel, strides = tuple(c.layer.pool_size), tuple(c.layer.strides)
        ones = (1,) * len(kernel)
        where = windows(x.shape[1:-1], kernel, strides, ones, c.layer.padding)
        if min(where.out) < 1:
            c.refuse(f"its windows {list(kernel)} are larger than its input {list(x.shape[1:-1])}")
        return x.op(
            "pool", kind=kind, kernel=kernel, strides=strides, dilations=ones, low=where.low, high=where.high,
            out=where.out, count_include_pad=False,
        )  # fmt: skip

    return channels_last(c, c.real, work)


@converts(*(f"MaxPooling{d}" for d in _DIMENSIONS))
def _max(c: Call) -> Tensor:
    return _pool(c, "max")


@converts(*(f"AveragePooling{d}" for d in _DIMENSIONS))
def _average(c: Call) -> Tensor:
    return _pool(c, "average")


def _global(c: Call, kind: str) -> Tensor:
    x = c.real
    axes = range(2, x.rank) if channels_first(c) else range(1, x.rank - 1)
    return x.reduce(kind, tuple(axes), keepdims=bool(c.layer.keepdims))


@converts(*(f"GlobalAveragePooling{d}" for d in _DIMENSIONS))
def _global_average(c: Call) -> Tensor:
    mask = c.given("mask")
    if mask is None:
        return _global(c, "mean")
    x, keep = c.real, bool(c.layer.keepdims)
    axis = 2 if channels_first(c) else 1
    seen = c.lift(mask).cast(bool).expand_dims(1 if axis == 2 else 2)
    count = seen.cast(F32).sum((axis,), keepdims=keep)
    return seen.where(x, 0.0).sum((axis,), keepdims=keep) / count


@converts(*(f"GlobalMaxPooling{d}" for d in _DIMENSIONS))
def _global_max(c: Call) -> Tensor:
    return _global(c, "max")


@converts(*(f"AdaptiveAveragePooling{d}" for d in _DIMENSIONS))
def _adaptive_average(c: Call) -> Tensor:
    def work(x: Tensor) -> Tensor:
        for axis, bins in enumerate(_bins(c, x), start=1):
            matrix = np.zeros((bins, x.shape[axis]), F32)
            for i, (start, end) in enumerate(_bounds(x.shape[axis], bins)):
                matrix[i, start:end] = 1 / (end - start)
            order = [*(d for d in range(x.rank) if d != axis), axis]
            back = [order.index(d) for d in range(x.rank)]
            x = (x.transpose(order) @ c.constant(matrix.T)).transpose(back)
        return x

    return channels_last(c, c.real, work)


@converts(*(f"AdaptiveMaxPooling{d}" for d in _DIMENSIONS))
def _adaptive_max(c: Call) -> Tensor:
    def work(x: Tensor) -> Tensor:
        for axis, bins in enumerate(_bins(c, x), start=1):
            parts = []
            for start, end in _bounds(x.shape[axis], bins):
                starts = [start if d == axis else 0 for d in range(x.rank)]
                shape = [end - start if d == axis else n for d, n in enumerate(x.shape)]
                parts.append(x.slice(starts, shape).reduce("max", (axis,), keepdims=True))
            x = parts[0].op("concat", *parts[1:], axis=axis)
        return x

    return channels_last(c, c.real, work)


def _bins(c: Call, x: Tensor) -> tuple[int, ...]:
    size: Any = c.layer.output_size
    return (size,) * (x.rank - 2) if isinstance(size, int) else tuple(size)


def _bounds(size: int, bins: int) -> list[tuple[int, int]]:
    return [(i * size // bins, -(-(i + 1) * size // bins)) for i in range(bins)]
