"""Products of half-precision graphs are lowered to the tensor cores of the device at hand."""

from __future__ import annotations

import numpy as np
import pytest

from a1400.engine import lower  # noqa: F401 - registers the handlers
from a1400.engine.lowering import Lowering, WeightStore
from a1400.graph import Graph
from a1400.optimizer import optimize
from tests.engine.graphs import GRAPHS
from tests.nvrtc.compiler import device


def lowered(g: Graph, architecture: str, allow: frozenset[str] = frozenset()) -> Lowering:
    info = device(architecture)
    optimize(g, info=info)
    lw = Lowering(g, info, WeightStore(), allow)
    lw.run()
    return lw


def variants(lw: Lowering) -> list[str]:
    return [launch.call.variant.name for launch in lw.launches if launch.call.spec.name == "gemm"]


@pytest.mark.parametrize(
    ("architecture", "kinds"), [("sm_75", {"gpu"}), ("sm_80", {"tensor_n", "tensor_t", "tensor_any"})]
)
def test_layers_and_attention_in_half_precision(architecture: str, kinds: set[str]) -> None:
    g = Graph("half")
    GRAPHS["matmul_half"](g)
    assert set(variants(lowered(g, architecture))) == kinds


def test_a_weight_with_awkward_rows_is_laid_out_by_columns_once() -> None:
    rng = np.random.default_rng(3)
    g = Graph("head")
    weight = g.constant(rng.uniform(-1, 1, (64, 37)).astype(np.float16))
    for name in ("x", "y"):
        g.output(name + "_out", g.op("matmul", g.input(name, (5, 64), np.dtype(np.float16)), weight))
    lw = lowered(g, "sm_80")
    assert variants(lw) == ["tensor_t", "tensor_t"]
    scalars = [launch.call.scalars for launch in lw.launches]
    assert all((s["b_k"], s["b_n"], s["b_off"]) == (1, 64, 0) for s in scalars)
    storages = {id(launch.call.buffers["b"].storage) for launch in lw.launches}
    assert len(storages) == 1
    assert weight.data is not None
    laid = lw.launches[0].call.buffers["b"].storage.array
    assert np.array_equal(laid, weight.data.T)
    assert variants(lowered(g, "sm_75")) == ["gpu", "gpu"]


def test_tf32_only_where_the_caller_accepts_it() -> None:
    def graph() -> Graph:
        g = Graph("single")
        GRAPHS["matmul_weights"](g)
        return g

    assert set(variants(lowered(graph(), "sm_80"))) == {"gpu"}
    assert all(v.startswith("tf32") for v in variants(lowered(graph(), "sm_80", frozenset({"tf32"}))))
