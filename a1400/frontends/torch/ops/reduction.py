"""Reductions, scans and sorting."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from a1400.dtypes import limits
from a1400.frontends.torch.context import Ctx
from a1400.frontends.torch.ops.elementwise import truth
from a1400.frontends.torch.registry import translates
from a1400.graph.tensor import Tensor
from a1400.ops.registry import is_real, wide_dtype


@translates("sum", "sum.dim_IntList")
def total(c: Ctx, x: Tensor, axes: Any = None, keepdim: bool = False, *, dtype: Any = None) -> Tensor:
    """Sums."""
    return x.cast(c.dtype).sum(c.axes(axes, x.rank), keepdim)


@translates("mean", "mean.dim")
def mean(c: Ctx, x: Tensor, axes: Any = None, keepdim: bool = False, *, dtype: Any = None) -> Tensor:
    """Means."""
    return x.cast(c.dtype).mean(c.axes(axes, x.rank), keepdim)


@translates("prod", "prod.dim_int")
def product(c: Ctx, x: Tensor, axis: Any = None, keepdim: bool = False, *, dtype: Any = None) -> Tensor:
    """Products."""
    return x.cast(c.dtype).reduce("prod", c.axes(axis, x.rank), keepdim)


def _extreme(kind: str, x: Tensor, axes: Sequence[int], keepdim: bool) -> Tensor:
    if x.dtype == np.bool_:
        return x.reduce("any" if kind == "max" else "all", axes, keepdim)
    return x.reduce(kind, axes, keepdim)


@translates("amax", "max")
def amax(c: Ctx, x: Tensor, axes: Any = None, keepdim: bool = False) -> Tensor:
    """Largest elements."""
    return _extreme("max", x, c.axes(axes, x.rank), keepdim)


@translates("amin", "min")
def amin(c: Ctx, x: Tensor, axes: Any = None, keepdim: bool = False) -> Tensor:
    """Smallest elements."""
    return _extreme("min", x, c.axes(axes, x.rank), keepdim)


def _place(c: Ctx, kind: str, x: Tensor, axis: Any, keepdim: bool) -> Tensor:
    if x.dtype == np.bool_:
        x = x.cast(np.int32)
    if axis is None:
        flat = x.reshape((math.prod(x.shape),))
        found = flat.op("arg_reduce", kind=kind, axis=0, keepdims=False, select_last=False)
        return found.reshape((1,) * x.rank if keepdim else ())
    if not x.rank:
        return c.full((), 0, np.int64)
    return x.op("arg_reduce", kind=kind, axis=axis % x.rank, keepdims=keepdim, select_last=False)


@translates("argmax")
def argmax(c: Ctx, x: Tensor, axis: Any = None, keepdim: bool = False) -> Tensor:
    """Where the first largest element is."""
    return _place(c, "argmax", x, axis, keepdim)


@translates("argmin")
def argmin(c: Ctx, x: Tensor, axis: Any = None, keepdim: bool = False) -> Tensor:
    """Where the first smallest element is."""
    return _place(c, "argmin", x, axis, keepdim)


@translates("max.dim")
def max_of(c: Ctx, x: Tensor, axis: int, keepdim: bool = False) -> tuple[Tensor, Tensor]:
    """Largest elements along an axis and where they are."""
    return _extreme("max", x, c.axes(axis, x.rank), keepdim), _place(c, "argmax", x, axis, keepdim)


@translates("min.dim")
def min_of(c: Ctx, x: Tensor, axis: int, keepdim: bool = False) -> tuple[Tensor, Tensor]:
    """Smallest elements along an axis and where they are."""
    return _extreme("min", x, c.axes(axis, x.rank), keepdim), _place(c, "argmin", x, axis, keepdim)


@translates("any", "any.dim", "any.dims")
def any_(c: Ctx, x: Tensor, axes: Any = None, keepdim: bool = False) -> Tensor:
    """Whether any element is not zero."""
    return truth(x).reduce("any", c.axes(axes, x.rank), keepdim)


@translates("all", "all.dim", "all.dims")
def all_(c: Ctx, x: Tensor, axes: Any = None, keepdim: bool = False) -> Tensor:
    """Whether no element is zero."""
    return truth(x).reduce("all", c.axes(axes, x.rank), keepdim)


@translates("logsumexp")
def logsumexp(c: Ctx, x: Tensor, axes: Any, keepdim: bool = False) -> Tensor:
    """Logarithm of the sum of exponentials."""
    return x.cast(c.dtype).reduce("logsumexp", c.axes(axes, x.rank), keepdim)


# ---- statistics ---------------------------------------------------------------------------------------
def _moments(x: Tensor, axes: tuple[int, ...], correction: Any, keepdim: bool) -> tuple[Tensor, Tensor]:
    middle = x.mean(axes, keepdims=True)
    count = math.prod(x.shape[a] for a in axes)
    apart = x - middle
    spread = (apart * apart).sum(axes, keepdims=True)
    rest = max(0.0, count - (1 if correction is None else correction))
    variance = spread * (1.0 / rest) if rest else spread / 0.0
    if not keepdim:
        shape = tuple(n for d, n in enumerate(x.shape) if d not in axes)
        return variance.reshape(shape), middle.reshape(shape)
    return variance, middle


def _correction(unbiased: Any, correction: Any) -> Any:
    return (1 if unbiased else 0) if unbiased is not None else correction


@translates("var.correction", "var.dim")
def var(
    c: Ctx, x: Tensor, axes: Any = None, unbiased: Any = None, keepdim: bool = False, *, correction: Any = None
) -> Tensor:
    """Variances."""
    return _moments(x, c.axes(axes, x.rank), _correction(unbiased, correction), keepdim)[0]


@translates("var_mean.correction", "var_mean.dim")
def var_mean(
    c: Ctx, x: Tensor, axes: Any = None, unbiased: Any = None, keepdim: bool = False, *, correction: Any = None
) -> tuple[Tensor, Tensor]:
    """Variances and means."""
    return _moments(x, c.axes(axes, x.rank), _correction(unbiased, correction), keepdim)


@translates("std.correction", "std.dim")
def std(
    c: Ctx, x: Tensor, axes: Any = None, unbiased: Any = None, keepdim: bool = False, *, correction: Any = None
) -> Tensor:
    """Standard deviations."""
    return var(c, x, axes, unbiased, keepdim, correction=correction).sqrt()


@translates("linalg_vector_norm")
def vector_norm(
    c: Ctx, x: Tensor, order: Any = 2, axes: Any = None, keepdim: bool = False, *, dtype: Any = None
) -> Tensor:
    """p-norms."""
    x, axes = x.cast(c.dtype), c.axes(axes, x.rank)
    if order == math.inf:
        return x.abs().max(axes, keepdim)
    if order == -math.inf:
        return x.abs().min(axes, keepdim)
    if order == 0:
        return x.not_equal(0).cast(x.dtype).sum(axes, keepdim)
    if not axes:
        return x.abs()
    if order in (1, 2):
        return x.reduce("l1" if order == 1 else "l2", axes, keepdim)
    return (x.abs() ** float(order)).sum(axes, keepdim) ** (1.0 / order)


# ---- softmax ------------------------------------------------------------------------------------------
def _softmax(name: str, ours: str) -> None:
    @translates(name)
    def forward(c: Ctx, x: Tensor, axis: int, half_to_float: bool) -> Tensor:
        return x.cast(c.dtype).op(ours, axis=axis % x.rank) if x.rank else _single(c, x, ours)

    @translates(f"{name}_backward_data")
    def backward(c: Ctx, coming: Tensor, y: Tensor, axis: int, dtype: Any) -> Tensor:
        if not y.rank:
            return y.filled(0)
        axis %= y.rank
        if axis == y.rank - 1:
            return y.op(f"{ours}_gradient", coming)
        if ours == "softmax":
            return y * (coming - (coming * y).sum((axis,), keepdims=True))
        return coming - y.exp() * coming.sum((axis,), keepdims=True)


def _single(c: Ctx, x: Tensor, ours: str) -> Tensor:
    return c.full((), 1 if ours == "softmax" else 0, c.dtype)


_softmax("_softmax", "softmax")
_softmax("_log_softmax", "log_softmax")


# ---- scans and sorting --------------------------------------------------------------------------------
def _cumulate(name: str, kind: str) -> None:
    @translates(name)
    def translate(c: Ctx, x: Tensor, axis: int, *, dtype: Any = None) -> Tensor:
        x = x.cast(c.dtype)
        if not x.rank:
            return x
        wide = x.cast(wide_dtype(x.dtype)) if is_real(x.dtype) else x
        return wide.op("cumulate", kind=kind, axis=axis % x.rank, exclusive=False, reverse=False).cast(x.dtype)


_cumulate("cumsum", "sum")
_cumulate("cumprod", "prod")


@translates("topk")
def topk(
    c: Ctx, x: Tensor, k: int, axis: int = -1, largest: bool = True, is_sorted: bool = True
) -> tuple[Tensor, Tensor]:
    """The k largest or smallest elements of an axis and where they are."""
    if not x.rank:
        return x, c.full((), 0, np.int64)
    values, places = c.multi("topk", x, k=k, axis=axis % x.rank, largest=largest, sorted=True)
    return values, places


@translates("sort")
def sort(c: Ctx, x: Tensor, axis: int = -1, descending: bool = False) -> tuple[Tensor, Tensor]:
    """Elements of an axis in order and where they were; equal ones keep their order."""
    if x.dtype == np.bool_:
        values, places = sort(c, x.cast(np.uint8), axis, descending)
        return values.not_equal(0), places
    return topk(c, x, x.shape[axis] if x.rank else 1, axis, descending)


@translates("sort.stable")
def sort_stable(
    c: Ctx, x: Tensor, *, stable: Any = None, dim: int = -1, descending: bool = False
) -> tuple[Tensor, Tensor]:
    """As :func:`sort`."""
    return sort(c, x, dim, descending)


#: an axis this long or shorter has its running extremes taken by comparing all pairs
_PAIRS = 2048


def _running(name: str, kind: str) -> None:
    @translates(name)
    def translate(c: Ctx, x: Tensor, axis: int) -> tuple[Tensor, Tensor]:
        if not x.rank:
            return x, c.full((), 0, np.int64)
        axis %= x.rank
        size = x.shape[axis]
        if size > _PAIRS:
            raise c.refuse(f"along an axis longer than {_PAIRS} it is not supported")
        low, high = limits(x.dtype)
        worst = (-math.inf if kind == "max" else math.inf) if is_real(x.dtype) else (low if kind == "max" else high)
        last = x.transpose([*(d for d in range(x.rank) if d != axis), axis])
        seen = c.constant(np.tril(np.ones((size, size), bool)))
        pairs = seen.where(last.expand_dims(last.rank - 1), last.lift(worst).expand((1,)))
        values = pairs.reduce(kind, (pairs.rank - 1,))
        places = pairs.op(
            "arg_reduce", kind=f"arg{kind}", axis=pairs.rank - 1, keepdims=False, select_last=True
        )
        back = [*range(axis), x.rank - 1, *range(axis, x.rank - 1)]
        return values.transpose(back), places.transpose(back)


_running("cummax", "max")
_running("cummin", "min")


@translates("kthvalue")
def kthvalue(c: Ctx, x: Tensor, k: int, axis: int = -1, keepdim: bool = False) -> tuple[Tensor, ...]:
    """The k-th smallest element of an axis and where it is."""
    if not x.rank:
        return x, c.full((), 0, np.int64)
    axis %= x.rank
    found = c.multi("topk", x, k=k, axis=axis, largest=False, sorted=True)
    starts, shape = [k - 1 if d == axis else 0 for d in range(x.rank)], list(x.shape)
    shape[axis] = 1
    last = [t.slice(starts, shape) for t in found]
    return tuple(t if keepdim else t.squeeze(axis) for t in last)


@translates("median.dim")
def median(c: Ctx, x: Tensor, axis: int = -1, keepdim: bool = False) -> tuple[Tensor, ...]:
    """The lower one of the elements in the middle of an axis in order, and where it is; NaN where there is one."""
    if not x.rank:
        return x, c.full((), 0, np.int64)
    value, place = kthvalue(c, x, (x.shape[axis] + 1) // 2, axis, keepdim)
    if not is_real(x.dtype):
        return value, place
    axis %= x.rank
    nan = x.op("isnan")
    first = nan.cast(np.int32).op("arg_reduce", kind="argmax", axis=axis, keepdims=keepdim, select_last=False)
    bad = nan.reduce("any", (axis,), keepdim)
    return bad.where(value.filled(math.nan), value), bad.where(first, place)


@translates("median")
def median_of_all(c: Ctx, x: Tensor) -> Tensor:
    """The lower one of the elements in the middle of all in order."""
    return median(c, x.reshape((math.prod(x.shape),)), 0)[0]
