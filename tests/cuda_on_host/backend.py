"""The CUDA sources as a backend: devices that run a block's threads forward or in reverse, of several architectures.

A program that is right gives the same answer in both orders; one that lacks a barrier does not.  Asynchronous copies
and products are late where threads run forward, and done at once where they run in reverse.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from a1400.backends.base import Backend, BoundLaunch, Buffer, Device, DeviceInfo, Event, Stream
from a1400.errors import BackendNotFoundError, DeviceMemoryError
from tests.cuda_on_host import compiler, memory
from tests.cuda_on_host.compiler import Module
from tests.cuda_on_host.launch import HostCudaLaunch, HostCudaProgram, Manner
from tests.cuda_on_host.memory import ALIGNMENT, HostCudaBuffer

MEMORY = 4 << 30


@dataclass(frozen=True)
class Model:
    """An order of threads, and an architecture with the dynamic shared memory that its blocks may have."""

    order: str
    capability: int
    dynamic: int

    def __str__(self) -> str:
        return f"sm_{self.capability}-{self.order}"


MODELS = (
    Model("forward", 90, 227 * 1024),
    Model("reverse", 90, 227 * 1024),
    Model("forward", 80, 163 * 1024),
    Model("reverse", 75, 64 * 1024),
)
ORDERS = (0, 1)  # the devices that between them run every variant in both orders


def describe(index: int) -> DeviceInfo:
    """The device that stands for ``MODELS[index]``."""
    model = MODELS[index]
    return DeviceInfo(
        backend="cuda",
        index=index,
        name=f"CUDA sources on the host, sm_{model.capability}, threads {model.order}",
        vendor="GNU",
        platform="CUDA on the host",
        driver=compiler.version(),
        kind="gpu",
        memory=MEMORY,
        max_allocation=MEMORY,
        local_memory=compiler.SHARED_MEMORY,
        compute_units=16,
        max_group_size=compiler.MOST_THREADS,
        alignment=ALIGNMENT,
        fp16=True,
        fp64=True,
        subgroups=True,
        integer_dot=True,
        unified_memory=False,
        extensions=frozenset({f"sm_{model.capability}"}),
        dynamic_local_memory=model.dynamic,
    )


class HostCudaEvent(Event):
    """A time of the host's clock: work is done when it is enqueued."""

    def __init__(self) -> None:
        self.time = time.perf_counter()

    def seconds_since(self, earlier: Event) -> float:
        assert isinstance(earlier, HostCudaEvent)
        return self.time - earlier.time


class HostCudaStream(Stream):
    """Runs everything at once on the calling thread."""

    def run(self, launches: Sequence[BoundLaunch]) -> None:
        for launch in launches:
            assert isinstance(launch, HostCudaLaunch)
            launch.run()

    def time(self, launches: Sequence[BoundLaunch]) -> list[float]:
        result = []
        for launch in launches:
            before = HostCudaEvent()
            self.run([launch])
            result.append(HostCudaEvent().seconds_since(before))
        return result

    def write(self, buffer: Buffer, array: np.ndarray) -> None:
        self._range(buffer, array)[:] = np.ascontiguousarray(array).reshape(-1).view(np.uint8)

    def read(self, buffer: Buffer, array: np.ndarray) -> None:
        array.reshape(-1).view(np.uint8)[:] = self._range(buffer, array)

    @staticmethod
    def _range(buffer: Buffer, array: np.ndarray) -> np.ndarray:
        assert isinstance(buffer, HostCudaBuffer)
        if not array.flags.c_contiguous:
            raise ValueError("the host array must be C-contiguous")
        if array.nbytes > buffer.nbytes:
            raise ValueError(f"{array.nbytes} bytes do not fit a buffer of {buffer.nbytes} bytes")
        return buffer.memory[: array.nbytes]

    def record(self) -> HostCudaEvent:
        return HostCudaEvent()

    def synchronize(self) -> None:
        pass


class HostCudaDevice(Device):
    """The CPU, taken for a GPU."""

    def __init__(self, index: int, seconds: float | None) -> None:
        self.info = describe(index)
        self.manner = Manner(MODELS[index].order == "reverse", seconds)
        self._compiled: set[Module] = set()

    @property
    def compiled_programs(self) -> int:
        return len(self._compiled)

    def alloc(self, nbytes: int) -> HostCudaBuffer:
        if nbytes < 0:
            raise ValueError(f"cannot allocate {nbytes} bytes")
        if nbytes > self.info.max_allocation:
            raise DeviceMemoryError(f"{self.info.name} cannot allocate {nbytes:,} bytes: it has {MEMORY:,}")
        return memory.allocate(nbytes, contain=self.manner.seconds is not None)

    def wrap(self, array: np.ndarray) -> None:
        """Always None, as on a GPU with memory of its own."""

    def compile(self, name: str, source: str, entry: str, options: Sequence[str] = ()) -> HostCudaProgram:
        module = compiler.build(name, source, entry, tuple(options), self.info)
        self._compiled.add(module)
        return HostCudaProgram(name, module, self.info, self.manner)

    def stream(self) -> HostCudaStream:
        return HostCudaStream()


class HostCudaBackend(Backend):
    """Stands in for the CUDA module wherever there is a C++ compiler.

    ``seconds``: run each launch in a child process, for at most so long; a crash is then a :class:`DeviceError` too.
    """

    name = "cuda"

    def __init__(self, seconds: float | None = None) -> None:
        self._devices = [HostCudaDevice(i, seconds) for i in range(len(MODELS))] if compiler.compiler() else []

    def devices(self) -> list[DeviceInfo]:
        return [device.info for device in self._devices]

    def open(self, index: int) -> HostCudaDevice:
        if not 0 <= index < len(self._devices):
            raise BackendNotFoundError(f"there is no device cuda:{index} on the host. " + " ".join(self.problems()))
        return self._devices[index]

    def problems(self) -> list[str]:
        return [] if self._devices else ["There is no C++ compiler: install g++."]
