"""Which devices there are, asked in processes that may die: one per OpenCL driver, one per other backend."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from a1400.backends import opencl_runtime
from a1400.backends.base import DeviceInfo
from a1400.errors import A1400Error
from a1400.verify.child import run_child
from a1400.verify.results import DeviceRun
from a1400.verify.worker import info_from_json


@dataclass(frozen=True)
class Found:
    """A device and how to reach it in a process that loads its driver alone.

    ``info`` describes it as every other command does, so ``info.id`` is its id there; ``index`` is its number among its
    driver's devices in a process with ``environment``.
    """

    info: DeviceInfo
    index: int
    environment: dict[str, str]

    def job(self, task: str, plugins: Sequence[str], **more: Any) -> dict[str, Any]:
        """A worker's job on this device."""
        return {"task": task, "backend": self.info.backend, "index": self.index, "plugins": list(plugins), **more}


@dataclass
class Devices:
    """What was found, the drivers that died or hung while they were asked, and why devices may be missing."""

    found: list[Found] = field(default_factory=list)
    broken: list[DeviceRun] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


def find_devices(plugins: Sequence[str], timeout: float) -> Devices:
    """Ask every driver for its devices; raises :class:`A1400Error` when a plugin cannot be imported.

    OpenCL's devices are numbered in the order of their platforms' names, as everywhere.
    """
    names: list[str] = []
    ending = run_child(
        {"task": "backends", "plugins": list(plugins)}, os.environ, timeout, lambda m: names.extend(m["backends"])
    )
    if ending.how != "done":
        raise A1400Error(ending.detail if ending.how == "failed" else f"the backends cannot be listed: {ending.detail}")
    devices = Devices()
    for name in names:
        drivers = opencl_runtime.drivers() if name == "opencl" else []
        if not drivers:
            _ask(devices, name, name, dict(os.environ), plugins, timeout)
        for driver in drivers:
            # the whole entry: a part of it might name another driver too
            only = f"{driver.name} {driver.library}".lower()
            environment = {**os.environ, "A1400_OPENCL_PLATFORMS": only if "," not in only else driver.name.lower()}
            _ask(devices, name, driver.library, environment, plugins, timeout)
    opencl = sorted((f for f in devices.found if f.info.backend == "opencl"), key=lambda f: f.info.platform.lower())
    numbered = [replace(f, info=replace(f.info, index=number)) for number, f in enumerate(opencl)]
    devices.found = [f for f in devices.found if f.info.backend != "opencl"] + numbered
    return devices


def _ask(
    devices: Devices, backend: str, driver: str, environment: dict[str, str], plugins: Sequence[str], timeout: float
) -> None:
    def hear(message: dict[str, Any]) -> None:
        for data in message.get("devices", ()):
            info = info_from_json(data)
            devices.found.append(Found(info, info.index, environment))
        devices.problems += message.get("problems", ())

    job = {"task": "devices", "backend": backend, "plugins": list(plugins)}
    before = len(devices.found)
    ending = run_child(job, environment, timeout, hear)
    if ending.how != "done" and len(devices.found) == before:
        problem = f"the driver could not be asked for its devices: {ending.detail}"
        devices.broken.append(DeviceRun(f"{backend}:?", driver, driver, "", "", problem=problem))


def select(found: Sequence[Found], wanted: Sequence[str]) -> list[Found]:
    """Devices that any of ``wanted`` names: an id, a backend, or part of a device's or platform's name."""
    parts = [part.strip().lower() for part in wanted if part.strip()]
    if not parts:
        return list(found)
    return [f for f in found if any(_names(part, f.info) for part in parts)]


def _names(part: str, info: DeviceInfo) -> bool:
    return part in (info.id, info.backend) or part in f"{info.name} {info.platform}".lower()
