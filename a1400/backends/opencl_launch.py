"""OpenCL programs, bound launches, streams and events."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from a1400.backends.base import Argument, BoundLaunch, Buffer, DeviceInfo, Event, Grid, Program, Span, Stream
from a1400.backends.opencl_info import pyopencl
from a1400.errors import A1400Error, DeviceError, DeviceMemoryError, KernelArgumentError, KernelCompileError

if TYPE_CHECKING:
    from a1400.backends.opencl import OpenCLDevice


def device_error(error: Any, info: DeviceInfo, doing: str) -> A1400Error:
    """The library's error for a ``pyopencl.Error`` met while ``doing`` something on a device."""
    codes = pyopencl().status_code
    text = f"{info.name} ({info.id}) failed while {doing}: {error}"
    if getattr(error, "code", None) in (codes.MEM_OBJECT_ALLOCATION_FAILURE, codes.OUT_OF_HOST_MEMORY):
        return DeviceMemoryError(
            f"{text}; its largest allocation is {info.max_allocation:,} bytes and its memory {info.memory:,} bytes"
        )
    return DeviceError(text)


def host_bytes(array: np.ndarray) -> np.ndarray:
    """The bytes of a C-contiguous array, as an array: not every dtype (bfloat16) exports a buffer."""
    if not array.flags.c_contiguous:
        raise ValueError("the host array must be C-contiguous")
    return array.reshape(-1).view(np.uint8)


class OpenCLProgram(Program):
    """A built ``cl_program`` and the name of its kernel."""

    def __init__(self, device: OpenCLDevice, program: Any, name: str, entry: str) -> None:
        self.device = device
        self.program = program
        self.name = name
        self.entry = entry

    def bind(
        self, arguments: Sequence[Argument], groups: Grid, group_size: Grid, local_bytes: int = 0
    ) -> OpenCLLaunch:
        if local_bytes:
            raise KernelArgumentError(f"kernel {self.name!r} asks for local memory by size, which OpenCL launches lack")
        cl = pyopencl()
        try:
            kernel = cl.Kernel(self.program, self.entry)
            count = kernel.num_args
            limit = kernel.get_work_group_info(cl.kernel_work_group_info.WORK_GROUP_SIZE, self.device.handle)
        except cl.Error as error:
            raise KernelCompileError(f"program {self.name!r} has no usable kernel {self.entry!r}: {error}") from error
        if count != len(arguments):
            raise KernelArgumentError(f"kernel {self.name!r} takes {count} arguments, {len(arguments)} were given")
        if int(np.prod(group_size)) > limit:
            raise KernelArgumentError(
                f"kernel {self.name!r} on {self.device.info.name} runs work-groups of at most {limit} work-items, "
                f"not {group_size}"
            )
        launch = OpenCLLaunch(self.name, kernel, groups, group_size)
        for index, argument in enumerate(arguments):
            launch.rebind(index, argument)
        return launch


class OpenCLLaunch(BoundLaunch):
    """A kernel object of its own, its arguments set, and its sizes as tuples ready for the call.

    Trailing dimensions of 1 are dropped (kernels see the same ids and sizes): a shorter call.
    ``global_size`` is None when the launch is empty.
    """

    __slots__ = ("_arguments", "global_size", "group_size", "kernel", "name")

    def __init__(self, name: str, kernel: Any, groups: Grid, group_size: Grid) -> None:
        self.name = name
        self.kernel = kernel
        rank = 3
        while rank > 1 and groups[rank - 1] == 1 and group_size[rank - 1] == 1:
            rank -= 1
        sizes = tuple(int(g) * int(s) for g, s in zip(groups[:rank], group_size[:rank], strict=True))
        self.global_size: tuple[int, ...] | None = sizes if all(sizes) else None
        self.group_size = tuple(int(size) for size in group_size[:rank])
        # A cl_kernel does not keep its memory objects alive.
        self._arguments: dict[int, Any] = {}

    def rebind(self, index: int, argument: Argument) -> None:
        cl = pyopencl()
        try:
            if isinstance(argument, Buffer):
                self.kernel.set_arg(index, argument.memory)  # type: ignore[attr-defined]
            elif isinstance(argument, np.generic):
                # Raw bytes keep the exact type; this inner call is 60 times quicker than set_arg for scalars.
                self.kernel._set_arg_buf(index, argument.tobytes())
            else:
                raise KernelArgumentError(
                    f"argument {index} of kernel {self.name!r} must be a buffer or a NumPy scalar, "
                    f"not {type(argument).__name__}"
                )
        except cl.Error as error:
            kind = getattr(argument, "dtype", "buffer")
            raise KernelArgumentError(f"argument {index} of kernel {self.name!r} cannot be {kind}: {error}") from error
        self._arguments[index] = argument


class OpenCLEvent(Event):
    """A host time at which everything enqueued before was done, in nanoseconds."""

    def __init__(self, nanoseconds: int) -> None:
        self.nanoseconds = nanoseconds

    def seconds_since(self, earlier: Event) -> float:
        assert isinstance(earlier, OpenCLEvent)
        return (self.nanoseconds - earlier.nanoseconds) * 1e-9


class OpenCLStream(Stream):
    """An in-order command queue; a second one, with profiling, exists only once :meth:`time` is used."""

    def __init__(self, device: OpenCLDevice) -> None:
        cl = pyopencl()
        self.device = device
        self._lock = threading.Lock()
        self._profiling: Any = None
        try:
            self.queue = cl.CommandQueue(device.context, device.handle)
        except cl.Error as error:
            raise device_error(error, device.info, "making a queue") from error
        self._enqueue = cl.enqueue_nd_range_kernel
        self._error = cl.Error

    def run(self, launches: Sequence[BoundLaunch]) -> None:
        queue = self.queue
        enqueue = self._enqueue
        launch: Any = None
        try:
            for launch in launches:
                if launch.global_size is not None:
                    enqueue(queue, launch.kernel, launch.global_size, launch.group_size)
            # no flush: whatever waits for the queue flushes it, and CPU runtimes start at once
        except self._error as error:
            raise device_error(error, self.device.info, f"launching kernel {_name(launch)!r}") from error

    def time(self, launches: Sequence[BoundLaunch]) -> list[float]:
        cl = pyopencl()
        self.synchronize()
        seconds: list[float] = []
        launch: Any = None
        with self._lock:
            try:
                queue = self._profiling_queue()
                for launch in launches:
                    if launch.global_size is None:
                        seconds.append(0.0)
                        continue
                    event = self._enqueue(queue, launch.kernel, launch.global_size, launch.group_size)
                    event.wait()
                    seconds.append((event.profile.end - event.profile.start) * 1e-9)
            except cl.Error as error:
                raise device_error(error, self.device.info, f"timing kernel {_name(launch)!r}") from error
        return seconds

    def _profiling_queue(self) -> Any:
        cl = pyopencl()
        if self._profiling is None:
            flag = cl.command_queue_properties.PROFILING_ENABLE
            self._profiling = cl.CommandQueue(self.device.context, self.device.handle, properties=flag)
        return self._profiling

    def trace(self, launches: Sequence[BoundLaunch]) -> tuple[list[Span], float]:
        self.synchronize()
        calls: list[tuple[float, float, Any]] = []
        launch: Any = None
        clock = time.perf_counter
        with self._lock:
            try:
                queue = self._profiling_queue()
                for launch in launches:
                    called = clock()
                    event = None
                    if launch.global_size is not None:
                        event = self._enqueue(queue, launch.kernel, launch.global_size, launch.group_size)
                    calls.append((called, clock(), event))
                queue.finish()
                done = clock()
                return device_spans(calls), done
            except self._error as error:
                raise device_error(error, self.device.info, f"timing kernel {_name(launch)!r}") from error

    def write(self, buffer: Buffer, array: np.ndarray) -> None:
        self._copy("writing", buffer, array)

    def read(self, buffer: Buffer, array: np.ndarray) -> None:
        self._copy("reading", buffer, array)

    def _copy(self, doing: str, buffer: Buffer, array: np.ndarray) -> None:
        if array.nbytes > buffer.nbytes:
            raise ValueError(f"{doing} {array.nbytes} bytes does not fit a buffer of {buffer.nbytes} bytes")
        if array.nbytes == 0:
            self.synchronize()
            return
        cl = pyopencl()
        raw = host_bytes(array)
        memory = buffer.memory  # type: ignore[attr-defined]
        try:
            if doing == "writing":
                cl.enqueue_copy(self.queue, memory, raw, is_blocking=True)
            else:
                cl.enqueue_copy(self.queue, raw, memory, is_blocking=True)
        except cl.Error as error:
            raise device_error(error, self.device.info, f"{doing} {array.nbytes} bytes") from error

    def record(self) -> OpenCLEvent:
        """Mark the end of the queue; waits for it, since an unprofiled queue has no device clock."""
        self.synchronize()
        return OpenCLEvent(time.perf_counter_ns())

    def synchronize(self) -> None:
        try:
            self.queue.finish()
        except self._error as error:
            raise device_error(error, self.device.info, "waiting for enqueued work") from error


def device_spans(calls: Sequence[tuple[float, float, Any]]) -> list[Span]:
    """When profiled events ran, on the host's clock; each call is (called, returned, event, or None for no work).

    The driver stamps an event as queued during the host's call, so every call bounds how far the clocks are apart.
    """
    stamps = [event and [getattr(event.profile, name) * 1e-9 for name in ("queued", "start", "end")]
              for _, _, event in calls]  # fmt: skip
    bounds = [(s[0] - returned, s[0] - called) for (called, returned, _), s in zip(calls, stamps) if s]
    apart = 0.0
    if bounds:
        low, high = max(low for low, _ in bounds), min(high for _, high in bounds)
        if low > high:  # stamps are not what they should be: the middle of all
            low = high = sorted((low + high) / 2 for low, high in bounds)[len(bounds) // 2]
        apart = (low + high) / 2
    spans = []
    for (called, returned, _), s in zip(calls, stamps):
        start = s[1] - apart if s else returned
        spans.append(Span(called, returned, start, max(s[2] - apart if s else returned, start)))
    return spans


def _name(launch: Any) -> str:
    return getattr(launch, "name", "?")
