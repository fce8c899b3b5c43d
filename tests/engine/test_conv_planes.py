"""First layers read a picture [N, C, H, W] in place on CPUs: no launch copies it. GPUs want channels side by side."""

from __future__ import annotations

import numpy as np
import pytest

from a1400.backends.base import Device
from a1400.engine.executor import DeviceWeights, ExecutionContext
from a1400.engine.plan import make_plan
from a1400.engine.weight_store import WeightStore
from a1400.graph import Graph
from a1400.graph.graph import evaluate
from a1400.optimizer import optimize


@pytest.mark.parametrize("cut", [0, 5])  # a crop's lines are not evenly spaced: it must be copied
@pytest.mark.parametrize("kernel", [3, 7])
def test_pictures_are_read_in_place(device: Device, kernel: int, cut: int) -> None:
    g = Graph("first layer")
    rng = np.random.default_rng(kernel)
    x = g.input("x", (2, 4, 19, 34), np.dtype(np.float32))
    part = g.op("slice", x, starts=(0, 1, 0, 0), shape=(2, 3, 19, 34 - cut), steps=(1, 1, 1, 1))
    picture = g.op("transpose", part, perm=(0, 2, 3, 1))
    w = g.constant(rng.uniform(-1, 1, (20, 3, kernel, kernel)).astype(np.float32))
    pad = (kernel // 2, kernel // 2)
    y = g.op("conv", picture, w, strides=(2, 2), low=pad, high=pad, dilations=(1, 1), groups=1)
    g.output("y", g.op("max", y, g.constant(np.float32(0))))
    feeds = {"x": rng.uniform(-1, 1, x.shape).astype(np.float32)}
    expected = evaluate(g, feeds)["y"]

    plan = make_plan(g, optimize(g, info=device.info), device, WeightStore(), None)
    names = [launch.call.spec.name for launch in plan.launches]
    in_place = device.info.kind == "cpu" and not cut
    assert names[-1] == "conv" and len(names) == (1 if in_place else 2)
    found = ExecutionContext(plan, device, DeviceWeights(device)).run(feeds)["y"]
    np.testing.assert_allclose(found, expected, atol=1e-5 * np.abs(expected).max())


def test_a_repeated_picture_is_read_in_place(device: Device) -> None:
    """A batch that is one picture over again has no step from image to image."""
    g = Graph("repeated")
    rng = np.random.default_rng(1)
    picture = g.input("x", (1, 3, 9, 14), np.dtype(np.float32))
    x = g.op("transpose", g.op("expand", picture, shape=(3, 3, 9, 14)), perm=(0, 2, 3, 1))
    w = g.constant(rng.uniform(-1, 1, (20, 3, 3, 3)).astype(np.float32))
    g.output("y", g.op("conv", x, w, strides=(1, 1), low=(1, 1), high=(1, 1), dilations=(1, 1), groups=1))
    feeds = {"x": rng.uniform(-1, 1, picture.shape).astype(np.float32)}
    expected = evaluate(g, feeds)["y"]

    plan = make_plan(g, optimize(g, info=device.info), device, WeightStore(), None)
    found = ExecutionContext(plan, device, DeviceWeights(device)).run(feeds)["y"]
    np.testing.assert_allclose(found, expected, atol=1e-5 * np.abs(expected).max())
