"""A CuPy look-alike over host memory: as much as the CUDA backend calls, and strict about how it is called.

Programs are not run unless ``execute`` is set (:mod:`tests.backends.fake_execute`); each launch is recorded in ``log``
as (kernel, grid, block, arguments) at the moment it would run.
"""

from __future__ import annotations

import ctypes
import types
from typing import Any

import numpy as np

from tests.backends import fake_driver as driver
from tests.backends.fake_driver import FakeError, Function, Graph, Machine, Memory, Stream, check


class OutOfMemoryError(MemoryError):
    pass


class NVRTCError(RuntimeError):
    pass


class FakeCupy:
    """``limit`` is each device's memory in bytes, ``optin`` a block's dynamic shared memory, ``static`` what every
    kernel declares."""

    def __init__(self, limit: int = 1 << 20, capability: tuple[int, int] = (9, 0), count: int = 2) -> None:
        self.machine = machine = Machine(count, limit, 227 * 1024, 0)
        self.log = machine.log
        self.compiled: list[tuple[str, ...]] = []  # options of each compilation
        self.graphs: list[Graph] = []
        self.pinned_limit = 1 << 30
        self.released = 0  # how often free blocks were given back
        self.functions: dict[int, Function] = {}
        fake = self

        class MemoryPool:
            def malloc(self, nbytes: int) -> Memory:
                if machine.used[machine.current] + nbytes > machine.limit:
                    raise OutOfMemoryError("out of memory")
                return Memory(machine, nbytes)

            def total_bytes(self) -> int:
                return machine.used[machine.current]

            def free_all_blocks(self) -> None:
                fake.released += 1

        class PinnedMemoryPool:
            def malloc(self, nbytes: int) -> Any:
                if sum(machine.pinned.values()) + nbytes > fake.pinned_limit:
                    raise FakeError("cudaErrorMemoryAllocation: out of memory")
                return pinned(machine, nbytes)

            def free_all_blocks(self) -> None:
                fake.released += 1

        class CupyStream(Stream):
            def __init__(self, non_blocking: bool = False) -> None:
                check(non_blocking, "a blocking stream waits for the legacy stream")
                super().__init__(machine)

            def synchronize(self) -> None:
                machine.stream(self.ptr)
                check(self.capturing is None, "waiting during capture")
                machine.synchronizations += 1
                self.drain()

            def begin_capture(self) -> None:
                machine.stream(self.ptr)
                check(self.capturing is None, "two captures at once")
                self.capturing = []

            def end_capture(self) -> Graph:
                calls, self.capturing = self.capturing, None
                check(calls is not None, "no capture to end")
                fake.graphs.append(Graph(machine, calls or []))
                return fake.graphs[-1]

            def wait_event(self, event: Event) -> None:
                machine.stream(self.ptr)
                self.enqueue(event.synchronize)

        class Event:
            clock = 0.0

            def __init__(self, disable_timing: bool = False) -> None:
                self.ptr = id(self)
                self.stream: Stream | None = None
                self.done = False
                events[self.ptr] = self

            def record(self, stream: Stream) -> None:
                self.stream, self.done = machine.stream(stream.ptr), False
                self.stream.enqueue(self.pass_by)

            def pass_by(self) -> None:
                Event.clock += 1.0
                self.at, self.done = Event.clock, True

            def synchronize(self) -> None:
                if self in legacy and not self.done:
                    for work in fake.legacy_work:
                        work()
                    fake.legacy_work.clear()
                    self.done = True
                elif self.stream is not None and not self.done:
                    self.stream.drain(lambda: self.done)

        events: dict[int, Event] = {}

        def event_record(event: int, handle: int) -> None:
            check(handle == driver.LEGACY, "only the legacy stream is recorded by its number")
            legacy.append(events[event])

        legacy: list[Event] = []
        self.legacy = legacy  # events that wait for other libraries' work
        self.legacy_work: list[Any] = []  # what those libraries have enqueued and not done

        class Module:
            def __init__(self) -> None:
                self.ptr = 0

            def load(self, code: bytes) -> None:
                code = code.replace(b"//PTX", b"\x7fELF", 1)
                if not code.startswith(b"\x7fELF"):
                    raise FakeError("CUDA_ERROR_INVALID_IMAGE: device kernel image is invalid")
                self.source = code[4:].decode()
                self.ptr = id(self)
                modules[self.ptr] = self

        modules: dict[int, Module] = {}

        def get_function(module: int, entry: str) -> int:
            function = Function(machine, modules[module].source, entry)
            fake.functions[id(function)] = function
            return id(function)

        def get_attribute(attribute: int, handle: int) -> int:
            return {0: fake.functions[handle].limit, 1: machine.static}[attribute]

        def set_attribute(handle: int, attribute: int, value: int) -> None:
            check(attribute == 8, f"attribute {attribute}")
            check(fake.functions[handle].device == machine.current, "a function of another device")
            if value + machine.static > machine.optin:
                raise FakeError("CUDA_ERROR_INVALID_VALUE: invalid argument")
            fake.functions[handle].dynamic = value
            fake.functions[handle].asked.append(value)

        def launch_kernel(handle: int, *rest: int) -> None:
            check(len(rest) == 10 and all(type(n) is int for n in rest), f"bad launch {rest}")
            gx, gy, gz, bx, by, bz, shared, stream_handle, params, extra = rest
            stream, function = machine.stream(stream_handle), fake.functions[handle]
            check(function.device == machine.current, "a function of another device")
            check(min(gx, gy, gz, bx, by, bz) > 0, "an empty launch")
            check(gx < 2**31 and max(gy, gz) < 65536, f"grid {(gx, gy, gz)}")
            check(bx * by * bz <= function.limit, f"block {(bx, by, bz)}")
            check(shared <= function.dynamic, f"{shared} bytes of shared memory without asking for them")
            check(extra == 0, "extra")
            numbers, raw = function.values(params)

            def run() -> None:
                for value, (kind, name, _) in zip(numbers, function.parameters, strict=True):
                    alive = kind != "*" or machine.owner(value, 1) == function.device
                    check(alive, f"{function.entry}: {name} was freed too early")
                machine.log.append((function.entry, (gx, gy, gz), (bx, by, bz), tuple(numbers)))
                if machine.execute is not None:
                    machine.execute(function, (gx, gy, gz), (bx, by, bz), raw, shared)

            if stream.capturing is None:
                stream.enqueue(run)
            else:
                stream.capturing.append(run)

        programs: dict[int, tuple[str, str]] = {}

        def create(source: str, name: str, headers: tuple, include_names: tuple) -> int:
            programs[len(programs) + 1] = (source, name)
            return len(programs)

        def compile_program(program: int, options: tuple[str, ...]) -> None:
            check(isinstance(options, tuple) and all(isinstance(o, str) for o in options), f"options {options!r}")
            fake.compiled.append(options)
            if "syntax_error" in programs[program][0]:
                raise NVRTCError("NVRTC_ERROR_COMPILATION (6)")

        def properties(index: int) -> dict[str, Any]:
            check(0 <= index < count, f"device {index}")
            return {
                "name": b"NVIDIA H200", "totalGlobalMem": limit, "sharedMemPerBlock": 49152, "major": capability[0],
                "minor": capability[1], "multiProcessorCount": 132, "maxThreadsPerBlock": 1024, "integrated": 0,
                "sharedMemPerBlockOptin": machine.optin,
            }  # fmt: skip

        def set_device(index: int) -> None:
            check(0 <= index < count, f"device {index}")
            machine.local.device = index

        def device_synchronize() -> None:
            for stream in list(machine.streams.values()):
                if stream.device == machine.current:
                    stream.drain()

        self.cuda = types.SimpleNamespace(
            MemoryPool=MemoryPool,
            PinnedMemoryPool=PinnedMemoryPool,
            Stream=CupyStream,
            Event=Event,
            Module=Module,
            get_elapsed_time=lambda a, b: (b.at - a.at) * 1000.0,
            runtime=types.SimpleNamespace(
                getDeviceCount=lambda: count,
                getDeviceProperties=properties,
                driverGetVersion=lambda: 13000,
                getDevice=lambda: machine.current,
                setDevice=set_device,
                memGetInfo=lambda: (machine.limit - machine.used[machine.current], machine.limit),
                memcpyAsync=machine.memcpy,
                eventRecord=event_record,
                deviceSynchronize=device_synchronize,
            ),
            driver=types.SimpleNamespace(
                moduleGetFunction=get_function,
                funcGetAttribute=get_attribute,
                funcSetAttribute=set_attribute,
                launchKernel=launch_kernel,
            ),
            nvrtc=types.SimpleNamespace(
                NVRTCError=NVRTCError,
                getVersion=lambda: (13, 0),
                getSupportedArchs=lambda: (75, 80, 86, 87, 88, 89, 90, 100, 103, 110, 120, 121),
                createProgram=create,
                compileProgram=compile_program,
                getProgramLog=lambda p: 'kernel.cu(2): error: identifier "syntax_error" is undefined',
                getCUBIN=lambda p: b"\x7fELF" + programs[p][0].encode(),
                getPTX=lambda p: b"//PTX" + programs[p][0].encode(),
                destroyProgram=lambda p: None,
            ),
        )

    def set_limit(self, nbytes: int) -> None:
        """What each device has from now on."""
        self.machine.limit = nbytes

    def get_default_memory_pool(self) -> Any:
        return self.cuda.MemoryPool()

    @property
    def used(self) -> int:
        """Bytes allocated on all devices."""
        return sum(self.machine.used)


class _Pinned:
    """What gives a pinned block back when the last array over it goes."""

    def __init__(self, machine: Machine, address: int) -> None:
        self.machine, self.address = machine, address

    def __del__(self) -> None:
        del self.machine.pinned[self.address]


def pinned(machine: Machine, nbytes: int) -> Any:
    """A pinned block that exports a buffer, as CuPy's does."""
    block = (ctypes.c_char * nbytes)()
    address = ctypes.addressof(block)
    machine.pinned[address] = nbytes
    block.owner = _Pinned(machine, address)  # type: ignore[attr-defined]
    np.frombuffer(block, np.uint8)[:] = driver.POISON
    return block
