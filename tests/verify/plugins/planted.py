"""How mistakes are planted: other program text, or a driver that misbehaves while it compiles."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from a1400.backends import registry
from a1400.backends.base import Backend, Device, DeviceInfo, Program
from a1400.backends.opencl import OpenCLBackend
from a1400.engine import plan
from a1400.kernels import check, source
from a1400.kernels.spec import KernelCall

Change = Callable[[KernelCall, str], str]


def change_text(change: Change) -> None:
    """Let ``change(call, text)`` give the text of every program, of the kernels' cases and of models."""

    def changed(call: KernelCall, language: str) -> str:
        return change(call, source.program_text(call, language))

    for module in (check, plan):
        module.program_text = changed  # type: ignore[attr-defined]


class OddDevice(Device):
    """The device ``real``, but ``before(name)`` is called ahead of each compilation."""

    def __init__(self, real: Device, before: Callable[[str], None]) -> None:
        self.info, self._real, self._before = real.info, real, before

    def compile(self, name: str, source: str, entry: str, options: Sequence[str] = ()) -> Program:
        self._before(name)
        return self._real.compile(name, source, entry, options)

    def alloc(self, nbytes: int) -> Any:
        return self._real.alloc(nbytes)

    def wrap(self, array: Any) -> Any:
        return self._real.wrap(array)

    def stream(self) -> Any:
        return self._real.stream()

    @property
    def compiled_programs(self) -> int:
        return self._real.compiled_programs


class OddBackend(Backend):
    """OpenCL with :class:`OddDevice` in place of each device."""

    name = "opencl"

    def __init__(self, before: Callable[[str], None]) -> None:
        self._real, self._before = OpenCLBackend(), before

    def devices(self) -> list[DeviceInfo]:
        return self._real.devices()

    def open(self, index: int) -> Device:
        return OddDevice(self._real.open(index), self._before)

    def problems(self) -> list[str]:
        return self._real.problems()


def before_compiling(act: Callable[[str], None]) -> None:
    """Let ``act(name)`` happen ahead of each compilation on OpenCL devices."""
    registry.add_backend(OddBackend(act))
