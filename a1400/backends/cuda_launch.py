"""CUDA programs, bound launches, streams, events and graphs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from a1400.backends.base import Argument, BoundLaunch, Buffer, DeviceInfo, Event, Grid, Program, Stream
from a1400.errors import A1400Error, DeviceError, DeviceMemoryError, KernelArgumentError

if TYPE_CHECKING:
    from a1400.backends.cuda import CUDADevice

_MAX_GROUPS = (2**31 - 1, 65535, 65535)
_HOST_TO_DEVICE = 1  # cudaMemcpyKind
_DEVICE_TO_HOST = 2
# What CuPy packs by itself, byte for byte; other NumPy scalars (bfloat16) go as unsigned integers of their size.
_PACKED = frozenset("?bhilqBHILQefd")


def device_error(error: BaseException, info: DeviceInfo, doing: str) -> A1400Error:
    """The library's error for a CUDA error met while ``doing`` something on a device."""
    text = f"{info.name} ({info.id}) failed while {doing}: {error}"
    if isinstance(error, MemoryError) or "cudaErrorMemoryAllocation" in str(error):
        return DeviceMemoryError(f"{text}; its memory is {info.memory:,} bytes")
    return DeviceError(text)


def pack(name: str, index: int, argument: Argument) -> np.generic:
    """The value CuPy shall pass: a buffer's address as 8 bytes, a scalar's own bytes (never a Python number)."""
    if isinstance(argument, Buffer):
        return np.uint64(argument.pointer)  # type: ignore[attr-defined]
    if not isinstance(argument, np.generic):
        raise KernelArgumentError(
            f"argument {index} of kernel {name!r} must be a buffer or a NumPy scalar, not {type(argument).__name__}"
        )
    if argument.dtype.char in _PACKED:
        return argument
    if argument.dtype.itemsize == 2:
        return argument.view(np.uint16)
    raise KernelArgumentError(f"argument {index} of kernel {name!r} cannot be {argument.dtype}")


class CUDAProgram(Program):
    """A loaded function."""

    def __init__(self, device: CUDADevice, function: Any, limit: int, name: str) -> None:
        self.device = device
        self.function = function
        self.limit = limit
        self.name = name

    def bind(
        self, arguments: Sequence[Argument], groups: Grid, group_size: Grid, local_bytes: int = 0
    ) -> CUDALaunch:
        if int(np.prod(group_size)) > self.limit:
            raise KernelArgumentError(
                f"kernel {self.name!r} on {self.device.info.name} runs blocks of at most {self.limit} threads, "
                f"not {group_size}"
            )
        if any(count > most for count, most in zip(groups, _MAX_GROUPS, strict=True)):
            raise KernelArgumentError(f"a grid of {groups} blocks for kernel {self.name!r} exceeds {_MAX_GROUPS}")
        return CUDALaunch(self.name, self.function, arguments, groups, group_size)


class CUDALaunch(BoundLaunch):
    """A function with its packed arguments; ``grid`` is None when the launch is empty."""

    __slots__ = ("_keep", "block", "function", "grid", "name", "packed")

    def __init__(
        self,
        name: str,
        function: Any,
        arguments: Sequence[Argument],
        groups: Grid,
        group_size: Grid,
    ) -> None:
        self.name = name
        self.function = function
        self.packed = tuple(pack(name, index, argument) for index, argument in enumerate(arguments))
        self._keep: list[Argument] = list(arguments)  # addresses do not keep memory alive
        # CuPy would turn a size of 0 into 1.
        self.grid = tuple(int(count) for count in groups) if all(groups) and all(group_size) else None
        self.block = tuple(int(size) for size in group_size)

    def rebind(self, index: int, argument: Argument) -> None:
        if not 0 <= index < len(self._keep):
            raise KernelArgumentError(f"kernel {self.name!r} has no argument {index}, only {len(self._keep)}")
        value = pack(self.name, index, argument)
        self.packed = (*self.packed[:index], value, *self.packed[index + 1 :])
        self._keep[index] = argument


class CUDAEvent(Event):
    """A CUDA event with timing."""

    def __init__(self, stream: CUDAStream, event: Any) -> None:
        self.stream = stream
        self.event = event

    def seconds_since(self, earlier: Event) -> float:
        assert isinstance(earlier, CUDAEvent)
        device = self.stream.device
        try:
            with device.active():
                self.event.synchronize()
                return float(device.cupy.cuda.get_elapsed_time(earlier.event, self.event)) * 1e-3
        except RuntimeError as error:
            raise device_error(error, device.info, "reading a timer") from error


class Recording:
    """A CUDA graph, with the launches whose memory it uses."""

    def __init__(self, graph: Any, launches: Sequence[BoundLaunch]) -> None:
        self.graph = graph
        self.launches = list(launches)


class CUDAStream(Stream):
    """A CUDA stream that does not wait for the legacy default stream."""

    def __init__(self, device: CUDADevice) -> None:
        self.device = device
        try:
            with device.active():
                self.stream = device.cupy.cuda.Stream(non_blocking=True)
        except RuntimeError as error:
            raise device_error(error, device.info, "making a stream") from error

    def run(self, launches: Sequence[BoundLaunch]) -> None:
        stream = self.stream
        launch: Any = None
        try:
            with self.device.active():
                for launch in launches:
                    if launch.grid is not None:
                        launch.function(launch.grid, launch.block, launch.packed, 0, stream)
        except RuntimeError as error:
            name = getattr(launch, "name", "?")
            raise device_error(error, self.device.info, f"launching kernel {name!r}") from error

    def time(self, launches: Sequence[BoundLaunch]) -> list[float]:
        marks: list[CUDAEvent] = []
        for launch in launches:
            marks.append(self.record())
            self.run([launch])
            marks.append(self.record())
        self.synchronize()
        return [marks[i + 1].seconds_since(marks[i]) for i in range(0, len(marks), 2)]

    def write(self, buffer: Buffer, array: np.ndarray) -> None:
        # The copy from pinned memory is asynchronous, so wait before the caller reuses the array.
        self._copy("writing", buffer, array)

    def read(self, buffer: Buffer, array: np.ndarray) -> None:
        self._copy("reading", buffer, array)

    def _copy(self, doing: str, buffer: Buffer, array: np.ndarray) -> None:
        if not array.flags.c_contiguous:
            raise ValueError("the host array must be C-contiguous")
        if array.nbytes > buffer.nbytes:
            raise ValueError(f"{doing} {array.nbytes} bytes does not fit a buffer of {buffer.nbytes} bytes")
        if doing == "reading" and not array.flags.writeable:
            raise ValueError("the host array to read into must be writable")
        host = array.ctypes.data
        pointer = buffer.pointer  # type: ignore[attr-defined]
        try:
            with self.device.active():
                copy = self.device.cupy.cuda.runtime.memcpyAsync
                if array.nbytes and doing == "writing":
                    copy(pointer, host, array.nbytes, _HOST_TO_DEVICE, self.stream.ptr)
                elif array.nbytes:
                    copy(host, pointer, array.nbytes, _DEVICE_TO_HOST, self.stream.ptr)
                self.stream.synchronize()
        except RuntimeError as error:
            raise device_error(error, self.device.info, f"{doing} {array.nbytes} bytes") from error

    def record(self) -> CUDAEvent:
        try:
            with self.device.active():
                event = self.device.cupy.cuda.Event()
                event.record(self.stream)
        except RuntimeError as error:
            raise device_error(error, self.device.info, "recording an event") from error
        return CUDAEvent(self, event)

    def synchronize(self) -> None:
        try:
            with self.device.active():
                self.stream.synchronize()
        except RuntimeError as error:
            raise device_error(error, self.device.info, "waiting for enqueued work") from error

    def capture(self, launches: Sequence[BoundLaunch]) -> Recording | None:
        """A CUDA graph of the launches with the arguments they have now; None if it cannot be recorded.

        A later :meth:`CUDALaunch.rebind` does not change the graph: capture again.
        """
        if not any(launch.grid is not None for launch in launches):  # type: ignore[attr-defined]
            return None
        try:
            with self.device.active():
                self.stream.begin_capture()
                try:
                    self.run(launches)
                finally:
                    graph = self.stream.end_capture()
        except (RuntimeError, A1400Error):
            return None  # the launches can always be run one by one
        return Recording(graph, launches)

    def replay(self, recording: Any) -> None:
        try:
            with self.device.active():
                recording.graph.launch(self.stream)
        except RuntimeError as error:
            raise device_error(error, self.device.info, "replaying a recording") from error
