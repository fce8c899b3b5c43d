"""A CuPy look-alike over host memory: as much as the CUDA backend calls, and strict about how it is called."""

from __future__ import annotations

import ctypes
import types
from typing import Any

import numpy as np


class CompileException(Exception):
    pass


class OutOfMemoryError(MemoryError):
    pass


class FakeCupy:
    """Records launches in ``log``; ``limit`` is the memory in bytes."""

    def __init__(self, limit: int = 1 << 20) -> None:
        self.log: list[tuple[Any, ...]] = []
        self.limit = limit
        self.used = 0
        self.current = [0]
        self.compiled: list[str] = []
        self.capturing: list[Any] | None = None
        fake = self

        class Device:
            def __init__(self, index: int) -> None:
                self.index = index

            def __enter__(self) -> None:
                fake.current.append(self.index)

            def __exit__(self, *exc: object) -> None:
                fake.current.pop()

        class Memory:
            def __init__(self, nbytes: int) -> None:
                self.nbytes = nbytes
                self.data = (ctypes.c_char * (nbytes + 512))()
                self.ptr = -(-ctypes.addressof(self.data) // 256) * 256
                fake.used += nbytes

            def __del__(self) -> None:
                fake.used -= self.nbytes

        class MemoryPool:
            def malloc(self, nbytes: int) -> Memory:
                if fake.used + nbytes > fake.limit:
                    raise OutOfMemoryError("out of memory")
                return Memory(nbytes)

            def total_bytes(self) -> int:
                return fake.used

        class Graph:
            def __init__(self, calls: list[Any]) -> None:
                self.calls = calls

            def launch(self, stream: Any) -> None:
                fake.log += self.calls

        class Stream:
            ptr = 77

            def __init__(self, non_blocking: bool = False) -> None:
                assert non_blocking
                self.device = fake.current[-1]

            def synchronize(self) -> None:
                pass

            def begin_capture(self) -> None:
                fake.capturing = []

            def end_capture(self) -> Graph:
                calls, fake.capturing = fake.capturing, None
                return Graph(calls or [])

        class Event:
            clock = 0.0

            def record(self, stream: Stream) -> None:
                Event.clock += 1.0
                self.at = Event.clock

            def synchronize(self) -> None:
                pass

        class Function:
            def __init__(self, name: str) -> None:
                self.name = name

            def __call__(self, grid: tuple, block: tuple, args: tuple, shared_mem: int, stream: Stream) -> None:
                assert isinstance(grid, tuple)
                assert isinstance(block, tuple)
                assert stream.device == fake.current[-1]
                for arg in args:
                    assert type(arg).__module__ == "numpy", "only exact NumPy scalars keep their type"
                    assert arg.dtype.char in "?bhilqBHILQefd"
                call = (self.name, grid, block, args)
                (fake.log if fake.capturing is None else fake.capturing).append(call)

        class RawModule:
            def __init__(self, code: str, options: tuple, backend: str) -> None:
                assert isinstance(options, tuple)
                assert backend == "nvrtc"
                self.code = code

            def get_function(self, name: str) -> Any:
                fake.compiled.append(name)
                if "syntax_error" in self.code:
                    raise CompileException('/tmp/x/kernel.cu(2): error: identifier "syntax_error" is undefined')
                return types.SimpleNamespace(kernel=Function(name), max_threads_per_block=1024)

        def properties(index: int) -> dict[str, Any]:
            return {
                "name": b"NVIDIA H200", "totalGlobalMem": limit, "sharedMemPerBlock": 49152, "major": 9, "minor": 0,
                "multiProcessorCount": 132, "maxThreadsPerBlock": 1024, "integrated": 0,
            }  # fmt: skip

        runtime = types.SimpleNamespace(
            getDeviceCount=lambda: 2,
            getDeviceProperties=properties,
            driverGetVersion=lambda: 13000,
            memGetInfo=lambda: (fake.limit - fake.used, fake.limit),
            memcpyAsync=lambda dst, src, n, kind, stream: ctypes.memmove(dst, src, n),
        )
        self.RawModule = RawModule
        self.cuda = types.SimpleNamespace(
            Device=Device,
            MemoryPool=MemoryPool,
            Stream=Stream,
            Event=Event,
            runtime=runtime,
            compiler=types.SimpleNamespace(CompileException=CompileException),
            get_elapsed_time=lambda a, b: (b.at - a.at) * 1000.0,
            alloc_pinned_memory=lambda n: np.empty(n + 256, np.uint8).data,
        )
