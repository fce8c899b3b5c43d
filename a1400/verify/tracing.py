"""From a model and its inputs to graphs, and what may be asked of their values."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from a1400 import dtypes
from a1400.backends.base import Device
from a1400.engine.model import Model
from a1400.frontends.errors import NeedsValue
from a1400.graph.draws import STATE
from a1400.graph.extract import extract
from a1400.graph.graph import Graph, Value, evaluate
from a1400.optimizer import optimize

#: the largest error of an output, relative to its largest magnitude, by the coarsest floating type that a model uses
TOLERANCE = {"f64": 1e-9, "f32": 1e-4, "tf32": 1e-2, "f16": 2e-2, "bf16": 1e-1}
_ORDER = tuple(TOLERANCE)
#: what random numbers are drawn with
SEED = 1


@dataclass
class Traced:
    """A model's source and one set of inputs: gives a fresh graph each time, and plans of it.

    ``feeds`` grows by what the graph reads besides the model's inputs (``given`` stays as it was): random numbers'
    state, and what tracing tells it.
    """

    source: Any
    feeds: Mapping[str, np.ndarray]
    disable: tuple[str, ...] = ()
    precision: str | None = None
    memo: dict[Any, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.given = dict(self.feeds)

    def run(self, model: Model) -> dict[str, np.ndarray]:
        """The outputs of ``model``, which draws the random numbers that the reference draws."""
        model.seed(SEED)
        return model.run(self.given)

    def graph(self) -> Graph:
        """The graph as the front-end gives it; inputs whose values steer shapes are taken as they are, and what shapes
        depend on besides is computed with the NumPy references."""
        steering: set[str] = set()
        shapes = {name: array.shape for name, array in self.given.items()}
        while True:
            try:
                graph = self.source.graph(shapes, {name: self.given[name] for name in steering}, self._read)
                self.feeds = self._fed(graph)
                return graph
            except NeedsValue as need:
                if set(need.inputs) <= steering:
                    raise
                steering |= set(need.inputs)

    def _read(self, graph: Graph, value: Value, more: Sequence[Value]) -> np.ndarray:
        return evaluate(extract(graph, {"value": value}, {}), self._fed(graph))["value"]

    def _fed(self, graph: Graph) -> dict[str, np.ndarray]:
        drawn = {STATE: np.array([SEED, 0, 0], np.uint32)} if STATE in graph.inputs else {}
        return {**self.given, **graph.told, **drawn}  # every device draws the same random numbers

    def optimised(self, device: Device, disable: Collection[str] | None = None) -> tuple[Graph, Any]:
        """A fresh graph after the optimizer, and the optimizer's report."""
        graph = self.graph()
        chosen = self.disable if disable is None else tuple(disable)
        report = optimize(graph, disable=chosen, memo=self.memo, info=device.info, precision=self.precision or "fp32")
        return graph, report


def coarsest(graph: Graph, precision: str | None = None) -> str:
    """The coarsest floating type in a graph, or that the caller accepts: a key of :data:`TOLERANCE`."""
    values: list[Value] = [*graph.inputs.values(), *(o for n in graph.nodes for o in n.outputs), *graph.constants()]
    found = {dtypes.short(v.dtype) for v in values if dtypes.is_float(v.dtype)}
    found.add({"fp16": "f16", "fp32": "f32", None: "f32"}.get(precision, str(precision)))
    if found == {"f64", "f32"} and all(v.dtype != np.float32 for v in values):
        return "f64"
    return max(found & set(_ORDER), key=_ORDER.index)
