"""Metrics that users write as classes: their ``update_state`` runs once on symbolic tensors, as layers' code does.

What a batch does to a metric's variables must be to add to them: then the graph gives what a batch adds, the sums are
the host's as they are for all metrics, and Keras's own ``result`` makes the figure.  Whether it is so is read off the
graph that the code leaves: from the new value back to the old there may be nothing but additions.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras
import numpy as np

from a1400.errors import InputError
from a1400.graph.graph import Value
from a1400.graph.tensor import Tensor
from a1400.keras.functions import Code, NoNumbers
from a1400.keras.tracing import Layouts, Tracing
from a1400.train.metrics import Metric

#: operations that a variable's old value may go through on its way to the new one
_UNCHANGED = frozenset({"cast", "reshape", "expand"})


class OwnState(Metric):
    """A ``keras.metrics.Metric`` with code of its own for how it adds up."""

    masked = True  # the mask goes with the prediction, and the code may look at it

    def __init__(self, given: Any) -> None:
        super().__init__(str(given.name))
        given.reset_state()
        self._given, self._variables = given, list(given.variables)
        self._first = [np.array(keras.ops.convert_to_numpy(v), np.float64) for v in self._variables]
        self._code = Code(given.update_state, self.name, (given, *_within(given)))

    def parts(
        self, target: Tensor, prediction: Tensor, sample_weight: Tensor | None = None, mask: Tensor | None = None
    ) -> dict[str, Tensor]:
        """What a batch adds to each variable, by its number; :class:`InputError` where it does anything else to one."""
        graph, numbers = target.graph, NoNumbers()
        old = {
            id(v): Tensor(graph, graph.input(f"{self.name}: {i}", v.shape, np.dtype(np.float32)))
            for i, v in enumerate(self._variables)
        }
        tracing = Tracing(graph, old, Layouts(), training=True, random=numbers)
        if mask is not None:
            prediction = Tensor(graph, prediction.value)
            tracing.masks.put(prediction, mask)
        given = (target, prediction) if sample_weight is None else (target, prediction, sample_weight)
        tracing.apply(self._code, *given)
        found: dict[str, Tensor] = {}
        for index, variable in enumerate(self._variables):
            before, after = old[id(variable)].value, tracing.updates.get(id(variable))
            if after is not None:
                found[str(index)] = self._added(Tensor(graph, after.value), before, variable, graph.inputs)
        if not found:
            raise InputError(f"the metric {self.name!r} adds to none of its variables")
        for index in range(len(self._variables)):
            del graph.inputs[f"{self.name}: {index}"]  # what reads them is read by nothing
        return found

    def _added(self, after: Tensor, before: Value, variable: Any, inputs: Mapping[str, Value]) -> Tensor:
        """``after - before``, where that does not hang on any metric's old value."""
        states = {id(v) for name, v in inputs.items() if name.startswith(f"{self.name}: ")}
        total: Tensor | None = None
        at = after.value
        while at is not before:
            node = at.producer
            sides = [] if node is None else [v for v in node.inputs if v is not None]
            leading = [i for i, v in enumerate(sides) if _hangs_on(v, states)]
            plain = node is not None and (node.op, *leading) in (("add", 0), ("add", 1), ("sub", 0))
            if node is None or not (plain or (node.op in _UNCHANGED and sides[0].shape == at.shape)):
                raise InputError(
                    f"the metric {self.name!r} does something else to its variable {variable.name!r} than to add to "
                    "it; write it with assign_add, or as a function of y_true and y_pred"
                )
            if plain:
                term = Tensor(after.graph, sides[1 - leading[0]]).cast(np.float32).expand(after.shape)
                term = -term if node.op == "sub" else term
                total = term if total is None else total + term
            at = sides[leading[0] if leading else 0]
        return after.filled(0.0) if total is None else total

    def _figure(self, sums: Mapping[str, np.ndarray]) -> Any:
        for index, (variable, first) in enumerate(zip(self._variables, self._first)):
            value = first + sums.get(str(index), np.float64(0))
            variable.assign(np.asarray(value, str(variable.dtype)).reshape(first.shape))
        result = keras.tree.map_structure(lambda r: np.asarray(keras.ops.convert_to_numpy(r)), self._given.result())
        return keras.tree.map_structure(lambda r: float(r) if r.ndim == 0 else r, result)


def _within(metric: Any) -> list[Any]:
    """Metrics that a metric is made of."""
    return [part for inner in getattr(metric, "_metrics", ()) for part in (inner, *_within(inner))]


def _hangs_on(value: Value, wanted: set[int]) -> bool:
    """Whether ``value`` is computed from one of the values ``wanted`` (by ``id``)."""
    seen: set[int] = set()
    waiting = [value]
    while waiting:
        at = waiting.pop()
        if id(at) in wanted:
            return True
        if id(at) not in seen and at.producer is not None:
            waiting += [v for v in at.producer.inputs if v is not None]
        seen.add(id(at))
    return False
