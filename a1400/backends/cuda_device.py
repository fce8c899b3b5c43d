"""One CUDA device: memory, programs, streams, and tensors of other libraries."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Sequence
from typing import Any

import numpy as np

from a1400.backends import cuda_tensor_map, dlpack
from a1400.backends.base import Buffer, Device, DeviceInfo, Event, Stream
from a1400.backends.cuda_compile import Compiler
from a1400.backends.cuda_launch import CUDAProgram, Function, device_error, is_out_of_memory
from a1400.backends.cuda_stream import CUDAStream
from a1400.backends.once import OncePerKey
from a1400.errors import A1400Error, DeviceMemoryError, KernelCompileError

# cudaMalloc aligns to 256 bytes.
ALIGNMENT = 256
#: the legacy default stream, in DLPack's numbering and CUDA's; it always exists
_LEGACY_STREAM = 1


class CUDABuffer(Buffer):
    """A range of device memory; ``address`` is its device address.

    ``memory`` keeps it allocated: a block of a CuPy memory pool, or another library's tensor.  A pool may hand a block
    out again as soon as the last buffer over it goes: synchronize streams that still use it before letting go.
    """

    def __init__(self, memory: Any, address: int, nbytes: int) -> None:
        self._memory = memory
        self.address = address
        self.nbytes = nbytes

    def sub(self, offset: int, nbytes: int) -> CUDABuffer:
        """A part of this buffer; raises ``ValueError`` if it is misaligned or not inside."""
        if offset < 0 or nbytes < 0 or offset + nbytes > self.nbytes:
            raise ValueError(f"bytes {offset} to {offset + nbytes} are not inside a buffer of {self.nbytes} bytes")
        if offset % ALIGNMENT:
            raise ValueError(f"offset {offset} is not a multiple of the alignment, {ALIGNMENT} bytes")
        return CUDABuffer(self._memory, self.address + offset, nbytes)


class _Active:
    """Makes a device current for the calling thread (a CUDA notion) and restores what was.

    Unlike CuPy's own context manager it always says so to CUDA: in a thread that has used no device yet, the driver's
    own functions find a context only then.
    """

    __slots__ = ("_index", "_previous", "_runtime")

    def __init__(self, runtime: Any, index: int) -> None:
        self._runtime, self._index = runtime, index

    def __enter__(self) -> None:
        self._previous = self._runtime.getDevice()
        self._runtime.setDevice(self._index)

    def __exit__(self, *exception: object) -> None:
        if self._previous != self._index:
            self._runtime.setDevice(self._previous)


class CUDADevice(Device):
    """One CUDA device with memory pools of its own; every call works in any thread, whatever its current device."""

    stages = True

    def __init__(self, cupy: Any, info: DeviceInfo) -> None:
        self.cupy = cupy
        self.info = info
        self.dlpack_device = (dlpack.CUDA, info.index)
        self.encoder = cuda_tensor_map.driver_encoder
        self._lock = threading.Lock()
        self._functions: OncePerKey[tuple[bytes, str], Function] = OncePerKey()
        self._compiler: Compiler | None = None
        self._retired: deque[tuple[Any, Buffer]] = deque()  # what other libraries' work may still use, in its order
        try:
            with self.active():
                self._pool = cupy.cuda.MemoryPool()
                self._pinned = cupy.cuda.PinnedMemoryPool()
        except RuntimeError as error:
            raise device_error(error, info, "opening the device") from error

    def active(self) -> _Active:
        """Context manager that makes this the calling thread's current device."""
        return _Active(self.cupy.cuda.runtime, self.info.index)

    # ---- memory ------------------------------------------------------------------------------------------
    def alloc(self, nbytes: int) -> CUDABuffer:
        if nbytes < 0:
            raise ValueError(f"cannot allocate {nbytes} bytes")
        if self._retired:
            self._free_retired()
        size = max(nbytes, 1)  # never an empty block, so that every buffer has an address
        with self.active():
            try:
                memory = self._pool.malloc(size)
            except (MemoryError, RuntimeError) as error:
                if not is_out_of_memory(error):
                    raise device_error(error, self.info, f"allocating {nbytes:,} bytes") from error
                try:
                    self._release_free_blocks()
                    memory = self._pool.malloc(size)
                except (MemoryError, RuntimeError) as again:
                    raise self._out_of_memory(nbytes) from again
        return CUDABuffer(memory, int(memory.ptr), nbytes)

    def _release_free_blocks(self) -> None:
        """Give the driver back what no buffer uses: of this pool, and of the one CuPy keeps for its arrays."""
        self._pool.free_all_blocks()
        self.cupy.get_default_memory_pool().free_all_blocks()

    def _out_of_memory(self, nbytes: int) -> DeviceMemoryError:
        try:
            free, total = self.cupy.cuda.runtime.memGetInfo()
        except RuntimeError:
            free, total = 0, self.info.memory
        return DeviceMemoryError(
            f"{self.info.name} ({self.info.id}) cannot allocate {nbytes:,} bytes: {free:,} of its {total:,} bytes "
            f"are free, and this process's pool holds {int(self._pool.total_bytes()):,}"
        )

    def wrap(self, array: np.ndarray) -> None:
        """Always None: host arrays are copied (from pinned memory, see :meth:`host_array`)."""

    def host_array(self, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
        """An uninitialised host array in pinned memory, which goes back to a pool with the array's last reference.

        Ordinary memory where the system has no more pages to pin: copies then wait for each other, and work.
        """
        dtype = np.dtype(dtype)
        nbytes = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
        if nbytes == 0:
            return np.empty(shape, dtype)
        try:
            with self.active():
                try:
                    memory = self._pinned.malloc(nbytes)
                except (MemoryError, RuntimeError):
                    self._pinned.free_all_blocks()
                    memory = self._pinned.malloc(nbytes)
        except (MemoryError, RuntimeError):
            return super().host_array(shape, dtype)
        return np.frombuffer(memory, np.uint8, nbytes).view(dtype).reshape(shape)

    # ---- tensors of other libraries ------------------------------------------------------------------------
    def borrow(self, value: Any) -> tuple[dlpack.Tensor, CUDABuffer, Event]:
        with self.active():
            tensor = dlpack.take(value, self.service.handle)  # the producer makes our stream wait for its own
        return tensor, CUDABuffer(tensor, tensor.address, tensor.nbytes), self.service.record()

    def join(self, stream: Stream, foreign: int | None) -> None:
        assert isinstance(stream, CUDAStream)
        try:
            with self.active():
                event = self._reached(foreign)
                if event is not None:
                    stream.stream.wait_event(event)
        except RuntimeError as error:
            raise device_error(error, self.info, "waiting for another library's work") from error

    def retire(self, buffer: Buffer, stream: int | None) -> None:
        try:
            with self.active():
                event = self._reached(stream)
                if event is not None:
                    self._retired.append((event, buffer))
        except RuntimeError as error:
            raise device_error(error, self.info, "freeing memory that was handed out") from error

    def _reached(self, foreign: int | None) -> Any | None:
        """An event at the present end of another library's stream.  None after having waited for the whole device:
        streams other than the legacy default one may be gone already, and must not be named then."""
        if foreign not in (None, _LEGACY_STREAM):
            self.cupy.cuda.runtime.deviceSynchronize()
            return None
        event = self.cupy.cuda.Event(disable_timing=True)
        self.cupy.cuda.runtime.eventRecord(event.ptr, _LEGACY_STREAM)
        return event

    def _free_retired(self) -> None:
        with self.active(), self._lock:
            while self._retired and self._retired[0][0].done:
                self._retired.popleft()

    # ---- programs ------------------------------------------------------------------------------------------
    @property
    def compiled_programs(self) -> int:
        return len(self._functions)

    @property
    def compiler(self) -> Compiler:
        """What compiles for this device; raises :class:`KernelCompileError` where NVRTC is missing or cannot."""
        if self._compiler is None:
            try:
                self._compiler = Compiler(self.cupy.cuda.nvrtc, self.info)
            except (RuntimeError, OSError) as error:
                raise KernelCompileError(
                    f"NVRTC, which compiles for {self.info.name}, does not load ({error}): "
                    'run `pip install "cupy-cuda13x[ctk]"`'
                ) from error
        return self._compiler

    def compile(self, name: str, source: str, entry: str, options: Sequence[str] = ()) -> CUDAProgram:
        key = (self.compiler.key(source, tuple(options)), entry)
        function = self._functions.get(key, lambda: self._build(key, name, source, tuple(options)))
        return CUDAProgram(self, function, name)

    def _build(self, key: tuple[bytes, str], name: str, source: str, options: tuple[str, ...]) -> Function:
        code = self.compiler.cached(key[0])
        if code is not None:
            try:
                return self._load(code, key[1])
            except RuntimeError:  # damaged, or the driver changed
                self.compiler.discard(key[0])
        try:
            return self._load(self.compiler.build(key[0], name, source, options), key[1])
        except A1400Error:
            raise
        except (RuntimeError, OSError) as error:
            self.compiler.discard(key[0])
            raise KernelCompileError(
                f"kernel {name!r} could not be built for {self.info.name} ({self.info.platform}, driver "
                f"{self.info.driver}, {self.compiler.architecture} by NVRTC {self.compiler.version}): {error}"
            ) from error

    def _load(self, code: bytes, entry: str) -> Function:
        with self.active():
            module = self.cupy.cuda.Module()
            module.load(code)
            return Function(self.cupy.cuda.driver, module, entry)

    def stream(self) -> CUDAStream:
        return CUDAStream(self)
