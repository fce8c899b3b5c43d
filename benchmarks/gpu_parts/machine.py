"""What a result was measured on: device, driver, libraries, commit and date."""

from __future__ import annotations

import shutil
import subprocess
from typing import Any

from a1400.backends.base import DeviceInfo
from benchmarks.common.document import surroundings, versions

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
        "libraries": versions(_PACKAGES),
        **surroundings(),
    }


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
