"""ONNX's operator cases, kept in the cache folder: making them takes seconds, and every process needs them."""

from __future__ import annotations

import importlib
import os
import pickle
import random
import tempfile
import warnings
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from a1400 import config


def keep_node_cases() -> None:
    """Have ``onnx.backend.test`` take them from here."""
    runner: Any = importlib.import_module("onnx.backend.test.runner")
    load = runner.load_model_tests

    def loaded(kind: str) -> Any:
        return node_cases() if kind == "node" else load(kind=kind)

    runner.load_model_tests = loaded


def node_cases() -> list[Any]:
    """``onnx.backend.test``'s operator cases, with the arrays that a fixed seed gives."""
    from onnx.backend.test.loader import load_node_model_tests

    path = _file()
    if path.exists():
        return list(pickle.loads(path.read_bytes()))
    # the cases' arrays come from NumPy's global random state, when they are loaded
    np.random.seed(0)
    random.seed(0)
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        cases = load_node_model_tests()
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=".new-")
    with os.fdopen(handle, "wb") as file:
        pickle.dump(cases, file, pickle.HIGHEST_PROTOCOL)
    os.replace(temporary, path)
    return list(cases)


def _file() -> Path:
    """Named after what the cases are made by and of."""
    made_by = "-".join(version(package) for package in ("onnx", "numpy", "ml-dtypes", "protobuf"))
    newest = onnx.defs.onnx_opset_version()  # a nightly build calls itself as the release before it
    return config.cache_dir() / "onnx_suite" / f"{made_by}-{newest}.pickle"
