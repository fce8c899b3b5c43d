"""Every op, through lowering, planning and execution on each device, against the NumPy references."""

from __future__ import annotations

import numpy as np
import pytest

from a1400 import dtypes
from a1400.backends.base import Device
from a1400.engine.executor import DeviceWeights, ExecutionContext
from a1400.engine.lowering import Lowering
from a1400.engine.plan import make_plan
from a1400.engine.weight_store import WeightStore
from a1400.graph import Graph
from a1400.graph.graph import evaluate
from a1400.kernels.expr import Expr
from a1400.optimizer import PASSES, optimize
from tests.engine.graphs import GRAPHS
from tests.kernels.coverage import takes_all

#: plainly there is one kernel for each op; with A1400_TEST_CASES=few a graph runs only as the optimizer leaves it
WAYS = {"plain": False, "optimised": True} if takes_all(repeats=False) else {"optimised": True}


def close(name: str, got: np.ndarray, want: np.ndarray) -> None:
    assert got.shape == want.shape and got.dtype == want.dtype, (
        f"{name}: {got.dtype}{got.shape}, wanted {want.dtype}{want.shape}"
    )
    if want.dtype.kind in "iub":
        np.testing.assert_array_equal(got, want, err_msg=name)
        return
    rtol = {np.dtype(np.float16): 2e-3, dtypes.bfloat16: 1.6e-2}.get(want.dtype, 2e-5)
    w = want.astype(np.float64)
    scale = float(np.abs(w[np.isfinite(w)]).max(initial=0.0))
    np.testing.assert_allclose(got.astype(np.float64), w, rtol=rtol, atol=rtol * max(scale, 1e-6), err_msg=name)


@pytest.mark.parametrize("optimised", WAYS.values(), ids=list(WAYS))
@pytest.mark.parametrize("name", GRAPHS)
def test_graph(name: str, optimised: bool, device: Device) -> None:
    g = Graph(name)
    feeds = GRAPHS[name](g)
    want = evaluate(g, feeds)
    report = optimize(g, disable=() if optimised else tuple(PASSES), info=device.info)
    plan = make_plan(g, report, device, WeightStore(), None)
    context = ExecutionContext(plan, device, DeviceWeights(device))
    for _ in range(2):  # the second run finds memory full of the first one's values
        got = context.run(feeds)
        assert list(got) == list(want)
        for output, array in want.items():
            close(f"{name}.{output}", got[output], array)


def test_axes_of_a_coordinate_may_lie_apart(device: Device) -> None:
    """An operand that broadcasts along one of them is copied so that they are next to each other."""
    lowering = Lowering(Graph("g"), device.info, WeightStore())
    row = lowering.constant(np.arange(100, 103, dtype=np.float32))
    given = Expr("arg", (), np.dtype(np.float32), 1)
    _, (argument,) = lowering.slot(given, [row], (2, 4, 3), [(0, 2), (1,)])
    assert argument.strides == (4, 1)
