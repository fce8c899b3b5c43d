"""Gathers and scatters.  Indices are i32 or i64; negative ones count from the end.

``gather(x, indices; axis)``; ``gather_elements(x, indices; axis)``; ``gather_nd(x, indices; batch_dims)``;
``scatter_elements(x, indices, updates; axis, reduction)`` and ``scatter_nd(x, indices, updates; reduction)`` with
reduction none|add|mul|max|min, applied in index order.  Updates whose index is out of range are dropped, or with attr
``clamp`` go where a gather, which clamps, would read.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from a1400.graph.graph import Value
from a1400.graph.tensor import Tensor
from a1400.ops.registry import Backward, Result, axis_of, gradient, op, require, widen


def _check_index(v: Value) -> None:
    require(v.dtype in (np.dtype(np.int32), np.dtype(np.int64)), f"indices must be int32 or int64, not {v.dtype}")


def _gather(attrs: dict[str, Any], x: Value, index: Value) -> list[Result]:
    axis = axis_of(attrs, x.rank)
    require(x.rank > 0, "gather needs a tensor of rank 1 or more")
    _check_index(index)
    _check_range(x.shape[axis], index)
    return [((*x.shape[:axis], *index.shape, *x.shape[axis + 1 :]), x.dtype)]


def _check_range(size: int, index: Value) -> None:
    """Constant indices are checked here; run-time ones are clamped by the kernels."""
    if index.data is not None and index.size:
        low, high = int(index.data.min()), int(index.data.max())
        wrong = low if low < -size else high
        require(-size <= low and high < size, f"index {wrong} is out of range for an axis of {size}")


def _wrap(index: np.ndarray, size: int) -> np.ndarray:
    return np.clip(np.where(index < 0, index + size, index), 0, max(size - 1, 0))


def _placed(index: np.ndarray, size: int, attrs: dict[str, Any]) -> tuple[np.ndarray, np.ndarray]:
    """Where a scatter's updates go, and which of them are not dropped."""
    kept = (index >= -size) & (index < size)
    return _wrap(index, size), kept | (size > 0) if attrs.get("clamp") else kept


def _gather_reference(attrs: dict[str, Any], x: np.ndarray, index: np.ndarray) -> np.ndarray:
    axis = attrs["axis"]
    return np.take(x, _wrap(index, x.shape[axis]), axis=axis)


def _gather_elements(attrs: dict[str, Any], x: Value, index: Value) -> list[Result]:
    axis_of(attrs, x.rank)
    require(x.rank == index.rank, "gather_elements needs indices of the data's rank")
    _check_index(index)
    return [(index.shape, x.dtype)]


def _gather_elements_reference(attrs: dict[str, Any], x: np.ndarray, index: np.ndarray) -> np.ndarray:
    axis = attrs["axis"]
    crop = tuple(slice(None) if d == axis else slice(index.shape[d]) for d in range(x.ndim))
    return np.take_along_axis(x[crop], _wrap(index, x.shape[axis]), axis)


def _gather_nd(attrs: dict[str, Any], x: Value, index: Value) -> list[Result]:
    b = int(attrs["batch_dims"])
    depth = index.shape[-1] if index.rank else 0
    require(index.rank >= 1 and b + depth <= x.rank and x.shape[:b] == index.shape[:b], f"gather_nd of {x} by {index}")
    _check_index(index)
    return [((*index.shape[:-1], *x.shape[b + depth :]), x.dtype)]


def _gather_nd_reference(attrs: dict[str, Any], x: np.ndarray, index: np.ndarray) -> np.ndarray:
    b, depth = attrs["batch_dims"], index.shape[-1]
    batch = x.shape[:b]
    count = int(np.prod(batch, dtype=np.int64))
    xb = x.reshape(count, *x.shape[b:])
    ib = index.reshape(count, -1, depth)
    parts = [_wrap(ib[..., k], x.shape[b + k]) for k in range(depth)]
    where = (np.arange(count)[:, None], *parts)
    return xb[where].reshape(*index.shape[:-1], *x.shape[b + depth :])


_COMBINE: dict[str, Callable[[Any, Any], Any]] = {
    "none": lambda old, new: new, "add": np.add, "mul": np.multiply, "max": np.maximum, "min": np.minimum,
}  # fmt: skip


def _scatter_elements(attrs: dict[str, Any], x: Value, index: Value, updates: Value) -> list[Result]:
    axis_of(attrs, x.rank)
    require(
        x.rank == index.rank and index.shape == updates.shape, "scatter_elements needs updates of the indices' shape"
    )
    require(attrs["reduction"] in _COMBINE and updates.dtype == x.dtype, f"cannot scatter {updates} into {x}")
    _check_index(index)
    return [(x.shape, x.dtype)]


def _scatter_elements_reference(
    attrs: dict[str, Any], x: np.ndarray, index: np.ndarray, updates: np.ndarray
) -> np.ndarray:
    result, combine, axis = widen(x).copy(), _COMBINE[attrs["reduction"]], attrs["axis"]
    where, kept = _placed(index, x.shape[axis], attrs)
    for at in np.ndindex(*index.shape):
        target = (*at[:axis], where[at], *at[axis + 1 :])
        if kept[at]:
            result[target] = combine(result[target], updates[at])
    return result.astype(x.dtype)


def _scatter_nd(attrs: dict[str, Any], x: Value, index: Value, updates: Value) -> list[Result]:
    depth = index.shape[-1] if index.rank else 0
    expected = (*index.shape[:-1], *x.shape[depth:])
    require(
        index.rank >= 1 and depth <= x.rank and updates.shape == expected,
        f"scatter_nd of {updates} into {x} by {index}",
    )
    require(attrs["reduction"] in _COMBINE and updates.dtype == x.dtype, f"cannot scatter {updates} into {x}")
    _check_index(index)
    return [(x.shape, x.dtype)]


def _scatter_nd_reference(attrs: dict[str, Any], x: np.ndarray, index: np.ndarray, updates: np.ndarray) -> np.ndarray:
    result, combine = widen(x).copy(), _COMBINE[attrs["reduction"]]
    for at in np.ndindex(*index.shape[:-1]):
        placed = [_placed(np.asarray(i), x.shape[k], attrs) for k, i in enumerate(index[at])]
        target = tuple(int(where) for where, _ in placed)
        if all(kept for _, kept in placed):
            result[target] = combine(result[target], updates[at])
    return result.astype(x.dtype)


op("gather", "indexing", _gather, _gather_reference)
op("gather_elements", "indexing", _gather_elements, _gather_elements_reference)
op("gather_nd", "indexing", _gather_nd, _gather_nd_reference)
op("scatter_elements", "indexing", _scatter_elements, _scatter_elements_reference)
op("scatter_nd", "indexing", _scatter_nd, _scatter_nd_reference)


@gradient("gather")
def _gather_gradient(b: Backward) -> tuple[Tensor, None]:
    """Rows of the gradient are added up where they came from, in index order."""
    x, index, axis, g = b.x(0), b.x(1), b.attrs["axis"], b.g
    front = [*range(axis, axis + index.rank), *range(axis), *range(axis + index.rank, g.rank)]
    rest = [n for d, n in enumerate(x.shape) if d != axis]
    table = x.filled(0.0, (x.shape[axis], *rest))
    rows = index.reshape((*index.shape, 1))
    table = table.op("scatter_nd", rows, g.transpose(front), reduction="add", clamp=True)
    return table.transpose([*range(1, axis + 1), 0, *range(axis + 1, x.rank)]), None


@gradient("gather_elements")
def _gather_elements_gradient(b: Backward) -> tuple[Tensor, None]:
    empty = b.x(0).filled(0.0)
    return empty.op("scatter_elements", b.x(1), b.g, axis=b.attrs["axis"], reduction="add", clamp=True), None


@gradient("gather_nd")
def _gather_nd_gradient(b: Backward) -> tuple[Tensor, None]:
    index, batch = b.x(1), int(b.attrs["batch_dims"])
    for d in reversed(range(batch)):  # the batch's own places become part of the index
        shape = [n if k == d else 1 for k, n in enumerate(index.shape)]
        place = np.arange(index.shape[d], dtype=index.dtype).reshape(shape)
        place = np.broadcast_to(place, (*index.shape[:-1], 1))
        index = Tensor(b.graph, b.graph.constant(np.ascontiguousarray(place))).op("concat", index, axis=index.rank - 1)
    return b.x(0).filled(0.0).op("scatter_nd", index, b.g, reduction="add", clamp=True), None


@gradient("scatter_elements", "scatter_nd")
def _scatter_gradient(b: Backward) -> tuple[Tensor, None, Tensor]:
    """Of ``max`` and ``min``, equal candidates share alike; of ``none``, each update counts as if it had won."""
    x, index, updates, g = b.x(0), b.x(1), b.x(2), b.g
    where = {"axis": b.attrs["axis"]} if b.op == "scatter_elements" else {}

    def read(source: Tensor) -> Tensor:
        if where:
            return source.op("gather_elements", index, **where)
        return source.op("gather_nd", index, batch_dims=0)

    def write(target: Tensor, new: Tensor, reduction: str) -> Tensor:
        return target.op(b.op, index, new, reduction=reduction, **where)

    kind = b.attrs["reduction"]
    if kind == "add":
        return g, None, read(g)
    if kind == "none":
        return write(g, updates.filled(0.0), "none"), None, read(g)
    if kind == "mul":
        others = write(x.filled(1.0), updates, "mul")
        return g * others, None, read(g * b.y) / updates
    own = x.equal(b.y).cast(x.dtype)
    theirs = updates.equal(read(b.y)).cast(x.dtype)
    share = g / write(own, theirs, "add")
    return share * own, None, read(share) * theirs
