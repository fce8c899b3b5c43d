"""The CUDA sources as a backend: two devices, which run a block's threads forward and in reverse.

A program that is right gives both the same answer; one that lacks a barrier does not.
"""

from __future__ import annotations

import ctypes
import mmap
import threading
import time
from collections.abc import Sequence

import numpy as np

from a1400.backends.base import (
    Argument,
    Backend,
    BoundLaunch,
    Buffer,
    Device,
    DeviceInfo,
    Event,
    Grid,
    Program,
    Stream,
)
from a1400.errors import BackendNotFoundError, DeviceError, DeviceMemoryError, KernelArgumentError
from tests.cuda_on_host import compiler
from tests.cuda_on_host.compiler import Launch, Module

ORDERS = ("forward", "reverse")
ALIGNMENT = 256
MEMORY = 4 << 30
_STACK = 64 * 1024
_MOST_GROUPS = (2**31 - 1, 65535, 65535)
_POISON = 0xFF  # NaN in every float format
_local = threading.local()


def describe(index: int) -> DeviceInfo:
    """The device that runs threads in order ``ORDERS[index]``."""
    return DeviceInfo(
        backend="cuda",
        index=index,
        name=f"CUDA sources on the host, threads {ORDERS[index]}",
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
    )


def _stacks() -> int:
    """Address of the calling thread's stacks for fibers; pages that are never touched cost nothing."""
    if not hasattr(_local, "stacks"):
        _local.stacks = mmap.mmap(-1, _STACK * compiler.MOST_THREADS)
        _local.address = ctypes.addressof(ctypes.c_char.from_buffer(_local.stacks))
    return int(_local.address)


class HostCudaBuffer(Buffer):
    """A range of a NumPy array that stands for device memory."""

    def __init__(self, memory: np.ndarray) -> None:
        self.memory = memory
        self.nbytes = memory.nbytes
        self.pointer = memory.ctypes.data

    def sub(self, offset: int, nbytes: int) -> HostCudaBuffer:
        if offset < 0 or nbytes < 0 or offset + nbytes > self.nbytes:
            raise ValueError(f"bytes {offset} to {offset + nbytes} are not inside a buffer of {self.nbytes} bytes")
        if offset % ALIGNMENT:
            raise ValueError(f"offset {offset} is not a multiple of the alignment, {ALIGNMENT} bytes")
        return HostCudaBuffer(self.memory[offset : offset + nbytes])


class HostCudaLaunch(BoundLaunch):
    """A module with its arguments as bytes, eight for each."""

    def __init__(
        self,
        name: str,
        module: Module,
        arguments: Sequence[Buffer | np.generic],
        groups: Grid,
        group_size: Grid,
        reverse: bool,
    ) -> None:
        self.name = name
        self.module = module
        self.empty = not (all(groups) and all(group_size))
        self._keep = list(arguments)
        count = len(arguments)
        self._values = np.zeros(count, np.uint64)
        self._addresses = self._values.ctypes.data + 8 * np.arange(count, dtype=np.uint64)
        self._sizes = np.zeros(count, np.uint32)
        for index, argument in enumerate(arguments):
            self.rebind(index, argument)
        self.raw = Launch(
            arguments=self._addresses.ctypes.data,
            sizes=self._sizes.ctypes.data,
            count=count,
            grid=tuple(int(n) for n in groups),
            block=tuple(int(n) for n in group_size),
            reverse=int(reverse),
            stack_bytes=_STACK,
        )

    def rebind(self, index: int, argument: Argument) -> None:
        if not 0 <= index < len(self._keep):
            raise KernelArgumentError(f"kernel {self.name!r} has no argument {index}, only {len(self._keep)}")
        if isinstance(argument, HostCudaBuffer):
            data = np.uint64(argument.pointer).tobytes()
        elif isinstance(argument, np.generic) and argument.nbytes <= 8:
            data = argument.tobytes()
        else:
            raise KernelArgumentError(
                f"argument {index} of kernel {self.name!r} must be a buffer or a NumPy scalar, "
                f"not {type(argument).__name__}"
            )
        self._values[index] = int.from_bytes(data.ljust(8, b"\0"), "little")
        self._sizes[index] = len(data)
        self._keep[index] = argument

    def run(self) -> None:
        """Run all blocks, here and now."""
        if self.empty:
            return
        self.raw.stacks = _stacks()
        with self.module.lock:
            failed = self.module.launch(ctypes.byref(self.raw))
        if failed:
            raise DeviceError(f"kernel {self.name!r} on the host: {self.raw.message.decode()}")


class HostCudaProgram(Program):
    """A loaded module."""

    def __init__(self, name: str, module: Module, reverse: bool) -> None:
        self.name = name
        self.module = module
        self.reverse = reverse

    def bind(
        self, arguments: Sequence[Argument], groups: Grid, group_size: Grid, local_bytes: int = 0
    ) -> HostCudaLaunch:
        if int(np.prod(group_size)) > self.module.bound:
            raise KernelArgumentError(
                f"kernel {self.name!r} runs blocks of at most {self.module.bound} threads, not {group_size}"
            )
        if any(count > most for count, most in zip(groups, _MOST_GROUPS, strict=True)):
            raise KernelArgumentError(f"a grid of {groups} blocks for kernel {self.name!r} exceeds {_MOST_GROUPS}")
        return HostCudaLaunch(self.name, self.module, arguments, groups, group_size, self.reverse)


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

    def __init__(self, index: int) -> None:
        self.info = describe(index)
        self._compiled: set[Module] = set()

    @property
    def compiled_programs(self) -> int:
        return len(self._compiled)

    def alloc(self, nbytes: int) -> HostCudaBuffer:
        if nbytes < 0:
            raise ValueError(f"cannot allocate {nbytes} bytes")
        if nbytes > self.info.max_allocation:
            raise DeviceMemoryError(f"{self.info.name} cannot allocate {nbytes:,} bytes: it has {MEMORY:,}")
        raw = np.full(nbytes + ALIGNMENT, _POISON, np.uint8)
        start = -raw.ctypes.data % ALIGNMENT
        return HostCudaBuffer(raw[start : start + nbytes])

    def wrap(self, array: np.ndarray) -> None:
        """Always None, as on a GPU with memory of its own."""

    def compile(self, name: str, source: str, entry: str, options: Sequence[str] = ()) -> HostCudaProgram:
        module = compiler.build(name, source, entry, tuple(options), self.info)
        self._compiled.add(module)
        return HostCudaProgram(name, module, ORDERS[self.info.index] == "reverse")

    def stream(self) -> HostCudaStream:
        return HostCudaStream()


class HostCudaBackend(Backend):
    """Stands in for the CUDA module wherever there is a C++ compiler."""

    name = "cuda"

    def __init__(self) -> None:
        self._devices = [HostCudaDevice(i) for i in range(len(ORDERS))] if compiler.compiler() else []

    def devices(self) -> list[DeviceInfo]:
        return [device.info for device in self._devices]

    def open(self, index: int) -> HostCudaDevice:
        if not 0 <= index < len(self._devices):
            raise BackendNotFoundError(f"there is no device cuda:{index} on the host. " + " ".join(self.problems()))
        return self._devices[index]

    def problems(self) -> list[str]:
        return [] if self._devices else ["There is no C++ compiler: install g++."]
