"""What a loss is: values of samples, weighted, masked and reduced as Keras does."""

from __future__ import annotations

from typing import Any

from a1400.graph.tensor import Tensor
from a1400.train.reductions import check_reduction, reduced


class Loss:
    """A loss; ``reduction`` is one of :data:`a1400.train.reductions.REDUCTIONS`.

    >>> MeanSquaredError()(target, prediction, sample_weight)
    """

    def __init__(
        self, reduction: str | None = "sum_over_batch_size", name: str | None = None, dtype: Any = None
    ) -> None:
        self.reduction = check_reduction(reduction)
        self.name = name or type(self).__name__

    def values(self, target: Tensor, prediction: Tensor) -> Tensor:
        """The loss of each sample (and position), not reduced."""
        raise NotImplementedError

    def valid(self, target: Tensor, prediction: Tensor) -> Tensor | None:
        """Bool, of the shape of :meth:`values`: which of them count; None for all."""
        return None

    def __call__(
        self, target: Tensor, prediction: Tensor, sample_weight: Tensor | None = None, mask: Tensor | None = None
    ) -> Tensor:
        """The loss, a scalar unless the reduction is ``none``; ``mask`` (bool) says which values count."""
        values, valid = self.values(target, prediction), self.valid(target, prediction)
        if valid is not None:
            mask = valid if mask is None else mask & valid
        return reduced(values, sample_weight, mask, self.reduction)
