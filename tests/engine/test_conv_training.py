"""Convolutions whose filters are computed, their gradients, and the pooling behind them."""

from __future__ import annotations

import numpy as np
import pytest

from a1400.autodiff import gradients
from a1400.backends.base import Device
from a1400.engine.executor import DeviceWeights, ExecutionContext
from a1400.engine.plan import make_plan
from a1400.engine.weight_store import WeightStore
from a1400.graph import Graph
from a1400.graph.graph import evaluate
from a1400.graph.tensor import Tensor
from a1400.optimizer import optimize

F32 = np.dtype(np.float32)
SAME = {"strides": (1, 1), "low": (1, 1), "high": (1, 1), "dilations": (1, 1), "groups": 1}
PAIRS = {"kernel": (2, 2), "strides": (2, 2), "dilations": (1, 1), "low": (0, 0), "high": (0, 0), "out": (6, 7)}


def layers(training: bool) -> tuple[Graph, dict[str, np.ndarray]]:
    """Two layers of convolution, bias, ReLU and pooling; in training with the gradients of everything."""
    rng = np.random.default_rng(3)
    graph = Graph("layers")
    arrays = {
        "x": rng.uniform(-1, 1, (2, 12, 14, 32)), "w": rng.uniform(-0.1, 0.1, (64, 32, 3, 3)),
        "b": rng.uniform(-0.5, 0.5, 64), "v": rng.uniform(-0.1, 0.1, (32, 64, 3, 3)),
    }  # fmt: skip
    if training:
        arrays["seed"] = rng.uniform(-1, 1, (2, 6, 7, 32))
    t = {name: Tensor(graph, graph.input(name, a.shape, F32)) for name, a in arrays.items()}
    y = t["x"].op("conv", t["w"], **SAME) + t["b"]
    y = y.op("max", y.filled(0)).op("pool", kind="max", **PAIRS)
    y = y.op("conv", t["v"], **SAME)
    graph.output("y", y.value)
    if training:
        wanted = ("x", "w", "b", "v")
        for name, value in zip(wanted, gradients(graph, y.value, [t[n].value for n in wanted], t["seed"].value)):
            assert value is not None
            graph.output(f"d{name}", value)
    return graph, {name: arrays[name].astype(np.float32) for name in t}


@pytest.mark.parametrize("ways", ["fewer multiplications", "direct"])
def test_training(ways: str, device: Device) -> None:
    """The whole of the convolution's output is there for the pooling's gradient, so nothing is pooled on the way."""
    graph, feeds = layers(training=True)
    want = evaluate(graph, feeds)
    report = optimize(graph, info=device.info, disable=["winograd"] if ways == "direct" else ())
    plan = make_plan(graph, report, device, WeightStore(), None)
    names = [launch.call.spec.name for launch in plan.launches]
    assert not any("_pool" in name and name.startswith("conv") for name in names)
    assert names.count("pool_gradient_max") == names.count("pool_max") == 1
    winograd = [name for name in names if name.startswith("conv_winograd")]
    if device.info.kind == "cpu" and ways != "direct":
        assert winograd.count("conv_winograd_filter") == 2 and names.count("conv") <= 1
    else:
        assert not winograd and names.count("conv") == 4 and names.count("conv_filter_gradient") == 2
    got = ExecutionContext(plan, device, DeviceWeights(device)).run(feeds)
    for name, array in want.items():
        np.testing.assert_allclose(got[name], array, rtol=1e-4, atol=2e-5 * np.abs(array).max(), err_msg=name)


@pytest.mark.parametrize("precision", ["fp16", "bf16"])
def test_training_in_halves(precision: str, device: Device) -> None:
    """Filters' gradients stay float32; rounding may change which element of a window is the largest."""
    graph, feeds = layers(training=True)
    want = evaluate(graph, feeds)
    report = optimize(graph, info=device.info, precision=precision)
    plan = make_plan(graph, report, device, WeightStore(), None)
    made = [launch.call for launch in plan.launches if "filter" in launch.call.spec.name]
    assert all(call.types.get("T", F32) == F32 for call in made) and any(call.types.get("TA") != F32 for call in made)
    got = ExecutionContext(plan, device, DeviceWeights(device)).run(feeds)
    for name, array in want.items():
        error = np.linalg.norm(got[name] - array) / np.linalg.norm(array)
        assert got[name].dtype == np.float32 and error < (0.02 if precision == "fp16" else 0.1), (name, error)


def test_inference_with_computed_filters(device: Device) -> None:
    """With nobody else to read it, the convolution is pooled on the way on CPUs, whatever its filters come from."""
    graph, feeds = layers(training=False)
    want = evaluate(graph, feeds)["y"]
    plan = make_plan(graph, optimize(graph, info=device.info), device, WeightStore(), None)
    pooled = [name for launch in plan.launches if "_pool" in (name := launch.call.spec.name)]
    assert bool(pooled) == (device.info.kind == "cpu")
    got = ExecutionContext(plan, device, DeviceWeights(device)).run(feeds)["y"]
    np.testing.assert_allclose(got, want, rtol=1e-4, atol=2e-5 * np.abs(want).max())
