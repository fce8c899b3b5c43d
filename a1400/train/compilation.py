"""What a trainer is given as loss, metrics and optimizer - names, objects, functions - made into objects, by output."""

from __future__ import annotations

import fnmatch
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np

from a1400.errors import InputError
from a1400.graph.tensor import Tensor
from a1400.train import constraints as constraints_module
from a1400.train import losses as losses_module
from a1400.train import metrics as metrics_module
from a1400.train import optimizers as optimizers_module
from a1400.train.constraints import Constraint
from a1400.train.losses import Loss
from a1400.train.metrics import Metric
from a1400.train.network import Network
from a1400.train.optimizer import Optimizer


def optimizer(given: Any, gathered: int | None = None) -> Optimizer:
    """A name or an optimizer; ``gathered`` batches make a step of it, where that is said."""
    if isinstance(given, str):
        given = optimizers_module.from_name(given)
    if not isinstance(given, Optimizer):
        raise InputError(f"the optimizer is a name or one of a1400.train.optimizers, not {type(given).__name__}")
    if gathered is not None and gathered != given.gradient_accumulation_steps:
        if given.gradient_accumulation_steps is not None or gathered < 1:
            raise InputError(
                f"gradient_accumulation_steps is {gathered} here and {given.gradient_accumulation_steps} in the "
                "optimizer; give one number from 1 up"
            )
        given.gradient_accumulation_steps = gathered if gathered > 1 else None
    return given


def constraints(given: Mapping[str, Any] | None, network: Network) -> dict[str, Constraint]:
    """The constraint of each parameter that has one, the network's own among them; keys may be patterns."""
    found = dict(getattr(network, "constraints", {}))
    for pattern, constraint in (given or {}).items():
        if isinstance(constraint, str):
            constraint = constraints_module.from_name(constraint)
        if not isinstance(constraint, Constraint):
            raise InputError(
                f"a constraint is a name or one of a1400.train.constraints, not {type(constraint).__name__}"
            )
        names = fnmatch.filter(network.parameters, pattern)
        if not names:
            raise InputError(f"constraints: no parameter is called {pattern!r}; there are {_some(network.parameters)}")
        found.update(dict.fromkeys(names, constraint))
    return found


def _some(names: Iterable[str]) -> str:
    first = list(names)
    return ", ".join(first[:5]) + (" and others" if len(first) > 5 else "")


def losses(given: Any, outputs: Sequence[str]) -> dict[str, Loss]:
    """The loss of each output that has one; a single one is for every output."""
    made = {name: _loss(loss) for name, loss in _by_output("loss", given, outputs).items()}
    for name, loss in made.items():
        if loss.reduction in (None, "none"):
            raise InputError(f"the loss of {name!r} is not reduced to a number; give it a reduction")
    return made


def _loss(given: Any) -> Loss:
    if isinstance(given, str):
        return losses_module.from_name(given)
    if isinstance(given, Loss):
        return given
    if callable(given):
        return losses_module.Function(given)
    raise InputError(f"a loss is a name, one of a1400.train.losses or a function, not {type(given).__name__}")


def loss_weights(given: Any, of: Mapping[str, Loss]) -> dict[str, float]:
    """The factor of each output's loss."""
    return {name: float(weight) for name, weight in _by_output("loss_weights", given, tuple(of)).items()}


def _by_output(what: str, given: Any, outputs: Sequence[str]) -> dict[str, Any]:
    """A dict, a list in the outputs' order, or one for all."""
    if given is None:
        return {}
    if isinstance(given, Mapping):
        unknown = [str(name) for name in given if name not in outputs]
        if unknown:
            raise InputError(f"{what}: no output is called {', '.join(unknown)}; there are {', '.join(outputs)}")
        return {name: given[name] for name in outputs if given.get(name) is not None}
    if isinstance(given, (list, tuple)):
        if len(given) != len(outputs):
            raise InputError(f"{what}: {len(given)} are given for {len(outputs)} outputs")
        return {name: entry for name, entry in zip(outputs, given) if entry is not None}
    return dict.fromkeys(outputs, given)


@dataclass
class Entry:
    """One metric of one output; a name such as ``accuracy`` becomes a metric when shapes are known."""

    output: str
    given: Any
    weighted: bool
    metric: Metric | None = None
    shapes: tuple[tuple[int, ...], tuple[int, ...]] | None = None

    def resolve(self, target: tuple[int, ...], prediction: tuple[int, ...]) -> Metric:
        """The metric, for target and prediction of these shapes."""
        if self.metric is None:
            self.shapes = target, prediction
            if isinstance(self.given, str):
                shapes = (SimpleNamespace(shape=s) for s in self.shapes)
                self.metric = metrics_module.from_name(self.given, *shapes)
            elif isinstance(self.given, Metric):
                self.metric = self.given
            elif isinstance(self.given, Loss):
                self.metric = metrics_module.OfLoss(self.given)
            elif callable(self.given):
                self.metric = metrics_module.Function(self.given)
            else:
                kind = type(self.given).__name__
                raise InputError(f"a metric is a name, one of a1400.train.metrics or a function, not {kind}")
        return self.metric

    def parts(
        self, target: Tensor, prediction: Tensor, weight: Tensor | None, mask: Tensor | None = None
    ) -> dict[str, Tensor]:
        """The sums of a batch; ``mask`` is the output's own, which counts without weights, too."""
        metric = self.resolve(target.shape, prediction.shape)
        return metric.parts(target, prediction, weight if self.weighted else None, mask if metric.masked else None)


def _numbered(label: str, number: int) -> str:
    return label if number == 1 else f"{label}_{number - 1}"


class Metrics:
    """All metrics: ``by_output`` for the graph, :meth:`results` from sums named ``metric:OUTPUT:INDEX:PART``."""

    def __init__(self, plain: Any, weighted: Any, of: Mapping[str, Loss], outputs: Sequence[str]) -> None:
        self.by_output: dict[str, list[Entry]] = {}
        for given, counts in ((plain, False), (weighted, True)):
            if isinstance(given, (list, tuple)) and not any(isinstance(g, (list, tuple)) for g in given):
                table = dict.fromkeys(outputs, given)
            else:
                table = _by_output("metrics", given, outputs)
            for output, some in table.items():
                if output not in of and not isinstance(given, Mapping):
                    continue
                each = some if isinstance(some, (list, tuple)) else [some]
                self.by_output.setdefault(output, []).extend(Entry(output, g, counts) for g in each)
        #: outputs that targets are needed for
        self.targets = tuple(name for name in outputs if name in of or name in self.by_output)
        self._several = len(outputs) > 1

    def results(self, sums: Mapping[str, np.ndarray]) -> dict[str, float]:
        """The figure of each metric by its name, with the output's in front where there are several."""
        found: dict[str, float] = {}
        counts: dict[str, int] = {}
        for output, entries in self.by_output.items():
            for index, entry in enumerate(entries):
                prefix = f"metric:{output}:{index}:"
                mine = {n[len(prefix) :]: a for n, a in sums.items() if n.startswith(prefix)}
                if entry.metric is None or not mine:
                    continue
                entry.metric.sums = mine
                before = f"{output}_" if self._several else ""
                label = before + entry.metric.name
                if entry.weighted and label in counts:
                    label = f"{before}weighted_{entry.metric.name}"
                number = counts[label] = counts.get(label, 0) + 1
                figure = entry.metric.result()
                # one that gives several names them itself
                found.update(figure if isinstance(figure, Mapping) else {_numbered(label, number): figure})
        return found

    def state(self) -> dict[str, Any]:
        """The shapes that names were understood by, for a checkpoint."""
        return {name: [entry.shapes for entry in entries] for name, entries in self.by_output.items()}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Understand names as they were."""
        for name, entries in self.by_output.items():
            for entry, shapes in zip(entries, state.get(name, ())):
                if shapes is not None:
                    entry.resolve(tuple(shapes[0]), tuple(shapes[1]))
