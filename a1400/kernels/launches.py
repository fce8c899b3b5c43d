"""One launch with its data on the host: run it on any device, see what it left behind.

A :class:`LaunchData` holds all that a launch is - program text, geometry, arguments - and so can come from a spec's
case, from a model's plan or from a file.  Outputs start poisoned and every buffer is followed by a canary region, so
a kernel that writes too little or too much is found.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from a1400.backends.base import Argument, BoundLaunch, Buffer, Device, Grid, Stream, TensorMap

CANARY = 256  # bytes behind every buffer
CANARY_BYTE = 0xA5
POISON_BYTE = 0xC3


@dataclass
class Finding:
    """What went wrong in one launch: ``kind`` is ``values``, ``canary``, ``input`` or ``repeat``."""

    kind: str
    message: str


@dataclass(eq=False)
class HostBuffer:
    """A buffer argument's contents.  ``role``: ``in``, ``out`` (the array gives shape and dtype) or ``inout``."""

    name: str
    role: str
    array: np.ndarray

    @property
    def nbytes(self) -> int:
        """Bytes without the canary."""
        return self.array.nbytes


HostArgument = HostBuffer | np.generic | TensorMap


@dataclass
class LaunchData:
    """A launch: ``arguments`` in kernel order are buffers' contents, NumPy scalars, and tensor maps over the former.

    ``name`` is for messages, ``entry`` the kernel's name in ``source``, which is written in ``language`` (``opencl`` or
    ``cuda``).  ``local_bytes`` is local memory asked for by size.
    """

    name: str
    language: str
    entry: str
    source: str
    groups: Grid
    group_size: Grid
    arguments: list[HostArgument]
    local_bytes: int = 0
    options: tuple[str, ...] = ()

    def buffers(self) -> list[HostBuffer]:
        """Every buffer once, in the order of the arguments."""
        return [a for a in self.arguments if isinstance(a, HostBuffer)]


@dataclass
class Left:
    """What one run left: the written buffers by name, and what it broke."""

    outputs: dict[str, np.ndarray]
    findings: list[Finding] = field(default_factory=list)


class LoadedLaunch:
    """A launch with its program compiled and its data on a device; may run several times.

    ``share`` is another launch over the same :class:`HostBuffer` objects, whose device memory is used: settings that
    are compared by their speed must not differ in where their data lie.  For timing, ``copies`` of the buffers that
    ``rotate`` names take turns, so that what they hold is as cold in the caches as in a model with other work between.

    Raises what the backend raises: :class:`~a1400.errors.KernelCompileError` and the like.
    """

    def __init__(
        self, data: LaunchData, device: Device, canary: int | None = None, share: LoadedLaunch | None = None,
        rotate: Collection[str] = (), copies: int = 1,
    ) -> None:  # fmt: skip
        self.data, self._device = data, device
        self._canary = CANARY if canary is None else canary
        self._program = device.compile(data.name, data.source, data.entry, data.options)
        self._stream: Stream = device.stream()
        if share is None:
            self._buffers = self._allocated(data.buffers())
            turning = [host for host in data.buffers() if host.name in rotate]
            self._spare = [self._allocated(turning) for _ in range(copies - 1)] if turning else []
        else:
            self._buffers, self._spare = share._buffers, share._spare
        self._bound = self._bind(self._buffers)
        self._turn = [self._bound, *(self._bind({**self._buffers, **spare}) for spare in self._spare)]
        self._next = 0

    def _allocated(self, hosts: Sequence[HostBuffer]) -> dict[int, Buffer]:
        made: dict[int, Buffer] = {}
        for host in hosts:
            if id(host) not in made:
                made[id(host)] = self._device.alloc(host.nbytes + self._canary)
                if host.role == "in":
                    self._store(made[id(host)], host, host.array)
        return made

    def _bind(self, buffers: Mapping[int, Buffer]) -> BoundLaunch:
        arguments: list[Argument] = []
        for argument in self.data.arguments:
            if isinstance(argument, HostBuffer):
                arguments.append(buffers[id(argument)])
            elif isinstance(argument, TensorMap):
                arguments.append(replace(argument, buffer=buffers[id(argument.buffer)]))
            else:
                arguments.append(argument)
        data = self.data
        return self._program.bind(arguments, data.groups, data.group_size, data.local_bytes)

    def _write(self, host: HostBuffer, array: np.ndarray) -> None:
        self._store(self._buffers[id(host)], host, array)

    def _store(self, buffer: Buffer, host: HostBuffer, array: np.ndarray) -> None:
        raw = np.full(host.nbytes + self._canary, CANARY_BYTE, np.uint8)
        raw[: host.nbytes] = np.frombuffer(np.ascontiguousarray(array).tobytes(), np.uint8)
        self._stream.write(buffer, raw)

    def run(self, poison: int = POISON_BYTE) -> Left:
        """Poison the outputs with the byte ``poison``, restore what is read and written, run, and look."""
        for host in self.data.buffers():
            if host.role == "out":
                self._write(host, np.full(host.nbytes, poison, np.uint8))
            elif host.role == "inout":
                self._write(host, host.array)
        self._stream.run([self._bound])
        self._stream.synchronize()
        left = Left({})
        for host in self.data.buffers():
            raw = np.empty(host.nbytes + self._canary, np.uint8)
            self._stream.read(self._buffers[id(host)], raw)
            if not (raw[host.nbytes :] == CANARY_BYTE).all():
                left.findings.append(Finding("canary", f"{host.name}: written past its end"))
            got = raw[: host.nbytes].view(host.array.dtype).reshape(host.array.shape)
            if host.role != "in":
                left.outputs[host.name] = got
            elif got.tobytes() != host.array.tobytes():
                left.findings.append(Finding("input", f"{host.name}: a read-only input was changed"))
        return left


    def events(self, runs: int) -> list[float]:
        """Device seconds of each of ``runs`` runs on whatever the buffers hold, by the driver's clock."""
        return self._stream.time(self._turns(runs))

    def wall(self, runs: int) -> float:
        """Seconds by the host's clock from enqueueing ``runs`` runs, on whatever the buffers hold, to their end."""
        turns = self._turns(runs)
        self._stream.synchronize()
        begin = time.perf_counter()
        self._stream.run(turns)
        self._stream.synchronize()
        return time.perf_counter() - begin

    def _turns(self, runs: int) -> list[BoundLaunch]:
        """The next ``runs`` launches, copy after copy from where the last ended."""
        start, self._next = self._next, self._next + runs
        return [self._turn[number % len(self._turn)] for number in range(start, start + runs)]


def repeated(loaded: LoadedLaunch, runs: int) -> tuple[Left, list[Finding]]:
    """Run ``runs`` times, every time over other poison; what the last left, and a finding where one departs.

    What a kernel leaves alone by design (the gaps of a padded result) holds each run's own poison, and is no departure.
    """
    first = loaded.run()
    findings = list(first.findings)
    left = first
    for number in range(2, runs + 1):
        poison = (POISON_BYTE + 37 * (number - 1)) % 256
        left = loaded.run(poison)
        for name, array in left.outputs.items():
            before = first.outputs[name]
            now, then = _bytes(array), _bytes(before)
            untouched = (now == poison).all(axis=1) & (then == POISON_BYTE).all(axis=1)
            changed = np.flatnonzero((now != then).any(axis=1) & ~untouched)
            if len(changed):
                at = tuple(int(i) for i in np.unravel_index(changed[0], array.shape))
                text = f"{name}: run {number} differs from run 1 in {len(changed)} of {array.size} values, "
                findings.append(Finding("repeat", f"{text}first at {at}: {array[at]} after {before[at]}"))
        if findings:
            break
    return left, findings


def _bytes(array: np.ndarray) -> np.ndarray:
    """A row of bytes for each element."""
    return np.frombuffer(array.tobytes(), np.uint8).reshape(-1, array.dtype.itemsize)
