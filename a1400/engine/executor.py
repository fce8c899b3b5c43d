"""Execution contexts: a plan bound to memory and a stream, and the loop that runs it."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass
from weakref import WeakKeyDictionary

import numpy as np

from a1400.backends.base import BoundLaunch, Buffer, Device
from a1400.engine.lowering import Launch
from a1400.engine.outputs import OutputPool
from a1400.engine.plan import Plan
from a1400.memory.storage import Ref, Storage

#: host arrays below this many bytes are copied: making a buffer over them costs more than the copy
WRAP_THRESHOLD = 16384


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


@dataclass
class _Port:
    """An input or output of a context.

    ``buffer`` is the context's own memory for it; on devices that share the host's memory it lies over ``staging``
    (bytes), so small arrays go in and out by plain copies and large ones replace it for one run.  ``bound`` is the
    buffer that the launches at ``sites`` use now.
    """

    storage: Storage
    buffer: Buffer
    staging: np.ndarray | None
    bound: Buffer
    sites: list[tuple[BoundLaunch, int, Ref]]
    array: np.ndarray | None = None  # the input that ``bound`` lies over: the same array again needs nothing
    pool: OutputPool | None = None


class ExecutionContext:
    """One plan, ready to run: its arena, its stream, its launches with arguments bound.

    Used by one thread at a time; the model keeps a pool of them.
    """

    def __init__(self, plan: Plan, device: Device, weights: DeviceWeights) -> None:
        self.plan, self.device = plan, device
        self.stream = device.stream()
        self._arena = device.alloc(plan.arena.total)
        self._weights = weights
        self._subs: dict[tuple[int, int, int], Buffer] = {}
        self._ports: dict[Storage, _Port] = {}
        for storage in plan.storages:
            if storage.kind in ("input", "output"):
                self._ports[storage] = self._port(storage)
        self._inputs = [p for p in self._ports.values() if p.storage.kind == "input"]
        self._outputs = {p.storage.name: p for p in self._ports.values() if p.storage.kind == "output"}
        self._shares_memory = all(p.staging is not None for p in self._ports.values())
        self.launches = [self._bind(launch) for launch in plan.launches]

    def _port(self, storage: Storage) -> _Port:
        staging = buffer = None
        if self.device.shares_memory:
            staging = self.device.host_array((storage.nbytes,), np.dtype(np.uint8))
            buffer = self.device.wrap(staging)
        if buffer is not None:
            pooled = storage.kind == "output" and storage.nbytes >= WRAP_THRESHOLD
            return _Port(storage, buffer, staging, buffer, [], pool=OutputPool(self.device) if pooled else None)
        buffer = self.device.alloc(storage.nbytes)
        return _Port(storage, buffer, None, buffer, [])

    def _bind(self, launch: Launch) -> BoundLaunch:
        call = launch.call
        program = self.plan.programs[call.program_key]
        arguments, sites = [], []
        for index, argument in enumerate(call.arguments()):
            if isinstance(argument, Ref):
                if argument.storage.kind in ("input", "output"):
                    sites.append((index, argument))
                arguments.append(self._resolve(argument))
            else:
                arguments.append(argument)
        groups, group_size = call.geometry()
        bound = program.bind(arguments, groups, group_size, call.dynamic_bytes)
        for index, ref in sites:
            self._ports[ref.storage].sites.append((bound, index, ref))
        return bound

    def _resolve(self, ref: Ref) -> Buffer:
        storage = ref.storage
        if storage.kind == "weight":
            whole, start = self._weights.buffer(storage), 0
        elif storage.kind == "arena":
            whole, start = self._arena, storage.offset
        else:
            whole, start = self._ports[storage].buffer, 0
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

    def run(self, feeds: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Run once; ``feeds`` are checked, C-contiguous and of the plan's shapes.  Returns new arrays."""
        for port in self._inputs:
            self._feed(port, feeds[port.storage.name])
        outputs: dict[str, np.ndarray] = {}
        late: list[tuple[_Port, np.ndarray]] = []
        for name, value in self.plan.graph.outputs.items():
            port = self._outputs[name]
            if port.pool is None:
                array = np.empty(value.shape, value.dtype)
                late.append((port, array))
            else:
                array, buffer = port.pool.take(value.shape, value.dtype)
                self._point(port, buffer)
            outputs[name] = array
        self.stream.run(self.launches)
        if self._shares_memory:
            self.stream.synchronize()
        for port, array in late:
            if port.staging is not None:
                array.reshape(-1).view(np.uint8)[...] = port.staging[: array.nbytes]
            elif array.nbytes:
                self.stream.read(port.buffer, array)
        if not self._shares_memory:
            self.stream.synchronize()
        return outputs

    def _feed(self, port: _Port, array: np.ndarray) -> None:
        if port.staging is None:
            if array.nbytes:
                self.stream.write(port.buffer, array)
            return
        if array.nbytes >= WRAP_THRESHOLD:
            if array is port.array:
                return
            buffer = self.device.wrap(array)
            if buffer is not None:
                self._point(port, buffer)
                port.array = array
                return
        port.array = None
        port.staging[: array.nbytes] = array.reshape(-1).view(np.uint8)
        self._point(port, port.buffer)

    def _point(self, port: _Port, buffer: Buffer) -> None:
        """Let every launch that uses an input or output use ``buffer``, unless it does already."""
        if port.bound is buffer:
            return
        port.bound = buffer
        for bound, index, ref in port.sites:
            part = buffer if ref.offset == 0 else buffer.sub(ref.offset, min(ref.nbytes, buffer.nbytes - ref.offset))
            bound.rebind(index, part)

    def time_launches(self, feeds: Mapping[str, np.ndarray]) -> list[float]:
        """Device seconds of each launch, run one by one."""
        self.run(feeds)
        return self.stream.time(self.launches)
