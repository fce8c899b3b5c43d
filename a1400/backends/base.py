"""What a backend is: devices, buffers, programs, bound launches.

This is the whole contract between the two vendor modules (``opencl.py``, ``cuda.py``) and everything
above them.  A backend knows nothing of graphs, ops or kernel specs: it is given source text and raw
arguments.  All sizes are bytes unless a name says otherwise.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from time import perf_counter
from typing import Any

import numpy as np

from a1400.backends.dlpack import Tensor

Grid = tuple[int, int, int]


@dataclass(frozen=True)
class DeviceInfo:
    """One device as its driver describes it.

    ``kind`` is ``"cpu"`` or ``"gpu"`` (accelerators count as gpu); it selects kernel variants.
    ``key`` identifies device *and* driver for caches and tuning tables.  ``extensions`` are the driver's own names;
    CUDA devices have one, their architecture (``sm_90``).
    """

    backend: str
    index: int
    name: str
    vendor: str
    platform: str
    driver: str
    kind: str
    memory: int
    max_allocation: int
    local_memory: int
    compute_units: int
    max_group_size: int
    alignment: int
    fp16: bool
    fp64: bool
    subgroups: bool
    integer_dot: bool
    unified_memory: bool
    extensions: frozenset[str] = field(default_factory=frozenset, repr=False)
    #: local memory that a launch may ask for by size (CUDA's dynamic shared memory); 0 where there is no such thing
    dynamic_local_memory: int = 0

    @property
    def id(self) -> str:
        """Name to ask for this device by: ``opencl:0``."""
        return f"{self.backend}:{self.index}"

    @property
    def key(self) -> str:
        """Identity of device and driver, for caches."""
        return f"{self.backend}|{self.platform}|{self.name}|{self.driver}"

    @property
    def capability(self) -> int:
        """CUDA's compute capability times ten (``sm_90``: 90); 0 for what is not CUDA."""
        if self.backend != "cuda":
            return 0
        return max((int(e[3:]) for e in self.extensions if e.startswith("sm_") and e[3:].isdigit()), default=0)


class Buffer(ABC):
    """A range of device memory.  Freed when the last reference goes."""

    nbytes: int
    #: where it lies on a CUDA device, or in the host's memory that the device shares; 0 where there is no such number
    address: int = 0

    @abstractmethod
    def sub(self, offset: int, nbytes: int) -> Buffer:
        """A buffer over ``nbytes`` from ``offset``; ``offset`` must be a multiple of the device's alignment."""


@dataclass(frozen=True)
class TensorMap:
    """A kernel argument that describes tiles of a buffer to a GPU's copy engine (CUDA's ``CUtensorMap``).

    ``dims``, ``strides`` and ``box`` are innermost first, as CUDA has them: sizes in elements; strides in *bytes* of
    every dimension but the innermost, which is contiguous; the tile's sizes in elements.  ``offset`` is the first
    element's distance from the buffer's start in bytes.  ``swizzle`` is 0, 32, 64 or 128 (bytes): the pattern in which
    a tile's 16-byte units are permuted in shared memory.  Elements outside ``dims`` read as 0 and are not written.
    ``buffer`` may be a stand-in until a launch is bound.
    """

    buffer: Any
    dtype: np.dtype
    dims: tuple[int, ...]
    strides: tuple[int, ...]
    box: tuple[int, ...]
    swizzle: int = 0
    offset: int = 0


Argument = Buffer | np.generic | TensorMap


class BoundLaunch(ABC):
    """One kernel with its arguments and geometry fixed, ready to be enqueued many times."""

    @abstractmethod
    def rebind(self, index: int, argument: Argument) -> None:
        """Replace argument number ``index`` (an input or output buffer that changed)."""


class Program(ABC):
    """Compiled source with one entry point."""

    @abstractmethod
    def bind(
        self, arguments: Sequence[Argument], groups: Grid, group_size: Grid, local_bytes: int = 0
    ) -> BoundLaunch:
        """Make a launch of ``groups`` work-groups (blocks) of ``group_size`` work-items (threads).

        ``arguments`` are device buffers, NumPy scalars of exactly the types of the kernel's parameters and, on CUDA,
        tensor maps.  ``local_bytes`` is local memory asked for by size, up to the device's ``dynamic_local_memory``.
        Each call makes a kernel object of its own, so launches of different threads never share argument state.
        """


class Event(ABC):
    """A point in a stream's work."""

    @abstractmethod
    def seconds_since(self, earlier: Event) -> float:
        """Device time between two recorded events of one stream."""


@dataclass(frozen=True)
class Span:
    """When one launch was enqueued and when it ran: seconds, all on the clock of ``time.perf_counter``.

    ``called`` and ``returned`` bracket the host's call.
    """

    called: float
    returned: float
    start: float
    end: float


class Stream(ABC):
    """An in-order queue of device work."""

    #: the driver's own handle as a number (CUDA); 0 where there is none
    handle: int = 0

    @abstractmethod
    def run(self, launches: Sequence[BoundLaunch]) -> None:
        """Enqueue launches in order; does not wait."""

    @abstractmethod
    def time(self, launches: Sequence[BoundLaunch]) -> list[float]:
        """Run the launches one by one and return each one's device time in seconds."""

    def trace(self, launches: Sequence[BoundLaunch]) -> tuple[list[Span], float]:
        """Run the launches as :meth:`run` does, one behind the other without waiting, and wait for the last.

        Returns when each of them ran, and when the host knew that all were done (reading the times takes longer).
        The default puts an event before and behind each launch.
        """
        self.synchronize()
        origin, zero = self.record(), perf_counter()
        marks = []
        for launch in launches:
            called = perf_counter()
            before = self.record()
            self.run([launch])
            after = self.record()
            marks.append((called, perf_counter(), before, after))
        self.synchronize()
        done = perf_counter()
        spans = [
            Span(called, returned, zero + before.seconds_since(origin), zero + after.seconds_since(origin))
            for called, returned, before, after in marks
        ]
        return spans, done

    @abstractmethod
    def write(self, buffer: Buffer, array: np.ndarray) -> None:
        """Copy a C-contiguous host array to the start of ``buffer``; the array may be reused on return."""

    @abstractmethod
    def read(self, buffer: Buffer, array: np.ndarray) -> None:
        """Copy the start of ``buffer`` into a C-contiguous host array and wait for it."""

    def upload(self, buffer: Buffer, array: np.ndarray) -> None:
        """Like :meth:`write`, but the array must not change before :meth:`synchronize`.

        From memory of :meth:`Device.host_array` it need not wait for the copy.
        """
        self.write(buffer, array)

    def download(self, buffer: Buffer, array: np.ndarray) -> None:
        """Like :meth:`read`, but the array's contents are there only after :meth:`synchronize`."""
        self.read(buffer, array)

    def copy(self, target: Buffer, source: Buffer, nbytes: int) -> None:
        """Copy the first ``nbytes`` of ``source`` to the start of ``target``."""
        held = np.empty(nbytes, np.uint8)
        self.read(source, held)
        self.write(target, held)

    @abstractmethod
    def record(self) -> Event:
        """Mark the present end of the queue."""

    def wait(self, event: Event) -> None:  # noqa: B027 - right as it is for most
        """Let later work of this stream wait for an event of any stream of the device.

        Nothing to do where :meth:`record` itself waits, as the default says.
        """

    @abstractmethod
    def synchronize(self) -> None:
        """Wait until all enqueued work is done; raises :class:`~a1400.errors.DeviceError` if it failed."""

    def capture(self, launches: Sequence[BoundLaunch]) -> Any | None:
        """A replayable recording of ``launches`` as they are bound now, where the backend has one (CUDA graphs).

        None where it has none.  A later rebind does not change the recording.
        """
        return None

    def replay(self, recording: Any) -> None:
        """Enqueue a recording made by :meth:`capture`."""
        raise NotImplementedError


class Device(ABC):
    """An opened device: allocates, compiles, makes streams.  Safe to use from many threads."""

    info: DeviceInfo
    #: whether :meth:`wrap` can lay buffers over host arrays
    shares_memory: bool = False
    #: whether copies from and to :meth:`host_array` run beside other work (CUDA's pinned memory)
    stages: bool = False
    #: DLPack's (device type, device number) of this device's buffers; None where it has no such buffers
    dlpack_device: tuple[int, int] | None = None

    @abstractmethod
    def alloc(self, nbytes: int) -> Buffer:
        """Uninitialised memory; raises :class:`~a1400.errors.DeviceMemoryError` with the numbers."""

    @abstractmethod
    def wrap(self, array: np.ndarray) -> Buffer | None:
        """A buffer over the host array's own memory where the device shares it (CPU devices), else None.

        The array must be C-contiguous and stay alive and unmoved as long as the buffer; the backend
        keeps a reference.  Data is visible to the device from the moment of wrapping, and to the
        host after :meth:`Stream.synchronize`.
        """

    def host_array(self, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
        """An uninitialised host array in the memory that transfers fastest.

        That is memory aligned for :meth:`wrap`, and pinned memory on CUDA.
        """
        dtype = np.dtype(dtype)
        nbytes = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
        raw = np.empty(nbytes + 4096, np.uint8)
        start = -raw.ctypes.data % 4096
        return raw[start : start + nbytes].view(dtype).reshape(shape)

    @abstractmethod
    def compile(self, name: str, source: str, entry: str, options: Sequence[str] = ()) -> Program:
        """Compile (or fetch from the disk cache) ``source`` and return its entry point.

        ``name`` is for messages only.  Raises :class:`~a1400.errors.KernelCompileError` that names
        ``name``, device, driver and the offending source line.
        """

    @abstractmethod
    def stream(self) -> Stream:
        """A new in-order queue."""

    @cached_property
    def service(self) -> Stream:
        """A queue for copies that belong to no run."""
        return self.stream()

    def borrow(self, value: Any) -> tuple[Tensor, Buffer, Event] | None:
        """The memory of ``value``, an object with ``__dlpack__`` that lies on this device: described, and as a buffer.

        The buffer keeps the memory alive; it holds what ``value`` shall hold once the event has passed.  None where
        the backend cannot use the memory of others.
        """
        return None

    def join(self, stream: Stream, foreign: int | None) -> None:  # noqa: B027 - right as it is for most
        """Let later work of ``stream`` wait for what is enqueued now on another library's stream (DLPack's number)."""

    def retire(self, buffer: Buffer, stream: int | None) -> None:  # noqa: B027 - right as it is for most
        """Free ``buffer``, which work enqueued on another library's ``stream`` may still use (DLPack's number)."""

    @property
    @abstractmethod
    def compiled_programs(self) -> int:
        """How many programs this device object has built or fetched so far."""


class Backend(ABC):
    """One vendor module."""

    name: str

    @abstractmethod
    def devices(self) -> list[DeviceInfo]:
        """Every device of every platform; an empty list when there is none (never raises)."""

    @abstractmethod
    def open(self, index: int) -> Device:
        """Open device ``index`` of :meth:`devices`; the same object each time."""

    @abstractmethod
    def problems(self) -> list[str]:
        """Why devices may be missing, one sentence each, with the command that mends it."""
