"""The CUDA module: NVIDIA GPUs through CuPy.

Importing this module needs neither CuPy nor a driver.  ``CUDA_VISIBLE_DEVICES`` is CUDA's own: devices it hides do not
exist here, and the others are counted from 0.
"""

from __future__ import annotations

import ctypes
import sys
import threading
from typing import Any

from a1400.backends.base import Backend, DeviceInfo
from a1400.backends.cuda_device import ALIGNMENT, CUDADevice
from a1400.errors import BackendNotFoundError

INSTALL_CUDA = 'pip install "cupy-cuda13x[ctk]"'


def import_cupy() -> Any:
    """The CuPy module; raises ``ImportError`` when it is not installed."""
    import cupy  # type: ignore[import-not-found, import-untyped, unused-ignore]

    return cupy


def driver_present() -> bool:
    """True if NVIDIA's driver library loads; asked first, because importing CuPy takes most of a second."""
    try:
        ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
    except OSError:
        return False
    return True


def describe(cupy: Any, index: int) -> DeviceInfo:
    """The :class:`DeviceInfo` of CUDA device ``index``; ``extensions`` holds its architecture, like ``sm_90``."""
    runtime = cupy.cuda.runtime
    properties = runtime.getDeviceProperties(index)
    name = properties["name"]
    version = int(runtime.driverGetVersion())
    capability = 10 * int(properties["major"]) + int(properties["minor"])
    memory = int(properties["totalGlobalMem"])
    return DeviceInfo(
        backend="cuda",
        index=index,
        name=name.decode() if isinstance(name, bytes) else str(name),
        vendor="NVIDIA",
        platform="NVIDIA CUDA",
        driver=f"{version // 1000}.{version % 1000 // 10}",
        kind="gpu",
        memory=memory,
        max_allocation=memory,
        local_memory=int(properties["sharedMemPerBlock"]),
        compute_units=int(properties["multiProcessorCount"]),
        max_group_size=int(properties["maxThreadsPerBlock"]),
        alignment=ALIGNMENT,
        fp16=capability >= 53,
        fp64=True,
        subgroups=True,
        integer_dot=capability >= 61,
        unified_memory=bool(properties.get("integrated", 0)),
        extensions=frozenset({f"sm_{capability}"}),
        dynamic_local_memory=int(properties.get("sharedMemPerBlockOptin", properties["sharedMemPerBlock"])),
    )


class CUDABackend(Backend):
    """Every CUDA device that CuPy sees."""

    name = "cuda"

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._cupy: Any = None
        self._found: list[DeviceInfo] | None = None
        self._open: dict[int, CUDADevice] = {}
        self._problems: list[str] = []

    def devices(self) -> list[DeviceInfo]:
        with self._lock:
            if self._found is None:
                self._found = self._enumerate()
            return list(self._found)

    def _enumerate(self) -> list[DeviceInfo]:
        if not driver_present():
            self._problems.append(
                "No NVIDIA driver is installed (its library libcuda.so.1 does not load): for an NVIDIA GPU install the "
                f"driver from https://www.nvidia.com/drivers, then run `{INSTALL_CUDA}`."
            )
            return []
        try:
            self._cupy = import_cupy()
        except ImportError as error:
            self._problems.append(
                f"CuPy is not installed or does not load ({error}): run `{INSTALL_CUDA}` "
                '(for drivers older than 580: `pip install "cupy-cuda12x[ctk]"`).'
            )
            return []
        try:
            return [describe(self._cupy, index) for index in range(self._cupy.cuda.runtime.getDeviceCount())]
        except Exception as error:
            self._problems.append(
                f"CuPy finds no usable CUDA device ({error}): check that `nvidia-smi` works and that the driver is "
                'new enough (for drivers older than 580: `pip install "cupy-cuda12x[ctk]"`).'
            )
            return []

    def open(self, index: int) -> CUDADevice:
        with self._lock:
            found = self.devices()
            if not 0 <= index < len(found):
                raise BackendNotFoundError(
                    f"there is no device cuda:{index}; {len(found)} CUDA devices exist. " + " ".join(self.problems())
                )
            if index not in self._open:
                self._open[index] = CUDADevice(self._cupy, found[index])
            return self._open[index]

    def problems(self) -> list[str]:
        self.devices()
        return list(self._problems)
