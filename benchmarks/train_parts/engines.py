"""The engines that train, and which of them are here; imports none of them."""

from __future__ import annotations

from dataclasses import replace

from benchmarks.cpu_parts.engines import ENGINES as RUNNING
from benchmarks.cpu_parts.engines import Engine

BASE = "torch"
_HERE = "benchmarks.train_parts.opening"
_OURS = {"KERAS_BACKEND": "torch"}


def _keras(backend: str, package: str, title: str) -> Engine:
    environment = {"KERAS_BACKEND": backend}
    return Engine(f"keras-{backend}", title, f"{_HERE}:keras", ("keras", package), environment=environment)


def _engine(name: str, opener: str, packages: tuple[str, ...] | None = None) -> Engine:
    """An engine of the running benchmark with an opener that trains."""
    known = next(engine for engine in RUNNING if engine.name == name)
    packages = known.packages if packages is None else packages
    environment = known.environment | (_OURS if known.platform else {})
    return replace(known, opener=f"{_HERE}:{opener}", packages=packages, environment=environment)


ENGINES = (
    _engine("a1400-intel", "a1400_intel", ("keras", "torch")),
    _engine("a1400-pocl", "a1400_pocl", ("keras", "torch")),
    _engine("torch", "torch_eager", ("torch",)),
    _engine("torch-compile", "torch_compile", ("torch",)),
    _keras("torch", "torch", "Keras on PyTorch"),
    _keras("tensorflow", "tensorflow", "Keras on TensorFlow"),
    _keras("jax", "jax", "Keras on JAX"),
    _engine("tinygrad", "tinygrad"),
)
