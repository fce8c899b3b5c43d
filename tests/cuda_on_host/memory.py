"""Memory that stands for a device's: plain, shared with child processes, or fenced for AddressSanitizer."""

from __future__ import annotations

import ctypes
import mmap
import threading
import weakref
from collections.abc import Callable
from functools import cache

import numpy as np

from a1400.backends.base import Buffer
from tests.cuda_on_host import compiler, contained

ALIGNMENT = 256
POISON = 0xFF  # NaN in every float format
STACK = 128 * 1024
CANARY = 1024  # bytes behind dynamic shared memory, as cuda_host_fibers.h has it
_FENCE = 1024  # bytes before and behind a fenced buffer
_local = threading.local()


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


@cache
def _sanitizer() -> tuple[Callable[[int, int], None], Callable[[int, int], None]] | None:
    """AddressSanitizer's functions that forbid and allow a range, where its runtime is loaded."""
    library = ctypes.CDLL(None)
    try:
        result = library.__asan_poison_memory_region, library.__asan_unpoison_memory_region
    except AttributeError:
        return None
    for function in result:
        function.argtypes = (ctypes.c_void_p, ctypes.c_size_t)
        function.restype = None
    return result


def _aligned(raw: np.ndarray, nbytes: int, gap: int = 0) -> np.ndarray:
    start = gap + -(raw.ctypes.data + gap) % ALIGNMENT
    return raw[start : start + nbytes]


def allocate(nbytes: int, contain: bool) -> HostCudaBuffer:
    """A poisoned buffer; with AddressSanitizer an access one byte outside it is reported."""
    sanitizer = _sanitizer()
    if sanitizer is not None:
        raw = np.frombuffer(mmap.mmap(-1, nbytes + 2 * _FENCE + ALIGNMENT), np.uint8)
        memory = _aligned(raw, nbytes, _FENCE)
        memory[:] = POISON
        buffer = HostCudaBuffer(memory)
        first, end = raw.ctypes.data, raw.ctypes.data + raw.nbytes
        sanitizer[0](first, buffer.pointer - first)
        sanitizer[0](buffer.pointer + nbytes, end - buffer.pointer - nbytes)
        weakref.finalize(raw.base, sanitizer[1], first, raw.nbytes)
        return buffer
    raw = contained.shared_bytes(nbytes + ALIGNMENT) if contain else np.empty(nbytes + ALIGNMENT, np.uint8)
    memory = _aligned(raw, nbytes)
    memory[:] = POISON
    return HostCudaBuffer(memory)


def stacks() -> int:
    """Address of the calling thread's stacks for fibers; pages that are never touched cost nothing."""
    if not hasattr(_local, "stacks"):
        _local.stacks = mmap.mmap(-1, STACK * compiler.MOST_THREADS)
        _local.address = ctypes.addressof(ctypes.c_char.from_buffer(_local.stacks))
    return int(_local.address)


def dynamic(nbytes: int) -> int:
    """Address of the calling thread's dynamic shared memory of ``nbytes``, a multiple of 1024; 0 for no bytes."""
    if nbytes == 0:
        return 0
    if not hasattr(_local, "dynamic"):
        _local.dynamic = mmap.mmap(-1, compiler.MOST_DYNAMIC + 2 * CANARY)  # pages: a multiple of 1024
        _local.dynamic_address = ctypes.addressof(ctypes.c_char.from_buffer(_local.dynamic))
    address = int(_local.dynamic_address)
    if (sanitizer := _sanitizer()) is not None:
        sanitizer[1](address, nbytes)
        sanitizer[0](address + nbytes, compiler.MOST_DYNAMIC + 2 * CANARY - nbytes)
    return address
