"""Devices with small work-groups and little local memory: every kernel has settings for them."""

from __future__ import annotations

import dataclasses
from math import prod

import numpy as np
import pytest

from a1400.backends.base import Device, DeviceInfo
from a1400.backends.opencl import OpenCLDevice
from a1400.engine.executor import DeviceWeights, ExecutionContext
from a1400.engine.lowering import Lowering
from a1400.engine.plan import make_plan
from a1400.engine.weight_store import WeightStore
from a1400.errors import KernelArgumentError
from a1400.graph import Graph
from a1400.graph.graph import evaluate
from a1400.kernels import load_all
from a1400.kernels.spec import Tunable, Variant
from a1400.optimizer import optimize
from tests.engine.graphs import GRAPHS

GPU = DeviceInfo(
    backend="cuda", index=0, name="small", vendor="", platform="", driver="", kind="gpu", memory=1 << 30,
    max_allocation=1 << 30, local_memory=32768, compute_units=8, max_group_size=256, alignment=256, fp16=True,
    fp64=True, subgroups=False, integer_dot=False, unified_memory=False,
)  # fmt: skip
SMALL = dataclasses.replace(GPU, max_group_size=64, local_memory=16384)
VARIANT = Variant(
    "v", "gpu", lambda s, t: ((1, 1, 1), (t["A"], t["B"], 1)),
    (Tunable("A", 16, (8, 16, 32)), Tunable("B", 16, (4, 8, 16))),
    constraint=lambda t: t["A"] * t["B"] <= 256, local_bytes=lambda types, t: 100 * t["B"],
)  # fmt: skip


def test_defaults_stay_where_they_fit() -> None:
    assert VARIANT.fit(GPU, {}, {}) == {"A": 16, "B": 16}


def test_the_largest_group_that_fits() -> None:
    assert VARIANT.fit(SMALL, {}, {}) == {"A": 16, "B": 4}
    assert VARIANT.fit(dataclasses.replace(GPU, max_group_size=128, local_memory=800), {}, {}) == {"A": 16, "B": 8}


def test_local_memory_counts() -> None:
    assert VARIANT.fit(dataclasses.replace(GPU, local_memory=800), {}, {}) == {"A": 32, "B": 8}
    assert VARIANT.fit(dataclasses.replace(GPU, local_memory=300), {}, {}) is None


def test_what_the_caller_asks_for_stays() -> None:
    assert VARIANT.fit(SMALL, {}, {}, {"A": 8}) == {"A": 8, "B": 8}
    assert VARIANT.fit(SMALL, {}, {}, {"A": 32, "B": 8}) is None


@pytest.mark.parametrize("spec", load_all().values(), ids=list(load_all()))
def test_every_kernel_has_small_groups(spec) -> None:
    """On CUDA, which has no CPU variants to fall back on; attention is then composed of other kernels.

    All gradients of attention at once are for CPUs; the engine asks GPUs for two launches.
    """
    for case in spec.cases():
        if spec.name == "attention" or case.scalars.get("whole"):
            assert not spec.suits(SMALL, case.types, case.scalars)
            continue
        for info in (GPU, SMALL):
            variant = spec.choose(info, case.types, case.scalars)
            tunables = variant.fit(info, case.types, case.scalars)
            assert tunables is not None
            assert prod(variant.geometry(case.scalars, tunables)[1]) <= info.max_group_size
            assert variant.local_bytes(case.types, tunables) <= info.local_memory


def test_no_room_at_all() -> None:
    spec = load_all()["attention"]
    case = next(iter(spec.cases()))
    with pytest.raises(KernelArgumentError, match="up to 64 work-items"):
        spec.choose(SMALL, case.types, case.scalars)


@pytest.mark.parametrize("name", [n for n in GRAPHS if not n.startswith(("pointwise_", "reduce_"))])
def test_graphs_run_with_small_groups(name: str, device: Device) -> None:
    if not isinstance(device, OpenCLDevice):
        pytest.skip("needs a device that can pretend to be smaller")
    limits = {"kind": "gpu", "max_group_size": 64, "local_memory": 16384}
    small = OpenCLDevice(device.handle, dataclasses.replace(device.info, **limits))
    g = Graph(name)
    feeds = GRAPHS[name](g)
    want = evaluate(g, feeds)
    plan = make_plan(g, optimize(g, info=small.info), small, WeightStore(), None)
    for launch in plan.launches:
        assert launch.call.variant.kind != "cpu"
        assert prod(launch.call.geometry()[1]) <= 64
    got = ExecutionContext(plan, small, DeviceWeights(small)).run(feeds)
    for output, array in want.items():
        rtol = {"float16": 2e-3, "bfloat16": 1.6e-2}.get(array.dtype.name, 2e-5)
        np.testing.assert_allclose(got[output].astype(np.float64), array.astype(np.float64), rtol=rtol, atol=rtol * 8)


@pytest.mark.parametrize("name", ["topk", "group_norm_partial"])
def test_many_rows_stay_within_the_grid_of_cuda(name: str) -> None:
    """Dimensions 1 and 2 of a grid end at 65,535; how many rows or images there are must not meet that limit."""
    spec = load_all()[name]
    case = next(iter(spec.cases()))
    many = {"N": 70_000, "S": 1} if name == "group_norm_partial" else {"rows": 70_000, "n": 700, "k": 600}
    scalars = {**case.scalars, **many}
    variant = spec.choose(GPU, case.types, scalars)
    groups, _ = variant.geometry(scalars, variant.settings())
    assert groups[0] >= 70_000
    assert groups[1:] == (1, 1)


def test_intermediate_beyond_32_bit_indices_is_refused() -> None:
    """The scores of composed attention may have more elements than any tensor of the model."""
    g = Graph("large")
    shape = (1, 1, 50_000, 512)
    q, k, v = (g.input(n, shape, np.dtype(np.float32)) for n in "qkv")
    g.output("y", g.op("attention", q, k, v, scale=1.0))
    with pytest.raises(KernelArgumentError, match="too large for 32-bit indices"):
        Lowering(g, GPU, WeightStore()).run()
