"""One call that checks an op's value and gradients: dtype, shape, finite differences, PyTorch, and each device."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from a1400.autodiff import gradients
from a1400.backends.base import Device
from a1400.graph import Graph
from a1400.graph.graph import Value, evaluate
from a1400.graph.tensor import Tensor

#: relative tolerance of float32 on a device, by the largest magnitude of what is compared
DEVICE_TOLERANCE = 2e-5


@dataclass(frozen=True)
class Case:
    """``build`` makes one tensor of the inputs; gradients are checked for every floating input.

    ``torch`` computes the same with PyTorch tensors (None: PyTorch has no such function).  ``smooth`` is False where
    finite differences would step over a kink.
    """

    name: str
    build: Callable[..., Tensor]
    arrays: tuple[np.ndarray, ...]
    torch: Callable[..., Any] | None
    smooth: bool = True

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True)
class Built:
    """A case's graph: output ``y``, input ``seed``, and an output ``d0``, ``d1`` ... for each floating input."""

    graph: Graph
    feeds: dict[str, np.ndarray]
    wanted: tuple[int, ...]


def build(case: Case, dtype: Any) -> Built:
    """The case's graph with gradients, its floating inputs cast to ``dtype``."""
    graph = Graph(case.name)
    arrays = [a.astype(dtype) if a.dtype.kind == "f" else a for a in case.arrays]
    inputs = [Tensor(graph, graph.input(f"x{i}", a.shape, a.dtype)) for i, a in enumerate(arrays)]
    y = case.build(*inputs)
    graph.output("y", y.value)
    seed = graph.input("seed", y.shape, y.dtype)
    wanted = tuple(i for i, a in enumerate(arrays) if a.dtype.kind == "f")
    found = gradients(graph, y.value, [inputs[i].value for i in wanted], seed)
    for i, value in zip(wanted, found):
        graph.output(f"d{i}", _there(graph, inputs[i].value, value))
    feeds = {f"x{i}": a for i, a in enumerate(arrays)}
    feeds["seed"] = np.random.default_rng(7).standard_normal(y.shape).astype(dtype)
    return Built(graph, feeds, wanted)


def _there(graph: Graph, x: Value, gradient: Value | None) -> Value:
    return gradient if gradient is not None else graph.constant(np.zeros(x.shape, x.dtype))


def check_reference(case: Case) -> None:
    """In float64 through the NumPy references: against central differences and PyTorch."""
    made = build(case, np.float64)
    got = evaluate(made.graph, made.feeds)
    for i in made.wanted:
        assert got[f"d{i}"].shape == made.feeds[f"x{i}"].shape and got[f"d{i}"].dtype == np.float64
        if case.smooth:
            want = _differences(made, i)
            np.testing.assert_allclose(got[f"d{i}"], want, rtol=2e-5, atol=2e-6 * _scale(want), err_msg=f"x{i}")
    if case.torch is None:
        return
    for name, want in _torch(case, made).items():
        np.testing.assert_allclose(got[name], want, rtol=1e-9, atol=1e-10 * _scale(want), err_msg=name)


def check_device(case: Case, device: Device, dtype: Any = np.float32, tolerance: float = DEVICE_TOLERANCE) -> None:
    """In ``dtype`` on ``device``, optimised as any model is, against the references in float64."""
    from a1400.engine.executor import DeviceWeights, ExecutionContext
    from a1400.engine.plan import make_plan
    from a1400.engine.weight_store import WeightStore
    from a1400.optimizer import optimize

    made, wide = build(case, dtype), build(case, np.float64)
    want = evaluate(wide.graph, {n: a.astype(wide.feeds[n].dtype) for n, a in made.feeds.items()})
    report = optimize(made.graph, info=device.info)
    plan = make_plan(made.graph, report, device, WeightStore(), None)
    got = ExecutionContext(plan, device, DeviceWeights(device)).run(made.feeds)
    for name, array in want.items():
        assert got[name].shape == array.shape and got[name].dtype == dtype, name
        np.testing.assert_allclose(got[name], array, rtol=tolerance, atol=tolerance * _scale(array), err_msg=name)


def _scale(array: np.ndarray) -> float:
    return max(float(np.abs(array).max(initial=0.0)), 1e-6)


def _differences(made: Built, index: int, step: float = 1e-5) -> np.ndarray:
    name = f"x{index}"
    x, seed = made.feeds[name], made.feeds["seed"]
    result = np.zeros_like(x)
    only = Graph("forward")
    only.inputs, only.outputs = made.graph.inputs, {"y": made.graph.outputs["y"]}
    only.nodes = list(made.graph.nodes)
    only.remove_dead()
    for at in np.ndindex(*x.shape):
        ends = []
        for sign in (1, -1):
            moved = x.copy()
            moved[at] += sign * step
            ends.append(evaluate(only, {**made.feeds, name: moved})["y"])
        result[at] = ((ends[0] - ends[1]) * seed).sum() / (2 * step)
    return result


def _torch(case: Case, made: Built) -> dict[str, np.ndarray]:
    import torch

    inputs = [torch.tensor(made.feeds[f"x{i}"], requires_grad=i in made.wanted) for i in range(len(case.arrays))]
    assert case.torch is not None
    y = case.torch(*inputs)
    y.backward(torch.tensor(made.feeds["seed"]).reshape(y.shape))
    result = {"y": y.detach().numpy()}
    for i in made.wanted:
        grad = inputs[i].grad
        result[f"d{i}"] = np.zeros_like(made.feeds[f"x{i}"]) if grad is None else grad.numpy()
    return result
