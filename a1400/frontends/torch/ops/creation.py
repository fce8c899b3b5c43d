"""Tensors made of numbers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from a1400.frontends.torch.context import Ctx
from a1400.frontends.torch.registry import translates
from a1400.graph.tensor import Tensor


@translates("full")
def full(c: Ctx, shape: Sequence[int], value: Any, **options: Any) -> Tensor:
    """A number everywhere."""
    return c.full(shape, value, c.dtype)


@translates("full_like")
def full_like(c: Ctx, x: Tensor, value: Any, **options: Any) -> Tensor:
    """A number everywhere."""
    return c.full(x.shape, value, c.dtype)


@translates("new_full")
def new_full(c: Ctx, x: Tensor, shape: Sequence[int], value: Any, **options: Any) -> Tensor:
    """A number everywhere."""
    return c.full(shape, value, c.dtype)


def _constant(number: int, plain: str, like: str, new: str) -> None:
    @translates(plain)
    def of_shape(c: Ctx, shape: Sequence[int], **options: Any) -> Tensor:
        return c.full(shape, number, c.dtype)

    @translates(like)
    def of_tensor(c: Ctx, x: Tensor, **options: Any) -> Tensor:
        return c.full(x.shape, number, c.dtype)

    @translates(new)
    def beside_tensor(c: Ctx, x: Tensor, shape: Sequence[int], **options: Any) -> Tensor:
        return c.full(shape, number, c.dtype)


_constant(0, "zeros", "zeros_like", "new_zeros")
_constant(1, "ones", "ones_like", "new_ones")
_constant(0, "empty.memory_format", "empty_like", "new_empty")  # whatever they hold: zeros


@translates("empty_strided", "empty_permuted")
def empty_strided(c: Ctx, shape: Sequence[int], strides: Any, **options: Any) -> Tensor:
    """Zeros: what it holds does not matter."""
    return c.full(shape, 0, c.dtype)


@translates("new_empty_strided")
def new_empty_strided(c: Ctx, x: Tensor, shape: Sequence[int], strides: Any, **options: Any) -> Tensor:
    """Zeros: what it holds does not matter."""
    return c.full(shape, 0, c.dtype)


@translates("fill.Scalar", "fill.Tensor")
def fill(c: Ctx, x: Tensor, value: Any) -> Tensor:
    """A number everywhere."""
    return c.lift(value, x.dtype).expand(x.shape)


@translates("scalar_tensor")
def scalar_tensor(c: Ctx, value: Any, **options: Any) -> Tensor:
    """A number without axes."""
    return c.full((), value, c.dtype)


@translates("arange.start_step", "arange.start", "arange")
def arange(c: Ctx, start: Any, end: Any = None, step: Any = 1, **options: Any) -> Tensor:
    """Numbers from start to before end."""
    if end is None:
        start, end = 0, start
    count = max(0, math.ceil((end - start) / step))
    wide = np.int64 if c.dtype.kind in "iu" else np.float64
    return c.constant((start + np.arange(count).astype(wide) * step).astype(c.dtype))


@translates("linspace")
def linspace(c: Ctx, start: Any, end: Any, steps: int, **options: Any) -> Tensor:
    """Numbers at equal distances, both ends included."""
    return c.constant(np.linspace(start, end, steps).astype(c.dtype))


@translates("eye", "eye.m")
def eye(c: Ctx, n: int, m: int | None = None, **options: Any) -> Tensor:
    """Ones on the diagonal."""
    return c.constant(np.eye(n, m).astype(c.dtype))


def _half(x: Tensor, c: Ctx, k: int, lower: bool) -> Tensor:
    rows, columns = x.shape[-2:]
    place = np.arange(columns)[None] - np.arange(rows)[:, None]
    return c.constant(place <= k if lower else place >= k).where(x, 0)


@translates("tril")
def tril(c: Ctx, x: Tensor, k: int = 0) -> Tensor:
    """Zeros above a diagonal."""
    return _half(x, c, k, True)


@translates("triu")
def triu(c: Ctx, x: Tensor, k: int = 0) -> Tensor:
    """Zeros below a diagonal."""
    return _half(x, c, k, False)
