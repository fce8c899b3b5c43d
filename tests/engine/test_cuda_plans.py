"""Every op lowered, planned, bound and launched by the CUDA backend, against a look-alike of CuPy: every grid, block,
argument and copy is checked, and copies happen as late as CUDA allows."""

from __future__ import annotations

import pytest

from a1400.backends import cuda
from a1400.engine.executor import DeviceWeights, ExecutionContext
from a1400.engine.plan import make_plan
from a1400.engine.weight_store import WeightStore
from a1400.graph import Graph
from a1400.graph.graph import evaluate
from a1400.optimizer import optimize
from tests.backends.fake_cupy import FakeCupy
from tests.engine.graphs import GRAPHS


@pytest.mark.parametrize("name", GRAPHS)
def test_graph(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    fake = FakeCupy(limit=1 << 28)
    monkeypatch.setattr(cuda, "driver_present", lambda: True)
    monkeypatch.setattr(cuda, "import_cupy", lambda: fake)
    device = cuda.CUDABackend().open(1)
    device.encoder = lambda: lambda *arguments: 0
    g = Graph(name)
    feeds = GRAPHS[name](g)
    want = evaluate(g, feeds)
    plan = make_plan(g, optimize(g, info=device.info), device, WeightStore(), None)
    context = ExecutionContext(plan, device, DeviceWeights(device))
    expected = [launch.call.spec.name for launch in plan.launches]
    for _ in range(3):  # launched one by one, recorded, replayed
        fake.log.clear()
        fake.machine.synchronizations = 0
        got = context.run(feeds)
        assert {n: (a.shape, a.dtype) for n, a in got.items()} == {n: (a.shape, a.dtype) for n, a in want.items()}
        assert [function for function, *_ in fake.log] == expected
        assert fake.machine.synchronizations == 1
    assert len(fake.graphs) == (1 if len(expected) > 1 else 0)
    assert all(launch.call.variant.kind != "cpu" for launch in plan.launches)
