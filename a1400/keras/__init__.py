"""Keras 3 models on any device of this package: ``a1400.keras.accelerate(model)``.

Keras may run on TensorFlow, PyTorch or JAX; nothing of them is used but to read and write the model's variables.
"""

from __future__ import annotations

from typing import Any

from a1400.errors import A1400Error

try:
    import keras
except ImportError as error:
    raise A1400Error(f"a1400.keras needs Keras 3 and one of its backends: {error}") from error

if not keras.__version__.startswith("3"):
    raise A1400Error(f"a1400.keras needs Keras 3, not {keras.__version__}")

from a1400.keras.model import AcceleratedModel
from a1400.keras.network import KerasNetwork
from a1400.keras.tracing import UnsupportedModel

__all__ = ["AcceleratedModel", "KerasNetwork", "UnsupportedModel", "accelerate"]


def accelerate(
    model: Any, backend: str | None = None, device: str | int | None = None, *, seed: int = 0,
    precision: str = "fp32", memory_limit: int | None = None,
) -> AcceleratedModel:  # fmt: skip
    """``model`` (Sequential, functional, or a nest of such) with its steps on a device of this package.

    ``backend``, ``device``, ``precision`` and ``memory_limit`` are as for :func:`a1400.load`; ``seed`` is that of
    dropout and random augmentation.  A model that is compiled already keeps its loss, metrics and optimizer.  Raises
    :class:`UnsupportedModel` with everything that is not supported, each with its layer.
    """
    options = {
        "backend": backend, "device": device, "seed": seed, "precision": precision, "memory_limit": memory_limit,
    }  # fmt: skip
    accelerated = AcceleratedModel(model, **options)
    configuration = model.get_compile_config() if getattr(model, "compiled", False) else None
    if configuration:
        accelerated.compile(**_compiled_with(model, configuration))
    return accelerated


def _compiled_with(model: Any, configuration: dict[str, Any]) -> dict[str, Any]:
    """What a compiled Keras model was compiled with, the optimizer as it is."""
    found = keras.saving.deserialize_keras_object(configuration)
    wanted = ("loss", "loss_weights", "metrics", "weighted_metrics")
    return {"optimizer": model.optimizer, **{name: found.get(name) for name in wanted}}
