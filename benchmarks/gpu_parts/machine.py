"""What a result was measured on: device, driver, libraries, commit and date."""

from __future__ import annotations

import datetime
import platform
import re
import shutil
import subprocess
from importlib import metadata
from pathlib import Path
from typing import Any

from a1400.backends.base import DeviceInfo

ROOT = Path(__file__).resolve().parents[2]
_PACKAGES = (
    "cupy-cuda13x", "cupy-cuda12x", "numpy", "nvidia-cublas", "nvidia-cuda-nvrtc", "nvidia-cudnn-cu13", "onnx",
    "onnxruntime", "onnxruntime-gpu", "pyopencl", "torch", "transformers", "triton",
)  # fmt: skip


def facts(info: DeviceInfo) -> dict[str, Any]:
    """Everything that belongs to the figures."""
    return {
        "device": info.name,
        "architecture": sorted(info.extensions),
        "memory": info.memory,
        "multiprocessors": info.compute_units,
        "cuda_driver_api": info.driver,
        **smi(info.index),
        "cuda_runtime": _runtime(),
        "libraries": versions(),
        "python": platform.python_version(),
        "system": platform.platform(),
        **commit(),
        "date": datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
    }


def versions() -> dict[str, str]:
    """Versions of the libraries that matter, of those that are installed."""
    found = {}
    for name in _PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def smi(index: int) -> dict[str, str]:
    """Driver version, power limit and clocks as ``nvidia-smi`` tells them; empty where it does not run."""
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return {}
    fields = {"driver": "driver_version", "power_limit": "power.limit", "sm_clock_limit": "clocks.max.sm"}
    command = [tool, f"--query-gpu={','.join(fields.values())}", "--format=csv,noheader", f"--id={index}"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=30)
    except (OSError, subprocess.TimeoutExpired):
        return {}
    values = [part.strip() for part in done.stdout.strip().split(",")]
    return dict(zip(fields, values)) if done.returncode == 0 and len(values) == len(fields) else {}


def _runtime() -> str:
    try:
        import cupy

        version = int(cupy.cuda.runtime.runtimeGetVersion())
    except Exception:
        return ""
    return f"{version // 1000}.{version % 1000 // 10}"


def commit() -> dict[str, Any]:
    """The commit, and whether files differ from it; empty where git cannot tell."""
    try:
        git = ["git", "-C", str(ROOT)]
        head = subprocess.run([*git, "rev-parse", "HEAD"], capture_output=True, text=True, timeout=30)
        state = subprocess.run([*git, "status", "--porcelain"], capture_output=True, text=True, timeout=30)
    except (OSError, subprocess.TimeoutExpired):
        return {}
    if head.returncode or state.returncode:
        return {}
    return {"commit": head.stdout.strip(), "changed_files": bool(state.stdout.strip())}


def slug(name: str) -> str:
    """A device's name as part of a file's name: ``nvidia_h200``."""
    return re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")[:60] or "unknown"
