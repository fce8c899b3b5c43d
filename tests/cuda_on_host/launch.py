"""Launches on the executor: a module, its arguments as bytes, the geometry."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from a1400.backends.base import Argument, BoundLaunch, DeviceInfo, Grid, Program, TensorMap
from a1400.errors import DeviceError, KernelArgumentError
from tests.cuda_on_host import contained, memory, tensor_map
from tests.cuda_on_host.compiler import Launch, Module
from tests.cuda_on_host.memory import HostCudaBuffer

MOST_GROUPS = (2**31 - 1, 65535, 65535)
_SLOT = 128  # bytes of the largest argument


@dataclass(frozen=True)
class Manner:
    """How launches run: threads (and blocks) last to first, and in a child process for at most so many seconds."""

    reverse: bool = False
    seconds: float | None = None


class HostCudaLaunch(BoundLaunch):
    """A module with its arguments, each in a slot of its own."""

    def __init__(
        self, name: str, module: Module, arguments: Sequence[Argument], groups: Grid, group_size: Grid,
        local_bytes: int, manner: Manner,
    ) -> None:  # fmt: skip
        self.name = name
        self.module = module
        self.manner = manner
        self.empty = not (all(groups) and all(group_size))
        self._keep = list(arguments)
        count = len(arguments)
        raw = np.zeros(_SLOT * (count + 1), np.uint8)
        start = -raw.ctypes.data % _SLOT
        self._slots = raw[start : start + _SLOT * count].reshape(count, _SLOT)
        self._addresses = self._slots.ctypes.data + _SLOT * np.arange(count, dtype=np.uint64)
        self._sizes = np.zeros(count, np.uint32)
        for index, argument in enumerate(arguments):
            self.rebind(index, argument)
        self._raw = contained.shared_bytes(ctypes.sizeof(Launch)) if manner.seconds else None
        self.raw = Launch() if self._raw is None else Launch.from_buffer(self._raw)
        self.raw.arguments = self._addresses.ctypes.data
        self.raw.sizes = self._sizes.ctypes.data
        self.raw.count = count
        self.raw.grid = tuple(int(n) for n in groups)
        self.raw.block = tuple(int(n) for n in group_size)
        self.raw.reverse = int(manner.reverse)
        self.raw.stack_bytes = memory.STACK
        self.raw.dynamic_bytes = local_bytes

    def rebind(self, index: int, argument: Argument) -> None:
        if not 0 <= index < len(self._keep):
            raise KernelArgumentError(f"kernel {self.name!r} has no argument {index}, only {len(self._keep)}")
        if isinstance(argument, HostCudaBuffer):
            data = np.uint64(argument.pointer).tobytes()
        elif isinstance(argument, TensorMap) and isinstance(argument.buffer, HostCudaBuffer):
            data = tensor_map.encode(argument, argument.buffer.pointer, argument.buffer.nbytes, self.name)
        elif isinstance(argument, np.generic) and argument.nbytes <= 8:
            data = argument.tobytes()
        else:
            raise KernelArgumentError(
                f"argument {index} of kernel {self.name!r} must be a buffer, a NumPy scalar or a tensor map of a "
                f"buffer, not {type(argument).__name__}"
            )
        self._slots[index, : len(data)] = np.frombuffer(data, np.uint8)
        self._sizes[index] = len(data)
        self._keep[index] = argument

    def run(self) -> None:
        """Run all blocks, here and now."""
        if self.empty:
            return
        self.raw.stacks = memory.stacks()
        self.raw.dynamic = memory.dynamic(self.raw.dynamic_bytes)
        ended = ""
        with self.module.lock:
            if self.manner.seconds is None:
                failed = self.module.launch(ctypes.byref(self.raw))
            else:
                failed, ended = contained.run(
                    lambda: int(self.module.launch(ctypes.byref(self.raw))), self.manner.seconds
                )
        if failed:
            raise DeviceError(f"kernel {self.name!r} on the host: {ended or self.raw.message.decode()}")


class HostCudaProgram(Program):
    """A loaded module."""

    def __init__(self, name: str, module: Module, info: DeviceInfo, manner: Manner) -> None:
        self.name = name
        self.module = module
        self.info = info
        self.manner = manner

    def bind(
        self, arguments: Sequence[Argument], groups: Grid, group_size: Grid, local_bytes: int = 0
    ) -> HostCudaLaunch:
        if int(np.prod(group_size)) > self.module.bound:
            raise KernelArgumentError(
                f"kernel {self.name!r} runs blocks of at most {self.module.bound} threads, not {group_size}"
            )
        if any(count > most for count, most in zip(groups, MOST_GROUPS, strict=True)):
            raise KernelArgumentError(f"a grid of {groups} blocks for kernel {self.name!r} exceeds {MOST_GROUPS}")
        if self.module.shared_bytes + local_bytes > max(self.info.dynamic_local_memory, self.info.local_memory):
            raise KernelArgumentError(
                f"kernel {self.name!r} asks for {local_bytes} bytes of dynamic shared memory and declares "
                f"{self.module.shared_bytes}; a block of {self.info.name} has {self.info.dynamic_local_memory}"
            )
        return HostCudaLaunch(self.name, self.module, arguments, groups, group_size, local_bytes, self.manner)
