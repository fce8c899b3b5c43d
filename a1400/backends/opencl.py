"""The OpenCL module: any GPU, accelerator or CPU with an OpenCL driver, through PyOpenCL.

Measured on two CPU runtimes (Intel 2026.2, PoCL 3.1): a launch costs 2-4 microseconds, nearly all inside the driver.
PyOpenCL's ``enqueue_nd_range_kernel`` with prepared tuples is within noise of calling the C function through ctypes
without an event, so the plain call is used.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

import numpy as np

from a1400.backends import dlpack, opencl_runtime
from a1400.backends.base import Backend, Buffer, Device, DeviceInfo
from a1400.backends.compile_log import compile_error
from a1400.backends.once import OncePerKey
from a1400.backends.opencl_builders import Builders
from a1400.backends.opencl_info import cache_identity, enumerate_devices, pyopencl, shares_host_memory
from a1400.backends.opencl_launch import OpenCLProgram, OpenCLStream, device_error, host_bytes
from a1400.backends.program_cache import ProgramCache, digest
from a1400.errors import A1400Error, BackendNotFoundError, DeviceMemoryError


class OpenCLBuffer(Buffer):
    """A ``cl_mem``; ``keep`` holds what must outlive it (a wrapped host array, the buffer it is a part of)."""

    def __init__(self, device: OpenCLDevice, memory: Any, nbytes: int, root: OpenCLBuffer | None, offset: int) -> None:
        self.device = device
        self.memory = memory
        self.nbytes = nbytes
        self.keep: Any = None
        self.charged = 0  # bytes counted against the device's memory
        self._root = root
        self._offset = offset

    def sub(self, offset: int, nbytes: int) -> OpenCLBuffer:
        """A part of this buffer; raises ``ValueError`` if it is misaligned or not inside."""
        if offset < 0 or nbytes < 0 or offset + nbytes > self.nbytes:
            raise ValueError(f"bytes {offset} to {offset + nbytes} are not inside a buffer of {self.nbytes} bytes")
        if offset % self.device.info.alignment:
            raise ValueError(f"offset {offset} is not a multiple of the alignment, {self.device.info.alignment} bytes")
        # OpenCL has no parts of parts: always cut from the whole allocation.
        root = self._root or self
        start = self._offset + offset
        if nbytes == 0:
            memory = self.device.nothing
        elif start == 0 and nbytes == root.nbytes:
            memory = root.memory
        else:
            try:
                memory = root.memory.get_sub_region(start, nbytes)
            except pyopencl().Error as error:
                raise device_error(error, self.device.info, f"taking bytes {start} to {start + nbytes}") from error
        return OpenCLBuffer(self.device, memory, nbytes, root, start)

    def __del__(self) -> None:
        if self.charged:
            self.device.release(self.charged)


class OpenCLDevice(Device):
    """One OpenCL device with a context of its own."""

    def __init__(self, device: Any, info: DeviceInfo) -> None:
        cl = pyopencl()
        self.info = info
        self.handle = device
        try:
            self.context = cl.Context([device])
            self.nothing = cl.Buffer(self.context, cl.mem_flags.READ_WRITE, info.alignment)
        except cl.Error as error:
            raise device_error(error, info, "opening the device") from error
        self.shares_memory = shares_host_memory(device)
        if self.shares_memory:
            self.dlpack_device = (dlpack.CPU, 0)
        self.cache_identity = cache_identity(device, info)
        # PoCL caches by itself, and better: its programs reloaded from binaries would lose the kernels
        # specialised for their work-group size.  Oclgrind's reports need the source.
        self._disk_cache = None if info.platform in ("Portable Computing Language", "Oclgrind") else ProgramCache()
        # where one process builds one program at a time, whatever the number of its threads
        alone = self._disk_cache is not None and info.platform == "Intel(R) OpenCL"
        self._builders = Builders(info.index, self.cache_identity) if alone else None
        self._lock = threading.RLock()  # a buffer may be collected, and released, by the thread that holds it
        self._programs: OncePerKey[bytes, Any] = OncePerKey()
        self._in_use = 0

    @property
    def compiled_programs(self) -> int:
        return len(self._programs)

    @property
    def allocated(self) -> int:
        """Bytes held by live buffers of :meth:`alloc`."""
        return self._in_use

    def alloc(self, nbytes: int) -> OpenCLBuffer:
        cl = pyopencl()
        if nbytes < 0:
            raise ValueError(f"cannot allocate {nbytes} bytes")
        if nbytes == 0:
            return OpenCLBuffer(self, self.nothing, 0, None, 0)
        with self._lock:
            fits = nbytes <= self.info.max_allocation and self._in_use + nbytes <= self.info.memory
            if fits:
                self._in_use += nbytes
        if not fits:
            raise self._out_of_memory(nbytes)
        try:
            memory = cl.Buffer(self.context, cl.mem_flags.READ_WRITE, nbytes)
        except cl.Error as error:
            self.release(nbytes)
            raise self._out_of_memory(nbytes) from error
        buffer = OpenCLBuffer(self, memory, nbytes, None, 0)
        buffer.charged = nbytes
        return buffer

    def release(self, nbytes: int) -> None:
        """Give back ``nbytes`` of the memory account (called by buffers as they go)."""
        with self._lock:
            self._in_use -= nbytes

    def _out_of_memory(self, nbytes: int) -> DeviceMemoryError:
        return DeviceMemoryError(
            f"{self.info.name} ({self.info.id}) cannot allocate {nbytes:,} bytes: its largest allocation is "
            f"{self.info.max_allocation:,} bytes and its memory {self.info.memory:,} bytes, "
            f"of which {self._in_use:,} are in use"
        )

    def wrap(self, array: np.ndarray) -> OpenCLBuffer | None:
        """A buffer over a host array on CPU devices; None where memory is not shared or the array cannot be used.

        Intel's runtime and PoCL use the array's memory itself whatever its alignment, and see each other's writes
        without mapping.  A read-only array gives a buffer that kernels must not write.
        """
        if not self.shares_memory or not array.flags.c_contiguous or not array.flags.aligned:
            return None
        if array.nbytes == 0:
            return OpenCLBuffer(self, self.nothing, 0, None, 0)
        if array.nbytes > self.info.max_allocation:
            return None
        cl = pyopencl()
        flags = cl.mem_flags.USE_HOST_PTR
        flags |= cl.mem_flags.READ_WRITE if array.flags.writeable else cl.mem_flags.READ_ONLY
        raw = host_bytes(array)
        try:
            memory = cl.Buffer(self.context, flags, hostbuf=raw)
        except cl.Error as error:
            raise device_error(error, self.info, "wrapping a host array") from error
        buffer = OpenCLBuffer(self, memory, array.nbytes, None, 0)
        buffer.keep = array
        buffer.address = array.ctypes.data
        return buffer

    def compile(self, name: str, source: str, entry: str, options: Sequence[str] = ()) -> OpenCLProgram:
        text = " ".join(options)
        key = digest(self.cache_identity, text, source)

        def make() -> Any:
            fetched = self._fetch(key, text)
            if fetched is not None:
                return fetched
            if self._builders is None:
                return self._build(key, name, source, text)
            if self._builders.elsewhere(key, source, text):
                fetched = self._fetch(key, text)
                return fetched if fetched is not None else self._build(key, name, source, text)
            try:
                return self._build(key, name, source, text)
            finally:
                self._builders.done()

        program = self._programs.get(key, make)
        return OpenCLProgram(self, program, name, entry)

    def _fetch(self, key: bytes, options: str) -> Any | None:
        """The program from the disk cache, or None."""
        if self._disk_cache is None:
            return None
        binary = self._disk_cache.load(key)
        if binary is None:
            return None
        cl = pyopencl()
        try:
            program = cl._cl._Program(self.context, [self.handle], [binary])
            program._build(options.encode(), [self.handle])
        except cl.Error:  # the driver changed without saying so
            self._disk_cache.discard(key)
            return None
        return program

    def _build(self, key: bytes, name: str, source: str, options: str) -> Any:
        # The inner program class: cl.Program would keep a second cache, and warn whenever a log is not empty.
        cl = pyopencl()
        program = None
        try:
            program = cl._cl._Program(self.context, source)
            program._build(options.encode(), [self.handle])
        except cl.Error as error:
            log = self._log(program) or str(error)
            raise compile_error(name, self.info, source, log) from error
        if self._disk_cache is not None:
            try:
                binaries = program.get_info(cl.program_info.BINARIES)
            except cl.Error:
                binaries = []
            if len(binaries) == 1 and binaries[0]:
                self._disk_cache.store(key, bytes(binaries[0]))
        return program

    def build_for_cache(self, key: bytes, source: str, options: str) -> bool:
        """Build a program into the disk cache; whether it is there now."""
        try:
            self._build(key, "helper's", source, options)
        except A1400Error:
            return False
        return self._disk_cache is not None and self._disk_cache.load(key) is not None

    def _log(self, program: Any) -> str:
        cl = pyopencl()
        try:
            return str(program.get_build_info(self.handle, cl.program_build_info.LOG)).strip("\0 \n")
        except (cl.Error, AttributeError):
            return ""

    def stream(self) -> OpenCLStream:
        return OpenCLStream(self)


class OpenCLBackend(Backend):
    """Every OpenCL device that PyOpenCL's loader finds."""

    name = "opencl"

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._found: list[tuple[Any, DeviceInfo]] | None = None
        self._open: dict[int, OpenCLDevice] = {}
        self._failure: str | None = None

    def _enumerate(self) -> list[tuple[Any, DeviceInfo]]:
        with self._lock:
            if self._found is None:
                self._found = []
                try:
                    self._found = enumerate_devices()
                except ImportError as error:
                    self._failure = (
                        f"PyOpenCL is not installed or does not load ({error}): run `{opencl_runtime.INSTALL_OPENCL}`."
                    )
                except Exception as error:
                    self._failure = f"OpenCL devices could not be listed: {error}."
            return self._found

    def devices(self) -> list[DeviceInfo]:
        return [info for _, info in self._enumerate()]

    def open(self, index: int) -> OpenCLDevice:
        with self._lock:
            if index not in self._open:
                found = self._enumerate()
                if not 0 <= index < len(found):
                    raise BackendNotFoundError(f"there is no device opencl:{index}; {len(found)} OpenCL devices exist")
                self._open[index] = OpenCLDevice(*found[index])
            return self._open[index]

    def problems(self) -> list[str]:
        found = self._enumerate()
        texts = [self._failure] if self._failure else []
        texts += opencl_runtime.problems()
        if not found and not self._failure:
            wanted = opencl_runtime.platform_filter()
            limit = f" matching A1400_OPENCL_PLATFORMS={','.join(wanted)}" if wanted else ""
            texts.append(
                f"No OpenCL driver{limit} is registered: install your GPU's driver, "
                f"or for the CPU run `{opencl_runtime.INSTALL_OPENCL}`."
            )
        return texts
