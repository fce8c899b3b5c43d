"""Statistics per channel of channels-last tensors, and batch normalisation in training, which is made of them.

``channel_statistics(x [N, *spatial, C])`` gives mean and (biased) variance, ``channel_sums(x, dy, mean)`` the sums of
``dy`` and of ``dy * (x - mean)``: over everything but the channels, ``[C]``, or with ``per_image`` over the pixels of
each image, ``[N, C]``.  Statistics are float32 for half types.

``normalize(x, mean, factor, shift) = (x - mean) * factor + shift`` is elementwise, so what stands before and behind a
normalisation becomes one launch with it; its gradient is here because it needs the sums.
"""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from a1400.graph.graph import Value
from a1400.graph.tensor import Tensor
from a1400.ops import pointwise  # noqa: F401 - normalize must be declared first
from a1400.ops.registry import Backward, Result, gradient, op, require, wide_dtype, widen


def pixels(x: Tensor) -> int:
    """Elements of an image in one channel."""
    return prod(x.shape[1:-1])


def _axes(attrs: dict[str, Any], rank: int) -> tuple[int, ...]:
    return tuple(range(1 if attrs["per_image"] else 0, rank - 1))


def _results(attrs: dict[str, Any], x: Value) -> list[Result]:
    require(x.rank >= 2, f"statistics per channel need a tensor of rank 2 or more, not {x}")
    shape = (x.shape[0], x.shape[-1]) if attrs["per_image"] else x.shape[-1:]
    return [(shape, wide_dtype(x.dtype))] * 2


def _infer_sums(attrs: dict[str, Any], x: Value, dy: Value, mean: Value) -> list[Result]:
    found = _results(attrs, x)
    require((dy.shape, dy.dtype) == (x.shape, x.dtype), f"the gradient {dy} does not fit {x}")
    require((mean.shape, mean.dtype) == found[0], f"the mean {mean} does not fit the channels of {x}")
    return found


def _statistics_reference(attrs: dict[str, Any], x: np.ndarray) -> list[np.ndarray]:
    w, axes = widen(x).astype(np.float64), _axes(attrs, x.ndim)
    return [v.astype(wide_dtype(x.dtype)) for v in (w.mean(axis=axes), w.var(axis=axes))]


def _sums_reference(attrs: dict[str, Any], x: np.ndarray, dy: np.ndarray, mean: np.ndarray) -> list[np.ndarray]:
    w, g = (widen(v).astype(np.float64) for v in (x, dy))
    axes = _axes(attrs, x.ndim)
    centred = w - mean.reshape(_beside(x.shape, attrs["per_image"]))
    return [v.sum(axis=axes).astype(mean.dtype) for v in (g, g * centred)]


def _beside(shape: tuple[int, ...], per_image: bool) -> tuple[int, ...]:
    """The shape in which a statistic broadcasts to a tensor of ``shape``."""
    return (shape[0], *(1,) * (len(shape) - 2), shape[-1]) if per_image else shape[-1:]


op("channel_statistics", "normalization", _results, _statistics_reference)
op("channel_sums", "normalization", _infer_sums, _sums_reference)


def channel_statistics(x: Tensor, per_image: bool = False) -> tuple[Tensor, Tensor]:
    """Mean and variance of each channel of ``x [N, *spatial, C]``."""
    mean, variance = x.graph.multi("channel_statistics", x.value, per_image=per_image)
    return Tensor(x.graph, mean), Tensor(x.graph, variance)


def channel_sums(x: Tensor, dy: Tensor, mean: Tensor, per_image: bool = False) -> tuple[Tensor, Tensor]:
    """The sums of ``dy`` and of ``dy * (x - mean)`` in each channel of ``x [N, *spatial, C]``."""
    sums, dots = x.graph.multi("channel_sums", x.value, dy.value, mean.value, per_image=per_image)
    return Tensor(x.graph, sums), Tensor(x.graph, dots)


def batch_norm_training(
    x: Tensor, scale: Tensor | None = None, bias: Tensor | None = None, epsilon: float = 1e-3
) -> tuple[Tensor, Tensor, Tensor]:
    """``x [..., C]`` normalised by its own statistics: (y of x's shape and dtype, mean [C], variance [C]).

    The variance is biased (divided by the number of elements); the statistics are float32 for half types.  Running
    averages are for the caller to make of them.
    """
    mean, variance = channel_statistics(x)
    factor = (variance + float(epsilon)).rsqrt()
    if scale is not None:
        factor = factor * scale.cast(factor.dtype)
    shift = mean.filled(0.0) if bias is None else bias.cast(factor.dtype)
    y = x.cast(factor.dtype).op("normalize", mean, factor, shift)
    return y.cast(x.dtype), mean, variance


@gradient("channel_statistics")
def _statistics_gradient(b: Backward) -> tuple[Tensor]:
    x, per_image = b.x(), bool(b.attrs["per_image"])
    count = max(x.value.size // max(b.y.value.size, 1), 1)
    beside = _beside(x.shape, per_image)
    shift, slope = (None if c is None else c * (k / count) for c, k in zip(b.coming, (1.0, 2.0)))
    if slope is None:
        assert shift is not None
        return (shift.reshape(beside).expand(x.shape).cast(x.dtype),)
    shift = slope.filled(0.0) if shift is None else shift
    wide = x.cast(slope.dtype).op("normalize", *(v.reshape(beside) for v in (b.y, slope, shift)))
    return (wide.cast(x.dtype),)


@gradient("channel_sums")
def _sums_gradient(b: Backward) -> tuple[Tensor, Tensor, Tensor | None]:
    x, dy, mean = b.x(0), b.x(1), b.x(2)
    beside = _beside(x.shape, bool(b.attrs["per_image"]))
    one, two = (mean.filled(0.0) if c is None else c for c in b.coming)
    of_x = dy.cast(mean.dtype) * two.reshape(beside)
    of_dy = x.cast(mean.dtype).op("normalize", *(v.reshape(beside) for v in (mean, two, one)))
    return of_x.cast(x.dtype), of_dy.cast(x.dtype), -(two * b.y)


@gradient("normalize")
def _normalize_gradient(b: Backward) -> tuple[Tensor | None, ...]:
    x, mean, factor = b.x(0), b.x(1), b.x(2)
    own = b.g * factor
    vectors = {v.shape for v in b.inputs[1:] if v is not None}
    if len(vectors) == 1 and x.rank >= 2 and b.y.shape == x.shape:
        (shape,) = vectors
        for per_image in (False, True):
            if shape == _beside(x.shape, per_image):
                flat = (x.shape[0], x.shape[-1]) if per_image else shape
                sums, dots = (v.reshape(shape) for v in channel_sums(x, b.g, mean.reshape(flat), per_image))
                return own, -(sums * factor), dots, sums
    return own, -own, b.g * (x - mean), b.g
