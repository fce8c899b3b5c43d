"""Convolutions and the poolings behind them: one launch on CPUs, two elsewhere, the same answer."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from a1400.backends.base import Device
from a1400.engine.executor import DeviceWeights, ExecutionContext
from a1400.engine.plan import Plan, make_plan
from a1400.engine.weight_store import WeightStore
from a1400.graph import Graph, Value
from a1400.graph.graph import evaluate
from a1400.optimizer import optimize

F32 = np.dtype(np.float32)


def conv(g: Graph, x: Value, oc: int, kernel: int = 3, pad: int = 1, groups: int = 1) -> Value:
    """A convolution with bias."""
    rng = np.random.default_rng(oc)
    w = g.constant(rng.uniform(-0.2, 0.2, (oc, x.shape[-1] // groups, kernel, kernel)).astype(np.float32))
    spatial = {"strides": (1, 1), "low": (pad, pad), "high": (pad, pad), "dilations": (1, 1)}
    y = g.op("conv", x, w, **spatial, groups=groups)
    return g.op("add", y, g.constant(rng.uniform(-1, 1, oc).astype(np.float32)))


def relu(g: Graph, x: Value) -> Value:
    return g.op("max", x, g.constant(np.float32(0)))


def pool(g: Graph, x: Value, size: int, stride: int = 0, pad: int = 0, kind: str = "max") -> Value:
    stride = stride or size
    out = tuple((n + 2 * pad - size) // stride + 1 for n in x.shape[1:3])
    attrs: dict[str, Any] = {"kernel": (size, size), "strides": (stride, stride), "dilations": (1, 1)}
    return g.op("pool", x, kind=kind, low=(pad, pad), high=(pad, pad), out=out, **attrs)


def planned(g: Graph, device: Device, precision: str = "fp32") -> tuple[Plan, list[str]]:
    """The plan, and its kernels of convolutions and poolings."""
    plan = make_plan(g, optimize(g, info=device.info, precision=precision), device, WeightStore(), None)
    names = [launch.call.spec.name for launch in plan.launches]
    return plan, [n for n in names if n.startswith(("conv", "pool"))]


def check(plan: Plan, g: Graph, feeds: dict[str, np.ndarray], want: np.ndarray, device: Device, bound: float) -> None:
    got = ExecutionContext(plan, device, DeviceWeights(device)).run(feeds)["y"]
    assert np.abs(got - want).max() <= bound * np.abs(want).max()


@pytest.mark.parametrize("precision", ["fp32", "fp16", "bf16"])
def test_network(precision: str, device: Device) -> None:
    """Direct and Winograd's, largest value and mean, pointwise work in front of the pooling and behind it."""
    g = Graph("pooled")
    feeds = {"x": np.random.default_rng(1).uniform(-1, 1, (2, 3, 37, 38)).astype(np.float32)}
    x = g.op("transpose", g.input("x", feeds["x"].shape, F32), perm=(0, 2, 3, 1))
    first = pool(g, relu(g, conv(g, x, 32)), 2)
    second = relu(g, pool(g, conv(g, first, 64), 2, kind="average"))
    third = pool(g, relu(g, conv(g, second, 40, kernel=5, pad=0)), 2)
    g.output("y", third)
    want = evaluate(g, feeds)["y"].astype(np.float64)
    plan, kernels = planned(g, device, precision)
    if device.info.kind == "cpu":
        assert kernels == ["conv_pool", "conv_winograd4_pool", "conv_pool"]
        assert all(launch.sources is not None for launch in plan.launches)
    else:
        assert sum(k.startswith("pool") for k in kernels) == 3
    check(plan, g, feeds, want, device, {"fp32": 5e-6, "fp16": 3e-3, "bf16": 3e-2}[precision])


@pytest.mark.parametrize("form", ["overlapping", "padded", "second reader", "output", "grouped", "three by three"])
def test_apart(form: str, device: Device) -> None:
    """What one launch cannot do is left to two."""
    g = Graph(form)
    feeds = {"x": np.random.default_rng(1).uniform(-1, 1, (1, 12, 12, 16)).astype(np.float32)}
    x = g.input("x", feeds["x"].shape, F32)
    made = relu(g, conv(g, x, 16, kernel=5, pad=2, groups=2 if form == "grouped" else 1))
    size, stride = {"overlapping": (3, 2), "three by three": (3, 3)}.get(form, (2, 2))
    y = pool(g, made, size, stride, pad=int(form == "padded"))
    if form == "second reader":
        y = g.op("concat", y, g.op("slice", made, starts=(0, 0, 0, 0), shape=y.shape, steps=(1, 2, 2, 1)), axis=3)
    g.output("y", y)
    if form == "output":
        g.output("made", made)
    want = evaluate(g, feeds)["y"].astype(np.float64)
    plan, kernels = planned(g, device)
    assert [k.startswith("pool") for k in kernels] == [False, True]
    check(plan, g, feeds, want, device, 1e-6)
