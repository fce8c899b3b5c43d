"""Kernel specs: one declaration per kernel, an OpenCL and a CUDA source behind it.

:func:`load_all` imports every family module of this package, so that :data:`~a1400.kernels.spec.REGISTRY`
holds every spec.  Importing the package alone imports nothing.
"""

from __future__ import annotations

import importlib
import pkgutil

from a1400.kernels.spec import REGISTRY, KernelSpec


def load_all() -> dict[str, KernelSpec]:
    """Import every family module and return the table of all kernels."""
    for module in pkgutil.iter_modules(__path__):
        importlib.import_module(f"{__name__}.{module.name}")
    return REGISTRY
