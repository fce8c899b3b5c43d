"""Random numbers: the library's Philox, keyed by a seed that is drawn from PyTorch's generator for each call."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from a1400.frontends.torch.context import Ctx
from a1400.frontends.torch.registry import translates
from a1400.graph.tensor import Tensor
from a1400.ops.registry import wide_dtype


def _uniform(c: Ctx, shape: Sequence[int], dtype: np.dtype) -> Tensor:
    return c.random.uniform(tuple(shape), dtype=wide_dtype(dtype)).cast(dtype)


def _normal(c: Ctx, shape: Sequence[int], dtype: np.dtype) -> Tensor:
    return c.random.normal(tuple(shape), dtype=wide_dtype(dtype)).cast(dtype)


@translates("rand")
def rand(c: Ctx, shape: Sequence[int], **options: Any) -> Tensor:
    """Uniform in [0, 1)."""
    return _uniform(c, shape, c.dtype)


@translates("rand_like")
def rand_like(c: Ctx, x: Tensor, **options: Any) -> Tensor:
    """Uniform in [0, 1)."""
    return _uniform(c, x.shape, c.dtype)


@translates("uniform")
def uniform(c: Ctx, x: Tensor, low: float = 0.0, high: float = 1.0, **options: Any) -> Tensor:
    """Uniform in [low, high)."""
    return _uniform(c, x.shape, x.dtype) * (high - low) + low


@translates("randn")
def randn(c: Ctx, shape: Sequence[int], **options: Any) -> Tensor:
    """Normally distributed."""
    return _normal(c, shape, c.dtype)


@translates("randn_like")
def randn_like(c: Ctx, x: Tensor, **options: Any) -> Tensor:
    """Normally distributed."""
    return _normal(c, x.shape, c.dtype)


@translates("normal_functional")
def normal(c: Ctx, x: Tensor, mean: float = 0.0, deviation: float = 1.0, **options: Any) -> Tensor:
    """Normally distributed."""
    return _normal(c, x.shape, x.dtype) * deviation + mean


@translates("exponential")
def exponential(c: Ctx, x: Tensor, rate: float = 1.0, **options: Any) -> Tensor:
    """Exponentially distributed."""
    return -(1.0 - _uniform(c, x.shape, x.dtype)).log() / rate


@translates("bernoulli.p")
def bernoulli_of(c: Ctx, x: Tensor, p: float = 0.5, **options: Any) -> Tensor:
    """1 with probability ``p``, else 0."""
    return (_uniform(c, x.shape, np.dtype(np.float32)) < p).cast(x.dtype)


@translates("bernoulli")
def bernoulli(c: Ctx, x: Tensor, **options: Any) -> Tensor:
    """1 with each element's probability, else 0."""
    return (_uniform(c, x.shape, wide_dtype(x.dtype)) < x.cast(wide_dtype(x.dtype))).cast(x.dtype)


@translates("native_dropout")
def dropout(c: Ctx, x: Tensor, p: float, train: Any) -> tuple[Tensor, Tensor]:
    """Elements set to zero with probability ``p``, the others scaled, and the mask of those kept."""
    if train is False or p == 0:
        return x, c.full(x.shape, True, np.bool_)
    if p == 1:
        return x.filled(0), c.full(x.shape, False, np.bool_)
    kept = c.random.uniform(x.shape) >= p
    return x * kept.where(x.lift(1 / (1 - p)), 0), kept


@translates("native_dropout_backward")
def dropout_backward(c: Ctx, coming: Tensor, mask: Tensor, scale: float) -> Tensor:
    """The gradient where elements were kept."""
    return mask.where(coming * scale, 0)


def _integers(c: Ctx, shape: Sequence[int], low: int, high: int) -> Tensor:
    span = high - low
    if not 0 < span <= 2**31 - 1:
        raise c.refuse(f"random integers from {low} to {high} are too many")
    number = c.random.bits(tuple(shape)).op("mod", span)
    return (number.cast(np.int64) + low).cast(c.dtype)


@translates("randint.low")
def randint_low(c: Ctx, low: int, high: int, shape: Sequence[int], **options: Any) -> Tensor:
    """Integers in [low, high)."""
    return _integers(c, shape, low, high)


@translates("randint")
def randint(c: Ctx, high: int, shape: Sequence[int], **options: Any) -> Tensor:
    """Integers in [0, high)."""
    return _integers(c, shape, 0, high)


@translates("randint_like.low_dtype")
def randint_like_low(c: Ctx, x: Tensor, low: int, high: int, **options: Any) -> Tensor:
    """Integers in [low, high)."""
    return _integers(c, x.shape, low, high)


@translates("randint_like")
def randint_like(c: Ctx, x: Tensor, high: int, **options: Any) -> Tensor:
    """Integers in [0, high)."""
    return _integers(c, x.shape, 0, high)


@translates("randperm")
def randperm(c: Ctx, n: int, **options: Any) -> Tensor:
    """The numbers 0 .. n - 1 in random order."""
    if n == 0:
        return c.full((0,), 0, c.dtype)
    keys = c.random.bits((n,)).op("shr", 1).cast(np.int32)
    return c.multi("topk", keys, k=n, axis=0, largest=False, sorted=True)[1].cast(c.dtype)


@translates("multinomial")
def multinomial(c: Ctx, x: Tensor, count: int, replacement: bool = False, **options: Any) -> Tensor:
    """Places by their weights, by Gumbel's trick: the largest of log weights plus Gumbel noise."""
    wide = wide_dtype(x.dtype)
    shape = (*x.shape[:-1], count, x.shape[-1]) if replacement else x.shape
    noise = -(-(1.0 - _uniform(c, shape, wide)).log()).log()
    scores = x.cast(wide).log()
    if replacement:
        return (scores.expand_dims(x.rank - 1) + noise).argmax(-1)
    return c.multi("topk", scores + noise, k=count, axis=x.rank - 1, largest=True, sorted=True)[1]


