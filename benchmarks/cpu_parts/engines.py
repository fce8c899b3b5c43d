"""The engines that are compared, and which of them are here; imports none of them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib import metadata
from typing import Any

from benchmarks.common.document import ROOT

OURS = ("a1400-intel", "a1400-pocl")
BASE = "onnxruntime"


@dataclass(frozen=True)
class Engine:
    """One engine.

    ``opener`` is ``module:function`` of what opens a model in the engine's own process (see ``opening.py``);
    ``packages`` must be installed; ``platform`` is the OpenCL platform it needs.  ``environment`` is set in that
    process; in its values, ``{cache}`` is an empty folder and ``{threads}`` the number of threads.  ``slow`` engines
    run only when named.  ``patience``: seconds until a start without an answer counts as a hang.
    """

    name: str
    title: str
    opener: str
    packages: tuple[str, ...] = ()
    platform: str = ""
    environment: dict[str, str] = field(default_factory=dict)
    slow: bool = False
    patience: float = 300.0


def _a1400(platform: str, title: str, environment: dict[str, str]) -> Engine:
    shared = {"A1400_OPENCL_PLATFORMS": platform, "A1400_CACHE_DIR": "{cache}/a1400"}
    opener = f"benchmarks.cpu_parts.opening:a1400_{platform}"
    return Engine(f"a1400-{platform}", title, opener, platform=platform, environment={**shared, **environment})


_TORCH = ("torch", "transformers")

ENGINES = (
    _a1400("intel", "a1400, Intel", {"CL_CONFIG_CPU_TBB_NUM_WORKERS": "{threads}"}),
    _a1400("pocl", "a1400, PoCL", {
        "POCL_CACHE_DIR": "{cache}/pocl", "POCL_MAX_PTHREAD_COUNT": "{threads}", "POCL_CPU_MAX_CU_COUNT": "{threads}",
    }),
    Engine(BASE, "ONNX Runtime", "benchmarks.cpu_parts.opening:onnxruntime", ("onnxruntime",)),
    Engine("openvino", "OpenVINO", "benchmarks.cpu_parts.opening:openvino", ("openvino",)),
    Engine("torch", "PyTorch eager", "benchmarks.cpu_parts.opening:torch_eager", _TORCH),
    Engine("torch-compile", "torch.compile", "benchmarks.cpu_parts.opening:torch_compile", _TORCH,
           environment={"TORCHINDUCTOR_CACHE_DIR": "{cache}/inductor"}, slow=True, patience=900.0),
    Engine("tinygrad", "tinygrad", "benchmarks.cpu_parts.opening:tinygrad", ("tinygrad",),
           environment={"DEV": "CPU", "CACHEDB": "{cache}/tinygrad.db"}, slow=True, patience=600.0),
)  # fmt: skip
#: not an engine: the loop of multiply-adds that takes its turns with them
PEAK = Engine("peak", "peak", "benchmarks.cpu_parts.opening:peak", environment={"A1400_CACHE_DIR": "{cache}/a1400"})


def cpu_devices() -> list[dict[str, Any]]:
    """OpenCL CPU devices as a child process sees them: name, platform, driver; empty where there is none."""
    code = (
        "import json; from a1400.backends import registry; print(json.dumps([dict(name=i.name, platform=i.platform, "
        "driver=i.driver, compute_units=i.compute_units) for i in registry.list_devices() "
        "if i.backend == 'opencl' and i.kind == 'cpu']))"
    )
    path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
    command = [sys.executable, "-c", code]
    try:
        done = subprocess.run(
            command, env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True, timeout=120
        )  # fmt: skip
        return list(json.loads(done.stdout.strip().splitlines()[-1]))
    except (OSError, subprocess.TimeoutExpired, ValueError, IndexError):
        return []


def missing(engine: Engine, devices: Sequence[dict[str, Any]]) -> str | None:
    """Why ``engine`` cannot run here; None where it can."""
    for package in engine.packages:
        try:
            metadata.version(package)
        except metadata.PackageNotFoundError:
            return f"{package} is not installed"
    names = [f"{device['name']} {device['platform']}".lower() for device in devices]
    if engine.platform and not any(is_of(name, engine.platform) for name in names):
        return f"there is no OpenCL CPU device of {engine.platform}"
    return None


def is_of(name: str, platform: str) -> bool:
    """Whether a device's name and platform, in lower case, belong to ``intel`` or ``pocl``."""
    simulated = "oclgrind" in name
    return not simulated and ("portable computing" in name or "pocl" in name if platform == "pocl" else
                              platform in name and "pocl" not in name and "portable computing" not in name)  # fmt: skip
