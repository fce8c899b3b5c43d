"""Normalisations and their gradients."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from a1400.frontends.torch.context import Ctx
from a1400.frontends.torch.ops.convolution import channels_first, channels_last
from a1400.frontends.torch.registry import translates
from a1400.graph.tensor import Tensor
from a1400.ops.batch_norm import channel_statistics, channel_sums
from a1400.ops.registry import wide_dtype


def _moments(x: Tensor, axes: tuple[int, ...], eps: float) -> tuple[Tensor, Tensor]:
    """Mean and 1 / deviation, axes kept."""
    wide = x.cast(wide_dtype(x.dtype))
    mean = wide.mean(axes, keepdims=True)
    apart = wide - mean
    return mean, ((apart * apart).mean(axes, keepdims=True) + eps).rsqrt()


# ---- layers -------------------------------------------------------------------------------------------
def _layer_norm(x: Tensor, axis: int, eps: float, *parameters: Tensor | None) -> Tensor:
    kept = list(parameters)
    while kept and kept[-1] is None:
        kept.pop()
    return x.op("layer_norm", *(p if p is None else p.cast(x.dtype) for p in kept), axis=axis, eps=eps)


@translates("native_layer_norm")
def layer_norm(
    c: Ctx, x: Tensor, shape: Sequence[int], weight: Tensor | None, bias: Tensor | None, eps: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Over the last axes: result, mean, 1 / deviation."""
    axis = x.rank - len(shape)
    y = _layer_norm(x, axis, eps, weight, bias)
    mean, inverse = _moments(x, tuple(range(axis, x.rank)), eps)
    return y, mean.cast(c.dtype_of(1)), inverse.cast(c.dtype_of(2))


@translates("native_layer_norm_backward")
def layer_norm_backward(
    c: Ctx, coming: Tensor, x: Tensor, shape: Sequence[int], mean: Any, inverse: Any, weight: Tensor | None,
    bias: Tensor | None, mask: Sequence[bool],
) -> tuple[Tensor | None, ...]:  # fmt: skip
    """What reaches x, weight and bias.  ``inverse`` may be epsilon: the op makes its own statistics then."""
    axis = x.rank - len(shape)
    axes, lead = tuple(range(axis, x.rank)), tuple(range(axis))
    if isinstance(inverse, float):
        operands = (x, coming) if weight is None else (x, coming, weight.cast(x.dtype))
        wanted = weight is not None and (mask[1] or mask[2])
        found = c.multi("layer_norm_gradient", *operands, axis=axis, eps=inverse, sums=wanted, parts=2)
        dx, dw, db = found if wanted else (*found, None, None)
        if bias is not None and db is None and mask[2]:
            db = coming.sum(lead)
    else:
        g = coming.cast(inverse.dtype)
        n = (x.cast(inverse.dtype) - mean) * inverse
        h = g if weight is None else g * weight.cast(inverse.dtype)
        dx = inverse * (h - n * (h * n).mean(axes, keepdims=True) - h.mean(axes, keepdims=True))
        dw, db = (g * n).sum(lead), g.sum(lead)
    return _masked(c, (dx, dw, db), (x, weight, bias), mask)


def _masked(
    c: Ctx, found: Sequence[Tensor | None], of: Sequence[Tensor | None], mask: Sequence[bool]
) -> tuple[Tensor | None, ...]:
    def one(f: Tensor | None, x: Tensor | None, wanted: bool) -> Tensor | None:
        if not wanted or f is None:
            return None
        return f if x is None else f.cast(x.dtype).reshape(x.shape)

    return tuple(one(f, x, wanted) for f, x, wanted in zip(found, of, mask))


# ---- groups -------------------------------------------------------------------------------------------
def _group_norm(x: Tensor, weight: Tensor | None, bias: Tensor | None, groups: int, eps: float) -> Tensor:
    flat = x.reshape((*x.shape[:2], math.prod(x.shape[2:])))
    kept = [weight, bias] if bias is not None else [] if weight is None else [weight]
    operands = (p if p is None else p.cast(x.dtype) for p in kept)
    y = channels_last(flat).op("group_norm", *operands, groups=groups, eps=eps)
    return channels_first(y).reshape(x.shape)


def _count(x: Tensor) -> int:
    return x.value.size


@translates("native_group_norm")
def group_norm(
    c: Ctx, x: Tensor, weight: Tensor | None, bias: Tensor | None, n: int, channels: int, size: int, groups: int,
    eps: float,
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    """Over groups of channels: result, mean, 1 / deviation."""
    mean, inverse = _moments(x.reshape((n, groups, channels // groups * size)), (2,), eps)
    y = _group_norm(x, weight, bias, groups, eps)
    return y, mean.reshape((n, groups)).cast(c.dtype_of(1)), inverse.reshape((n, groups)).cast(c.dtype_of(2))


@translates("native_group_norm_backward")
def group_norm_backward(
    c: Ctx, coming: Tensor, x: Tensor, mean: Any, inverse: Any, weight: Tensor | None, n: int, channels: int,
    size: int, groups: int, mask: Sequence[bool],
) -> tuple[Tensor | None, ...]:  # fmt: skip
    """What reaches x, weight and bias.  ``inverse`` may be epsilon: the op makes its own statistics then."""
    if isinstance(inverse, float):
        unit = c.full((channels,), 1, x.dtype)
        scale = unit if weight is None else weight

        def forward(x: Tensor, scale: Tensor) -> Tensor:
            return _group_norm(x, scale, None, groups, inverse)

        dx, dw = c.through(forward, [x, scale], coming)
        db = coming.sum((0, *range(2, coming.rank))) if mask[2] else None
        return _masked(c, (dx, dw, db), (x, weight, None), mask)
    parts = (n, groups, channels // groups, size)
    g = coming.reshape(parts).cast(inverse.dtype)
    r, m = (v.reshape((n, groups, 1, 1)) for v in (inverse, mean))
    normal = (x.reshape(parts).cast(inverse.dtype) - m) * r
    h = g if weight is None else g * weight.cast(inverse.dtype).reshape((1, groups, channels // groups, 1))
    dx = r * (h - normal * (h * normal).mean((2, 3), keepdims=True) - h.mean((2, 3), keepdims=True))
    dw, db = ((v.sum((0, 3))).reshape((channels,)) for v in (g * normal, g))
    return _masked(c, (dx, dw, db), (x, weight, None), mask)


# ---- batches ------------------------------------------------------------------------------------------
def _last(x: Tensor) -> Tensor:
    return channels_last(x) if x.rank > 2 else x


def _first(x: Tensor) -> Tensor:
    return channels_first(x) if x.rank > 2 else x


def _normalised(x: Tensor, mean: Tensor, inverse: Tensor, weight: Tensor | None, bias: Tensor | None) -> Tensor:
    wide = mean.dtype
    factor = inverse if weight is None else inverse * weight.cast(wide)
    shift = mean.filled(0) if bias is None else bias.cast(wide)
    return _first(_last(x).cast(wide).op("normalize", mean, factor, shift).cast(x.dtype))


def _batch_norm(
    x: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    mean, variance = channel_statistics(_last(x))
    inverse = (variance + eps).rsqrt()
    return _normalised(x, mean, inverse, weight, bias), mean, inverse, variance


@translates("_native_batch_norm_legit_functional")
def batch_norm(
    c: Ctx, x: Tensor, weight: Tensor | None, bias: Tensor | None, running_mean: Tensor, running_var: Tensor,
    training: bool, momentum: float, eps: float,
) -> tuple[Tensor, ...]:  # fmt: skip
    """Result, mean, 1 / deviation, and the running averages' next values."""
    if not training:
        y, *none = batch_norm_inference(c, x, weight, bias, running_mean, running_var, momentum, eps)
        return (y, *none, running_mean, running_var)
    y, mean, inverse, variance = _batch_norm(x, weight, bias, eps)
    count = _count(x) // x.shape[1]
    unbiased = variance * (count / max(count - 1, 1))
    moved = (
        old + (new.cast(old.dtype) - old) * momentum for old, new in ((running_mean, mean), (running_var, unbiased))
    )
    return (y, mean, inverse, *moved)


@translates("_native_batch_norm_legit.no_stats")
def batch_norm_no_stats(
    c: Ctx, x: Tensor, weight: Tensor | None, bias: Tensor | None, training: bool, momentum: float, eps: float
) -> tuple[Tensor, ...]:
    """Result, mean and 1 / deviation."""
    return _batch_norm(x, weight, bias, eps)[:3]


@translates("_native_batch_norm_legit_no_training")
def batch_norm_inference(
    c: Ctx, x: Tensor, weight: Tensor | None, bias: Tensor | None, running_mean: Tensor, running_var: Tensor,
    momentum: float, eps: float,
) -> tuple[Tensor, ...]:  # fmt: skip
    """By the running averages; the statistics that PyTorch hands on are empty."""
    wide = wide_dtype(x.dtype)
    inverse = (running_var.cast(wide) + eps).rsqrt()
    y = _normalised(x, running_mean.cast(wide), inverse, weight, bias)
    return y, c.full((0,), 0, wide), c.full((0,), 0, wide)


@translates("native_batch_norm_backward")
def batch_norm_backward(
    c: Ctx, coming: Tensor, x: Tensor, weight: Tensor | None, running_mean: Tensor | None, running_var: Tensor | None,
    mean: Tensor | None, inverse: Tensor | None, training: bool, eps: float, mask: Sequence[bool],
) -> tuple[Tensor | None, ...]:  # fmt: skip
    """What reaches x, weight and bias."""
    wide = wide_dtype(x.dtype)
    if not training:
        assert running_mean is not None and running_var is not None
        mean, inverse = running_mean.cast(wide), (running_var.cast(wide) + eps).rsqrt()
    assert mean is not None and inverse is not None
    mean, inverse = mean.cast(wide), inverse.cast(wide)
    last, g = _last(x), _last(coming)
    sums, dots = channel_sums(last, g.cast(x.dtype), mean)
    factor = inverse if weight is None else inverse * weight.cast(wide)
    dx = g.cast(wide) * factor
    if training:
        count = _count(x) // x.shape[1]
        slope = factor * inverse * inverse * dots * (-1.0 / count)
        dx = dx + last.cast(wide).op("normalize", mean, slope, factor * sums * (-1.0 / count))
    return _masked(c, (_first(dx), dots * inverse, sums), (x, weight, None), mask)
