"""What normalisations and losses become when they are trained: where results lie, and how they are stored."""

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
from a1400.ops.batch_norm import batch_norm_training
from a1400.ops.cross_entropy import softmax_cross_entropy
from a1400.optimizer import optimize

F32 = np.dtype(np.float32)


def _run(graph: Graph, device: Device, feeds: dict[str, np.ndarray], precision: str = "fp32") -> tuple[list[str], dict]:
    """(kernels launched, outputs)."""
    report = optimize(graph, info=device.info, precision=precision)
    plan = make_plan(graph, report, device, WeightStore(), None)
    got = ExecutionContext(plan, device, DeviceWeights(device)).run(feeds)
    return [launch.call.spec.name for launch in plan.launches], got


def test_parameter_gradients_lie_in_one_vector(device: Device) -> None:
    rng = np.random.default_rng(1)
    g = Graph("g")
    table = Tensor(g, g.input("table", (6, 18), F32))
    scale, bias = (Tensor(g, g.input(name, (18,), F32)) for name in ("scale", "bias"))
    index = Tensor(g, g.input("index", (5,), np.dtype(np.int64)))
    x = table.op("gather", index, axis=0)
    y = x + x.op("layer_norm", scale, bias, axis=1, eps=1e-3)
    found = gradients(g, (y * y).sum().value, [table.value, scale.value, bias.value])
    flat = [Tensor(g, v).reshape((v.size,)) for v in found if v is not None]
    g.output("all", flat[1].op("concat", flat[2], flat[0], axis=0).value)
    feeds = {name: rng.standard_normal(v.shape).astype(np.float32) for name, v in g.inputs.items() if name != "index"}
    feeds["index"] = np.array([4, 1, 4, 0, -1])
    want = evaluate(g, feeds)["all"]
    launches, got = _run(g, device, feeds)
    np.testing.assert_allclose(got["all"], want, rtol=2e-5, atol=2e-5 * np.abs(want).max())
    assert launches.count("layer_norm_gradient") == launches.count("sum_pairs") == launches.count("scatter_nd") == 1
    # what is added to dx rides in its launch: y * y twice (here and behind), no copies but of the table of zeros
    assert len(launches) <= 9, launches


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_a_step_of_each(device: Device, precision: str) -> None:
    """Statistics stay float32 where tensors are stored as halves."""
    rng = np.random.default_rng(2)
    g = Graph("g")
    x, w, v = (Tensor(g, g.input(n, s, F32)) for n, s in (("x", (4, 3, 2, 8)), ("w", (8, 16)), ("v", (16, 5))))
    scale = Tensor(g, g.input("scale", (16,), F32))
    labels = Tensor(g, g.input("labels", (4, 3, 2), np.dtype(np.int32)))
    h, mean, variance = batch_norm_training(x @ w, scale, None, 1e-3)
    h = h.op("max", 0.0).op("rms_norm", scale, axis=3, eps=1e-3)
    loss, _, _ = softmax_cross_entropy(h @ v, labels)
    total = loss.sum()
    for name, value in {"loss": total, "mean": mean, "variance": variance}.items():
        g.output(name, value.value)
    wanted = {"x": x, "w": w, "v": v, "scale": scale}
    for name, d in zip(wanted, gradients(g, total.value, [t.value for t in wanted.values()])):
        assert d is not None
        g.output(f"d{name}", d)
    feeds = {n: rng.standard_normal(i.shape).astype(np.float32) for n, i in g.inputs.items() if n != "labels"}
    feeds["labels"] = rng.integers(0, 5, (4, 3, 2)).astype(np.int32)
    want = evaluate(g, feeds)
    _, got = _run(g, device, feeds, precision)
    tolerance = 2e-5 if precision == "fp32" else 2e-2
    for name, array in want.items():
        np.testing.assert_allclose(got[name], array, rtol=0, atol=tolerance * np.abs(array).max(), err_msg=name)
