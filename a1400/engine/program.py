"""A graph, compiled for a device: any graph, such as a training step, where :class:`~a1400.engine.model.Model` is for
model files.  Its states lie in a :class:`~a1400.engine.states.States` that programs share."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np

from a1400.backends.base import Device
from a1400.engine.contexts import PlanEntry, host_memory
from a1400.engine.device_array import DeviceArray, adopt
from a1400.engine.executor import DeviceWeights
from a1400.engine.explain import Explanation
from a1400.engine.feeds import as_array, check_shape
from a1400.engine.memory_report import MemoryReport
from a1400.engine.plan import Plan, make_plan
from a1400.engine.recompute import recompute_within
from a1400.engine.states import States
from a1400.engine.weight_store import WeightStore
from a1400.errors import InputError
from a1400.graph.graph import Graph
from a1400.optimizer import optimize

__all__ = ["Program", "States", "Weights"]


class Weights:
    """Constants of several programs on one device: each packed and uploaded once."""

    def __init__(self, device: Device) -> None:
        self.store, self.buffers = WeightStore(), DeviceWeights(device)
        self.memo: dict[Any, Any] = {}  # what passes computed from them


class Program:
    """``graph`` on a device, to be run by one thread at a time.

    ``graph`` is optimised in place.  ``weights`` is what programs share of their constants.  ``disable`` and
    ``precision`` are as for :func:`a1400.load`.  ``memory_limit`` bounds the bytes of states, weights and activations
    together: where it asks for it, cheap activations are computed again instead of kept, with the same results.

    Raises :class:`InputError` for states that are not in ``states``, and :class:`~a1400.errors.DeviceMemoryError` with
    the numbers when the limit cannot be kept.
    """

    def __init__(
        self, graph: Graph, device: Device, states: States, *, weights: Weights | None = None,
        disable: Collection[str] = (), memory_limit: int | None = None, precision: str = "fp32",
    ) -> None:  # fmt: skip
        states.check(graph)
        weights = weights or Weights(device)
        self._device, self._precision = device, precision
        allow = frozenset({"tf32"}) if precision == "tf32" else frozenset[str]()
        with host_memory():
            report = optimize(graph, disable=disable, memo=weights.memo, info=device.info, precision=precision)
            if memory_limit is not None:
                recompute_within(memory_limit, graph, report, device.info, weights.store, allow)
            plan = make_plan(graph, report, device, weights.store, memory_limit, allow)
        self._entry = PlanEntry(plan, device, weights.buffers, lambda _: False, states)
        self._inputs = {name: value for name, value in graph.inputs.items() if name not in graph.states}

    @property
    def plan(self) -> Plan:
        """What runs."""
        return self._entry.plan

    def run(self, feeds: Mapping[str, Any], on_device: Collection[str] = ()) -> dict[str, Any]:
        """Run once: input name -> array to output name -> new array, updates having gone to the states.

        Inputs are arrays (or what :meth:`a1400.Model.run` takes) of the graph's dtypes and shapes; outputs named in
        ``on_device`` stay there as :class:`DeviceArray`.  Blocks until all is done.  Raises :class:`InputError`.
        """
        for name in feeds:
            if name not in self._inputs:
                raise InputError(f"there is no input {name!r}; the inputs are {', '.join(self._inputs)}")
        arrays = {name: self._array(name, feeds) for name in self._inputs}
        with self._entry.context() as context:
            return context.run(arrays, on_device)

    def _array(self, name: str, feeds: Mapping[str, Any]) -> np.ndarray | DeviceArray:
        if name not in feeds:
            raise InputError(f"input {name!r} is missing; the graph needs {', '.join(self._inputs)}")
        value = self._inputs[name]
        given = adopt(name, feeds[name], self._device)
        array = given if isinstance(given, DeviceArray) else as_array(name, given, value.dtype)
        if array.dtype != value.dtype:
            raise InputError(f"input {name!r} is {array.dtype}, the graph needs {value.dtype}; convert with .astype()")
        check_shape(name, array.shape, value.shape, {})
        return array if isinstance(array, DeviceArray) else np.ascontiguousarray(array).reshape(value.shape)

    def explain(self) -> Explanation:
        """Passes, launches and kernels, and what became of the graph's nodes by the names of their sources."""
        info, graph = self._device.info, self.plan.graph
        nodes = {source: node.op for node in graph.nodes for source in node.sources}
        return Explanation(graph.name, f"{info.name} ({info.id})", nodes, [self.plan], self._precision)

    def memory(self) -> MemoryReport:
        """Bytes it needs."""
        return MemoryReport.of(self._entry)

    def time_launches(self, feeds: Mapping[str, Any]) -> list[tuple[str, float]]:
        """(kernel, device seconds) of every launch of a run, one after the other.  Runs twice: states change."""
        arrays = {name: self._array(name, feeds) for name in self._inputs}
        with self._entry.context() as context:
            seconds = context.time_launches(arrays)
        names = [f"{x.call.spec.name}/{x.call.variant.name}" for x in self.plan.launches]
        return list(zip(names, seconds, strict=True))
