"""The facts behind ``a1400 doctor``: what is installed, what is missing, and whether each device really computes.

Devices are probed each in a process of its own, since a broken driver may abort or hang whatever process uses it::

    python -m a1400.backends.doctor --probe opencl:0

prints one line of JSON.  Nothing else here prints.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path

import numpy as np

import a1400
from a1400 import config
from a1400.backends import registry
from a1400.backends.base import DeviceInfo
from a1400.backends.cuda import INSTALL_CUDA
from a1400.backends.opencl_runtime import INSTALL_OPENCL
from a1400.errors import A1400Error

# Package -> (what it is for, command that installs it); None: needed, so always there.
_PACKAGES: dict[str, tuple[str, str | None]] = {
    "numpy": ("arrays", None),
    "ml_dtypes": ("bfloat16", None),
    "pyopencl": ("OpenCL devices", INSTALL_OPENCL),
    "intel-opencl-rt": ("the CPU as an OpenCL device", INSTALL_OPENCL),
    "intel-cmplr-lib-rt": ("libraries of Intel's OpenCL runtime", INSTALL_OPENCL),
    "pocl-binary-distribution": ("another OpenCL runtime for the CPU", None),
    "cupy": ("CUDA devices", INSTALL_CUDA),
    "onnx": ("reading ONNX models", "pip install onnx"),
    "onnxruntime": ("comparing answers and speed with ONNX Runtime", "pip install onnxruntime"),
    "torch": ("exporting the models that the tests compare", "pip install torch==2.13.0"),
}
_CUPY_WHEELS = ("cupy-cuda13x", "cupy-cuda12x", "cupy-cuda11x", "cupy")

_SOURCE = {
    "opencl": """
__kernel void a1400_probe(__global float *out, __global const float *a, __global const float *b, int n) {
    int i = (int)get_global_id(0);
    if (i < n) out[i] = a[i] + b[i];
}
""",
    "cuda": """
extern "C" __global__ void a1400_probe(float *out, const float *a, const float *b, int n) {
    int i = (int)(blockIdx.x * blockDim.x + threadIdx.x);
    if (i < n) out[i] = a[i] + b[i];
}
""",
}


@dataclass(frozen=True)
class Package:
    """One package: its version (None: absent), what it is for, and the command that installs it (None: no need)."""

    name: str
    version: str | None
    purpose: str
    command: str | None


@dataclass(frozen=True)
class Probe:
    """Outcome of the test kernel on one device.

    ``status`` is ``ok``, ``wrong`` (it ran, with wrong numbers), ``error`` (a message), ``crashed`` (the process died)
    or ``timeout``.  ``seconds`` is the whole test's time with start-up and compilation.
    """

    device: str
    status: str
    seconds: float
    detail: str

    @property
    def ok(self) -> bool:
        """True if the device computed the right answer."""
        return self.status == "ok"


@dataclass(frozen=True)
class Report:
    """Everything ``a1400 doctor`` shows."""

    system: dict[str, str]
    packages: list[Package]
    devices: list[DeviceInfo]
    probes: list[Probe]
    problems: list[str]
    default: str


def system() -> dict[str, str]:
    """Python, operating system, cache folder and the environment variables that steer a1400."""
    found = {
        "python": platform.python_version(),
        "system": platform.platform(),
        "cache": str(config.cache_dir()),
    }
    for name in sorted(os.environ):
        if (name.startswith("A1400_") and name != "A1400_ICD_STATE") or name in (
            "OCL_ICD_VENDORS",
            "CUDA_VISIBLE_DEVICES",
        ):
            found[name] = os.environ[name]
    return found


def packages() -> list[Package]:
    """Versions of the packages that a1400 can use."""
    return [Package(name, _version(name), purpose, command) for name, (purpose, command) in _PACKAGES.items()]


def _version(name: str) -> str | None:
    for candidate in _CUPY_WHEELS if name == "cupy" else (name,):
        try:
            return metadata.version(candidate)
        except metadata.PackageNotFoundError:
            continue
    return None


def probe(device: str, timeout: float = 60.0, command: Sequence[str] | None = None) -> Probe:
    """Run the test kernel on ``device`` (``opencl:0``) in a child process; never raises.

    ``timeout`` is in seconds.  ``command`` replaces the child's command line (for tests).
    """
    arguments = list(command or (sys.executable, "-m", "a1400.backends.doctor", "--probe", device))
    environment = dict(os.environ)
    # The child must import this very copy, installed or not.
    parent = str(Path(a1400.__path__[0]).parent)
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, (parent, environment.get("PYTHONPATH"))))
    start = time.perf_counter()
    try:
        child = subprocess.run(
            arguments,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return Probe(device, "timeout", time.perf_counter() - start, f"no answer within {timeout:g} seconds")
    except OSError as error:
        return Probe(device, "error", time.perf_counter() - start, f"the test process could not be started: {error}")
    seconds = time.perf_counter() - start
    for line in reversed(child.stdout.splitlines()):  # drivers print to stdout too
        try:
            answer = json.loads(line)
            return Probe(device, str(answer["status"]), seconds, str(answer["detail"]))
        except (ValueError, KeyError, TypeError):
            continue
    code = child.returncode
    how = f"was killed by signal {-code}" if code < 0 else f"ended with status {code}"
    words = (child.stderr.strip() or child.stdout.strip()).splitlines()
    return Probe(device, "crashed", seconds, f"the test process {how}: {' | '.join(words[-3:]) or 'it said nothing'}")


def examine(timeout: float = 60.0) -> Report:
    """Look at everything; probes every device, one after the other, at most ``timeout`` seconds each."""
    devices = registry.list_devices()
    problems = [text for backend in registry.all_backends().values() for text in backend.problems()]
    return Report(
        system=system(),
        packages=packages(),
        devices=devices,
        probes=[probe(info.id, timeout) for info in devices],
        problems=problems,
        default=registry.why_default(),
    )


def run_probe(device: str) -> tuple[str, str]:
    """The test itself, in this process: vector addition, checked exactly; returns status and detail."""
    count = 10_007
    opened = registry.choose(device.partition(":")[0], device)
    stream = opened.stream()
    rng = np.random.default_rng(0)
    first, second = (rng.standard_normal(count).astype(np.float32) for _ in range(2))
    result = np.zeros(count, np.float32)
    buffers = [opened.alloc(result.nbytes) for _ in range(3)]
    stream.write(buffers[1], first)
    stream.write(buffers[2], second)
    start = time.perf_counter()
    program = opened.compile("a1400 doctor's test", _SOURCE[opened.info.backend], "a1400_probe")
    compiled = time.perf_counter() - start
    launch = program.bind([*buffers, np.int32(count)], ((count + 63) // 64, 1, 1), (64, 1, 1))
    stream.run([launch])
    stream.read(buffers[0], result)
    wrong = int(np.count_nonzero(result != first + second))
    if wrong:
        return "wrong", f"{wrong} of {count} sums are wrong"
    return "ok", f"{count} sums are right; compiled in {compiled:.2f} s"


def main(arguments: Sequence[str] | None = None) -> int:
    """Child mode: test one device and print the outcome as a line of JSON."""
    parser = argparse.ArgumentParser(prog="python -m a1400.backends.doctor")
    parser.add_argument("--probe", metavar="ID", help="device to test, such as opencl:0; without it, the whole report")
    parser.add_argument("--timeout", type=float, default=60.0, help="seconds each device may take")
    options = parser.parse_args(arguments)
    if options.probe is None:
        print(json.dumps(asdict(examine(options.timeout)), default=sorted))
        return 0
    try:
        status, detail = run_probe(options.probe)
    except A1400Error as error:
        status, detail = "error", str(error)
    print(json.dumps({"device": options.probe, "status": status, "detail": detail}), flush=True)
    return 0 if status == "ok" else 1


if __name__ == "__main__":
    sys.exit(main())
