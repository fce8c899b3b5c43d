"""Metrics: sums over a batch in the step's graph, added up in float64 on the host.

Names, arguments and definitions are those of ``keras.metrics``.  A metric writes a few sums of a batch into the graph
(:meth:`Metric.parts`); after each batch the host adds them (:meth:`Metric.add`), and :meth:`Metric.result` makes the
figure of all batches since :meth:`Metric.reset`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from a1400.errors import InputError
from a1400.graph.tensor import Tensor
from a1400.train import losses
from a1400.train.reductions import EPSILON, pair, same_rank, wide


class Metric:
    """A figure over many batches; ``name`` is how logs call it.

    ``masked``: whether an output's mask says what counts, as in Keras, where counts of classes look at everything.
    """

    masked = False

    def __init__(self, name: str | None = None, dtype: Any = None) -> None:
        self.name = name or _snake(type(self).__name__)
        self.sums: dict[str, np.ndarray] = {}

    # ---- in the graph --------------------------------------------------------------------------------
    def parts(
        self, target: Tensor, prediction: Tensor, sample_weight: Tensor | None = None, mask: Tensor | None = None
    ) -> dict[str, Tensor]:
        """Sums of one batch by name; what is added up must not depend on how the data are cut into batches."""
        raise NotImplementedError

    # ---- on the host ---------------------------------------------------------------------------------
    def reset(self) -> None:
        """Forget all batches."""
        self.sums = {}

    def add(self, parts: Mapping[str, np.ndarray | float]) -> None:
        """Add the sums of one batch."""
        for name, value in parts.items():
            self.sums[name] = self.sums.get(name, np.float64(0)) + np.asarray(value, np.float64)

    def result(self) -> Any:
        """The figure of all batches so far (an array where the metric has several); 0 before the first."""
        return self._figure(self.sums) if self.sums else 0.0

    def _figure(self, sums: Mapping[str, np.ndarray]) -> float:
        raise NotImplementedError


def _snake(name: str) -> str:
    # F1Score -> f1_score, MeanIoU -> mean_io_u as Keras has it
    parts = "".join(f"_{c.lower()}" if c.isupper() else c for c in name)
    return parts.lstrip("_")


def weights(sample_weight: Tensor | None, mask: Tensor | None, like: Tensor) -> Tensor | None:
    """Weights and mask as one tensor in the dtype of ``like``."""
    weight = None if sample_weight is None else sample_weight.cast(like.dtype)
    if mask is None:
        return weight
    share = mask.cast(like.dtype)
    if weight is None:
        return share
    share, weight = same_rank(share, weight)
    return weight * share


def ratio(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """``x / y``, and 0 where y is 0."""
    return np.divide(x, y, out=np.zeros_like(np.asarray(x, np.float64)), where=np.asarray(y) != 0)


class Mean(Metric):
    """The weighted mean over samples of :meth:`values`, which is first averaged within each sample."""

    masked = True

    def values(self, target: Tensor, prediction: Tensor) -> Tensor:
        """A number for each sample (and position)."""
        raise NotImplementedError

    def parts(
        self, target: Tensor, prediction: Tensor, sample_weight: Tensor | None = None, mask: Tensor | None = None
    ) -> dict[str, Tensor]:
        """``total`` and ``count``."""
        values = wide(self.values(target, prediction))
        weight = weights(sample_weight, mask, values)
        if weight is not None:
            values, weight = same_rank(values, weight)
            if values.rank > weight.rank:
                values = values.mean(tuple(range(weight.rank, values.rank)))
            values = values * (weight := weight.expand(values.shape))
            weight = weight.mean(tuple(range(1, weight.rank))) if weight.rank > 1 else weight
        values = values.mean(tuple(range(1, values.rank))) if values.rank > 1 else values
        count = values.filled(float(math.prod(values.shape)), ()) if weight is None else weight.sum()
        return {"total": values.sum(), "count": count}

    def _figure(self, sums: Mapping[str, np.ndarray]) -> float:
        return float(ratio(sums["total"], sums["count"]))


class OfLoss(Mean):
    """A loss as a metric: its values' mean."""

    def __init__(self, loss: losses.Loss, name: str | None = None) -> None:
        super().__init__(name or _snake(type(loss).__name__))
        self.loss = loss

    def parts(
        self, target: Tensor, prediction: Tensor, sample_weight: Tensor | None = None, mask: Tensor | None = None
    ) -> dict[str, Tensor]:
        """``total`` and ``count``; positions that the loss ignores have no weight."""
        valid = self.loss.valid(target, prediction)
        if valid is not None:
            mask = valid if mask is None else mask & valid
        return super().parts(target, prediction, sample_weight, mask)

    def values(self, target: Tensor, prediction: Tensor) -> Tensor:
        """The loss, not reduced."""
        return self.loss.values(target, prediction)


class Function(Mean):
    """A metric written as a function ``values(target, prediction)`` of tensors."""

    def __init__(self, function: Callable[[Tensor, Tensor], Tensor], name: str | None = None) -> None:
        super().__init__(name or getattr(function, "__name__", "metric"))
        self._function = function

    def values(self, target: Tensor, prediction: Tensor) -> Tensor:
        """What the function gives."""
        return self._function(target, prediction)


class LogCoshError(OfLoss):
    """The mean of ``log(cosh(p - t))``."""

    def __init__(self, name: str = "logcosh", dtype: Any = None) -> None:
        super().__init__(losses.LogCosh(), name)


class RootMeanSquaredError(Mean):
    """The square root of the mean squared error."""

    masked = False

    def values(self, target: Tensor, prediction: Tensor) -> Tensor:
        """Squared errors."""
        t, p = pair(target, prediction)
        return (t - p).square()

    def _figure(self, sums: Mapping[str, np.ndarray]) -> float:
        return math.sqrt(super()._figure(sums))


class CosineSimilarity(Mean):
    """The cosine of the angle between target and prediction along ``axis``."""

    def __init__(self, axis: int = -1, **common: Any) -> None:
        super().__init__(**common)
        self._loss = losses.CosineSimilarity(axis)

    def values(self, target: Tensor, prediction: Tensor) -> Tensor:
        """Over the axis."""
        return -self._loss.values(target, prediction)


class PearsonCorrelation(Mean):
    """The correlation of target and prediction along ``axis``."""

    def __init__(self, axis: int | Sequence[int] = -1, **common: Any) -> None:
        super().__init__(**common)
        self.axes = (axis,) if isinstance(axis, int) else tuple(axis)

    def values(self, target: Tensor, prediction: Tensor) -> Tensor:
        """Over the axes."""
        t, p = (x - x.mean(self.axes, keepdims=True) for x in pair(target, prediction))
        return (t * p).mean(self.axes) / (t.square().mean(self.axes) * p.square().mean(self.axes)).sqrt()


class ConcordanceCorrelation(PearsonCorrelation):
    """How near to the line ``prediction = target`` they lie along ``axis`` (Lin, 1989)."""

    def values(self, target: Tensor, prediction: Tensor) -> Tensor:
        """Over the axes."""
        t, p = pair(target, prediction)
        centres = [x.mean(self.axes, keepdims=True) for x in (t, p)]
        t, p = t - centres[0], p - centres[1]
        spread = t.square().mean(self.axes) + p.square().mean(self.axes)
        apart = (centres[0] - centres[1]).square().mean(self.axes)
        return (t * p).mean(self.axes) * 2.0 / (spread + apart + EPSILON)


# ---- accuracies ------------------------------------------------------------------------------------------
class Accuracy(Mean):
    """How often target and prediction are equal."""

    def values(self, target: Tensor, prediction: Tensor) -> Tensor:
        """1 where equal."""
        t, p = same_rank(target.cast(prediction.dtype), prediction)
        return t.equal(p).cast(np.float32)


class BinaryAccuracy(Mean):
    """How often a prediction above ``threshold`` stands for 1."""

    def __init__(self, threshold: float = 0.5, **common: Any) -> None:
        super().__init__(**common)
        self.threshold = threshold

    def values(self, target: Tensor, prediction: Tensor) -> Tensor:
        """1 where right."""
        t, p = pair(target, prediction)
        return t.equal((p > self.threshold).cast(t.dtype)).cast(np.float32)


def _classes(target: Tensor, prediction: Tensor) -> Tensor:
    if target.rank == prediction.rank and target.shape[-1] == 1:
        target = target.squeeze(-1)
    return target.cast(np.int64)


class CategoricalAccuracy(Mean):
    """How often the largest target and the largest prediction are of one class."""

    def values(self, target: Tensor, prediction: Tensor) -> Tensor:
        """1 where right."""
        return target.argmax().equal(prediction.argmax()).cast(np.float32)


class SparseCategoricalAccuracy(Mean):
    """How often the largest prediction is that of the target's class."""

    def values(self, target: Tensor, prediction: Tensor) -> Tensor:
        """1 where right."""
        return _classes(target, prediction).equal(prediction.argmax()).cast(np.float32)


class SparseTopKCategoricalAccuracy(Mean):
    """How often fewer than ``k`` classes are predicted above the target's."""

    def __init__(self, k: int = 5, **common: Any) -> None:
        super().__init__(**common)
        self.k = k

    def values(self, target: Tensor, prediction: Tensor) -> Tensor:
        """1 where right."""
        return self._within(_classes(target, prediction), wide(prediction))

    def _within(self, classes: Tensor, p: Tensor) -> Tensor:
        own = p.op("gather_elements", classes.expand_dims(-1), axis=p.rank - 1)
        above = (p > own).cast(np.float32).sum((-1,))
        return (above < float(self.k)).cast(np.float32)


class TopKCategoricalAccuracy(SparseTopKCategoricalAccuracy):
    """:class:`SparseTopKCategoricalAccuracy` of the class with the largest target."""

    def values(self, target: Tensor, prediction: Tensor) -> Tensor:
        """1 where right."""
        return self._within(target.argmax(), wide(prediction))


class R2Score(Metric):
    """The share of the targets' variance that predictions explain; ``num_regressors`` adjusts it."""

    def __init__(
        self, class_aggregation: str | None = "uniform_average", num_regressors: int = 0, **common: Any
    ) -> None:
        super().__init__(**common)
        if class_aggregation not in (None, "uniform_average", "variance_weighted_average"):
            raise InputError(f"no aggregation is called {class_aggregation!r}")
        self.class_aggregation, self.num_regressors = class_aggregation, num_regressors

    def parts(
        self, target: Tensor, prediction: Tensor, sample_weight: Tensor | None = None, mask: Tensor | None = None
    ) -> dict[str, Tensor]:
        """``squares``, ``sum`` and ``errors`` of each column; ``count`` and ``samples``."""
        t, p = pair(target, prediction)
        t, p = (x if x.rank > 1 else x.expand_dims(-1) for x in (t, p))
        weight = weights(sample_weight, mask, t)
        weight = t.filled(1.0, (t.shape[0], 1)) if weight is None else weight.reshape((t.shape[0], 1))
        return {
            "squares": (t.square() * weight).sum((0,)), "sum": (t * weight).sum((0,)),
            "errors": ((t - p).square() * weight).sum((0,)), "count": weight.sum(),
            "samples": t.filled(float(math.prod(t.shape)), ()),  # as Keras counts them for num_regressors
        }  # fmt: skip

    def _figure(self, sums: Mapping[str, np.ndarray]) -> Any:
        total = sums["squares"] - sums["sum"] * ratio(sums["sum"], np.broadcast_to(sums["count"], sums["sum"].shape))
        raw = 1 - ratio(sums["errors"], total)
        raw = np.where(total == 0, 0.0, raw)
        score: Any = raw
        if self.class_aggregation == "uniform_average":
            score = raw.mean()
        elif self.class_aggregation == "variance_weighted_average":
            score = np.average(raw, weights=total)
        n, k = float(sums["samples"]), self.num_regressors
        if k and n - k - 1 > 0:
            score = 1 - (1 - score) * (n - 1) / (n - k - 1)
        return score if self.class_aggregation is None else float(score)


def _kinds() -> dict[str, type[Metric]]:
    from a1400.train import metrics_confusion as confusion
    from a1400.train import metrics_overlap as overlap

    kinds: tuple[type[Metric], ...] = (
        Accuracy, BinaryAccuracy, CategoricalAccuracy, SparseCategoricalAccuracy, TopKCategoricalAccuracy,
        SparseTopKCategoricalAccuracy, RootMeanSquaredError, CosineSimilarity, R2Score, LogCoshError,
        PearsonCorrelation, ConcordanceCorrelation, confusion.Precision,
        confusion.Recall, confusion.TruePositives, confusion.FalsePositives, confusion.TrueNegatives,
        confusion.FalseNegatives, confusion.AUC, confusion.F1Score, confusion.FBetaScore,
        confusion.PrecisionAtRecall, confusion.RecallAtPrecision, confusion.SensitivityAtSpecificity,
        confusion.SpecificityAtSensitivity, overlap.IoU, overlap.MeanIoU, overlap.BinaryIoU, overlap.OneHotIoU,
        overlap.OneHotMeanIoU,
    )  # fmt: skip
    return {kind.__name__.lower(): kind for kind in kinds}


def from_name(name: str, target: Any = None, prediction: Any = None, **config: Any) -> Metric:
    """The metric that Keras calls ``name``; a loss's name gives the loss as a metric.

    ``accuracy`` (``acc``) and ``crossentropy`` (``ce``) become binary, categorical or sparse by the shapes of
    ``target`` and ``prediction`` (anything with ``shape``).  Raises :class:`InputError` for an unknown name.
    """
    short = name.replace("_", "").lower()
    if short in ("accuracy", "acc", "crossentropy", "ce") and prediction is not None and target is not None:
        t, p = tuple(target.shape), tuple(prediction.shape)
        sparse = len(t) < len(p) or (t[-1] == 1 and p[-1] > 1)
        which = "binary" if p[-1] == 1 else "sparse_categorical" if sparse else "categorical"
        made = from_name(f"{which}_{'accuracy' if short in ('accuracy', 'acc') else 'crossentropy'}", **config)
        made.name = name
        return made
    kind = kind_of(name)
    if kind is not OfLoss:
        return kind(**config)
    label = config.pop("name", None)
    return OfLoss(losses.from_name(name, **config), label or name)


def kind_of(name: str) -> type[Metric]:
    """The class of what :func:`from_name` gives."""
    kinds = _kinds()
    found = kinds.get(name.replace("_", "").lower())
    if found is not None:
        return found
    try:
        losses.from_name(name)
    except InputError:
        names = ", ".join(kind.__name__ for kind in kinds.values())
        raise InputError(f"no metric is called {name!r}; there are {names}, and every loss") from None
    return OfLoss
