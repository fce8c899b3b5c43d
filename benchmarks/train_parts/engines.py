"""The engines that train, and which of them are here; imports none of them."""

from __future__ import annotations

from dataclasses import replace
from importlib.util import find_spec

from benchmarks.cpu_parts.engines import ENGINES as RUNNING
from benchmarks.cpu_parts.engines import Engine

BASE = "torch"
#: a1400 under Keras, and by itself
OURS, TRAINER = "a1400-intel", "a1400-trainer"
_HERE = "benchmarks.train_parts.opening"
#: what Keras runs on while a1400 trains: its NumPy backend (which imports JAX) is the smallest
_UNDER = "numpy" if find_spec("jax") else "torch"


def _keras(backend: str, package: str, title: str) -> Engine:
    environment = {"KERAS_BACKEND": backend}
    return Engine(f"keras-{backend}", title, f"{_HERE}:keras", ("keras", package), environment=environment)


def _engine(known: str, opener: str, packages: tuple[str, ...] | None = None, **changes: str) -> Engine:
    """An engine of the running benchmark with an opener that trains."""
    engine = next(engine for engine in RUNNING if engine.name == known)
    packages = engine.packages if packages is None else packages
    environment = engine.environment | ({"KERAS_BACKEND": _UNDER} if "keras" in packages else {})
    return replace(engine, opener=f"{_HERE}:{opener}", packages=packages, environment=environment, **changes)


ENGINES = (
    _engine("a1400-intel", "trainer_intel", (), name=TRAINER, title="a1400.Trainer, Intel"),
    _engine("a1400-intel", "a1400_intel", ("keras",), title="a1400 under Keras, Intel"),
    _engine("a1400-pocl", "a1400_pocl", ("keras",), title="a1400 under Keras, PoCL"),
    _engine("torch", "torch_eager", ("torch",)),
    _engine("torch-compile", "torch_compile", ("torch",)),
    _keras("torch", "torch", "Keras on PyTorch"),
    _keras("tensorflow", "tensorflow", "Keras on TensorFlow"),
    _keras("jax", "jax", "Keras on JAX"),
    _engine("tinygrad", "tinygrad"),
)
