"""What losses and metrics share: shapes that fit each other, weights, masks and the reductions of Keras."""

from __future__ import annotations

import math

import numpy as np

from a1400.errors import InputError
from a1400.graph.tensor import Tensor

#: what Keras calls epsilon: probabilities keep so far away from 0 and 1
EPSILON = 1e-7
REDUCTIONS = ("sum_over_batch_size", "mean", "mean_with_sample_weight", "sum", "none")


def wide(x: Tensor) -> Tensor:
    """``x`` as losses compute with it: float32 for half types, integers and bools."""
    return x if x.dtype in (np.dtype(np.float32), np.dtype(np.float64)) else x.cast(np.float32)


def same_rank(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Both with one rank, where they differ by a last axis of size 1; a vector is given that axis, others lose it."""
    if x.rank == y.rank + 1 and x.shape[-1] == 1:
        return (x, y.expand_dims(-1)) if y.rank == 1 else (x.squeeze(-1), y)
    if y.rank == x.rank + 1 and y.shape[-1] == 1:
        return (x.expand_dims(-1), y) if x.rank == 1 else (x, y.squeeze(-1))
    return x, y


def pair(target: Tensor, prediction: Tensor) -> tuple[Tensor, Tensor]:
    """Target and prediction of one rank and floating dtype."""
    prediction = wide(prediction)
    return same_rank(target.cast(prediction.dtype), prediction)


def divide_no_nan(x: Tensor, y: Tensor) -> Tensor:
    """``x / y``, and 0 where y is 0."""
    empty = y.equal(0.0)
    return empty.where(0.0, x / empty.where(1.0, y))


def weighted(
    values: Tensor, sample_weight: Tensor | None, mask: Tensor | None, reduction: str | None
) -> tuple[Tensor, Tensor | None]:
    """``values`` times their weights, and the weights; with a mean, masked values leave the others their share."""
    weight = None if sample_weight is None else sample_weight.cast(values.dtype)
    if mask is not None:
        share = mask.cast(values.dtype)
        if reduction in ("mean", "sum_over_batch_size"):
            valid = share.sum()
            share = share * divide_no_nan(valid.filled(float(math.prod(mask.shape)), ()), valid)
        if weight is None:
            weight = share
        else:
            share, weight = same_rank(share, weight)
            weight = weight * share
    if weight is None:
        return values, None
    values, weight = same_rank(values, weight)
    if weight.rank < values.rank:  # weights of samples, as NumPy would not broadcast them
        weight = weight.reshape((*weight.shape, *(1 for _ in range(values.rank - weight.rank))))
    return values * weight, weight


def reduced(
    values: Tensor, sample_weight: Tensor | None, mask: Tensor | None, reduction: str | None
) -> Tensor:
    """``values`` weighted and reduced as Keras does; ``none`` and scalars stay as they are."""
    values, weight = weighted(values, sample_weight, mask, reduction)
    if reduction in (None, "none") or values.rank == 0:
        return values
    total = values.sum()
    if reduction == "sum":
        return total
    if reduction == "mean_with_sample_weight" and weight is not None:
        return divide_no_nan(total, weight.sum())
    return total / float(max(math.prod(values.shape), 1))


def check_reduction(reduction: str | None) -> str | None:
    """``reduction`` itself; raises :class:`InputError` for one that there is not."""
    if reduction is not None and reduction not in REDUCTIONS:
        raise InputError(f"no reduction is called {reduction!r}; there are {', '.join(REDUCTIONS)}")
    return reduction
