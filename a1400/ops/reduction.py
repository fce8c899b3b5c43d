"""Reductions and ordered scans.

``reduce(kind, axes, keepdims)`` with kind sum|mean|max|min|prod|l1|l2|sum_square|log_sum|logsumexp|any|all, ``axes``
a tuple (empty: nothing is reduced); ``arg_reduce(kind=argmax|argmin, axis, keepdims, select_last)`` -> i64;
``softmax(axis)``; ``log_softmax(axis)``; ``softmax_gradient(y, dy)`` and ``log_softmax_gradient(y, dy)``, what the last
axis' softmax y hands on of dy; ``cumulate(kind=sum|prod, axis, exclusive, reverse)``;
``topk(k, axis, largest, sorted)`` -> values, i64 indices (ties: lower index first).
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from a1400.graph.graph import Value
from a1400.graph.tensor import Tensor
from a1400.ops.registry import Backward, Result, axis_of, gradient, op, require, stepwise, widen

KINDS = ("sum", "mean", "max", "min", "prod", "l1", "l2", "sum_square", "log_sum", "logsumexp", "any", "all")
I64 = np.dtype(np.int64)


def _reduced(shape: tuple[int, ...], axes: tuple[int, ...], keepdims: bool) -> tuple[int, ...]:
    if keepdims:
        return tuple(1 if d in axes else n for d, n in enumerate(shape))
    return tuple(n for d, n in enumerate(shape) if d not in axes)


def _reduce(attrs: dict[str, Any], x: Value) -> list[Result]:
    require(attrs["kind"] in KINDS, f"unknown reduction {attrs['kind']!r}")
    for axis in attrs["axes"]:
        require(-x.rank <= axis < x.rank, f"axis {axis} is out of range for rank {x.rank}")
    axes = tuple(sorted({int(a) % x.rank for a in attrs["axes"]}))
    attrs["axes"] = axes
    return [(_reduced(x.shape, axes, attrs["keepdims"]), x.dtype)]


def reduce_array(kind: str, x: np.ndarray, axes: tuple[int, ...], keepdims: bool) -> np.ndarray:
    """NumPy form of ``reduce`` in the widest sensible type, not yet rounded to ``x``'s dtype."""
    w = widen(x)
    if w.dtype == np.float32:
        w = w.astype(np.float64)
    options: dict[str, Any] = {"axis": axes, "keepdims": keepdims}
    is_int = w.dtype.kind in "iu"
    with np.errstate(all="ignore"):
        if kind == "sum":
            return np.sum(w, dtype=w.dtype if is_int else None, **options)
        if kind == "mean":
            count = int(np.prod([x.shape[a] for a in axes], dtype=np.int64))
            total = np.sum(w, dtype=w.dtype if is_int else None, **options)
            if not is_int:
                return total / count if count else total * np.nan
            return (np.sign(total) * (np.abs(total) // max(count, 1))).astype(w.dtype)
        if kind == "max":
            return np.max(w, initial=_lowest(w.dtype), **options)
        if kind == "min":
            return np.min(w, initial=_highest(w.dtype), **options)
        if kind == "prod":
            return np.prod(w, dtype=w.dtype if is_int else None, **options)
        if kind == "l1":
            return np.sum(np.abs(w), dtype=w.dtype if is_int else None, **options)
        if kind == "l2":
            return np.sqrt(np.sum(np.square(w.astype(np.float64)), **options))
        if kind == "sum_square":
            return np.sum(np.square(w), dtype=w.dtype if is_int else None, **options)
        if kind == "log_sum":
            return np.log(np.sum(w, **options))
        if kind == "logsumexp":
            top = np.max(w, axis=axes, keepdims=True, initial=-np.inf)
            safe = np.where(np.isfinite(top), top, 0)
            summed = np.log(np.sum(np.exp(w - safe), **options))
            return summed + np.sum(safe, axis=axes, keepdims=keepdims)  # safe has one element per reduced line
        return np.any(w, **options) if kind == "any" else np.all(w, **options)


def _lowest(dtype: np.dtype) -> Any:
    return -np.inf if dtype.kind == "f" else (False if dtype == np.bool_ else np.iinfo(dtype).min)


def _highest(dtype: np.dtype) -> Any:
    return np.inf if dtype.kind == "f" else (True if dtype == np.bool_ else np.iinfo(dtype).max)


def _reduce_reference(attrs: dict[str, Any], x: np.ndarray) -> np.ndarray:
    if not attrs["axes"]:
        # reducing over no axis still applies the element function
        x1 = x.reshape((*x.shape, 1))
        return reduce_array(attrs["kind"], x1, (x.ndim,), False).astype(x.dtype)
    return np.asarray(reduce_array(attrs["kind"], x, attrs["axes"], attrs["keepdims"])).astype(x.dtype)


def _arg_reduce(attrs: dict[str, Any], x: Value) -> list[Result]:
    axis = axis_of(attrs, x.rank)
    require(x.rank > 0 and x.shape[axis] > 0, f"{attrs['kind']} over an empty axis of {list(x.shape)}")
    return [(_reduced(x.shape, (axis,), attrs["keepdims"]), I64)]


def _arg_reference(attrs: dict[str, Any], x: np.ndarray) -> np.ndarray:
    axis = attrs["axis"]
    find = np.argmax if attrs["kind"] == "argmax" else np.argmin
    w = widen(x)
    if attrs.get("select_last"):
        index = x.shape[axis] - 1 - find(np.flip(w, axis), axis=axis)
    else:
        index = find(w, axis=axis)
    return (np.expand_dims(index, axis) if attrs["keepdims"] else index).astype(np.int64)


def _same(attrs: dict[str, Any], x: Value) -> list[Result]:
    axis_of(attrs, x.rank)
    return [(x.shape, x.dtype)]


def _softmax_reference(attrs: dict[str, Any], x: np.ndarray) -> np.ndarray:
    w = widen(x).astype(np.float64)
    if w.size == 0:
        return x
    shifted = w - w.max(axis=attrs["axis"], keepdims=True)
    e = np.exp(shifted)
    return (e / e.sum(axis=attrs["axis"], keepdims=True)).astype(x.dtype)


def _log_softmax_reference(attrs: dict[str, Any], x: np.ndarray) -> np.ndarray:
    w = widen(x).astype(np.float64)
    if w.size == 0:
        return x
    shifted = w - w.max(axis=attrs["axis"], keepdims=True)
    return (shifted - np.log(np.exp(shifted).sum(axis=attrs["axis"], keepdims=True))).astype(x.dtype)


def _like(attrs: dict[str, Any], y: Value, dy: Value) -> list[Result]:
    require((dy.shape, dy.dtype) == (y.shape, y.dtype), f"the gradient {dy} does not fit {y}")
    return [(y.shape, y.dtype)]


def _softmax_gradient_reference(attrs: dict[str, Any], y: np.ndarray, dy: np.ndarray) -> np.ndarray:
    p, g = (widen(v).astype(np.float64) for v in (y, dy))
    return (p * (g - (p * g).sum(axis=-1, keepdims=True))).astype(y.dtype)


def _log_softmax_gradient_reference(attrs: dict[str, Any], y: np.ndarray, dy: np.ndarray) -> np.ndarray:
    v, g = (widen(v).astype(np.float64) for v in (y, dy))
    return (g - np.exp(v) * g.sum(axis=-1, keepdims=True)).astype(y.dtype)


def _cumulate_reference(attrs: dict[str, Any], x: np.ndarray) -> np.ndarray:
    axis = attrs["axis"]
    w = np.flip(widen(x), axis) if attrs["reverse"] else widen(x)
    neutral = 0 if attrs["kind"] == "sum" else 1
    result = (np.cumsum if attrs["kind"] == "sum" else np.cumprod)(w, axis=axis, dtype=w.dtype)
    if attrs["exclusive"]:
        result = np.roll(result, 1, axis)
        result[(slice(None),) * axis + (slice(0, 1),)] = neutral
    return (np.flip(result, axis) if attrs["reverse"] else result).astype(x.dtype)


def _topk(attrs: dict[str, Any], x: Value) -> list[Result]:
    axis = axis_of(attrs, x.rank)
    require(0 <= attrs["k"] <= x.shape[axis], f"k={attrs['k']} is not within axis {axis} of {list(x.shape)}")
    shape = (*x.shape[:axis], int(attrs["k"]), *x.shape[axis + 1 :])
    return [(shape, x.dtype), (shape, I64)]


def _topk_reference(attrs: dict[str, Any], x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    axis = attrs["axis"]
    if attrs["largest"]:
        # stable descending: sort the reversed line ascending, then reverse
        order = np.flip(x.shape[axis] - 1 - np.argsort(np.flip(x, axis), axis=axis, kind="stable"), axis)
    else:
        order = np.argsort(x, axis=axis, kind="stable")
    index = np.take(order, np.arange(attrs["k"]), axis=axis)
    return np.take_along_axis(x, index, axis), index.astype(np.int64)


op("reduce", "reduction", _reduce, _reduce_reference)
op("arg_reduce", "reduction", _arg_reduce, _arg_reference)
op("softmax", "reduction", _same, _softmax_reference)
op("log_softmax", "reduction", _same, _log_softmax_reference)
op("softmax_gradient", "reduction", _like, _softmax_gradient_reference)
op("log_softmax_gradient", "reduction", _like, _log_softmax_gradient_reference)
op("cumulate", "reduction", _same, _cumulate_reference)
op("topk", "reduction", _topk, _topk_reference)


stepwise("arg_reduce")


@gradient("reduce")
def _reduce_gradient(b: Backward) -> tuple[Tensor | None]:
    """Ties of max and min share alike, as in PyTorch's ``amax``."""
    kind, axes, x = b.attrs["kind"], b.attrs["axes"], b.x()
    shape = _reduced(x.shape, axes, True)
    g, y = b.g.reshape(shape), b.y.reshape(shape)
    if kind == "sum":
        return (g.expand(x.shape),)
    if kind == "mean":
        count = x.value.size // max(b.y.value.size, 1)
        return ((g * (1.0 / max(count, 1))).expand(x.shape),)
    if kind in ("max", "min"):
        best = x.equal(y).cast(x.dtype)
        return (g * best / best.sum(axes, keepdims=True),)
    if kind == "prod":
        return (g * _others(x, axes),)
    if kind == "l1":
        return (g * x.sign(),)
    if kind == "l2":
        zero = y.equal(0.0)
        return (zero.where(0.0, g / zero.where(1.0, y)) * x,)
    if kind == "sum_square":
        return (2.0 * g * x,)
    if kind == "log_sum":
        return ((g / x.sum(axes, keepdims=True)).expand(x.shape),)
    if kind == "logsumexp":
        return (g * (x - y).exp(),)
    return (None,)  # any, all


def _others(x: Tensor, axes: tuple[int, ...]) -> Tensor:
    """For each element the product of all others, by those before and those behind it: right for zeros as well."""
    perm = (*(d for d in range(x.rank) if d not in axes), *axes)
    moved = x.transpose(perm)
    kept = moved.shape[: x.rank - len(axes)]
    flat = moved.reshape((*kept, math.prod(moved.shape[len(kept) :])))
    before, behind = (
        flat.op("cumulate", kind="prod", axis=len(kept), exclusive=True, reverse=reverse) for reverse in (False, True)
    )
    return (before * behind).reshape(moved.shape).transpose([perm.index(d) for d in range(x.rank)])


@gradient("softmax", "log_softmax")
def _softmax_gradient(b: Backward) -> tuple[Tensor]:
    axis, y, g = b.attrs["axis"], b.y, b.g
    if axis == y.rank - 1:
        return (y.op(f"{b.op}_gradient", g),)
    if b.op == "softmax":
        return (y * (g - (g * y).sum((axis,), keepdims=True)),)
    return (g - y.exp() * g.sum((axis,), keepdims=True),)


@gradient("softmax_gradient")
def _softmax_gradient_twice(b: Backward) -> tuple[Tensor, Tensor]:
    """Of y (g - sum(g y)), which is linear in g and symmetric."""
    y, g = b.x(0), b.x(1)
    sums = [(t * y).sum((-1,), keepdims=True) for t in (g, b.g)]
    return b.g * (g - sums[0]) - g * sums[1], y.op("softmax_gradient", b.g)


@gradient("log_softmax_gradient")
def _log_softmax_gradient_twice(b: Backward) -> tuple[Tensor, Tensor]:
    """Of g - exp(y) sum(g)."""
    e, g = b.x(0).exp(), b.x(1)
    return -(b.g * e * g.sum((-1,), keepdims=True)), b.g - (b.g * e).sum((-1,), keepdims=True)


@gradient("cumulate")
def _cumulate_gradient(b: Backward) -> tuple[Tensor]:
    """Of products: all of them again with one factor left out at a time, so that zeros are right; n^2 memory."""
    x, axis, exclusive, reverse = b.x(), b.attrs["axis"], bool(b.attrs["exclusive"]), bool(b.attrs["reverse"])
    if b.attrs["kind"] == "sum":
        return (b.g.op("cumulate", kind="sum", axis=axis, exclusive=exclusive, reverse=not reverse),)
    size = x.shape[axis]
    wide = (*x.shape[:axis], 1, *x.shape[axis:])  # the left-out factor's axis comes first
    at = [1] * len(wide)
    at[axis] = at[axis + 1] = size
    without = Tensor(x.graph, x.graph.constant(np.eye(size, dtype=bool).reshape(at)))
    products = without.where(1.0, x.reshape(wide)).op(
        "cumulate", kind="prod", axis=axis + 1, exclusive=exclusive, reverse=reverse
    )
    # the left-out factor takes part in the products at and behind it (strictly behind it when exclusive)
    order = np.arange(size)
    behind = order[:, None] > order if reverse else order[:, None] < order
    holds = behind if exclusive else behind | np.eye(size, dtype=bool)
    part = Tensor(x.graph, x.graph.constant(holds.reshape(at))).where(products * b.g.reshape(wide), 0.0)
    return (part.sum((axis + 1,)),)


@gradient("topk")
def _topk_gradient(b: Backward) -> tuple[Tensor]:
    return (b.x().filled(0.0).op("scatter_elements", b.outputs[1], b.g, axis=b.attrs["axis"], reduction="add"),)
