"""Where ONNX's suite is run for the page: the two OpenCL runtimes for CPUs, and the CUDA sources without a GPU."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

from tests.onnx_suite import runner
from tests.onnx_suite.runner import Result
from tests.onnx_suite.worker import CUDA_ON_HOST


@dataclass(frozen=True)
class Target:
    """A device by the name that the command line knows it by; ``real``: it is fast enough for the ImageNet models."""

    name: str
    title: str
    device: str = ""
    environment: Mapping[str, str] = field(default_factory=dict)
    real: bool = True

    def run(self, workers: int) -> list[Result]:
        """The whole suite."""
        return runner.run(self.device, workers, environment=self.environment, real=self.real)


def newer(folder: Path) -> Target:
    """Intel's runtime with the build of onnx that lies in ``folder``."""
    paths = os.pathsep.join([str(folder.resolve()), *filter(None, [os.environ.get("PYTHONPATH")])])
    return Target("newer", "a newer onnx", environment={**_opencl("intel"), "PYTHONPATH": paths})


def _opencl(platform: str) -> dict[str, str]:
    return {"A1400_BACKEND": "opencl", "A1400_DEVICE": "", "A1400_OPENCL_PLATFORMS": platform}


TARGETS = {
    target.name: target
    for target in (
        Target("intel", "Intel's OpenCL runtime", environment=_opencl("intel")),
        Target("pocl", "PoCL", environment=_opencl("pocl")),
        Target(CUDA_ON_HOST, "CUDA sources on the host", CUDA_ON_HOST, real=False),
    )
}


def target(name: str) -> Target:
    """One of :data:`TARGETS`, or any device by its id or a part of its name."""
    return TARGETS.get(name) or Target(name, name, name)


def save(folder: Path, name: str, results: list[Result]) -> None:
    """Keep a target's results in ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.json").write_text(json.dumps([asdict(r) for r in results], indent=0))


def saved(folder: Path, name: str) -> list[Result] | None:
    """What :func:`save` kept; None when there is nothing."""
    path = folder / f"{name}.json"
    if not path.exists():
        return None
    return [Result(**{**row, "features": tuple(row["features"])}) for row in json.loads(path.read_text())]
