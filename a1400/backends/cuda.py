"""The CUDA module: NVIDIA GPUs through CuPy.

Sources are compiled with NVRTC for the device's own architecture and kept in CuPy's disk cache (``CUPY_CACHE_DIR``,
by default ``~/.cupy/kernel_cache``), which works only for ``extern "C"`` entry points (no name expressions).
Importing this module needs neither CuPy nor a driver.
"""

from __future__ import annotations

import ctypes
import sys
import threading
from collections.abc import Sequence
from typing import Any

import numpy as np

from a1400.backends.base import Backend, Buffer, Device, DeviceInfo
from a1400.backends.compile_log import compile_error
from a1400.backends.cuda_launch import CUDAProgram, CUDAStream, device_error
from a1400.errors import BackendNotFoundError, DeviceMemoryError, KernelCompileError

INSTALL_CUDA = 'pip install "cupy-cuda13x[ctk]"'

# cudaMalloc aligns to 256 bytes, and so do the largest vector and tensor-map accesses.
_ALIGNMENT = 256


def import_cupy() -> Any:
    """The CuPy module; raises ``ImportError`` when it is not installed."""
    import cupy  # type: ignore[import-not-found, import-untyped, unused-ignore]

    return cupy


def driver_present() -> bool:
    """True if NVIDIA's driver library loads; asked first, because importing CuPy takes most of a second."""
    try:
        ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
    except OSError:
        return False
    return True


def describe(cupy: Any, index: int) -> DeviceInfo:
    """The :class:`DeviceInfo` of CUDA device ``index``; ``extensions`` holds its architecture, like ``sm_90``."""
    runtime = cupy.cuda.runtime
    properties = runtime.getDeviceProperties(index)
    name = properties["name"]
    version = int(runtime.driverGetVersion())
    capability = 10 * int(properties["major"]) + int(properties["minor"])
    memory = int(properties["totalGlobalMem"])
    return DeviceInfo(
        backend="cuda",
        index=index,
        name=name.decode() if isinstance(name, bytes) else str(name),
        vendor="NVIDIA",
        platform="NVIDIA CUDA",
        driver=f"{version // 1000}.{version % 1000 // 10}",
        kind="gpu",
        memory=memory,
        max_allocation=memory,
        local_memory=int(properties["sharedMemPerBlock"]),
        compute_units=int(properties["multiProcessorCount"]),
        max_group_size=int(properties["maxThreadsPerBlock"]),
        alignment=_ALIGNMENT,
        fp16=capability >= 53,
        fp64=True,
        subgroups=True,
        integer_dot=capability >= 61,
        unified_memory=bool(properties.get("integrated", 0)),
        extensions=frozenset({f"sm_{capability}"}),
    )


class CUDABuffer(Buffer):
    """A range of a CuPy memory pool's block; ``pointer`` is its device address.

    The pool may hand the block out again as soon as the last buffer over it goes: synchronize streams that still use it
    before letting go.
    """

    def __init__(self, memory: Any, pointer: int, nbytes: int) -> None:
        self._memory = memory
        self.pointer = pointer
        self.nbytes = nbytes

    def sub(self, offset: int, nbytes: int) -> CUDABuffer:
        """A part of this buffer; raises ``ValueError`` if it is misaligned or not inside."""
        if offset < 0 or nbytes < 0 or offset + nbytes > self.nbytes:
            raise ValueError(f"bytes {offset} to {offset + nbytes} are not inside a buffer of {self.nbytes} bytes")
        if offset % _ALIGNMENT:
            raise ValueError(f"offset {offset} is not a multiple of the alignment, {_ALIGNMENT} bytes")
        return CUDABuffer(self._memory, self.pointer + offset, nbytes)


class CUDADevice(Device):
    """One CUDA device with a memory pool of its own."""

    def __init__(self, cupy: Any, info: DeviceInfo) -> None:
        self.cupy = cupy
        self.info = info
        self._lock = threading.Lock()
        self._programs: dict[tuple[str, str, tuple[str, ...]], Any] = {}
        self._building: dict[tuple[str, str, tuple[str, ...]], threading.Lock] = {}
        try:
            with self.active():
                self._pool = cupy.cuda.MemoryPool()
        except RuntimeError as error:
            raise device_error(error, info, "opening the device") from error

    def active(self) -> Any:
        """Context manager that makes this the calling thread's current device (a CUDA notion, per thread)."""
        return self.cupy.cuda.Device(self.info.index)

    @property
    def compiled_programs(self) -> int:
        return len(self._programs)

    def alloc(self, nbytes: int) -> CUDABuffer:
        if nbytes < 0:
            raise ValueError(f"cannot allocate {nbytes} bytes")
        with self.active():
            try:
                # Never an empty block, so that every buffer has an address.
                memory = self._pool.malloc(max(nbytes, 1))
            except (MemoryError, RuntimeError) as error:
                raise self._out_of_memory(nbytes, error) from error
        return CUDABuffer(memory, int(memory.ptr), nbytes)

    def _out_of_memory(self, nbytes: int, error: BaseException) -> Exception:
        if (
            not isinstance(error, MemoryError)
            and "OutOfMemory" not in str(error)
            and "MemoryAllocation" not in str(error)
        ):
            return device_error(error, self.info, f"allocating {nbytes:,} bytes")
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
        """An uninitialised host array in pinned memory."""
        dtype = np.dtype(dtype)
        nbytes = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
        if nbytes == 0:
            return np.empty(shape, dtype)
        try:
            with self.active():
                memory = self.cupy.cuda.alloc_pinned_memory(nbytes)
        except (MemoryError, RuntimeError):  # pinned memory is limited; ordinary memory works too, more slowly
            return super().host_array(shape, dtype)
        return np.frombuffer(memory, np.uint8, nbytes).view(dtype).reshape(shape)

    def compile(self, name: str, source: str, entry: str, options: Sequence[str] = ()) -> CUDAProgram:
        key = (source, entry, tuple(options))
        program = self._programs.get(key)
        if program is None:
            with self._lock:
                lock = self._building.setdefault(key, threading.Lock())
            with lock:  # one build per key; different programs build in parallel
                program = self._programs.get(key)
                if program is None:
                    program = self._programs[key] = self._build(name, source, entry, tuple(options))
        function, limit = program
        return CUDAProgram(self, function, limit, name)

    def _build(self, name: str, source: str, entry: str, options: tuple[str, ...]) -> tuple[Any, int]:
        """The kernel's function and its largest block, in threads."""
        compile_failed = self.cupy.cuda.compiler.CompileException
        with self.active():
            try:
                module = self.cupy.RawModule(code=source, options=options, backend="nvrtc")
                raw = module.get_function(entry)
                return raw.kernel, int(raw.max_threads_per_block)
            except compile_failed as error:
                raise compile_error(name, self.info, source, str(error)) from error
            except (RuntimeError, OSError) as error:
                raise KernelCompileError(
                    f"kernel {name!r} could not be built for {self.info.name} ({self.info.platform}, driver "
                    f"{self.info.driver}): {error}"
                ) from error

    def stream(self) -> CUDAStream:
        return CUDAStream(self)


class CUDABackend(Backend):
    """Every CUDA device that CuPy sees."""

    name = "cuda"

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._cupy: Any = None
        self._found: list[DeviceInfo] | None = None
        self._open: dict[int, CUDADevice] = {}
        self._problems: list[str] = []

    def devices(self) -> list[DeviceInfo]:
        with self._lock:
            if self._found is None:
                self._found = self._enumerate()
            return list(self._found)

    def _enumerate(self) -> list[DeviceInfo]:
        if not driver_present():
            self._problems.append(
                "No NVIDIA driver is installed (its library libcuda.so.1 does not load): for an NVIDIA GPU install the "
                f"driver from https://www.nvidia.com/drivers, then run `{INSTALL_CUDA}`."
            )
            return []
        try:
            self._cupy = import_cupy()
        except ImportError as error:
            self._problems.append(
                f"CuPy is not installed or does not load ({error}): run `{INSTALL_CUDA}` "
                '(for drivers older than 580: `pip install "cupy-cuda12x[ctk]"`).'
            )
            return []
        try:
            return [describe(self._cupy, index) for index in range(self._cupy.cuda.runtime.getDeviceCount())]
        except Exception as error:
            self._problems.append(
                f"CuPy finds no usable CUDA device ({error}): check that `nvidia-smi` works and that the driver is "
                'new enough (for drivers older than 580: `pip install "cupy-cuda12x[ctk]"`).'
            )
            return []

    def open(self, index: int) -> CUDADevice:
        with self._lock:
            found = self.devices()
            if not 0 <= index < len(found):
                raise BackendNotFoundError(
                    f"there is no device cuda:{index}; {len(found)} CUDA devices exist. " + " ".join(self.problems())
                )
            if index not in self._open:
                self._open[index] = CUDADevice(self._cupy, found[index])
            return self._open[index]

    def problems(self) -> list[str]:
        self.devices()
        return list(self._problems)
