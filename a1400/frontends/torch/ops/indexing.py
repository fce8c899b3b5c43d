"""Gathers and scatters.  The device does not check indices: those out of range are clamped, or dropped by scatters."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from a1400.frontends.torch.context import Ctx
from a1400.frontends.torch.registry import translates
from a1400.graph.tensor import Tensor
from a1400.ops.registry import broadcast

_KINDS = {"sum": "add", "add": "add", "prod": "mul", "multiply": "mul", "amax": "max", "amin": "min"}


def _long(index: Tensor) -> Tensor:
    return index if index.dtype in (np.int32, np.int64) else index.cast(np.int64)


@translates("embedding")
def embedding(
    c: Ctx, weight: Tensor, indices: Tensor, padding: int = -1, by_frequency: bool = False, sparse: bool = False
) -> Tensor:
    """Rows of a table."""
    return weight.op("gather", _long(indices), axis=0)


@translates("embedding_dense_backward")
def embedding_backward(
    c: Ctx, coming: Tensor, indices: Tensor, count: int, padding: int, by_frequency: bool
) -> Tensor:
    """Rows of the gradient added up where they came from."""
    indices = _long(indices)
    width = coming.shape[-1]
    rows = coming.reshape((math.prod(indices.shape), width))
    flat = indices.reshape((math.prod(indices.shape),))
    if padding >= 0:
        rows = flat.equal(padding).expand_dims(1).where(rows.filled(0), rows)
    if by_frequency:
        ones = c.full(flat.shape, 1, coming.dtype)
        times = c.full((count,), 0, coming.dtype).op("scatter_elements", flat, ones, axis=0, reduction="add")
        rows = rows / times.op("gather", flat, axis=0).expand_dims(1)
    zeros = c.full((count, width), 0, coming.dtype)
    return zeros.op("scatter_nd", flat.expand_dims(1), rows, reduction="add", clamp=True)


@translates("index_select")
def index_select(c: Ctx, x: Tensor, axis: int, index: Tensor) -> Tensor:
    """Elements of an axis."""
    if not x.rank:
        return x
    return x.op("gather", _long(index).reshape((math.prod(index.shape),)), axis=axis % x.rank)


@translates("gather")
def gather(c: Ctx, x: Tensor, axis: int, index: Tensor, *, sparse_grad: bool = False) -> Tensor:
    """For each place an element of the line along the axis."""
    if not x.rank or not index.rank:
        flat = x.reshape((math.prod(x.shape),)).op("gather", _long(index).reshape((math.prod(index.shape),)), axis=0)
        return flat.reshape(index.shape)
    return x.op("gather_elements", _long(index), axis=axis % x.rank)


def _scattered(x: Tensor, axis: int, index: Tensor, source: Tensor, kind: str) -> Tensor:
    if not x.rank:
        one = (1,)
        return _scattered(x.reshape(one), 0, index.reshape(one), source.reshape(one), kind).reshape(())
    if not index.rank:
        index, source = index.reshape((1,)), source.reshape((1,))
    source = source.cast(x.dtype).slice((0,) * x.rank, index.shape)
    return x.op("scatter_elements", _long(index), source, axis=axis % x.rank, reduction=kind)


@translates("scatter.src")
def scatter(c: Ctx, x: Tensor, axis: int, index: Tensor, source: Tensor) -> Tensor:
    """Elements written to places of their lines."""
    return _scattered(x, axis, index, source, "none")


@translates("scatter.value")
def scatter_value(c: Ctx, x: Tensor, axis: int, index: Tensor, value: Any) -> Tensor:
    """A number written to places of lines."""
    return _scattered(x, axis, index, c.full(index.shape, value, x.dtype), "none")


@translates("scatter.reduce")
def scatter_with(c: Ctx, x: Tensor, axis: int, index: Tensor, source: Tensor, *, reduce: str) -> Tensor:
    """Elements added to or multiplied with those of their lines."""
    return _scattered(x, axis, index, source, _KINDS[reduce])


@translates("scatter.value_reduce")
def scatter_value_with(c: Ctx, x: Tensor, axis: int, index: Tensor, value: Any, *, reduce: str) -> Tensor:
    """A number added to or multiplied with elements of lines."""
    return _scattered(x, axis, index, c.full(index.shape, value, x.dtype), _KINDS[reduce])


@translates("scatter_add")
def scatter_add(c: Ctx, x: Tensor, axis: int, index: Tensor, source: Tensor) -> Tensor:
    """Elements added to places of their lines."""
    return _scattered(x, axis, index, source, "add")


@translates("scatter_reduce.two")
def scatter_reduce(
    c: Ctx, x: Tensor, axis: int, index: Tensor, source: Tensor, reduce: str, *, include_self: bool = True
) -> Tensor:
    """Elements combined with those of their lines; these take part themselves or not."""
    kind = "add" if reduce == "mean" else _KINDS[reduce]
    base = x
    if not include_self:
        neutral = {"add": 0, "mul": 1, "max": _bound(x.dtype, False), "min": _bound(x.dtype, True)}[kind]
        base = _scattered(x, axis, index, c.full(index.shape, neutral, x.dtype), "none")
    found = _scattered(base, axis, index, source, kind)
    if reduce != "mean":
        return found
    start = c.full(x.shape, 1 if include_self else 0, x.dtype)
    times = _scattered(start, axis, index, c.full(index.shape, 1, x.dtype), "add").maximum(1)
    if x.dtype.kind == "f" or x.dtype.itemsize == 2:
        return found / times
    quotient = found / times
    rest = found - quotient * times
    return quotient - (rest < 0).cast(x.dtype)


def _bound(dtype: np.dtype, high: bool) -> Any:
    from a1400 import dtypes

    if dtypes.is_float(dtype):
        return math.inf if high else -math.inf
    return dtypes.limits(dtype)[int(high)]


# ---- several indices ----------------------------------------------------------------------------------
class _Places:
    """Where ``x[indices]`` lies: with the indexed axes in front, row numbers of the table that they make."""

    def __init__(self, c: Ctx, x: Tensor, indices: Sequence[Tensor | None]) -> None:
        given = [(d, i) for d, i in enumerate(indices) if i is not None]
        for _, index in given:
            if index.dtype in (np.bool_, np.uint8):
                raise c.refuse("indexing by a mask gives a shape that depends on data")
        self.axes = [d for d, _ in given]
        self.order = [*self.axes, *(d for d in range(x.rank) if d not in self.axes)]
        self.shape = broadcast(*(i.shape for _, i in given))
        sizes = [x.shape[d] for d in self.axes]
        self.count, self.rest = math.prod(sizes), tuple(x.shape[d] for d in self.order[len(sizes) :])
        rows: Tensor | None = None
        for size, (_, index) in zip(sizes, given):
            index = index.cast(np.int64)
            index = (index < 0).where(index + size, index)
            rows = index if rows is None else rows * size + index
        assert rows is not None
        self.rows = rows.expand(self.shape)
        together = self.axes == list(range(self.axes[0], self.axes[-1] + 1))
        self.front = self.axes[0] if together else 0  # axes of x that come before those of the indices

    def table(self, x: Tensor) -> Tensor:
        """[rows, rest...]."""
        return x.transpose(self.order).reshape((self.count, *self.rest))

    def back(self, table: Tensor, like: Tensor) -> Tensor:
        """The table as the tensor that it was made of."""
        moved = table.reshape([like.shape[d] for d in self.order])
        return moved.transpose([self.order.index(d) for d in range(like.rank)])

    def result(self, found: Tensor) -> Tensor:
        """[places..., rest...] with the axes as PyTorch has them."""
        k = len(self.shape)
        front = range(k, k + self.front)
        return found.transpose([*front, *range(k), *range(k + self.front, found.rank)])

    def unresult(self, value: Tensor) -> Tensor:
        """The inverse of :meth:`result`."""
        k, f = len(self.shape), self.front
        return value.transpose([*range(f, f + k), *range(f), *range(f + k, value.rank)])

    @property
    def result_shape(self) -> tuple[int, ...]:
        """Shape of ``x[indices]``."""
        return (*self.rest[: self.front], *self.shape, *self.rest[self.front :])


@translates("index.Tensor", "_unsafe_index.Tensor")
def index(c: Ctx, x: Tensor, indices: Sequence[Tensor | None]) -> Tensor:
    """``x[indices]`` with tensors of integers."""
    places = _Places(c, x, indices)
    return places.result(places.table(x).op("gather", places.rows, axis=0))


@translates("index_put", "_unsafe_index_put")
def index_put(
    c: Ctx, x: Tensor, indices: Sequence[Tensor | None], values: Tensor, accumulate: bool = False
) -> Tensor:
    """``x`` with ``values`` written, or added, to ``x[indices]``."""
    given = [i for i in indices if i is not None]
    values = values.cast(x.dtype)
    if len(given) == 1 and given[0].dtype == np.bool_:
        mask = given[0]
        first = next(d for d, i in enumerate(indices) if i is not None)
        rest = x.rank - first - mask.rank
        if values.rank <= rest or values.shape[-1 - rest] == 1:  # the same wherever the mask holds
            lead = values.shape[: max(values.rank - 1 - rest, 0)]
            last = values.shape[max(values.rank - rest, 0) :]
            same = values.reshape((*lead, *(1,) * mask.rank, *(1,) * (rest - len(last)), *last))
            mask = mask.reshape((*(1,) * first, *mask.shape, *(1,) * rest))
            return mask.where(x + same if accumulate else same, x)
    places = _Places(c, x, indices)
    updates = places.unresult(values.expand(places.result_shape))
    rows = places.rows.reshape((*places.shape, 1))
    reduction = "add" if accumulate else "none"
    return places.back(places.table(x).op("scatter_nd", rows, updates, reduction=reduction), x)


@translates("masked_scatter")
def masked_scatter(c: Ctx, x: Tensor, mask: Tensor, source: Tensor) -> Tensor:
    """Elements of ``source``, in order, where the mask holds."""
    if not source.value.size:
        return x
    flat = mask.expand(x.shape).reshape((x.value.size,))
    number = flat.cast(np.int64).op("cumulate", kind="sum", axis=0, exclusive=True, reverse=False)
    taken = source.cast(x.dtype).reshape((source.value.size,)).op("gather", number, axis=0)
    return flat.where(taken, x.reshape(flat.shape)).reshape(x.shape)


@translates("put")
def put(c: Ctx, x: Tensor, index: Tensor, source: Tensor, accumulate: bool = False) -> Tensor:
    """Elements written, or added, to places of the tensor laid out in a row."""
    count = index.value.size
    flat, places = x.reshape((x.value.size,)), _long(index).reshape((count,))
    values = source.cast(x.dtype).reshape((count,))
    kind = "add" if accumulate else "none"
    return flat.op("scatter_elements", places, values, axis=0, reduction=kind).reshape(x.shape)


@translates("index_reduce")
def index_reduce(
    c: Ctx, x: Tensor, axis: int, index: Tensor, source: Tensor, reduce: str, *, include_self: bool = True
) -> Tensor:
    """Slices combined with those of an axis."""
    if not x.rank:
        return scatter_reduce(c, x, 0, index.reshape(()), source.reshape(()), reduce, include_self=include_self)
    axis %= x.rank
    beside = tuple(index.value.size if d == axis else 1 for d in range(x.rank))
    wide = _long(index).reshape(beside).expand(source.shape)
    return scatter_reduce(c, x, axis, wide, source, reduce, include_self=include_self)
