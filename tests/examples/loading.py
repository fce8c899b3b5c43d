"""The examples' modules, which are no package: loaded by their paths."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


def example(folder: str, name: str) -> ModuleType:
    """``examples/folder/name.py`` as a module."""
    label = f"examples_{folder}_{name}"
    if label not in sys.modules:
        spec = importlib.util.spec_from_file_location(label, EXAMPLES / folder / f"{name}.py")
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[label] = module
        spec.loader.exec_module(module)
    return sys.modules[label]
