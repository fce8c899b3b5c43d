"""CUDA programs and bound launches.

A launch keeps its parameters packed as the driver wants them (an array of pointers to values), so that launching is
one call of the driver with nothing to convert: CuPy's own call packs every argument anew each time.
"""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from a1400.backends import cuda_tensor_map
from a1400.backends.base import Argument, BoundLaunch, Buffer, DeviceInfo, Grid, Program, TensorMap
from a1400.errors import A1400Error, DeviceError, DeviceMemoryError, KernelArgumentError

if TYPE_CHECKING:
    from a1400.backends.cuda_device import CUDADevice

_MAX_GROUPS = (2**31 - 1, 65535, 65535)
_MAX_THREADS, _STATIC_SHARED, _DYNAMIC_SHARED = 0, 1, 8  # CUfunction_attribute
#: dynamic shared memory that needs no asking
_SHARED_WITHOUT_ASKING = 48 * 1024


def device_error(error: BaseException, info: DeviceInfo, doing: str) -> A1400Error:
    """The library's error for a CUDA error met while ``doing`` something on a device."""
    text = f"{info.name} ({info.id}) failed while {doing}: {error}"
    if is_out_of_memory(error):
        return DeviceMemoryError(f"{text}; its memory is {info.memory:,} bytes")
    return DeviceError(text)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether CUDA or CuPy says that memory ran out."""
    words = str(error)
    return isinstance(error, MemoryError) or any(
        w in words for w in ("cudaErrorMemoryAllocation", "CUDA_ERROR_OUT_OF_MEMORY", "OutOfMemory")
    )


class Function:
    """A loaded entry point: its handle, and what it may be launched with."""

    def __init__(self, driver: Any, module: Any, entry: str) -> None:
        self.module = module  # keeps the code loaded
        self.handle = int(driver.moduleGetFunction(module.ptr, entry))
        self.limit = int(driver.funcGetAttribute(_MAX_THREADS, self.handle))
        self.static_bytes = int(driver.funcGetAttribute(_STATIC_SHARED, self.handle))
        self._driver = driver
        self._allowed = _SHARED_WITHOUT_ASKING - self.static_bytes
        self._lock = threading.Lock()

    def allow(self, nbytes: int) -> None:
        """Let launches ask for ``nbytes`` of dynamic shared memory; the driver is told once, and when it grows."""
        with self._lock:
            if nbytes > self._allowed:
                self._driver.funcSetAttribute(self.handle, _DYNAMIC_SHARED, nbytes)
                self._allowed = nbytes


class CUDAProgram(Program):
    """A loaded function on its device."""

    def __init__(self, device: CUDADevice, function: Function, name: str) -> None:
        self.device = device
        self.function = function
        self.name = name

    def bind(
        self, arguments: Sequence[Argument], groups: Grid, group_size: Grid, local_bytes: int = 0
    ) -> CUDALaunch:
        function, info = self.function, self.device.info
        where = f"kernel {self.name!r} on {info.name}"
        if int(np.prod(group_size)) > function.limit:
            raise KernelArgumentError(f"{where} runs blocks of at most {function.limit} threads, not {group_size}")
        if any(count > most for count, most in zip(groups, _MAX_GROUPS, strict=True)):
            raise KernelArgumentError(f"a grid of {groups} blocks for kernel {self.name!r} exceeds {_MAX_GROUPS}")
        most = info.dynamic_local_memory - function.static_bytes
        if local_bytes < 0 or local_bytes > most:
            raise KernelArgumentError(
                f"{where} cannot have {local_bytes:,} bytes of dynamic shared memory: at most {most:,} are left of the "
                f"{info.dynamic_local_memory:,} of a block, {function.static_bytes:,} being declared"
            )
        try:
            with self.device.active():
                function.allow(local_bytes)
        except RuntimeError as error:
            raise device_error(error, info, f"giving kernel {self.name!r} {local_bytes:,} bytes of memory") from error
        return CUDALaunch(self, arguments, groups, group_size, local_bytes)


class CUDALaunch(BoundLaunch):
    """A function with its packed arguments; ``call`` is None when the launch is empty.

    ``call`` holds handle, grid, block and shared bytes; ``parameters`` is the address of the pointers to the values.
    """

    __slots__ = ("_base", "_keep", "_offsets", "_pointers", "_values", "call", "name", "parameters", "program")

    def __init__(
        self, program: CUDAProgram, arguments: Sequence[Argument], groups: Grid, group_size: Grid, local_bytes: int
    ) -> None:
        self.program, self.name = program, program.name
        offsets, size = [], 0
        for argument in arguments:
            wanted = cuda_tensor_map.ALIGNMENT if isinstance(argument, TensorMap) else 8
            size = -(-size // wanted) * wanted
            offsets.append(size)
            size += cuda_tensor_map.SIZE if isinstance(argument, TensorMap) else 8
        self._values = np.zeros(size + cuda_tensor_map.ALIGNMENT, np.uint8)
        self._base = self._values.ctypes.data + -self._values.ctypes.data % cuda_tensor_map.ALIGNMENT
        self._offsets = offsets
        self._pointers = self._base + np.array(offsets, np.uint64)
        self.parameters = int(self._pointers.ctypes.data)
        self._keep: list[Any] = [None] * len(offsets)  # addresses do not keep memory alive
        for index, argument in enumerate(arguments):
            self._set(index, argument)
        shape = (*groups, *group_size)
        self.call = (program.function.handle, *map(int, shape), int(local_bytes)) if all(shape) else None

    def rebind(self, index: int, argument: Argument) -> None:
        if not 0 <= index < len(self._keep):
            raise KernelArgumentError(f"kernel {self.name!r} has no argument {index}, only {len(self._keep)}")
        was = self._keep[index]
        kinds = (Buffer, TensorMap)
        if any(isinstance(was, k) != isinstance(argument, k) for k in kinds) or (
            isinstance(was, np.generic) and getattr(argument, "dtype", None) != was.dtype
        ):
            raise KernelArgumentError(
                f"argument {index} of kernel {self.name!r} is a {type(was).__name__} and cannot become a "
                f"{type(argument).__name__}"
            )
        self._set(index, argument)

    def _set(self, index: int, argument: Argument) -> None:
        if isinstance(argument, Buffer):
            data = argument.address.to_bytes(8, "little")
        elif isinstance(argument, TensorMap):
            device = self.program.device
            with device.active():  # the driver wants a context
                data = cuda_tensor_map.encode(self.name, index, argument, device.encoder())
        elif isinstance(argument, np.generic) and argument.nbytes <= 8:
            data = argument.tobytes()
        else:
            raise KernelArgumentError(
                f"argument {index} of kernel {self.name!r} must be a buffer, a NumPy scalar or a tensor map, "
                f"not {type(argument).__name__}"
            )
        ctypes.memmove(self._base + self._offsets[index], data, len(data))
        self._keep[index] = argument
