"""Execution contexts: a plan bound to memory and a stream, and the loop that runs it."""

from __future__ import annotations

import threading
import time
from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np

from a1400.backends.base import Argument, BoundLaunch, Buffer, Device, Span, TensorMap
from a1400.engine.device_array import DeviceArray
from a1400.engine.lowering import Launch
from a1400.engine.plan import Plan
from a1400.engine.ports import InputPort, OutputPort, Port
from a1400.engine.recordings import Recordings
from a1400.engine.states import States
from a1400.errors import A1400Error
from a1400.memory.storage import Ref, Storage


class DeviceWeights:
    """Device buffers of one model's weights: each uploaded once, shared by every plan and context."""

    def __init__(self, device: Device) -> None:
        self._device = device
        self._buffers: WeakKeyDictionary[Storage, Buffer] = WeakKeyDictionary()
        self._lock = threading.Lock()
        self._stream = device.stream()

    def buffer(self, storage: Storage) -> Buffer:
        """The device buffer of a weight storage."""
        with self._lock:
            found = self._buffers.get(storage)
            if found is None:
                assert storage.array is not None
                found = self._device.wrap(storage.array)
                if found is None:
                    found = self._device.alloc(storage.nbytes)
                    if storage.nbytes:
                        self._stream.write(found, storage.array)
                self._buffers[storage] = found
            return found

    @property
    def nbytes(self) -> int:
        """Bytes held now."""
        return sum(b.nbytes for b in self._buffers.values())


class ExecutionContext:
    """One plan, ready to run: its arena, its stream, its launches with arguments bound.

    Used by one thread at a time; the model keeps a pool of them.  Each has a stream of its own, so that their copies
    and kernels run side by side where the device can.  ``states`` holds those of the plan's graph.
    """

    def __init__(self, plan: Plan, device: Device, weights: DeviceWeights, states: States | None = None) -> None:
        self.plan, self.device = plan, device
        self._states = states
        self.stream = device.stream()
        self._arena = device.alloc(plan.arena.total)
        self._weights = weights
        self._subs: dict[tuple[int, int, int], Buffer] = {}
        spare = device.alloc(device.info.alignment)
        storages = {(s.kind, s.name): s for s in plan.storages if s.kind in ("input", "output")}
        self._inputs = {
            name: InputPort(s, device, self.stream, spare) for (kind, name), s in storages.items() if kind == "input"
        }
        self._outputs = {
            name: OutputPort(storages["output", name], device, self.stream, spare, value.shape, value.dtype)
            for name, value in plan.graph.outputs.items()
            if name not in plan.graph.aliases
        }
        ports: list[Port] = [*self._inputs.values(), *self._outputs.values()]
        self._ports = {port.storage: port for port in ports}
        self.launches = [self._bind(launch) for launch in plan.launches]
        self._recordings = Recordings(self.stream, self.launches, ports)

    def _bind(self, launch: Launch) -> BoundLaunch:
        call = launch.call
        program = self.plan.programs[call.program_key]
        arguments: list[Argument] = []
        follow: list[tuple[Port, int, Ref | TensorMap]] = []
        for index, argument in enumerate(call.arguments()):
            ref = argument.buffer if isinstance(argument, TensorMap) else argument
            if not isinstance(ref, Ref):
                arguments.append(argument)
            elif ref.storage in self._ports:
                port = self._ports[ref.storage]
                arguments.append(port.first(argument))
                follow.append((port, index, argument))
            else:
                part = self._resolve(ref)
                arguments.append(replace(argument, buffer=part) if isinstance(argument, TensorMap) else part)
        groups, group_size = call.geometry()
        bound = program.bind(arguments, groups, group_size, call.dynamic_bytes)
        for port, index, site in follow:
            port.connect(bound, index, site)
        return bound

    def _resolve(self, ref: Ref) -> Buffer:
        """The buffer of a weight's, a state's or the arena's part."""
        storage = ref.storage
        if storage.kind == "weight":
            whole, start = self._weights.buffer(storage), 0
        elif storage.kind == "state":
            assert self._states is not None, f"no memory was given for state {storage.name!r}"
            whole, start = self._states.buffer(storage.name), 0
        else:
            whole, start = self._arena, storage.offset
        return self._part(whole, start + ref.offset, ref.nbytes)

    def _part(self, whole: Buffer, offset: int, nbytes: int) -> Buffer:
        if offset == 0 and nbytes >= whole.nbytes:
            return whole
        nbytes = min(nbytes, whole.nbytes - offset)
        key = (id(whole), offset, nbytes)
        found = self._subs.get(key)
        if found is None:
            found = self._subs[key] = whole.sub(offset, nbytes)
        return found

    def run(
        self, feeds: Mapping[str, np.ndarray | DeviceArray], on_device: Collection[str] = ()
    ) -> dict[str, Any]:
        """Run once; ``feeds`` are checked, dense and of the plan's shapes.  States change as the graph says.

        Returns new arrays: a :class:`DeviceArray` for each output named in ``on_device``, NumPy arrays for the others.
        The device is waited for once, at the end, so all results are complete.
        """
        try:
            for name, port in self._inputs.items():
                port.feed(feeds[name])
            for name, output in self._outputs.items():
                output.prepare(name in on_device)
            self._recordings.run()
            for output in self._outputs.values():
                output.fetch()
            self.stream.synchronize()
            return {name: output.result() for name, output in self._outputs.items()}
        except BaseException:
            with suppress(A1400Error):
                self.stream.synchronize()  # nothing may still use what is let go of now
            raise
        finally:
            for each in self._ports.values():
                each.release()

    def traced(self, feeds: Mapping[str, np.ndarray | DeviceArray]) -> tuple[list[float], list[Span]]:
        """Run once as :meth:`run` does, with every launch timed, recordings left aside.

        Returns when, on the clock of ``time.perf_counter``, the run began, inputs were bound, outputs were prepared,
        the launches were done, and the results were there; and the launches' spans.
        """
        clock = time.perf_counter
        times = [clock()]
        try:
            for name, port in self._inputs.items():
                port.feed(feeds[name])
            times.append(clock())
            for output in self._outputs.values():
                output.prepare(False)
            times.append(clock())
            spans, done = self.stream.trace(self.launches)
            times.append(done)
            reading = clock() - done
            for output in self._outputs.values():
                output.fetch()
            self.stream.synchronize()
            for output in self._outputs.values():
                output.result()
            times.append(clock() - reading)  # the run is over as soon as if nobody had read the times
            return times, spans
        except BaseException:
            with suppress(A1400Error):
                self.stream.synchronize()
            raise
        finally:
            for each in self._ports.values():
                each.release()

    def time_launches(self, feeds: Mapping[str, np.ndarray | DeviceArray]) -> list[float]:
        """Device seconds of each launch, run one by one."""
        self.run(feeds)
        for name, port in self._inputs.items():
            port.feed(feeds[name])
        for output in self._outputs.values():
            output.point(output.own)
        try:
            return self.stream.time(self.launches)
        finally:
            for port in self._inputs.values():
                port.release()
