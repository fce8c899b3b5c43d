"""Which convolutions the ``winograd`` pass marks, and what becomes of them on each device."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from a1400.backends.base import Device, DeviceInfo
from a1400.engine.executor import DeviceWeights, ExecutionContext
from a1400.engine.plan import make_plan
from a1400.engine.weight_store import WeightStore
from a1400.graph import Graph, Value
from a1400.graph.graph import evaluate
from a1400.kernels import conv_winograd_choice as choice
from a1400.kernels.conv_shape import conv_scalars
from a1400.kernels.conv_winograd import ALGORITHMS, tiles
from a1400.optimizer import optimize
from tests.engine.test_conv_lowering import cuda

F32 = np.dtype(np.float32)
CPU = replace(cuda(80), backend="opencl", kind="cpu", compute_units=2, extensions=frozenset())


def scalars(size: int, c: int, oc: int, kernel: int = 3, stride: int = 1, groups: int = 1) -> dict[str, int]:
    """Scalars of a convolution that keeps (or with its stride divides) the size of square images."""
    out, pad = -(-size // stride), kernel // 2
    return conv_scalars(
        (1, size, size, c), (1, out, out, oc), (kernel, kernel), (stride, stride), (pad, pad), (1, 1), groups
    )


def network(precision: str = "fp32") -> tuple[Graph, dict[str, np.ndarray]]:
    """Two 3 x 3 convolutions with bias, activation and a residual, the second computed weights, on two images."""
    rng = np.random.default_rng(5)
    g = Graph("residual")
    x = g.input("x", (2, 18, 22, 64), F32)
    same = {"strides": (1, 1), "low": (1, 1), "high": (1, 1), "dilations": (1, 1), "groups": 1}
    value: Value = x
    for i in range(2):
        w = g.constant(rng.uniform(-0.1, 0.1, (64, 64, 3, 3)).astype(np.float32))
        bias = g.constant(rng.uniform(-1, 1, 64).astype(np.float32))
        value = g.op("add", g.op("conv", value, w, **same), bias)
        value = g.op("max", value, g.constant(np.float32(0)))
        if i:
            value = g.op("add", value, x)
    g.output("y", value)
    return g, {"x": rng.uniform(-1, 1, (2, 18, 22, 64)).astype(np.float32)}


@pytest.mark.parametrize("precision", ["fp32", "fp16", "bf16"])
def test_network(precision: str, device: Device) -> None:
    """The marked network gives the reference's answer; on CPUs by Winograd's kernels, epilogues fused."""
    g, feeds = network()
    want = evaluate(g, feeds)["y"].astype(np.float64)
    report = optimize(g, info=device.info, precision=precision)
    plan = make_plan(g, report, device, WeightStore(), None)
    kernels = [launch.call.spec.name for launch in plan.launches if launch.call.spec.name.startswith("conv")]
    if device.info.kind == "cpu":
        assert [k.startswith("conv_winograd") for k in kernels] == [True, True]
    else:
        assert kernels == ["conv", "conv"]
    got = ExecutionContext(plan, device, DeviceWeights(device)).run(feeds)["y"]
    error = np.abs(got - want).max() / np.abs(want).max()
    assert error < {"fp32": 5e-6, "fp16": 3e-3, "bf16": 3e-2}[precision]


@pytest.mark.parametrize(("info", "disable"), [(CPU, ("winograd",)), (cuda(80), ()), (None, ())])
def test_not_marked(info: DeviceInfo | None, disable: tuple[str, ...]) -> None:
    g, _ = network()
    report = optimize(g, info=info, disable=disable)
    assert report.count("winograd") == 0 and not any("algorithm" in node.attrs for node in g.nodes)


def test_marked_and_told() -> None:
    g, _ = network()
    report = optimize(g, info=CPU)
    assert report.count("winograd") == 2 and "conv_winograd4 x 2" in str(report)


@pytest.mark.parametrize("units", [1, 2, 16, 128])
@pytest.mark.parametrize("size", [7, 14, 28, 56, 129])
def test_sharing_covers_the_cores(size: int, units: int) -> None:
    """Where there is work for all cores, each gets some."""
    info = replace(CPU, compute_units=units)
    for c in (16, 64, 512, 1024):
        s = scalars(size, c, c)
        found = choice.choose(info, s)
        if found is None:  # too little work, or more cores than tiles
            assert c == 16 or units > 2
            continue
        blocks = -(-tiles(s, ALGORITHMS[found.kernel].outputs) // found.block)
        assert blocks * found.across >= min(units, 8)


@pytest.mark.parametrize(
    "given",
    [
        scalars(56, 64, 64, kernel=5), scalars(56, 64, 64, kernel=1), scalars(56, 64, 64, groups=64),
        scalars(64, 3, 16), {**scalars(56, 64, 64), "dh": 2}, {**scalars(56, 64, 64), "KD": 3},
    ],
    ids=["5x5", "1x1", "depthwise", "few channels", "dilated", "3-D"],
)  # fmt: skip
def test_direct_stays(given: dict[str, int]) -> None:
    assert choice.choose(CPU, given) is None


def test_very_deep_sums_avoid_large_tiles() -> None:
    found = choice.choose(CPU, scalars(56, 4096, 32))
    assert found is None or found.kernel == "conv_winograd2"
