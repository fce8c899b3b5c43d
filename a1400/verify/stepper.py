"""Run a plan launch by launch, with memory of its own, and look into any buffer on the way."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from a1400.backends.base import Argument, BoundLaunch, Buffer, Device, TensorMap
from a1400.engine.lowering import Launch
from a1400.engine.plan import Plan, make_plan
from a1400.engine.weight_store import WeightStore
from a1400.graph.graph import Graph
from a1400.memory.storage import Ref, Storage

_POISON = 0xFF  # NaN in every float format: what is read before it was written shows


def allowed(precision: str | None) -> frozenset[str]:
    """The roundings that a model's precision lets kernels make."""
    return frozenset({"tf32"}) if precision == "tf32" else frozenset()


class Stepper:
    """A graph, lowered as the engine does, on a device.  Runs as often as wanted; each run starts on poison.

    Simpler than the engine's own contexts: every input and output has a buffer of its own.
    """

    def __init__(self, graph: Graph, report: Any, device: Device, precision: str | None = None) -> None:
        self.graph, self.device = graph, device
        self.plan: Plan = make_plan(graph, report, device, WeightStore(), None, allowed(precision))
        self._stream = device.stream()
        self._whole: dict[Storage, Buffer] = {}
        self._arena = device.alloc(max(self.plan.arena.total, 1))
        for storage in self.plan.storages:
            if storage.kind in ("input", "output"):
                self._whole[storage] = device.alloc(max(storage.nbytes, 1))
        self._bound = [self._bind(launch) for launch in self.plan.launches]

    def _bind(self, launch: Launch) -> BoundLaunch:
        call = launch.call
        arguments: list[Argument] = []
        for argument in call.arguments():
            if isinstance(argument, TensorMap):
                arguments.append(replace(argument, buffer=self.buffer(argument.buffer)))
            else:
                arguments.append(self.buffer(argument) if isinstance(argument, Ref) else argument)
        groups, group_size = call.geometry()
        return self.plan.programs[call.program_key].bind(arguments, groups, group_size, call.dynamic_bytes)

    def buffer(self, ref: Ref) -> Buffer:
        """The device memory that a launch's argument stands for."""
        storage = ref.storage
        start = ref.offset
        if storage.kind == "arena":
            whole, start = self._arena, start + storage.offset
        else:
            whole = self._weight(storage) if storage.kind == "weight" else self._whole[storage]
        return whole if start == 0 and ref.nbytes >= whole.nbytes else whole.sub(start, ref.nbytes)

    def _weight(self, storage: Storage) -> Buffer:
        if storage not in self._whole:
            assert storage.array is not None
            self._whole[storage] = self.device.alloc(max(storage.nbytes, 1))
            if storage.nbytes:
                self._stream.write(self._whole[storage], storage.array)
        return self._whole[storage]

    def read(self, ref: Ref, dtype: np.dtype) -> np.ndarray:
        """What an argument holds now, as far as it is whole elements."""
        array = np.empty(ref.nbytes // dtype.itemsize, dtype)
        if array.nbytes:
            self._stream.read(self.buffer(ref), array)
        return array

    def feed(self, feeds: Mapping[str, np.ndarray]) -> None:
        """Start afresh with these inputs."""
        if self.plan.arena.total:
            self._stream.write(self._arena, np.full(self._arena.nbytes, _POISON, np.uint8))
        for storage, buffer in self._whole.items():
            if storage.kind == "input" and storage.nbytes:
                self._stream.write(buffer, np.ascontiguousarray(feeds[storage.name]))

    def step(self, number: int) -> None:
        """Run one launch and wait for it."""
        self._stream.run([self._bound[number]])
        self._stream.synchronize()

    def time(self, feeds: Mapping[str, np.ndarray]) -> list[float]:
        """Run everything launch by launch; the device seconds of each."""
        self.feed(feeds)
        return self._stream.time(self._bound)

    def run(self, feeds: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Run everything; the graph's outputs by name."""
        self.feed(feeds)
        self._stream.run(self._bound)
        self._stream.synchronize()
        outputs = {s.name: buffer for s, buffer in self._whole.items() if s.kind == "output"}
        result = {}
        for name, value in self.graph.outputs.items():
            array = np.empty(value.shape, value.dtype)
            if array.nbytes:
                self._stream.read(outputs[name], array)
            result[name] = array
        return result
