"""Distances between rows, sums over bags of rows, places in sorted rows."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from a1400.frontends.torch.context import Ctx
from a1400.frontends.torch.ops.indexing import _long
from a1400.frontends.torch.registry import translates
from a1400.graph.tensor import Tensor


def _norm(apart: Tensor, p: float) -> Tensor:
    far = apart.abs()
    if p == 0:
        return far.not_equal(0).cast(far.dtype).sum((-1 % far.rank,))
    axis = (far.rank - 1,)
    if p == math.inf:
        return far.max(axis)
    if p in (1, 2):
        return apart.reduce("l1" if p == 1 else "l2", axis)
    return (far**p).sum(axis) ** (1 / p)


def _norm_gradient(apart: Tensor, distance: Tensor, coming: Tensor, p: float) -> Tensor:
    """What reaches ``apart``; distances and what comes have a last axis of 1."""
    if p == 0:
        return apart.filled(0)
    zero = distance.equal(0)
    safe = zero.where(1.0, distance)
    if p == 1:
        return apart.sign() * coming
    if p == math.inf:
        return apart.abs().equal(distance).where(apart.sign() * coming, 0.0)
    if p == 2:
        return zero.where(0.0, apart * (coming / safe))
    part = apart.sign() * (apart.abs() / safe) ** (p - 1)
    return zero.where(0.0, apart.equal(0).where(0.0, part) * coming)


@translates("_cdist_forward")
def cdist(c: Ctx, a: Tensor, b: Tensor, p: float, mode: Any = None) -> Tensor:
    """p-distances between the rows of two (batches of) matrices."""
    return _norm(a.expand_dims(a.rank - 1) - b.expand_dims(b.rank - 2), p)


@translates("_cdist_backward")
def cdist_backward(c: Ctx, coming: Tensor, a: Tensor, b: Tensor, p: float, distance: Tensor) -> Tensor:
    """What reaches the first matrix."""
    apart = a.expand_dims(a.rank - 1) - b.expand_dims(b.rank - 2)
    found = _norm_gradient(apart, distance.expand_dims(-1), coming.expand_dims(-1), p)
    return found.sum((found.rank - 2,)).sum_to(a.shape)


def _pairs(c: Ctx, n: int) -> tuple[Tensor, Tensor]:
    first, second = np.triu_indices(n, 1)
    return c.constant(first.astype(np.int64)), c.constant(second.astype(np.int64))


@translates("_pdist_forward")
def pdist(c: Ctx, x: Tensor, p: float = 2) -> Tensor:
    """p-distances between the rows of one matrix, each pair once."""
    first, second = _pairs(c, x.shape[0])
    if not first.shape[0]:
        return c.full((0,), 0, x.dtype)
    return _norm(x.op("gather", first, axis=0) - x.op("gather", second, axis=0), p)


@translates("_pdist_backward")
def pdist_backward(c: Ctx, coming: Tensor, x: Tensor, p: float, distance: Tensor) -> Tensor:
    """What reaches the matrix."""
    first, second = _pairs(c, x.shape[0])
    if not first.shape[0]:
        return x.filled(0)
    apart = x.op("gather", first, axis=0) - x.op("gather", second, axis=0)
    found = _norm_gradient(apart, distance.expand_dims(-1), coming.expand_dims(-1), p)
    zeros = x.filled(0)
    for rows, part in ((first, found), (second, -found)):
        zeros = zeros.op("scatter_nd", rows.expand_dims(1), part, reduction="add", clamp=True)
    return zeros


@translates("_trilinear")
def trilinear(
    c: Ctx, a: Tensor, b: Tensor, d: Tensor, expand1: Any, expand2: Any, expand3: Any, sumdim: Any, unroll: int = 1
) -> Tensor:
    """Product of three tensors with axes of size 1 put in, summed over some axes."""
    for axes, name in ((expand1, "a"), (expand2, "b"), (expand3, "d")):
        x = {"a": a, "b": b, "d": d}[name]
        for axis in sorted(axes):
            x = x.expand_dims(axis)
        a, b, d = (x if name == "a" else a), (x if name == "b" else b), (x if name == "d" else d)
    y = a * b * d
    return y.sum(tuple(s % y.rank for s in sumdim))


# ---- sorted rows --------------------------------------------------------------------------------------
def _places(c: Ctx, edges: Tensor, x: Tensor, right: bool) -> Tensor:
    """How many edges lie before each element (with ``right`` those that equal it too): by counting."""
    edges, x = c.together(edges, x)
    wide = x.expand_dims(x.rank)
    rows = edges if edges.rank == 1 else edges.expand_dims(edges.rank - 1)
    before = rows <= wide if right else rows < wide
    return before.cast(np.int32).sum((before.rank - 1,)).cast(c.dtype)


@translates("searchsorted.Tensor")
def searchsorted(
    c: Ctx, edges: Tensor, x: Tensor, *, out_int32: bool = False, right: bool = False, side: Any = None,
    sorter: Tensor | None = None,
) -> Tensor:  # fmt: skip
    """Where elements would be put into sorted rows."""
    if sorter is not None:
        edges = edges.op("gather_elements", _long(sorter), axis=edges.rank - 1)
    return _places(c, edges, x, right or side == "right")


@translates("searchsorted.Scalar")
def searchsorted_number(
    c: Ctx, edges: Tensor, x: Any, *, out_int32: bool = False, right: bool = False, side: Any = None,
    sorter: Tensor | None = None,
) -> Tensor:  # fmt: skip
    """Where a number would be put into a sorted row."""
    (number,) = (c.lift(x, edges.dtype),)
    return searchsorted(c, edges, number, right=right, side=side, sorter=sorter)


@translates("bucketize.Tensor")
def bucketize(c: Ctx, x: Tensor, edges: Tensor, *, out_int32: bool = False, right: bool = False) -> Tensor:
    """Between which edges elements lie."""
    return _places(c, edges, x, right)


# ---- bags ---------------------------------------------------------------------------------------------
def _bags(c: Ctx, offsets: Tensor, count: int, bags: int) -> Tensor:
    """The bag of each of ``count`` indices: int64 [count]."""
    starts = offsets.slice((0,), (bags,))
    number = c.constant(np.arange(count, dtype=np.int64).reshape(count, 1)).cast(starts.dtype)
    return (starts <= number).cast(np.int64).sum((1,)) - 1


@translates("_embedding_bag", "_embedding_bag_forward_only")
def embedding_bag(
    c: Ctx, weight: Tensor, indices: Tensor, offsets: Tensor, scale_grad_by_freq: bool = False, mode: int = 0,
    sparse: bool = False, per_sample_weights: Tensor | None = None, include_last_offset: bool = False,
    padding_idx: int = -1,
) -> tuple[Tensor, ...]:  # fmt: skip
    """Sums or means of the rows of each bag; bags begin at ``offsets``.  Then the bag of each index, sizes, nothing."""
    if mode == 2:
        raise c.refuse("maxima over bags are not supported")
    indices, offsets = _long(indices), _long(offsets)
    count = indices.shape[0]
    bags = offsets.shape[0] - int(include_last_offset)
    bag = _bags(c, offsets, count, bags)
    rows = weight.op("gather", indices, axis=0)
    kept = c.full((count,), 1, weight.dtype)
    if padding_idx >= 0:
        kept = indices.not_equal(padding_idx).cast(weight.dtype)
        rows = rows * kept.expand_dims(1)
    if per_sample_weights is not None:
        rows = rows * per_sample_weights.expand_dims(1)
    place = bag.expand_dims(1)
    made = c.full((bags, weight.shape[1]), 0, weight.dtype).op("scatter_nd", place, rows, reduction="add")
    sizes = c.full((bags,), 0, weight.dtype).op("scatter_nd", place, kept, reduction="add")
    if mode == 1:
        made = made / sizes.maximum(1.0).expand_dims(1)
    return made, bag.cast(c.dtype_of(1)), sizes.cast(c.dtype_of(2)), c.full((bags,), 0, c.dtype_of(3))


@translates("_embedding_bag_backward")
def embedding_bag_backward(
    c: Ctx, coming: Tensor, indices: Tensor, offsets: Tensor, bag_of: Any, sizes_of: Any, maxima: Any, count: int,
    by_frequency: bool, mode: int, sparse: bool, weights: Tensor | None, padding: int = -1,
) -> Tensor:  # fmt: skip
    """What reaches the table."""
    if mode == 2 or by_frequency or sparse:
        raise c.refuse("maxima over bags, scaling by frequency and sparse gradients are not supported")
    indices = _long(indices)
    bag = _bags(c, _long(offsets), indices.shape[0], coming.shape[0])
    kept = indices.not_equal(padding).cast(coming.dtype)
    rows = coming.op("gather", bag, axis=0) * kept.expand_dims(1)
    if mode == 1:
        zeros = c.full((coming.shape[0],), 0, coming.dtype)
        sizes = zeros.op("scatter_nd", bag.expand_dims(1), kept, reduction="add")
        rows = rows / sizes.op("gather", bag, axis=0).maximum(1.0).expand_dims(1)
    if weights is not None:
        rows = rows * weights.expand_dims(1)
    table = c.full((count, coming.shape[1]), 0, coming.dtype)
    return table.op("scatter_nd", indices.expand_dims(1), rows, reduction="add", clamp=True)


@translates("_embedding_bag_per_sample_weights_backward")
def sample_weights_backward(
    c: Ctx, coming: Tensor, weight: Tensor, indices: Tensor, offsets: Tensor, bag: Any, mode: int, padding: int = -1
) -> Tensor:
    """What reaches the weights of the indices."""
    indices = _long(indices)
    places = _bags(c, _long(offsets), indices.shape[0], coming.shape[0])
    met = coming.op("gather", places, axis=0) * weight.op("gather", indices, axis=0)
    return indices.not_equal(padding).where(met.sum((1,)), 0.0)
