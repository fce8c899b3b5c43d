"""A CUDA device's memory, streams and driver calls on the host, for :mod:`tests.backends.fake_cupy`.

Streams are lazy: what is enqueued happens when somebody waits for it, as late as CUDA allows.  So a result that is
read too early, staging that is written again too early, and memory that is freed too early all give wrong numbers.
"""

from __future__ import annotations

import ctypes
import re
import threading
from collections import deque
from collections.abc import Callable
from typing import Any

import numpy as np

HOST_TO_DEVICE, DEVICE_TO_HOST, DEVICE_TO_DEVICE = 1, 2, 3
LEGACY = 1
POISON = 0xFF  # NaN in every float format
_SIZES = {
    "char": 1, "uchar": 1, "short": 2, "ushort": 2, "half": 2, "bfloat": 2, "int": 4, "uint": 4, "float": 4,
    "long": 8, "ulong": 8, "double": 8, "longlong": 8, "bool": 1, "long long": 8,
}  # fmt: skip
_NUMPY = {"int": np.int32, "uint": np.uint32, "float": np.float32, "long": np.int64, "double": np.float64}


class FakeError(RuntimeError):
    """What CuPy raises for a CUDA error."""


def check(condition: object, message: str) -> None:
    """An error of use, which no test may pass over."""
    if not condition:
        raise AssertionError(message)


class Machine:
    """All devices of the look-alike: who owns which bytes, which streams exist, which device a thread is on."""

    def __init__(self, count: int, limit: int, optin: int, static: int) -> None:
        self.count, self.limit, self.optin, self.static = count, limit, optin, static
        self.lock = threading.RLock()
        self.local = threading.local()
        self.used = [0] * count
        self.live: list[dict[int, int]] = [{} for _ in range(count)]  # address -> bytes, per device
        self.borrowed: list[dict[int, int]] = [{} for _ in range(count)]  # memory of other libraries
        self.pinned: dict[int, int] = {}
        self.streams: dict[int, Stream] = {}
        self.log: list[tuple[Any, ...]] = []
        self.synchronizations = 0
        self.execute: Callable[..., None] | None = None

    @property
    def current(self) -> int:
        return getattr(self.local, "device", 0)

    def owner(self, address: int, nbytes: int) -> int | None:
        """The device whose live memory holds these bytes."""
        for device in range(self.count):
            for table in (self.live[device], self.borrowed[device]):
                if any(start <= address and address + nbytes <= start + size for start, size in list(table.items())):
                    return device
        return None

    def is_pinned(self, address: int, nbytes: int) -> bool:
        return any(s <= address and address + nbytes <= s + n for s, n in list(self.pinned.items()))

    def stream(self, handle: int) -> Stream:
        """The stream of a handle, which must be one of the current device."""
        check(handle not in (0, LEGACY), "the legacy stream would make contexts wait for each other")
        stream = self.streams.get(handle)
        check(stream is not None, f"there is no stream {handle}")
        assert stream is not None
        check(stream.device == self.current, f"stream of device {stream.device} used on device {self.current}")
        return stream

    def memcpy(self, target: int, source: int, nbytes: int, kind: int, handle: int) -> None:
        """``cudaMemcpyAsync``: asynchronous only for pinned memory."""
        stream = self.stream(handle)
        check(stream.capturing is None, "a copy during capture")
        if kind == HOST_TO_DEVICE:
            check(self.owner(target, nbytes) == stream.device, "copy to what is not this device's live memory")
            check(self.owner(source, nbytes) is None, "copy from device memory as if it were the host's")
            if not self.is_pinned(source, nbytes):
                data = ctypes.string_at(source, nbytes)
                stream.enqueue(lambda: ctypes.memmove(target, data, nbytes))
                return
        elif kind == DEVICE_TO_HOST:
            check(self.owner(source, nbytes) == stream.device, "copy from what is not this device's live memory")
            check(self.owner(target, nbytes) is None, "copy to device memory as if it were the host's")
        else:
            check(kind == DEVICE_TO_DEVICE, f"unknown kind of copy {kind}")
            check(self.owner(source, nbytes) == self.owner(target, nbytes) == stream.device, "copy between devices")
        stream.enqueue(lambda: ctypes.memmove(target, source, nbytes))
        if kind == DEVICE_TO_HOST and not self.is_pinned(target, nbytes):
            stream.drain()


class Stream:
    """A queue of closures."""

    next_handle = 1000

    def __init__(self, machine: Machine) -> None:
        self.machine, self.device = machine, machine.current
        self.work: deque[Callable[[], Any]] = deque()
        self.capturing: list[Any] | None = None
        with machine.lock:
            Stream.next_handle += 8
            self.ptr = Stream.next_handle
            machine.streams[self.ptr] = self

    def enqueue(self, what: Callable[[], Any]) -> None:
        self.work.append(what)

    def drain(self, until: Callable[[], bool] = lambda: False) -> None:
        """Do the work in order, all of it or until something has happened."""
        with self.machine.lock:
            while self.work and not until():
                self.work.popleft()()


class Memory:
    """A block of device memory: poisoned when it comes and when it goes."""

    def __init__(self, machine: Machine, nbytes: int) -> None:
        self.machine, self.nbytes, self.device = machine, nbytes, machine.current
        self.raw = np.full(nbytes + 512, POISON, np.uint8)
        self.ptr = -(-self.raw.ctypes.data // 256) * 256
        machine.used[self.device] += nbytes
        machine.live[self.device][self.ptr] = nbytes

    def __del__(self) -> None:
        self.machine.used[self.device] -= self.nbytes
        del self.machine.live[self.device][self.ptr]
        self.raw.fill(POISON)


def parameters(source: str, entry: str) -> list[tuple[str, str, int]]:
    """(type, name, bytes) of each parameter of the kernel ``entry`` in a program's text."""
    found = re.search(rf"__global__ [^\n]*?\b{entry}\(([^\n]*)\)$", source, re.M) or re.search(
        rf"__global__ [^\n]*?\b{entry}\(([^)]*)\)", source
    )
    if found is None:
        raise FakeError(f"CUDA_ERROR_NOT_FOUND: named symbol not found ({entry})")
    result = []
    text = re.sub(r"GPTR\(([^)]*)\)", r"\1 *", found.group(1))
    for item in filter(None, (part.strip() for part in text.split(","))):
        words = item.replace("*", " * ").split()
        name = words[-1]
        if "*" in words:
            result.append(("*", name, 8))
        elif "TensorMap" in words:
            result.append(("TensorMap", name, 128))
        else:
            kind = " ".join(w for w in words[:-1] if w not in ("const", "unsigned", "RESTRICT"))
            result.append((kind, name, _SIZES[kind]))
    return result


class Function:
    """A kernel of a loaded module."""

    def __init__(self, machine: Machine, source: str, entry: str) -> None:
        self.machine, self.source, self.entry, self.device = machine, source, entry, machine.current
        self.parameters = parameters(source, entry)
        bound = re.search(r"__launch_bounds__\((\d+)\)", source)
        self.limit = int(bound.group(1)) if bound else 1024
        self.dynamic = 48 * 1024 - machine.static
        self.asked: list[int] = []  # every setting of the attribute

    def values(self, address: int) -> tuple[list[Any], list[bytes]]:
        """The arguments as numbers and as bytes, read through the pointers as the driver reads them: now."""
        pointers = (ctypes.c_void_p * len(self.parameters)).from_address(address) if self.parameters else ()
        numbers: list[Any] = []
        raw: list[bytes] = []
        for (kind, name, size), pointer in zip(self.parameters, pointers, strict=True):
            data = ctypes.string_at(pointer, size)
            if kind == "*":
                where = int.from_bytes(data, "little")
                check(self.machine.owner(where, 1) == self.device, f"{self.entry}: {name} is not its device's memory")
                numbers.append(where)
            elif kind == "TensorMap":
                check(pointer % 64 == 0, f"{self.entry}: tensor map {name} is not at a multiple of 64")
                numbers.append(data)
            else:
                numbers.append(np.frombuffer(data, _NUMPY.get(kind, np.dtype(f"u{size}")))[0])
            raw.append(data)
        return numbers, raw


class Graph:
    """A recording: calls with the argument values they had."""

    def __init__(self, machine: Machine, calls: list[Callable[[], None]]) -> None:
        self.machine, self.calls = machine, calls
        self.launches = 0

    def upload(self, stream: Stream) -> None:
        self.machine.stream(stream.ptr)

    def launch(self, stream: Stream) -> None:
        found = self.machine.stream(stream.ptr)
        self.launches += 1
        for call in self.calls:
            found.enqueue(call)
