"""Views and copies: what moves elements."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from a1400.frontends.torch.context import Ctx
from a1400.frontends.torch.registry import enter, translates
from a1400.graph.tensor import Tensor


@translates("alias", "clone", "detach", "lift_fresh_copy", "lift_fresh", "positive",
 "alias_copy", "detach_copy", "resolve_neg")  # fmt: skip
def same(c: Ctx, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    """The tensor itself."""
    return x


@translates("_to_copy")
def to_copy(c: Ctx, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    """In another dtype."""
    return convert(x, c.dtype)


enter(torch.ops.prims.convert_element_type.default, to_copy)


def convert(x: Tensor, dtype: np.dtype) -> Tensor:
    """Cast as PyTorch does."""
    return x.not_equal(0) if dtype == np.bool_ and x.dtype != np.bool_ else x.cast(dtype)


@translates("copy")
def copy(c: Ctx, x: Tensor, source: Tensor, non_blocking: bool = False) -> Tensor:
    """``source`` in the shape and dtype of ``x``."""
    return convert(source, x.dtype).expand(x.shape)


@translates("view", "reshape", "_unsafe_view", "_reshape_alias", "view_copy", "_reshape_copy")
def view(c: Ctx, x: Tensor, shape: Sequence[int], *args: Any) -> Tensor:
    """The same elements in another shape; one size may be -1."""
    shape = list(shape)
    if -1 in shape:
        rest = math.prod(n for n in shape if n != -1)
        shape[shape.index(-1)] = math.prod(x.shape) // rest if rest else 0
    return x.reshape(shape)


@translates("view.dtype")
def view_dtype(c: Ctx, x: Tensor, dtype: Any) -> Tensor:
    """The same bits as another dtype of that size."""
    to = c.torch_dtype(dtype)
    if to.itemsize != x.dtype.itemsize:
        raise c.refuse(f"the bits of {x.dtype} cannot be read as {to}: they have other sizes")
    return x if to == x.dtype else x.op("bitcast", to=to)


@translates("permute", "permute_copy")
def permute(c: Ctx, x: Tensor, axes: Sequence[int]) -> Tensor:
    """Axes in another order."""
    return x.transpose([a % x.rank for a in axes])


@translates("transpose.int")
def transpose(c: Ctx, x: Tensor, a: int, b: int) -> Tensor:
    """Two axes exchanged."""
    return x.swap(a % x.rank, b % x.rank) if x.rank else x


@translates("t")
def turned(c: Ctx, x: Tensor) -> Tensor:
    """A matrix transposed."""
    return x if x.rank < 2 else x.swap(x.rank - 2, x.rank - 1)


@translates("unsqueeze")
def unsqueeze(c: Ctx, x: Tensor, axis: int) -> Tensor:
    """A new axis of size 1."""
    return x.expand_dims(axis)


@translates("squeeze", "squeeze.dim", "squeeze.dims")
def squeeze(c: Ctx, x: Tensor, axes: Any = None) -> Tensor:
    """Without axes of size 1."""
    axes = range(x.rank) if axes is None else [axes] if isinstance(axes, int) else axes
    wanted = {a % max(x.rank, 1) for a in axes}
    return x.reshape([n for d, n in enumerate(x.shape) if d not in wanted or n != 1])


@translates("expand", "expand_copy")
def expand(c: Ctx, x: Tensor, shape: Sequence[int], *, implicit: bool = False) -> Tensor:
    """Broadcast; -1 keeps a size."""
    lead = len(shape) - x.rank
    return x.expand([x.shape[d - lead] if n == -1 else n for d, n in enumerate(shape)])


@translates("broadcast_to")
def broadcast_to(c: Ctx, x: Tensor, shape: Sequence[int]) -> Tensor:
    """Broadcast."""
    return expand(c, x, shape)


def bounds(size: int, start: Any, end: Any, step: int) -> tuple[int, int]:
    """First index and count of a slice as Python has it."""
    first, last, step = slice(start, end, step).indices(size)
    return first, max(0, (last - first + step - 1) // step)


def part(x: Tensor, axis: int, start: int, count: int, step: int = 1) -> Tensor:
    """``count`` elements of one axis."""
    starts, steps, shape = [0] * x.rank, [1] * x.rank, list(x.shape)
    starts[axis], steps[axis], shape[axis] = start if count else 0, step, count
    return x.slice(starts, shape, steps)


@translates("slice.Tensor")
def slice_(c: Ctx, x: Tensor, axis: int = 0, start: Any = None, end: Any = None, step: int = 1) -> Tensor:
    """Every ``step``-th element from ``start`` to before ``end``."""
    axis %= x.rank
    first, count = bounds(x.shape[axis], start, end, step)
    return part(x, axis, first, count, step)


@translates("narrow")
def narrow(c: Ctx, x: Tensor, axis: int, start: int, length: int) -> Tensor:
    """``length`` elements from ``start`` on."""
    axis %= x.rank
    return part(x, axis, start % x.shape[axis] if start < 0 else start, length)


@translates("select.int")
def select(c: Ctx, x: Tensor, axis: int, index: int) -> Tensor:
    """One element of an axis."""
    axis %= x.rank
    return part(x, axis, index % x.shape[axis], 1).squeeze(axis)


@translates("cat")
def cat(c: Ctx, parts: Sequence[Tensor], axis: int = 0) -> Tensor:
    """Concatenation; empty tensors of one axis count for nothing."""
    kept = [p for p in parts if p.shape != (0,)] or list(parts[:1])
    return c.concat([p.cast(c.dtype) for p in kept], axis % kept[0].rank)


@translates("stack")
def stack(c: Ctx, parts: Sequence[Tensor], axis: int = 0) -> Tensor:
    """Concatenation along a new axis."""
    axis %= parts[0].rank + 1
    return c.concat([p.cast(c.dtype).expand_dims(axis) for p in parts], axis)


@translates("split_with_sizes", "split_with_sizes_copy")
def split_with_sizes(c: Ctx, x: Tensor, sizes: Sequence[int], axis: int = 0) -> list[Tensor]:
    """Parts of given sizes along an axis."""
    axis %= x.rank
    starts = np.cumsum([0, *sizes])
    return [part(x, axis, int(start), size) for start, size in zip(starts, sizes)]


@translates("split.Tensor")
def split(c: Ctx, x: Tensor, size: int, axis: int = 0) -> list[Tensor]:
    """Parts of one size, the last one smaller."""
    length = x.shape[axis % x.rank]
    return split_with_sizes(c, x, [min(size, length - s) for s in range(0, length, size)] or [0], axis)


@translates("unbind.int", "unbind_copy.int")
def unbind(c: Ctx, x: Tensor, axis: int = 0) -> list[Tensor]:
    """Every element of an axis."""
    return [select(c, x, axis, i) for i in range(x.shape[axis % x.rank])]


@translates("flip")
def flip(c: Ctx, x: Tensor, axes: Sequence[int]) -> Tensor:
    """Axes run backwards."""
    turned = {a % x.rank for a in axes if x.shape[a % x.rank]} if x.rank else set()
    starts = [n - 1 if d in turned else 0 for d, n in enumerate(x.shape)]
    return x.slice(starts, x.shape, [-1 if d in turned else 1 for d in range(x.rank)])


@translates("roll")
def roll(c: Ctx, x: Tensor, shifts: Any, axes: Any = ()) -> Tensor:
    """Elements moved along axes, around the end; without axes along all of them in a row."""
    shifts = [shifts] if isinstance(shifts, int) else shifts
    axes = [axes] if isinstance(axes, int) else axes
    if not axes:
        return roll(c, x.reshape((math.prod(x.shape),)), shifts, (0,)).reshape(x.shape)
    for shift, given in zip(shifts, axes):
        axis = given % x.rank
        size = x.shape[axis]
        cut = (-shift) % size if size else 0
        if cut:
            x = c.concat([part(x, axis, cut, size - cut), part(x, axis, 0, cut)], axis)
    return x


@translates("repeat")
def repeat(c: Ctx, x: Tensor, times: Sequence[int]) -> Tensor:
    """The tensor laid side by side."""
    x = x.reshape((1,) * (len(times) - x.rank) + x.shape)
    between = [n for pair in zip((1,) * x.rank, x.shape) for n in pair]
    wide = [n for pair in zip(times, x.shape) for n in pair]
    return x.reshape(between).expand(wide).reshape([t * n for t, n in zip(times, x.shape)])


@translates("constant_pad_nd")
def constant_pad(c: Ctx, x: Tensor, pads: Sequence[int], value: Any = 0) -> Tensor:
    """A number around; ``pads`` begin with the last axis, negative ones crop."""
    low, high = _pads(pads, x.rank)
    if not any(low) and not any(high):
        return x
    fill = None if value == 0 else c.constant(value, x.dtype)
    return c.op("pad", x, *(() if fill is None else (fill,)), low=low, high=high, mode="constant")


def _pads(pads: Sequence[int], rank: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    pairs = [(0, 0)] * (rank - len(pads) // 2) + [(pads[i], pads[i + 1]) for i in range(len(pads) - 2, -1, -2)]
    return tuple(a for a, _ in pairs), tuple(b for _, b in pairs)


def _edges(mode: str, names: Sequence[str]) -> None:
    def padded(x: Tensor, pads: Sequence[int]) -> Tensor:
        low, high = _pads(pads, x.rank)
        return x.op("pad", low=low, high=high, mode=mode)

    @translates(*names)
    def forward(c: Ctx, x: Tensor, pads: Sequence[int]) -> Tensor:
        return padded(x, pads)

    @translates(*(f"{name}_backward" for name in names))
    def backward(c: Ctx, coming: Tensor, x: Tensor, pads: Sequence[int]) -> Tensor:
        return c.back(lambda t: padded(t, pads), x, coming)


_edges("reflect", [f"reflection_pad{n}d" for n in (1, 2, 3)])
_edges("edge", [f"replication_pad{n}d" for n in (1, 2, 3)])


# ---- parts written anew -------------------------------------------------------------------------------
def written(c: Ctx, x: Tensor, source: Tensor, axis: int, start: int, count: int, step: int) -> Tensor:
    """``x`` with ``source`` in the place of some elements of an axis."""
    source = source.cast(x.dtype)
    if count == 0:
        return x
    if step == 1:
        shape = (*x.shape[:axis], count, *x.shape[axis + 1 :])
        behind = start + count
        parts = [part(x, axis, 0, start), source.expand(shape), part(x, axis, behind, x.shape[axis] - behind)]
        return c.concat([p for p in parts if p.shape[axis]], axis)
    index = np.zeros(x.shape[axis], np.int64)
    index[start : start + (count - 1) * step + 1 : step] = np.arange(count)
    hit = np.zeros(x.shape[axis], bool)
    hit[start : start + (count - 1) * step + 1 : step] = True
    beside = [-1 if d == axis else 1 for d in range(x.rank)]
    spread = source.expand((*x.shape[:axis], count, *x.shape[axis + 1 :])).op("gather", c.constant(index), axis=axis)
    return c.constant(hit.reshape(beside)).where(spread, x)


@translates("slice_scatter")
def slice_scatter(
    c: Ctx, x: Tensor, source: Tensor, axis: int = 0, start: Any = None, end: Any = None, step: int = 1
) -> Tensor:
    """``x`` with ``source`` in the place of a slice."""
    axis %= x.rank
    first, count = bounds(x.shape[axis], start, end, step)
    return written(c, x, source, axis, first, count, step)


@translates("select_scatter")
def select_scatter(c: Ctx, x: Tensor, source: Tensor, axis: int, index: int) -> Tensor:
    """``x`` with ``source`` in the place of one element of an axis."""
    axis %= x.rank
    return written(c, x, source.expand_dims(axis), axis, index % x.shape[axis], 1, 1)


@translates("slice_backward")
def slice_backward(
    c: Ctx, coming: Tensor, shape: Sequence[int], axis: int, start: Any, end: Any, step: int
) -> Tensor:
    """The gradient in the place of a slice of zeros."""
    return slice_scatter(c, c.full(shape, 0, coming.dtype), coming, axis, start, end, step)


@translates("select_backward")
def select_backward(c: Ctx, coming: Tensor, shape: Sequence[int], axis: int, index: int) -> Tensor:
    """The gradient in the place of one element of an axis of zeros."""
    return select_scatter(c, c.full(shape, 0, coming.dtype), coming, axis, index)


# ---- any strides --------------------------------------------------------------------------------------
def _places(shape: Sequence[int], strides: Sequence[int], offset: int) -> np.ndarray:
    places = np.full((), offset, np.int64)
    for d, (n, s) in enumerate(zip(shape, strides)):
        places = places + (np.arange(n, dtype=np.int64) * s).reshape([-1 if k == d else 1 for k in range(len(shape))])
    return np.broadcast_to(places, tuple(shape))


def _flat(x: Tensor) -> Tensor:
    return x.reshape((math.prod(x.shape),))


@translates("as_strided", "as_strided_copy")
def as_strided(
    c: Ctx, x: Tensor, shape: Sequence[int], strides: Sequence[int], offset: int | None = None
) -> Tensor:
    """Elements by their places in the dense tensor."""
    dense = tuple(math.prod(shape[d + 1 :]) for d in range(len(shape)))
    if not offset and tuple(strides) == dense and math.prod(shape) == math.prod(x.shape):
        return x.reshape(shape)
    places = np.ascontiguousarray(_places(shape, strides, offset or 0))
    return _flat(x).op("gather", c.constant(places), axis=0)


@translates("as_strided_scatter")
def as_strided_scatter(
    c: Ctx, x: Tensor, source: Tensor, shape: Sequence[int], strides: Sequence[int], offset: int | None = None
) -> Tensor:
    """``source`` written to places in the dense tensor."""
    places = np.ascontiguousarray(_places(shape, strides, offset or 0).reshape(-1))
    return _flat(x).op(
        "scatter_elements", c.constant(places), _flat(source.cast(x.dtype)), axis=0, reduction="none"
    ).reshape(x.shape)  # fmt: skip


@translates("diagonal", "diagonal_copy")
def diagonal(c: Ctx, x: Tensor, offset: int = 0, a: int = 0, b: int = 1) -> Tensor:
    """The diagonal of two axes, as the last axis."""
    a, b = a % x.rank, b % x.rank
    rest = [d for d in range(x.rank) if d not in (a, b)]
    x = x.transpose([*rest, a, b])
    rows, columns = x.shape[-2:]
    first_row, first_column = max(-offset, 0), max(offset, 0)
    count = max(0, min(rows - first_row, columns - first_column))
    if not count:
        return c.full((*x.shape[:-2], 0), 0, x.dtype)
    flat = x.reshape((*x.shape[:-2], rows * columns))
    return part(flat, flat.rank - 1, first_row * columns + first_column, count, columns + 1)


@translates("diagonal_scatter")
def diagonal_scatter(c: Ctx, x: Tensor, source: Tensor, offset: int = 0, a: int = 0, b: int = 1) -> Tensor:
    """``source`` written to the diagonal of two axes."""
    a, b = a % x.rank, b % x.rank
    order = [*(d for d in range(x.rank) if d not in (a, b)), a, b]
    moved = x.transpose(order)
    rows, columns = moved.shape[-2:]
    r, k = np.arange(rows)[:, None], np.arange(columns)[None]
    hit = k - r == offset
    index = np.broadcast_to(np.clip(r - max(-offset, 0), 0, max(source.shape[-1] - 1, 0)), hit.shape)
    spread = source.cast(x.dtype).op("gather", c.constant(np.ascontiguousarray(index)), axis=source.rank - 1)
    return c.constant(hit).where(spread, moved).transpose([order.index(d) for d in range(x.rank)])


@translates("diagonal_backward")
def diagonal_backward(c: Ctx, coming: Tensor, shape: Sequence[int], offset: int, a: int, b: int) -> Tensor:
    """The gradient on the diagonal of zeros."""
    return diagonal_scatter(c, c.full(shape, 0, coming.dtype), coming, offset, a, b)


@translates("unfold", "unfold_copy")
def unfold(c: Ctx, x: Tensor, axis: int, size: int, step: int) -> Tensor:
    """Windows along an axis, their elements as the last axis."""
    if not x.rank:
        return x.reshape((1,))
    return _unfold(c, x, axis % x.rank, size, step)


def _unfold(c: Ctx, x: Tensor, axis: int, size: int, step: int) -> Tensor:
    windows = (x.shape[axis] - size) // step + 1
    index = np.arange(windows, dtype=np.int64)[:, None] * step + np.arange(size, dtype=np.int64)
    y = c.op("gather", x, c.constant(index), axis=axis)
    return y.transpose([*range(axis + 1), *range(axis + 2, y.rank), axis + 1])


@translates("unfold_backward")
def unfold_backward(c: Ctx, coming: Tensor, shape: Sequence[int], axis: int, size: int, step: int) -> Tensor:
    """Gradients of windows added up."""
    if not shape:
        return coming.reshape(())
    zeros = c.full(shape, 0, coming.dtype)
    return c.back(lambda t: _unfold(c, t, axis % len(shape), size, step), zeros, coming)
