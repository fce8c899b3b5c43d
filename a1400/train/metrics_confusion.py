"""Metrics made of counts of true and false positives and negatives.

Definitions are those of ``keras.metrics``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from a1400.errors import InputError
from a1400.graph.tensor import Tensor
from a1400.train.metrics import Metric, ratio, weights
from a1400.train.reductions import EPSILON, pair, wide


class _Counts(Metric):
    """True and false positives and negatives at each threshold; every element is a case of its own."""

    def __init__(
        self, thresholds: float | Sequence[float] | None = None, top_k: int | None = None, class_id: int | None = None,
        name: str | None = None, dtype: Any = None,
    ) -> None:  # fmt: skip
        super().__init__(name, dtype)
        if top_k is not None:
            raise InputError(f"{type(self).__name__} with top_k is not supported")
        given = 0.5 if thresholds is None else thresholds
        self.thresholds = [float(t) for t in (given if isinstance(given, Sequence) else (given,))]
        self.class_id = class_id

    def parts(
        self, target: Tensor, prediction: Tensor, sample_weight: Tensor | None = None, mask: Tensor | None = None
    ) -> dict[str, Tensor]:
        """``hits`` and ``positive`` at each threshold: weights of true, and of all positives; ``true`` and ``all``."""
        t, p = pair(target, prediction)
        weight = weights(sample_weight, mask, p)
        if weight is not None:
            weight = weight.reshape((*weight.shape, *(1 for _ in range(p.rank - weight.rank)))).expand(p.shape)
        if self.class_id is not None:
            starts = (*(0 for _ in p.shape[:-1]), self.class_id % p.shape[-1])
            t, p = (x.slice(starts, (*x.shape[:-1], 1)) for x in (t, p))
            weight = None if weight is None else weight.slice(starts, p.shape)
        line = (1, p.value.size)
        t = t.not_equal(0.0).cast(p.dtype).reshape(line)
        limits = p.lift(np.array(self.thresholds, p.dtype).reshape(-1, 1))
        above = (p.reshape(line) > limits).cast(p.dtype)
        if weight is not None:
            weight = weight.reshape(line)
            t, above = t * weight, above * weight
            hits = (above * t.not_equal(0.0).cast(p.dtype)).sum((1,))
            whole = weight.sum()
        else:
            hits, whole = (above * t).sum((1,)), p.filled(float(line[1]), ())
        return {"hits": hits, "positive": above.sum((1,)), "true": t.sum(), "all": whole}

    @staticmethod
    def counts(sums: Mapping[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """(true positives, false positives, false negatives, true negatives) at each threshold."""
        hits, missed = sums["hits"], sums["true"] - sums["hits"]
        wrong = sums["positive"] - hits
        return hits, wrong, missed, sums["all"] - hits - wrong - missed

    def values(self, sums: Mapping[str, np.ndarray]) -> np.ndarray:
        """The figure at each threshold."""
        raise NotImplementedError

    def _figure(self, sums: Mapping[str, np.ndarray]) -> Any:
        values = self.values(sums)
        return float(values[0]) if len(values) == 1 else values


class Precision(_Counts):
    """The share of what is predicted that is true."""

    def values(self, sums: Mapping[str, np.ndarray]) -> np.ndarray:
        """At each threshold."""
        tp, fp, _, _ = self.counts(sums)
        return ratio(tp, tp + fp)


class Recall(_Counts):
    """The share of what is true that is predicted."""

    def values(self, sums: Mapping[str, np.ndarray]) -> np.ndarray:
        """At each threshold."""
        tp, _, fn, _ = self.counts(sums)
        return ratio(tp, tp + fn)


class TruePositives(_Counts):
    """How many positives were predicted."""

    def values(self, sums: Mapping[str, np.ndarray]) -> np.ndarray:
        """At each threshold."""
        return self.counts(sums)[0]


class FalsePositives(_Counts):
    """How many negatives were predicted positive."""

    def values(self, sums: Mapping[str, np.ndarray]) -> np.ndarray:
        """At each threshold."""
        return self.counts(sums)[1]


class FalseNegatives(_Counts):
    """How many positives were missed."""

    def values(self, sums: Mapping[str, np.ndarray]) -> np.ndarray:
        """At each threshold."""
        return self.counts(sums)[2]


class TrueNegatives(_Counts):
    """How many negatives were predicted so."""

    def values(self, sums: Mapping[str, np.ndarray]) -> np.ndarray:
        """At each threshold."""
        return self.counts(sums)[3]


class AUC(_Counts):
    """The area under the curve of true over false positive rates (``ROC``) or of precision over recall (``PR``).

    The curve is known at ``num_thresholds`` points.  ``summation_method``: ``interpolation`` (trapezoids; for PR that
    of Davis and Goadrich, 2006), ``minoring`` or ``majoring`` (rectangles below or above).
    """

    def __init__(
        self, num_thresholds: int = 200, curve: str = "ROC", summation_method: str = "interpolation",
        name: str | None = None, dtype: Any = None, thresholds: Sequence[float] | None = None,
        multi_label: bool = False, num_labels: int | None = None, label_weights: Any = None, from_logits: bool = False,
    ) -> None:  # fmt: skip
        if multi_label or num_labels is not None or label_weights is not None:
            raise InputError("AUC of several labels is not supported")
        if curve.upper() not in ("ROC", "PR") or summation_method not in ("interpolation", "minoring", "majoring"):
            raise InputError(f"no area under the curve {curve!r} by {summation_method!r}")
        if thresholds is None:
            if num_thresholds < 2:
                raise InputError(f"num_thresholds must be above 1, not {num_thresholds}")
            thresholds = [(i + 1) / (num_thresholds - 1) for i in range(num_thresholds - 2)]
        super().__init__([0.0 - EPSILON, *sorted(thresholds), 1.0 + EPSILON], name=name or "auc", dtype=dtype)
        self.curve, self.summation_method, self.from_logits = curve.upper(), summation_method, from_logits

    def parts(
        self, target: Tensor, prediction: Tensor, sample_weight: Tensor | None = None, mask: Tensor | None = None
    ) -> dict[str, Tensor]:
        """As for precision, at every threshold."""
        prediction = wide(prediction).sigmoid() if self.from_logits else prediction
        return super().parts(target, prediction, sample_weight, mask)

    def _figure(self, sums: Mapping[str, np.ndarray]) -> float:
        tp, fp, fn, tn = self.counts(sums)
        if self.curve == "PR" and self.summation_method == "interpolation":
            return _interpolated(tp, fp, fn)
        recall = ratio(tp, tp + fn)
        x, y = (ratio(fp, fp + tn), recall) if self.curve == "ROC" else (recall, ratio(tp, tp + fp))
        heights = {
            "interpolation": (y[:-1] + y[1:]) / 2, "minoring": np.minimum(y[:-1], y[1:]),
            "majoring": np.maximum(y[:-1], y[1:]),
        }  # fmt: skip
        return float(((x[:-1] - x[1:]) * heights[self.summation_method]).sum())


def _interpolated(tp: np.ndarray, fp: np.ndarray, fn: np.ndarray) -> float:
    """The area under precision over recall where true and false positives change together between two points."""
    p = tp + fp
    steps, slope = tp[:-1] - tp[1:], ratio(tp[:-1] - tp[1:], np.maximum(p[:-1] - p[1:], 0))
    intercept = tp[1:] - slope * p[1:]
    both = (p[:-1] > 0) & (p[1:] > 0)
    quotient = np.where(both, ratio(p[:-1], np.maximum(p[1:], 0)), 1.0)
    parts = slope * (steps + intercept * np.log(quotient))
    return float(ratio(parts, np.maximum(tp[1:] + fn[1:], 0)).sum())


class _AtLeast(_Counts):
    """The largest of one rate at the thresholds where another is ``least`` or more; 0 where there is none."""

    constrained = wanted = ""

    def __init__(
        self, least: float, num_thresholds: int = 200, class_id: int | None = None, name: str | None = None,
        dtype: Any = None,
    ) -> None:  # fmt: skip
        if not 0 <= least <= 1 or num_thresholds < 1:
            raise InputError(f"a rate between 0 and 1 at one threshold or more, not {least} at {num_thresholds}")
        last = num_thresholds - 1
        super().__init__([i / last for i in range(num_thresholds)] if last else 0.5, None, class_id, name, dtype)
        self.least = least

    def rates(self, sums: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """All rates at each threshold, by name."""
        tp, fp, fn, tn = self.counts(sums)
        recall = ratio(tp, tp + fn)
        return {
            "recall": recall, "sensitivity": recall, "precision": ratio(tp, tp + fp), "specificity": ratio(tn, tn + fp),
        }  # fmt: skip

    def _figure(self, sums: Mapping[str, np.ndarray]) -> float:
        rates = self.rates(sums)
        return float(rates[self.wanted][rates[self.constrained] >= self.least].max(initial=0.0))


class PrecisionAtRecall(_AtLeast):
    """The best precision at a recall of ``recall`` or more."""

    constrained, wanted = "recall", "precision"

    def __init__(self, recall: float, **more: Any) -> None:
        super().__init__(recall, **more)


class RecallAtPrecision(_AtLeast):
    """The best recall at a precision of ``precision`` or more."""

    constrained, wanted = "precision", "recall"

    def __init__(self, precision: float, **more: Any) -> None:
        super().__init__(precision, **more)


class SensitivityAtSpecificity(_AtLeast):
    """The best share of the positives found, where ``specificity`` or more of the negatives are."""

    constrained, wanted = "specificity", "sensitivity"

    def __init__(self, specificity: float, **more: Any) -> None:
        super().__init__(specificity, **more)


class SpecificityAtSensitivity(_AtLeast):
    """The best share of the negatives found, where ``sensitivity`` or more of the positives are."""

    constrained, wanted = "sensitivity", "specificity"

    def __init__(self, sensitivity: float, **more: Any) -> None:
        super().__init__(sensitivity, **more)


class FBetaScore(Metric):
    """The weighted harmonic mean of precision and recall; recall counts ``beta`` times as much.

    ``average``: None (an array, one figure for each class), ``micro`` (over all classes together), ``macro`` (their
    mean) or ``weighted`` (their mean by how often they occur).  ``threshold`` None takes the class predicted highest.
    """

    def __init__(
        self, average: str | None = None, beta: float = 1.0, threshold: float | None = None, name: str | None = None,
        dtype: Any = None,
    ) -> None:  # fmt: skip
        super().__init__(name or ("f1_score" if isinstance(self, F1Score) else "fbeta_score"), dtype)
        if average not in (None, "micro", "macro", "weighted"):
            raise InputError(f"no average is called {average!r}")
        self.average, self.beta, self.threshold = average, beta, threshold

    def parts(
        self, target: Tensor, prediction: Tensor, sample_weight: Tensor | None = None, mask: Tensor | None = None
    ) -> dict[str, Tensor]:
        """``hits``, ``positive`` and ``true``: true positives, predictions and targets of each class."""
        t, p = pair(target, prediction)
        if self.threshold is None:
            chosen = (p >= p.max((-1,), keepdims=True)) & (p.abs() > 1e-9)
        else:
            chosen = p > self.threshold
        chosen_f = chosen.cast(t.dtype)
        weight = weights(sample_weight, mask, t)
        w = t.filled(1.0, (1, 1)) if weight is None else weight.reshape((t.shape[0], 1))
        axes = None if self.average == "micro" else (0,)
        return {
            "hits": (chosen_f * t * w).sum(axes), "positive": (chosen_f * w).sum(axes),
            "true": (t * w.expand(t.shape)).sum(axes),
        }  # fmt: skip

    def _figure(self, sums: Mapping[str, np.ndarray]) -> Any:
        hits, positive, true = sums["hits"], sums["positive"], sums["true"]
        precision, recall = hits / (positive + EPSILON), hits / (true + EPSILON)
        square = self.beta**2
        score = (1 + square) * precision * recall / (square * precision + recall + EPSILON)
        if self.average == "weighted":
            return float((score * true).sum() / (true.sum() + EPSILON))
        return score if self.average is None else float(np.mean(score))


class F1Score(FBetaScore):
    """:class:`FBetaScore` with ``beta`` 1."""

    def __init__(
        self, average: str | None = None, threshold: float | None = None, name: str | None = None, dtype: Any = None
    ) -> None:
        super().__init__(average, 1.0, threshold, name, dtype)
