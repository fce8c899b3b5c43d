"""What a Keras model is compiled with, as this package has it: losses, metrics, optimizers and schedules by class name.

Names, arguments and formulas are Keras's on both sides, so an object is carried over by its ``get_config``.  An
argument that only Keras has must have the value that makes no difference.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import keras
import numpy as np

from a1400.errors import InputError
from a1400.keras.functions import own_loss, own_metric
from a1400.keras.slots import inner, members
from a1400.keras.tracing import UnsupportedModel
from a1400.train import losses, metrics, optimizers, schedules
from a1400.train.loss_scale import LossScale
from a1400.train.losses import Loss
from a1400.train.metrics import Metric
from a1400.train.optimizer import Optimizer
from a1400.train.optimizer_multi import MultiOptimizer
from a1400.train.schedules import Schedule

#: values of arguments that stand for nothing at all
_NOTHING: tuple[Any, ...] = (None, False, "float32", "auto")


#: names of metrics that become one thing or another by the targets' shape
_BY_TARGETS = ("accuracy", "acc", "crossentropy", "ce")


@dataclass
class Compiled:
    """What the trainer is made with, by output; metrics are ours, or names that hang on the targets (``accuracy``)."""

    losses: dict[str, Loss] = field(default_factory=dict)
    loss_weights: dict[str, float] = field(default_factory=dict)
    metrics: dict[str, list[Metric | str]] = field(default_factory=dict)
    weighted_metrics: dict[str, list[Metric | str]] = field(default_factory=dict)
    optimizer: Optimizer | None = None
    loss_scale: LossScale | None = None


def is_keras(value: Any) -> bool:
    """Whether a class, object or function is Keras's own."""
    owner = value if inspect.isfunction(value) or inspect.isclass(value) else type(value)
    return str(getattr(owner, "__module__", "")).partition(".")[0] == "keras"


def _carried(value: Any, make: Callable[..., Any], kind: Callable[..., Any]) -> Any:
    """``make(name, **config)`` of a Keras object, with the arguments that ``kind`` takes."""
    taken = _parameters(kind)
    config = {}
    for name, argument in value.get_config().items():
        if name in taken:
            config[name] = argument
        elif not any(argument is n or argument == n for n in _NOTHING) and name not in ("name", "fn", "dtype"):
            raise InputError(f"its argument {name}={argument!r} is not supported")
    return make(**config)


def _parameters(kind: Callable[..., Any]) -> set[str]:
    """Names that a class's constructor takes, those it passes on to its bases included."""
    found: set[str] = set()
    for base in inspect.getmro(kind) if inspect.isclass(kind) else (kind,):
        if base is object:
            continue
        parameters = inspect.signature(base).parameters.values()
        found.update(p.name for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY))
        if not any(p.kind is p.VAR_KEYWORD for p in parameters):
            break
    return found


def loss_of(given: Any) -> Loss:
    """A name, a function or object of ``keras.losses``, one that a user wrote, or a loss of ours.

    Raises :class:`InputError` for anything else.
    """
    if isinstance(given, Loss):
        return given
    if isinstance(given, str):
        return losses.from_name(given)
    if not is_keras(given) or type(given).__name__ == "LossFunctionWrapper":
        own = own_loss(given)
        if own is None:
            raise InputError(f"the loss {_called(given)} is neither one of Keras's own nor a function")
        return own
    if inspect.isfunction(given):
        return losses.from_name(given.__name__)
    kind = type(losses.from_name(type(given).__name__))
    made: Loss = _carried(given, kind, kind)
    return made


def metric_of(given: Any) -> Metric | str:
    """A name, a function or object of ``keras.metrics``, one that a user wrote, or a metric of ours."""
    if isinstance(given, Metric):
        return given
    if isinstance(given, str):
        return given if given in _BY_TARGETS else _named_metric(given)
    if not is_keras(given) or type(given).__name__ in ("MeanMetricWrapper", "LossFunctionWrapper"):
        own = own_metric(given)
        if own is None:
            raise InputError(f"the metric {_called(given)} is neither a function nor a class with an update_state")
        return own
    if inspect.isfunction(given):
        return _named_metric(given.__name__)
    name = type(given).__name__
    kind = metrics.kind_of(name)
    if kind is metrics.OfLoss:
        loss = type(losses.from_name(name))
        return metrics.OfLoss(_carried(given, loss, loss), str(given.name))
    made: Metric = _carried(given, kind, kind)
    made.name = str(given.name)
    return made


def _named_metric(name: str) -> Metric:
    """The metric that Keras calls ``name``, under that very name in the logs."""
    made = metrics.from_name(name)
    made.name = name
    return made


def optimizer_of(given: Any) -> Optimizer:
    """An optimizer of Keras's as ours, its learning rate or schedule included."""
    if isinstance(given, Optimizer):
        return given
    if not is_keras(given):
        raise InputError(f"the optimizer {_called(given)} is not one of Keras's own")
    given = inner(given)
    if type(given).__name__ == "MultiOptimizer":  # which of them a parameter is for is known when it is built
        return MultiOptimizer([optimizer_of(one) for one in members(given)], lambda name: 0, given.loss_scale_factor)
    kind = type(optimizers.from_name(type(given).__name__))
    rate = rate_of(given)

    def make(**config: Any) -> Optimizer:
        return kind(**{**config, "learning_rate": rate})

    made: Optimizer = _carried(_WithoutRate(given), make, kind)
    if isinstance(made, optimizers.ScheduleFreeAdamW):
        # what it reads as the old point's value is the variable itself there, which has been written to
        made.steps_first = keras.backend.backend() in ("tensorflow", "torch")
    return made


def loss_scale_of(given: Any) -> LossScale | None:
    """The loss scale that Keras's ``LossScaleOptimizer`` stands for; None for other optimizers."""
    if inner(given) is given:
        return None
    return LossScale(given.initial_scale, given.dynamic_growth_steps)


class _WithoutRate:
    """A Keras optimizer whose configuration leaves out the learning rate, which may be a schedule."""

    def __init__(self, optimizer: Any) -> None:
        self._optimizer = optimizer

    def get_config(self) -> dict[str, Any]:
        """Without ``learning_rate``, and without what only says how often an average is looked at."""
        config = dict(self._optimizer.get_config())
        del config["learning_rate"]
        return config


def rate_of(optimizer: Any) -> Any:
    """The learning rate of a Keras optimizer now, as a number or as a schedule of ours."""
    schedule = getattr(inner(optimizer), "_learning_rate", None)
    if not isinstance(schedule, keras.optimizers.schedules.LearningRateSchedule):
        return float(np.asarray(keras.ops.convert_to_numpy(optimizer.learning_rate)))
    kind = getattr(schedules, type(schedule).__name__, None)
    if kind is None or not is_keras(schedule):
        return _Asked(schedule)
    return _carried(schedule, kind, kind)


class _Asked(Schedule):
    """A user's own schedule of Keras's kind."""

    def __init__(self, schedule: Any) -> None:
        self.schedule = schedule

    def __call__(self, step: int) -> float:
        return float(np.asarray(keras.ops.convert_to_numpy(self.schedule(step))))


def has_schedule(optimizer: Any) -> bool:
    """Whether a Keras optimizer's learning rate follows a schedule."""
    schedule = getattr(inner(optimizer), "_learning_rate", None)
    return isinstance(schedule, keras.optimizers.schedules.LearningRateSchedule)


def has_function(optimizer: Any) -> bool:
    """Whether a Keras optimizer's learning rate is what a function gives, which may be another at each step."""
    rate = getattr(inner(optimizer), "_learning_rate", None)
    return callable(rate) and not isinstance(rate, keras.Variable) and not has_schedule(optimizer)


def _called(value: Any) -> str:
    return repr(getattr(value, "__name__", None) or type(value).__name__)


def _by_output(given: Any, outputs: Sequence[str], what: str, single: bool) -> dict[str, Any]:
    """``given`` by output: a dict, a list of one for each, or (``single``) one for all."""
    if given is None:
        return {}
    if isinstance(given, Mapping):
        unknown = sorted(map(str, {*given} - {*outputs}))
        if unknown:
            raise InputError(f"{what}: the model has no output {', '.join(unknown)}; it has {', '.join(outputs)}")
        return {name: value for name, value in given.items() if value is not None}
    if isinstance(given, (list, tuple)) and (not single or len(given) == len(outputs)):
        if len(given) != len(outputs):
            raise InputError(f"{what}: {len(given)} for {len(outputs)} outputs ({', '.join(outputs)})")
        return {name: value for name, value in zip(outputs, given) if value is not None}
    return dict.fromkeys(outputs, given)


def _loss_weights(given: Any, outputs: Sequence[str]) -> dict[str, float]:
    """The weight of each output's loss: a number, or a list or dict of them."""
    found: dict[str, float] = {}
    for name, value in _by_output(given, outputs, "loss_weights", single=False).items():
        try:
            found[name] = float(value)
        except (TypeError, ValueError):
            raise InputError(
                f"loss_weights: the weight of {name!r} is {value!r}; give a number, or a list or dict with one for "
                "each output"
            ) from None
    return found


def _metrics_by_output(given: Any, outputs: Sequence[str], what: str) -> dict[str, list[Any]]:
    """Metrics of each output as a list."""
    if given is None:
        return {}
    if len(outputs) == 1 and not isinstance(given, Mapping):
        given = list(given) if isinstance(given, (list, tuple)) else [given]
        if len(given) == 1 and isinstance(given[0], (list, tuple)):
            given = given[0]
        return {outputs[0]: list(given)}
    found = _by_output(given, outputs, what, single=False)
    return {name: list(m) if isinstance(m, (list, tuple)) else [m] for name, m in found.items()}


def compiled(
    outputs: Sequence[str], optimizer: Any, loss: Any, loss_weights: Any, metrics_given: Any, weighted: Any
) -> Compiled:
    """Everything at once; :class:`UnsupportedModel` names all that is not supported."""
    problems: list[str] = []
    result = Compiled()

    def attempt(where: str, work: Callable[[], Any]) -> Any:
        try:
            return work()
        except InputError as error:
            text = str(error)
            problems.append(text if text.startswith(where) else f"{where}: {text}")
            return None

    for name, value in (attempt("loss", lambda: _by_output(loss, outputs, "loss", True)) or {}).items():
        made = attempt(f"loss of {name}", partial(loss_of, value))
        if made is not None:
            result.losses[name] = made
    result.loss_weights = attempt("loss_weights", lambda: _loss_weights(loss_weights, outputs)) or {}
    for table, target in ((metrics_given, result.metrics), (weighted, result.weighted_metrics)):
        found = attempt("metrics", partial(_metrics_by_output, table, outputs, "metrics")) or {}
        for name, entries in found.items():
            for entry in entries:
                made = attempt(f"metric of {name}", partial(metric_of, entry))
                if made is not None:
                    target.setdefault(name, []).append(made)
    result.optimizer = attempt("optimizer", lambda: optimizer_of(optimizer))
    result.loss_scale = loss_scale_of(optimizer)
    if problems:
        raise UnsupportedModel("the model cannot be trained here:\n" + "\n".join(f"  {p}" for p in problems))
    return result
