"""Losses: what a network is trained to make small, written into its graph.

Names, arguments, definitions and reductions are those of ``keras.losses``; a loss is called with target, prediction
and, as wanted, weights of the samples and a mask.  Cross-entropy of a softmax's (or sigmoid's) result takes the logits
below it: no logarithm of a rounded probability, and one kernel.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from a1400.errors import InputError
from a1400.graph.tensor import Tensor
from a1400.ops.cross_entropy import softmax_cross_entropy
from a1400.train.loss import Loss
from a1400.train.losses_of_batches import CTC, Circle
from a1400.train.reductions import EPSILON, pair, wide


class _Elementwise(Loss):
    """The mean over the last axis of a function of each element."""

    def _of(self, t: Tensor, p: Tensor) -> Tensor:
        raise NotImplementedError

    def values(self, target: Tensor, prediction: Tensor) -> Tensor:
        """The mean over the last axis."""
        return self._of(*pair(target, prediction)).mean((-1,))


class MeanSquaredError(_Elementwise):
    """``(t - p)**2``."""

    def _of(self, t: Tensor, p: Tensor) -> Tensor:
        return (t - p).square()


class MeanAbsoluteError(_Elementwise):
    """``|t - p|``."""

    def _of(self, t: Tensor, p: Tensor) -> Tensor:
        return (t - p).abs()


class MeanAbsolutePercentageError(_Elementwise):
    """``100 |t - p| / max(|t|, epsilon)``."""

    def _of(self, t: Tensor, p: Tensor) -> Tensor:
        return ((t - p) / t.abs().maximum(EPSILON)).abs() * 100.0


class MeanSquaredLogarithmicError(_Elementwise):
    """``(log(p + 1) - log(t + 1))**2``, of nothing below epsilon."""

    def _of(self, t: Tensor, p: Tensor) -> Tensor:
        return ((p.maximum(EPSILON) + 1.0).log() - (t.maximum(EPSILON) + 1.0).log()).square()


class Huber(_Elementwise):
    """``e**2 / 2`` up to an error of ``delta``, straight from there (Huber, 1964)."""

    def __init__(self, delta: float = 1.0, **common: Any) -> None:
        super().__init__(**common)
        self.delta = delta

    def _of(self, t: Tensor, p: Tensor) -> Tensor:
        error = (p - t).abs()
        return (error <= self.delta).where(error.square() * 0.5, error * self.delta - 0.5 * self.delta**2)


class LogCosh(_Elementwise):
    """``log(cosh(p - t))``."""

    def _of(self, t: Tensor, p: Tensor) -> Tensor:
        x = p - t
        return x + (x * -2.0).softplus() - math.log(2.0)


class Poisson(_Elementwise):
    """``p - t log(p + epsilon)``."""

    def _of(self, t: Tensor, p: Tensor) -> Tensor:
        return p - t * (p + EPSILON).log()


def _of_hinge(t: Tensor) -> Tensor:
    """Labels as -1 and 1; those that are all 0 or 1 are mapped."""
    binary = (t.equal(0.0) | t.equal(1.0)).cast(t.dtype).min()
    return (binary > 0.5).where(t * 2.0 - 1.0, t)


class Hinge(_Elementwise):
    """``max(1 - t p, 0)`` for labels -1 and 1 (or 0 and 1)."""

    def _of(self, t: Tensor, p: Tensor) -> Tensor:
        return (1.0 - _of_hinge(t) * p).maximum(0.0)


class SquaredHinge(_Elementwise):
    """``max(1 - t p, 0)**2`` for labels -1 and 1 (or 0 and 1)."""

    def _of(self, t: Tensor, p: Tensor) -> Tensor:
        return (1.0 - _of_hinge(t) * p).maximum(0.0).square()


class CategoricalHinge(Loss):
    """``max(max((1 - t) p) - sum(t p) + 1, 0)`` over the last axis."""

    def values(self, target: Tensor, prediction: Tensor) -> Tensor:
        """Over the last axis."""
        t, p = pair(target, prediction)
        return (((1.0 - t) * p).max((-1,)) - (t * p).sum((-1,)) + 1.0).maximum(0.0)


class KLDivergence(Loss):
    """``sum(t log(t / p))`` over the last axis, of probabilities from epsilon to 1."""

    def values(self, target: Tensor, prediction: Tensor) -> Tensor:
        """Over the last axis."""
        t, p = (x.clip(EPSILON, 1.0) for x in pair(target, prediction))
        return (t * (t / p).log()).sum((-1,))


class CosineSimilarity(Loss):
    """The cosine of the angle between target and prediction along ``axis``, times -1."""

    def __init__(self, axis: int = -1, **common: Any) -> None:
        super().__init__(**common)
        self.axis = axis

    def values(self, target: Tensor, prediction: Tensor) -> Tensor:
        """Over the axis."""
        t, p = (
            x * x.reduce("sum_square", (self.axis,), keepdims=True).rsqrt().minimum(1.0 / EPSILON)
            for x in pair(target, prediction)
        )
        return -(t * p).sum((self.axis,))


class Dice(Loss):
    """``1 - 2 sum(t p) / (sum(t) + sum(p) + epsilon)`` over ``axis`` (None: everything)."""

    def __init__(self, axis: int | tuple[int, ...] | None = None, **common: Any) -> None:
        super().__init__(**common)
        self.axis = axis

    def values(self, target: Tensor, prediction: Tensor) -> Tensor:
        """Over the axes."""
        t, p = pair(target, prediction)
        axes = (self.axis,) if isinstance(self.axis, int) else self.axis
        return 1.0 - (t * p).sum(axes) * 2.0 / (t.sum(axes) + p.sum(axes) + EPSILON)


class Tversky(Loss):
    """:class:`Dice` with weights of its own for what was missed (``alpha``) and what was too much (``beta``)."""

    def __init__(
        self, alpha: float = 0.5, beta: float = 0.5, axis: int | tuple[int, ...] | None = None, **common: Any
    ) -> None:
        super().__init__(**common)
        self.alpha, self.beta, self.axis = alpha, beta, axis

    def values(self, target: Tensor, prediction: Tensor) -> Tensor:
        """Over the axes."""
        t, p = pair(target, prediction)
        axes = (self.axis,) if isinstance(self.axis, int) else self.axis
        both = (t * p).sum(axes)
        missed, surplus = ((1.0 - p) * t).sum(axes), (p * (1.0 - t)).sum(axes)
        return 1.0 - both / (both + missed * self.alpha + surplus * self.beta + EPSILON)


# ---- cross-entropies -------------------------------------------------------------------------------------
def _behind(prediction: Tensor, op: str, axis: int | None = None) -> Tensor | None:
    """What ``op`` was applied to, where the prediction is its result."""
    node = prediction.value.producer
    while node is not None and node.op == "cast" and node.inputs[0] is not None:
        node = node.inputs[0].producer
    if node is None or node.op != op or node.inputs[0] is None or "epilogue" in node.attrs or "prologue" in node.attrs:
        return None
    if axis is not None and node.attrs["axis"] != axis % prediction.rank:
        return None
    return Tensor(prediction.graph, node.inputs[0])


def _logits(prediction: Tensor, op: str, from_logits: bool, axis: int | None = None) -> Tensor | None:
    return wide(prediction) if from_logits else (wide(x) if (x := _behind(prediction, op, axis)) is not None else None)


def _last(x: Tensor, axis: int) -> Tensor:
    """``x`` with ``axis`` moved to the end."""
    axis %= x.rank
    return x.transpose((*(d for d in range(x.rank) if d != axis), axis))


def _smoothed(t: Tensor, label_smoothing: float, classes: int) -> Tensor:
    return t * (1.0 - label_smoothing) + label_smoothing / classes if label_smoothing else t


class BinaryCrossentropy(Loss):
    """``-(t log p + (1 - t) log(1 - p))``, its mean over ``axis``."""

    def __init__(
        self, from_logits: bool = False, label_smoothing: float = 0.0, axis: int = -1, **common: Any
    ) -> None:
        super().__init__(**common)
        self.from_logits, self.label_smoothing, self.axis = from_logits, label_smoothing, axis

    def values(self, target: Tensor, prediction: Tensor) -> Tensor:
        """The mean over the axis."""
        t, p = pair(target, prediction)
        t = _smoothed(t, self.label_smoothing, 2)
        x = _logits(prediction, "sigmoid", self.from_logits)
        return _binary(t, p, None if x is None else x.reshape(p.shape)).mean((self.axis,))


def binary_values(target: Tensor, prediction: Tensor, from_logits: bool) -> Tensor:
    """Binary cross-entropy of each element."""
    return _binary(target, prediction, _logits(prediction, "sigmoid", from_logits))


def _binary(t: Tensor, p: Tensor, logits: Tensor | None) -> Tensor:
    if logits is not None:
        return logits.relu() - logits * t + (-logits.abs()).softplus()
    p = p.clip(EPSILON, 1.0 - EPSILON)
    return -(t * p.log() + (1.0 - t) * (1.0 - p).log())


class BinaryFocalCrossentropy(BinaryCrossentropy):
    """Binary cross-entropy times ``(1 - p of the true class)**gamma`` (Lin and others, "Focal loss", 2017)."""

    def __init__(
        self, apply_class_balancing: bool = False, alpha: float = 0.25, gamma: float = 2.0, from_logits: bool = False,
        label_smoothing: float = 0.0, axis: int = -1, **common: Any,
    ) -> None:  # fmt: skip
        super().__init__(from_logits, label_smoothing, axis, **common)
        self.apply_class_balancing, self.alpha, self.gamma = apply_class_balancing, alpha, gamma

    def values(self, target: Tensor, prediction: Tensor) -> Tensor:
        """The mean over the axis."""
        t, p = pair(target, prediction)
        t = _smoothed(t, self.label_smoothing, 2)
        p = p.sigmoid() if self.from_logits else p
        values = (1.0 - (t * p + (1.0 - t) * (1.0 - p))) ** self.gamma * _binary(t, p, None)
        if self.apply_class_balancing:
            values = values * (t * self.alpha + (1.0 - t) * (1.0 - self.alpha))
        return values.mean((self.axis,))


def _normalised(p: Tensor) -> Tensor:
    """Probabilities with a sum of 1 along the last axis, away from 0 and 1."""
    return (p / p.sum((-1,), keepdims=True)).clip(EPSILON, 1.0 - EPSILON)


class CategoricalCrossentropy(Loss):
    """``-sum(t log p)`` along ``axis``; targets are probabilities of the classes."""

    def __init__(
        self, from_logits: bool = False, label_smoothing: float = 0.0, axis: int = -1, **common: Any
    ) -> None:
        super().__init__(**common)
        self.from_logits, self.label_smoothing, self.axis = from_logits, label_smoothing, axis

    def values(self, target: Tensor, prediction: Tensor) -> Tensor:
        """Along the axis."""
        p = _last(wide(prediction), self.axis)
        t = _smoothed(_last(target, self.axis).cast(p.dtype), self.label_smoothing, p.shape[-1])
        if (x := _logits(prediction, "softmax", self.from_logits, self.axis)) is not None:
            return softmax_cross_entropy(_last(x, self.axis), t)[0]
        return -(t * _normalised(p).log()).sum((-1,))


class CategoricalFocalCrossentropy(Loss):
    """``-sum(alpha (1 - p)**gamma t log p)`` along ``axis`` (Lin and others, "Focal loss", 2017)."""

    def __init__(
        self, alpha: float = 0.25, gamma: float = 2.0, from_logits: bool = False, label_smoothing: float = 0.0,
        axis: int = -1, **common: Any,
    ) -> None:  # fmt: skip
        super().__init__(**common)
        self.alpha, self.gamma, self.from_logits = alpha, gamma, from_logits
        self.label_smoothing, self.axis = label_smoothing, axis

    def values(self, target: Tensor, prediction: Tensor) -> Tensor:
        """Along the axis."""
        p = _last(wide(prediction), self.axis)
        t = _smoothed(_last(target, self.axis).cast(p.dtype), self.label_smoothing, p.shape[-1])
        p = _normalised(p.softmax() if self.from_logits else p)
        return ((1.0 - p) ** self.gamma * self.alpha * -(t * p.log())).sum((-1,))


class SparseCategoricalCrossentropy(Loss):
    """``-log p`` of the target's class along ``axis``; where that is ``ignore_class``, nothing."""

    def __init__(
        self, from_logits: bool = False, ignore_class: int | None = None, axis: int = -1, **common: Any
    ) -> None:
        super().__init__(**common)
        self.from_logits, self.ignore_class, self.axis = from_logits, ignore_class, axis

    def _classes(self, target: Tensor, prediction: Tensor) -> Tensor:
        if target.rank == prediction.rank and target.shape[self.axis] == 1:
            target = target.squeeze(self.axis)
        return target if target.dtype in (np.dtype(np.int32), np.dtype(np.int64)) else target.cast(np.int32)

    def valid(self, target: Tensor, prediction: Tensor) -> Tensor | None:
        """Where the class is not the ignored one."""
        if self.ignore_class is None:
            return None
        return self._classes(target, prediction).not_equal(self.ignore_class)

    def values(self, target: Tensor, prediction: Tensor) -> Tensor:
        """Along the axis."""
        classes = self._classes(target, prediction)
        if (x := _logits(prediction, "softmax", self.from_logits, self.axis)) is not None:
            return softmax_cross_entropy(_last(x, self.axis), classes, self.ignore_class)[0]
        p = _last(wide(prediction), self.axis)
        valid = self.valid(target, prediction)
        if valid is not None:
            classes = valid.where(classes, 0)
        chosen = p.op("gather_elements", classes.expand_dims(-1), axis=p.rank - 1)
        values = -(chosen / p.sum((-1,), keepdims=True)).clip(EPSILON, 1.0 - EPSILON).log().squeeze(-1)
        return values if valid is None else valid.where(values, 0.0)


class CategoricalGeneralizedCrossEntropy(Loss):
    """``(1 - p**q) / q`` of the target's class, for labels that may be wrong (Zhang and Sabuncu, 2018)."""

    def __init__(self, q: float = 0.5, **common: Any) -> None:
        super().__init__(**common)
        if not 0 < q < 1:
            raise InputError(f"q is a number between 0 and 1, not {q}")
        self.q = q

    def values(self, target: Tensor, prediction: Tensor) -> Tensor:
        """Along the last axis; a class that does not exist has no probability."""
        p = wide(prediction)
        if target.rank == p.rank and target.shape[-1] == 1:
            target = target.squeeze(-1)
        classes = Tensor(p.graph, p.graph.constant(np.arange(p.shape[-1], dtype=np.int32)))
        hit = target.cast(np.int32).expand_dims(-1).equal(classes).cast(p.dtype)
        return (1.0 - (p * hit).sum((-1,)) ** self.q) / self.q


class Function(Loss):
    """A loss written as a function ``values(target, prediction)`` of tensors."""

    def __init__(self, function: Callable[[Tensor, Tensor], Tensor], **common: Any) -> None:
        super().__init__(**{"name": getattr(function, "__name__", None), **common})
        self._function = function

    def values(self, target: Tensor, prediction: Tensor) -> Tensor:
        """What the function gives."""
        return self._function(target, prediction)


_KINDS: tuple[type[Loss], ...] = (
    MeanSquaredError, MeanAbsoluteError, MeanAbsolutePercentageError, MeanSquaredLogarithmicError, Huber, LogCosh,
    Poisson, Hinge, SquaredHinge, CategoricalHinge, KLDivergence, CosineSimilarity, Dice, Tversky, BinaryCrossentropy,
    BinaryFocalCrossentropy, CategoricalCrossentropy, CategoricalFocalCrossentropy, SparseCategoricalCrossentropy,
    CategoricalGeneralizedCrossEntropy, Circle, CTC,
)  # fmt: skip
_NAMES: dict[str, type[Loss]] = {kind.__name__.lower(): kind for kind in _KINDS} | {
    "mse": MeanSquaredError, "mae": MeanAbsoluteError, "mape": MeanAbsolutePercentageError,
    "msle": MeanSquaredLogarithmicError, "bce": BinaryCrossentropy, "kld": KLDivergence,
    "kullbackleiblerdivergence": KLDivergence,
}  # fmt: skip


def from_name(name: str, **config: Any) -> Loss:
    """The loss that Keras calls ``name`` (``mse``, ``sparse_categorical_crossentropy``, ``Huber``).

    Raises :class:`InputError` for any other.
    """
    kind = _NAMES.get(name.replace("_", "").lower())
    if kind is None:
        raise InputError(f"no loss is called {name!r}; there are {', '.join(k.__name__ for k in _KINDS)}")
    return kind(**config)
