"""a1400: run deep-learning models on whatever accelerator is there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from a1400.errors import A1400Error

__version__ = "0.1.0"

if TYPE_CHECKING:
    from a1400.backends.registry import list_devices as devices
    from a1400.engine.model import Model
    from a1400.loading import load
    from a1400.train.trainer import Trainer

_LAZY = {
    "load": ("a1400.loading", "load"),
    "Model": ("a1400.engine.model", "Model"),
    "Trainer": ("a1400.train.trainer", "Trainer"),
    "devices": ("a1400.backends.registry", "list_devices"),
}

__all__ = ["A1400Error", "Model", "Trainer", "devices", "load"]


def __getattr__(name: str) -> Any:
    """Import the heavy parts when they are first asked for, so that `import a1400` and the command line start fast."""
    import importlib

    if name == "keras":  # needs Keras, which need not be installed
        return importlib.import_module("a1400.keras")
    if name in _LAZY:
        module, attribute = _LAZY[name]
        return getattr(importlib.import_module(module), attribute)
    raise AttributeError(f"module 'a1400' has no attribute {name!r}")
