"""Keras on PyTorch as the reference, and graphs evaluated with NumPy or on a device."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

os.environ.setdefault("KERAS_BACKEND", "torch")

import keras
import numpy as np

from a1400.backends.base import Device
from a1400.graph.graph import Graph, evaluate
from a1400.graph.tensor import Tensor

__all__ = ["array", "build", "keras", "on_device", "scalar"]


def array(x: Any) -> np.ndarray:
    """A Keras tensor as a NumPy array."""
    return np.asarray(keras.ops.convert_to_numpy(x))


def build(make: Callable[..., Tensor | dict[str, Tensor]], *arrays: np.ndarray | None) -> tuple[Graph, dict[str, Any]]:
    """The graph of ``make`` over inputs like ``arrays`` (None: None is handed on), and what to feed it."""
    graph = Graph("test")
    given = [None if a is None else Tensor(graph, graph.input(f"x{i}", a.shape, a.dtype)) for i, a in enumerate(arrays)]
    made = make(*given)
    for name, tensor in (made if isinstance(made, dict) else {"y": made}).items():
        graph.output(name, tensor.value)
    return graph, {f"x{i}": a for i, a in enumerate(arrays) if a is not None}


def scalar(make: Callable[..., Tensor], *arrays: np.ndarray | None) -> np.ndarray:
    """What ``make`` gives of ``arrays`` with NumPy."""
    graph, feeds = build(make, *arrays)
    return evaluate(graph, feeds)["y"]


def on_device(graph: Graph, feeds: dict[str, np.ndarray], device: Device) -> tuple[dict[str, np.ndarray], Any]:
    """Outputs of an optimised graph on ``device``, and its plan."""
    from a1400.engine.executor import DeviceWeights, ExecutionContext
    from a1400.engine.lowering import WeightStore
    from a1400.engine.plan import make_plan
    from a1400.optimizer import optimize

    report = optimize(graph, info=device.info)
    plan = make_plan(graph, report, device, WeightStore(), None)
    return ExecutionContext(plan, device, DeviceWeights(device)).run(feeds), plan
