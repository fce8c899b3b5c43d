"""Losses, metrics and regularizers that users write with ``keras.ops``: run once on symbolic tensors, as layers are."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NoReturn

import keras
from keras.src.utils.naming import get_object_name  # what Keras's logs call a function

from a1400.graph.tensor import Tensor
from a1400.keras.tracing import Layouts, Refusal, Tracing
from a1400.train import losses, metrics
from a1400.train.random import RandomSource
from a1400.train.reductions import check_reduction, pair, wide


class _Untracked(tuple[Any, ...]):
    """Objects that a layer holds and that are none of its parts."""


class Code(keras.layers.Layer):
    """A function as a layer, so that what it calls is converted, and refused, under its name.

    ``holders`` are objects other than layers that hold variables the function uses.
    """

    def __init__(self, function: Callable[..., Any], name: str, holders: Sequence[Any] = ()) -> None:
        super().__init__(name=name.replace("/", "_"), dtype="float32")
        self.supports_masking = True
        self._function, self.holders = function, _Untracked(holders)

    def call(self, *tensors: Any) -> Any:
        """What the function gives."""
        return self._function(*tensors)


class _NoVariables(dict[int, Tensor]):
    """What stands for the values of variables where there must be none: their values would be frozen."""

    def __contains__(self, key: object) -> bool:
        return True

    def __missing__(self, key: int) -> NoReturn:
        raise Refusal("it reads a variable; losses and metrics may only compute with targets and predictions")


class NoNumbers(RandomSource):
    """Likewise for random numbers."""

    def __init__(self) -> None:
        """There is no state to draw them from."""

    def __getattribute__(self, name: str) -> NoReturn:
        raise Refusal("it draws random numbers, which losses and metrics may not")


def _traced(code: Code, *tensors: Tensor) -> tuple[Tensor, Tensor | None]:
    """What a function gives of tensors, and the mask that it gives that."""
    graph = tensors[0].graph
    tracing = Tracing(graph, _NoVariables(), Layouts(), training=True, random=NoNumbers())
    given = tracing.apply(code, *tensors)
    # a number is what a function gives that does not look at its arguments
    result = given if isinstance(given, Tensor) else tensors[-1].lift(keras.ops.convert_to_numpy(given))
    return wide(result), tracing.masks.get(given)


class OwnLoss(losses.Loss):
    """A function ``(y_true, y_pred)`` or an object of a class derived from ``keras.losses.Loss``."""

    def __init__(self, given: Any) -> None:
        self._whole = isinstance(given, keras.losses.Loss)
        super().__init__(
            check_reduction(given.reduction) if self._whole else "sum_over_batch_size", get_object_name(given)
        )
        self._code = Code(given.call if self._whole else given, self.name)

    def _found(self, target: Tensor, prediction: Tensor) -> tuple[Tensor, Tensor | None]:
        if self._whole:
            return _traced(self._code, target.cast("float32"), prediction)
        return _traced(self._code, *pair(target, prediction))

    def values(self, target: Tensor, prediction: Tensor) -> Tensor:
        """What the code gives, which sees targets as float32."""
        return self._found(target, prediction)[0]

    def valid(self, target: Tensor, prediction: Tensor) -> Tensor | None:
        """The mask that the code gives its result."""
        return self._found(target, prediction)[1]


class OwnMetric(metrics.Mean):
    """The mean of a function ``(y_true, y_pred)``, or of the one in a ``keras.metrics.MeanMetricWrapper``."""

    def __init__(self, given: Any) -> None:
        super().__init__(get_object_name(given))
        wrapper = isinstance(given, keras.metrics.MeanMetricWrapper)
        function, options = (given._fn, given._fn_kwargs) if wrapper else (given, {})
        self._code = Code(lambda t, p: function(t, p, **options), self.name)

    def values(self, target: Tensor, prediction: Tensor) -> Tensor:
        """What the function gives, which sees targets as they are."""
        return _traced(self._code, target, prediction)[0]


def own_loss(given: Any) -> losses.Loss | None:
    """A loss that is not one of Keras's, or a function in Keras's wrapper; None for anything else."""
    is_loss = isinstance(given, keras.losses.Loss)
    return OwnLoss(given) if is_loss or (callable(given) and not isinstance(given, type)) else None


def own_metric(given: Any) -> metrics.Metric | None:
    """Likewise for a metric; None for a class that has no ``update_state``."""
    if isinstance(given, keras.losses.Loss):
        return metrics.OfLoss(OwnLoss(given), get_object_name(given))
    if isinstance(given, keras.metrics.Metric):
        kind, wrapper = type(given), keras.metrics.MeanMetricWrapper
        plain = isinstance(given, wrapper) and all(
            getattr(kind, name) is getattr(wrapper, name) for name in ("update_state", "result")
        )
        if plain:
            return OwnMetric(given)
        from a1400.keras.own_metrics import OwnState  # which needs this module

        return None if kind.update_state is keras.metrics.Metric.update_state else OwnState(given)
    return OwnMetric(given) if callable(given) and not isinstance(given, type) else None
