"""Describe OpenCL devices: PyOpenCL's import, enumeration and :class:`DeviceInfo`."""

from __future__ import annotations

import hashlib
import os
import threading
from functools import lru_cache
from pathlib import Path
from typing import Any

import platformdirs

from a1400.backends import opencl_runtime
from a1400.backends.base import DeviceInfo

_lock = threading.Lock()
_module: Any = None


def pyopencl() -> Any:
    """The PyOpenCL module, imported only after every runtime has been registered; raises ``ImportError``."""
    global _module
    with _lock:
        if _module is None:
            opencl_runtime.prepare()
            if not _cache_is_writable():
                os.environ.setdefault("PYOPENCL_NO_CACHE", "1")
            import pyopencl as cl

            opencl_runtime.after_import()
            _module = cl
    return _module


def _cache_is_writable() -> bool:
    """True where PyOpenCL can keep the Python code it generates: it fails, rather than do without, where it cannot."""
    folder = Path(platformdirs.user_cache_dir("pytools", "pytools"))
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return False
    return os.access(folder, os.W_OK)


def enumerate_devices() -> list[tuple[Any, DeviceInfo]]:
    """Every device of every platform with its description; platforms by name, so that indices stay the same.

    A platform or device whose driver fails to answer is left out.  Raises ``ImportError`` without PyOpenCL.
    """
    cl = pyopencl()
    try:
        platforms = sorted(cl.get_platforms(), key=lambda platform: platform.name.strip().lower())
    except cl.Error:  # PLATFORM_NOT_FOUND_KHR
        return []
    found: list[tuple[Any, DeviceInfo]] = []
    for platform in platforms:
        try:
            devices = platform.get_devices(cl.device_type.ALL)
        except cl.Error:  # a driver without its hardware
            continue
        for device in devices:
            try:
                found.append((device, describe(device, len(found))))
            except cl.Error:
                continue
    return found


def shares_host_memory(device: Any) -> bool:
    """True for a genuine CPU device, whose buffers may lie over host arrays.

    Oclgrind claims to be of every type at once; it keeps its own copy of memory, so it is none.
    """
    types = pyopencl().device_type
    return bool(device.type & types.CPU) and not device.type & (types.GPU | types.ACCELERATOR)


def describe(device: Any, index: int) -> DeviceInfo:
    """The :class:`DeviceInfo` of a PyOpenCL device; ``A1400_OPENCL_KIND`` overrides its kind (for tests)."""
    kind = os.environ.get("A1400_OPENCL_KIND", "").strip().lower()
    if kind not in ("cpu", "gpu"):
        kind = "cpu" if shares_host_memory(device) else "gpu"
    extensions = frozenset(device.extensions.split())
    alignment = max(16, int(device.mem_base_addr_align) // 8)
    return DeviceInfo(
        backend="opencl",
        index=index,
        name=device.name.strip(),
        vendor=device.vendor.strip(),
        platform=device.platform.name.strip(),
        driver=device.driver_version.strip(),
        kind=kind,
        memory=int(device.global_mem_size),
        max_allocation=int(device.max_mem_alloc_size),
        local_memory=int(device.local_mem_size),
        compute_units=int(device.max_compute_units),
        max_group_size=int(device.max_work_group_size),
        alignment=alignment,
        fp16="cl_khr_fp16" in extensions,
        fp64="cl_khr_fp64" in extensions,
        subgroups=_has_subgroups(device, extensions),
        integer_dot="cl_khr_integer_dot_product" in extensions,
        unified_memory=bool(_ask(device, "host_unified_memory", 0)),
        extensions=extensions,
    )


def _ask(device: Any, name: str, default: Any) -> Any:
    """A property that old drivers may not know."""
    try:
        return getattr(device, name)
    except (pyopencl().Error, AttributeError):
        return default


def _has_subgroups(device: Any, extensions: frozenset[str]) -> bool:
    if extensions & {"cl_khr_subgroups", "cl_intel_subgroups"}:
        return True
    return int(_ask(device, "max_num_sub_groups", 0) or 0) > 0


def cache_identity(device: Any, info: DeviceInfo) -> str:
    """What a compiled binary depends on besides source and options.

    CPU runtimes compile for the host's own instruction set but may report a name that several hosts share, so the
    host's feature flags count too (a cache folder may be shared over a network).
    """
    text = f"{info.key}|{device.platform.version}|{device.version}"
    return f"{text}|{_host_features()}" if shares_host_memory(device) else text


@lru_cache(maxsize=1)
def _host_features() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as file:
            lines = sorted({line for line in file if line.startswith(("model name", "flags", "Features"))})
    except OSError:
        return ""
    return hashlib.sha256("".join(lines).encode()).hexdigest()[:16]
