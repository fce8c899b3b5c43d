"""Execution contexts: a plan bound to memory and a stream, and the loop that runs it."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from weakref import WeakKeyDictionary

import numpy as np

from a1400.backends.base import BoundLaunch, Buffer, Device
from a1400.engine.lowering import Launch
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
        self._external: dict[int, Buffer] = {}
        self._sites: dict[tuple[str, str], list[tuple[BoundLaunch, int, Ref]]] = {}
        for storage in plan.storages:
            if storage.kind in ("input", "output"):
                self._external[id(storage)] = device.alloc(storage.nbytes)
        self.launches = [self._bind(launch) for launch in plan.launches]
        self._zero_copy = device.info.unified_memory

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
        bound = program.bind(arguments, groups, group_size)
        for index, ref in sites:
            self._sites.setdefault((ref.storage.kind, ref.storage.name), []).append((bound, index, ref))
        return bound

    def _resolve(self, ref: Ref) -> Buffer:
        storage = ref.storage
        if storage.kind == "weight":
            whole, start = self._weights.buffer(storage), 0
        elif storage.kind == "arena":
            whole, start = self._arena, storage.offset
        else:
            whole, start = self._external[id(storage)], 0
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
        keep: list[Buffer] = []
        outputs: dict[str, np.ndarray] = {}
        reads: list[tuple[Buffer, np.ndarray]] = []
        for storage in self.plan.storages:
            if storage.kind == "input" and storage.nbytes:
                self._feed(storage, feeds[storage.name], keep)
        for name, value in self.plan.graph.outputs.items():
            outputs[name] = self.device.host_array(value.shape, value.dtype)
        for storage in self.plan.storages:
            if storage.kind == "output" and storage.nbytes:
                array = outputs[storage.name]
                buffer = self._wrapped(array)
                if buffer is None:
                    reads.append((self._external[id(storage)], array))
                    self._point("output", storage, self._external[id(storage)])
                else:
                    keep.append(buffer)
                    self._point("output", storage, buffer)
        self.stream.run(self.launches)
        for buffer, array in reads:
            self.stream.read(buffer, array)
        self.stream.synchronize()
        return outputs

    def _wrapped(self, array: np.ndarray) -> Buffer | None:
        if not self._zero_copy or array.nbytes < WRAP_THRESHOLD:
            return None
        return self.device.wrap(array)

    def _feed(self, storage: Storage, array: np.ndarray, keep: list[Buffer]) -> None:
        buffer = self._wrapped(array)
        if buffer is None:
            buffer = self._external[id(storage)]
            self.stream.write(buffer, array)
        else:
            keep.append(buffer)
        self._point("input", storage, buffer)

    def _point(self, kind: str, storage: Storage, buffer: Buffer) -> None:
        """Let every launch that uses an input or output use ``buffer``, unless it does already."""
        for bound, index, ref in self._sites.get((kind, storage.name), ()):
            part = buffer if ref.offset == 0 else buffer.sub(ref.offset, min(ref.nbytes, buffer.nbytes - ref.offset))
            bound.rebind(index, part)

    def time_launches(self, feeds: Mapping[str, np.ndarray]) -> list[float]:
        """Device seconds of each launch, run one by one."""
        self.run(feeds)
        return self.stream.time(self.launches)
