"""Profiles of small models on every device: each launch once, times that fit in the run, costs that are known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import a1400
from a1400.backends.base import DeviceInfo
from a1400.errors import InputError
from a1400.profile import Profile, Roofline
from a1400.profile.result import PHASES
from tests.profile.conftest import MODELS, feeds, load


def check(found: Profile, model: a1400.Model) -> None:
    """What holds for every profile."""
    plan = model._latest().plan
    assert [x.index for x in found.launches] == list(range(len(plan.launches)))
    assert [x.kernel for x in found.launches] == [
        f"{x.call.spec.name}/{x.call.variant.name}" for x in plan.launches
    ]
    assert [x.nodes for x in found.launches] == [x.sources for x in plan.launches]
    # the two clocks are set beside each other to within the shortest call of the driver
    slack = max(1e-4, min((x.returned - x.called for x in found.launches), default=0.0))
    for x in found.launches:
        assert 0 < x.best <= x.seconds and x.gap >= 0 and x.bytes > 0 and x.roof > 0
        assert x.flops >= 0 and x.share == x.roof / x.seconds
        assert 0 <= x.called <= x.returned <= found.moments.waited
        assert x.called - slack <= x.start <= x.end <= found.moments.waited + slack
    m = found.moments
    assert 0 == m.begin <= m.bound <= m.chosen <= m.waited <= m.end
    assert sum(x.end - x.start for x in found.launches) <= m.end + slack
    assert set(found.phases) == set(PHASES) and min(found.phases.values()) >= 0
    assert 0 < found.plain.best <= found.plain.low_quartile <= found.plain.median <= found.plain.high_quartile
    for groups in (found.by_kernel(), found.by_op(), found.by_node()):
        assert sum(g.launches for g in groups) == len(found.launches)
        assert sum(g.flops for g in groups) == pytest.approx(found.total.flops)
        assert sum(g.seconds for g in groups) == pytest.approx(found.total.seconds)
        assert [g.seconds for g in groups] == sorted((g.seconds for g in groups), reverse=True)


@pytest.mark.parametrize("name", MODELS)
def test_every_launch_once(name: str, device_info: DeviceInfo, tmp_path: Path, peaks: Roofline) -> None:
    model = load(name, tmp_path, device_info.id)
    before = model.run(feeds(name))
    found = model.profile(feeds(name), runs=3, warmup=1)
    assert found.device == device_info and found.runs == 3 and found.roofline is peaks
    assert found.shapes == MODELS[name][1]
    check(found, model)
    after = model.run(feeds(name))  # a profile leaves the context as a run does
    assert all(np.array_equal(before[key], after[key]) for key in before)


def test_known_costs(device_info: DeviceInfo, tmp_path: Path, peaks: Roofline) -> None:
    model = load("cnn", tmp_path, device_info.id)
    ops = {g.name: g for g in model.profile(feeds("cnn"), runs=1, warmup=0).by_op()}
    pixels = 16 * 16
    relu = pixels * 40
    convolution = 2 * pixels * 40 * 24 * 9
    found = sum(g.flops for name, g in ops.items() if name.startswith("conv"))
    product = 2 * pixels * 24 * 8
    assert found in (convolution + relu, convolution + relu + product)  # a 1x1 convolution may be a product
    if "matmul" in ops:
        assert ops["matmul"].flops == product
    smallest = 4 * (pixels * 24 + 40 * 24 * 9 + pixels * 40)
    assert sum(g.bytes for name, g in ops.items() if name.startswith("conv")) >= smallest


def test_products_of_several_shapes(device_info: DeviceInfo, tmp_path: Path, peaks: Roofline) -> None:
    """Each set of shapes has its own plan, and a profile is of the plan that its inputs need."""
    model = load("mlp", tmp_path, device_info.id)
    x = np.ones((40, 32), np.float32)
    for batch in (4, 40, 4):
        found = model.profile({"x": x[:batch]}, runs=1, warmup=0)
        assert found.shapes == {"x": (batch, 32)}
        products = [y for y in found.launches if y.op == "matmul"]
        slots = batch * 64 * 2  # bias and relu
        assert [y.flops for y in products] == [2 * batch * 32 * 64 + slots, 2 * batch * 64 * 10]
        assert products[1].bytes >= 4 * (batch * 64 + 64 * 10 + batch * 10)


def test_tenants_of_the_arena_do_not_overlap(device_info: DeviceInfo, tmp_path: Path, peaks: Roofline) -> None:
    found = load("cnn", tmp_path, device_info.id).profile(feeds("cnn"), runs=1, warmup=0)
    assert found.arena and max(t.offset + t.nbytes for t in found.arena) <= found.arena_bytes
    for i, a in enumerate(found.arena):
        for b in found.arena[:i]:
            together = a.first <= b.last and b.first <= a.last
            assert not together or a.offset + a.nbytes <= b.offset or b.offset + b.nbytes <= a.offset


def test_nonsense_is_refused(device_info: DeviceInfo, tmp_path: Path, peaks: Roofline) -> None:
    model = load("mlp", tmp_path, device_info.id)
    with pytest.raises(InputError, match="at least one run"):
        model.profile(feeds("mlp"), runs=0)
    with pytest.raises(InputError, match="no input"):
        model.profile({"z": np.ones((1, 32), np.float32)})
