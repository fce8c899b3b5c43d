"""Metrics made of counts of pairs of classes: intersections over unions.

Definitions are those of ``keras.metrics``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from a1400.graph.tensor import Tensor
from a1400.train.metrics import Metric, ratio, weights
from a1400.train.reductions import wide


def _one_hot(classes: Tensor, count: int) -> Tensor:
    """[N, count] in float32 of any tensor of class numbers; a class that does not exist gives zeros."""
    numbers = classes.graph.constant(np.arange(count, dtype=np.int32))
    flat = classes.cast(np.int32).reshape((classes.value.size, 1))
    return flat.equal(numbers).cast(np.float32)


class IoU(Metric):
    """Intersection over union of target and predicted class, its mean over ``target_class_ids``."""

    def __init__(
        self, num_classes: int, target_class_ids: Sequence[int], name: str | None = None, dtype: Any = None,
        ignore_class: int | None = None, sparse_y_true: bool = True, sparse_y_pred: bool = True, axis: int = -1,
    ) -> None:  # fmt: skip
        super().__init__(name, dtype)
        self.num_classes, self.target_class_ids, self.ignore_class = num_classes, list(target_class_ids), ignore_class
        self.sparse_y_true, self.sparse_y_pred, self.axis = sparse_y_true, sparse_y_pred, axis

    def parts(
        self, target: Tensor, prediction: Tensor, sample_weight: Tensor | None = None, mask: Tensor | None = None
    ) -> dict[str, Tensor]:
        """``pairs`` [target's class, predicted class]: weights of the elements."""
        t = target if self.sparse_y_true else target.argmax(self.axis)
        p = prediction if self.sparse_y_pred else prediction.argmax(self.axis)
        rows, columns = _one_hot(t, self.num_classes), _one_hot(p, self.num_classes)
        weight = weights(sample_weight, mask, columns)
        if weight is not None:
            full = weight.reshape((*weight.shape, *(1 for _ in range(t.rank - weight.rank)))).expand(t.shape)
            columns = columns * full.reshape((t.value.size, 1))
        if self.ignore_class is not None:
            counted = t.not_equal(self.ignore_class).cast(np.float32)
            columns = columns * counted.reshape((t.value.size, 1))
        return {"pairs": rows.transpose((1, 0)) @ columns}

    def _figure(self, sums: Mapping[str, np.ndarray]) -> float:
        pairs = sums["pairs"]
        both = np.diag(pairs)
        either = pairs.sum(0) + pairs.sum(1) - both
        both, either = both[self.target_class_ids], either[self.target_class_ids]
        return float(ratio(ratio(both, either).sum(), np.float64((either != 0).sum())))


class MeanIoU(IoU):
    """:class:`IoU` over all classes that occur."""

    def __init__(
        self, num_classes: int, name: str | None = None, dtype: Any = None, ignore_class: int | None = None,
        sparse_y_true: bool = True, sparse_y_pred: bool = True, axis: int = -1,
    ) -> None:  # fmt: skip
        super().__init__(
            num_classes, range(num_classes), name, dtype, ignore_class, sparse_y_true, sparse_y_pred, axis
        )


class BinaryIoU(IoU):
    """:class:`IoU` of the classes 0 and 1, where predictions of ``threshold`` and more stand for 1."""

    def __init__(
        self, target_class_ids: Sequence[int] = (0, 1), threshold: float = 0.5, name: str | None = None,
        dtype: Any = None,
    ) -> None:  # fmt: skip
        super().__init__(2, target_class_ids, name, dtype)
        self.threshold = threshold

    def parts(
        self, target: Tensor, prediction: Tensor, sample_weight: Tensor | None = None, mask: Tensor | None = None
    ) -> dict[str, Tensor]:
        """As :class:`IoU`."""
        return super().parts(target, (wide(prediction) >= self.threshold).cast(np.int32), sample_weight, mask)


class OneHotIoU(IoU):
    """:class:`IoU` of targets, and of predictions unless ``sparse_y_pred``, that have an axis of classes."""

    def __init__(
        self, num_classes: int, target_class_ids: Sequence[int], name: str | None = None, dtype: Any = None,
        ignore_class: int | None = None, sparse_y_pred: bool = False, axis: int = -1,
    ) -> None:  # fmt: skip
        super().__init__(num_classes, target_class_ids, name, dtype, ignore_class, False, sparse_y_pred, axis)


class OneHotMeanIoU(MeanIoU):
    """:class:`MeanIoU` likewise."""

    def __init__(
        self, num_classes: int, name: str | None = None, dtype: Any = None, ignore_class: int | None = None,
        sparse_y_pred: bool = False, axis: int = -1,
    ) -> None:  # fmt: skip
        super().__init__(num_classes, name, dtype, ignore_class, False, sparse_y_pred, axis)
