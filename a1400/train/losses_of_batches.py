"""Losses that are no sums over elements: of pairs within a batch, of sequences."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from a1400.errors import InputError
from a1400.graph.tensor import Tensor
from a1400.ops.ctc import ctc_loss
from a1400.train.loss import Loss
from a1400.train.reductions import reduced, wide


class Circle(Loss):
    """Rows of one label near each other, those of others apart (Sun and others, "Circle Loss", 2020).

    Predictions [B, D] are embeddings of length 1, targets [B] (or [B, 1]) whole numbers.  Rows that have no other one
    of their label, or none of another, do not count, and neither do those whose loss is 0.
    """

    def __init__(
        self, gamma: float = 80.0, margin: float = 0.4, remove_diagonal: bool = True, **common: Any
    ) -> None:
        super().__init__(**common)
        self.gamma, self.margin, self.remove_diagonal = gamma, margin, remove_diagonal

    def _sides(self, target: Tensor) -> tuple[Tensor, Tensor]:
        """Which pairs [B, B] are of one label, and which are not."""
        labels = target.cast(np.int32).reshape((target.value.size,))
        same = labels.expand_dims(1).equal(labels.expand_dims(0))
        others = ~same
        if self.remove_diagonal:
            size = labels.shape[0]
            same = same & Tensor(same.graph, same.graph.constant(~np.eye(size, dtype=bool)))
        return same, others

    def valid(self, target: Tensor, prediction: Tensor) -> Tensor | None:
        """Rows that have a loss."""
        return self.values(target, prediction) > 0.0

    def values(self, target: Tensor, prediction: Tensor) -> Tensor:
        """Of each row."""
        p = wide(prediction)
        same, others = self._sides(target)
        away = (1.0 - p @ p.swap(0, 1)).maximum(0.0)
        near = (away + self.margin).maximum(0.0) * (away - self.margin) * self.gamma
        far = (1.0 + self.margin - away).maximum(0.0) * (1.0 - self.margin - away) * self.gamma
        values = (_log_sum_exp(near, same) + _log_sum_exp(far, others)).softplus()
        paired = (same.cast(p.dtype).max((1,)) * others.cast(p.dtype).max((1,))) > 0.5
        return paired.where(values, 0.0)


def _log_sum_exp(x: Tensor, taken: Tensor) -> Tensor:
    """Along the last axis, of the elements that are ``taken``; 0 where there are none."""
    top = taken.where(x, -np.inf).max((-1,), keepdims=True)
    top = top.is_finite().where(top, 0.0)
    total = taken.where((taken.where(x, 0.0) - top).exp(), 0.0).sum((-1,))
    return (total > 0.0).where((total > 0.0).where(total, 1.0).log() + top.squeeze(-1), 0.0)


class CTC(Loss):
    """Connectionist temporal classification: minus the logarithm of the probability of a row's labels, in any time.

    Predictions [B, T, C] are logits, targets [B, S] class numbers.  A row's labels are as many as are not ``blank``
    (which nothing but the end is filled up with), its times those where the prediction's mask [B, T] is true: the first
    ones, all of them without a mask.  A row whose labels do not fit its times has the loss ``inf``, or none at all with
    ``zero_infinity``.
    """

    def __init__(self, blank: int = 0, zero_infinity: bool = False, **common: Any) -> None:
        super().__init__(**common)
        self.blank, self.zero_infinity = blank, zero_infinity

    def values(self, target: Tensor, prediction: Tensor, mask: Tensor | None = None) -> Tensor:
        """Of each row."""
        x = wide(prediction)
        if x.rank != 3 or target.rank != 2 or target.shape[0] != x.shape[0]:
            raise InputError(
                f"CTC takes logits [B, T, C] and labels [B, S], not {list(x.shape)} and {list(target.shape)}"
            )
        labels = target.cast(np.int32)
        lengths = labels.not_equal(self.blank % x.shape[2]).cast(np.int32).sum((1,))
        if mask is None:
            times = lengths.filled(x.shape[1])
        elif mask.shape == x.shape[:2]:
            times = mask.cast(np.int32).sum((1,))
        else:
            raise InputError(f"the mask of CTC's logits {list(x.shape)} says which times count, not {list(mask.shape)}")
        found = ctc_loss(x, labels, times, lengths, self.blank)
        return found.equal(math.inf).where(0.0, found) if self.zero_infinity else found

    def __call__(
        self, target: Tensor, prediction: Tensor, sample_weight: Tensor | None = None, mask: Tensor | None = None
    ) -> Tensor:
        """The loss, a scalar unless the reduction is ``none``; ``mask`` (bool) says which times count."""
        return reduced(self.values(target, prediction, mask), sample_weight, None, self.reduction)
