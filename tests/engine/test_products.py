"""Products of half-precision graphs are lowered to the tensor cores of the device at hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from a1400.engine import lower  # noqa: F401 - registers the handlers
from a1400.engine.lowering import Lowering
from a1400.engine.weight_store import WeightStore
from a1400.graph import Graph
from a1400.kernels.gemm_depth import depth_parts
from a1400.optimizer import optimize
from tests.engine.graphs import GRAPHS
from tests.nvrtc.compiler import device

CPU = replace(device("sm_80"), backend="opencl", kind="cpu", compute_units=2, extensions=frozenset())


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


def _layer(g: Graph, rows: int, inputs: int, outputs: int) -> None:
    """A layer's product and both gradients, all of run-time operands."""
    x, w, d = (
        g.input(name, shape, np.dtype(np.float32))
        for name, shape in (("x", (rows, inputs)), ("w", (inputs, outputs)), ("d", (rows, outputs)))
    )
    g.output("y", g.op("matmul", x, w))
    g.output("dx", g.op("matmul", d, g.op("transpose", w, perm=(1, 0))))
    g.output("dw", g.op("matmul", g.op("transpose", x, perm=(1, 0)), d))


def _kernels(lw: Lowering) -> list[str]:
    return [f"{launch.call.spec.name}/{launch.call.variant.name}" for launch in lw.launches]


def _on_cpu(g: Graph) -> Lowering:
    lw = Lowering(g, CPU, WeightStore())
    lw.run()
    return lw


def test_training_products_copy_nothing_but_a_transposed_weight() -> None:
    g = Graph("layer")
    _layer(g, 128, 64, 96)
    assert _kernels(_on_cpu(g)) == ["gemm/cpu", "gemm_pack/cpu", "gemm_packed/cpu", "gemm/cpu_columns"]


def test_a_transposed_weight_is_packed_once_for_all_its_readers() -> None:
    g = Graph("readers")
    w = g.input("w", (64, 96), np.dtype(np.float32))
    for name in ("a", "b"):
        d = g.input(name, (32, 96), np.dtype(np.float32))
        g.output(name + "_out", g.op("matmul", d, g.op("transpose", w, perm=(1, 0))))
    lw = _on_cpu(g)
    assert _kernels(lw) == ["gemm_pack/cpu", "gemm_packed/cpu", "gemm_packed/cpu"]
    assert len({id(launch.call.buffers["b"].storage) for launch in lw.launches[1:]}) == 1


def test_packed_weights_become_panels_where_many_rows_repay_it() -> None:
    found = {}
    for name in ("matmul_nbits_of_many_rows", "matmul_nbits"):
        g = Graph(name)
        GRAPHS[name](g)
        found[name] = {kernel.split("/")[0] for kernel in _kernels(_on_cpu(g)) if kernel.startswith("gemm")}
    assert found == {"matmul_nbits_of_many_rows": {"gemm_packed"}, "matmul_nbits": {"gemm_nbits"}}


def test_a_deep_product_of_few_results_is_cut_along_its_depth() -> None:
    g = Graph("deep")
    x, d = (g.input(name, (20000, 32), np.dtype(np.float32)) for name in ("x", "d"))
    g.output("dw", g.op("matmul", g.op("transpose", x, perm=(1, 0)), d))
    for lw in (_on_cpu(g), lowered(g, "sm_80")):
        *products, last = lw.launches
        assert last.call.spec.name == "reduce_sum"
        batches = [int(p.call.scalars["nb0"]) * int(p.call.scalars["nb1"]) for p in products]
        depths = [int(p.call.scalars["K"]) for p in products]
        assert sum(b * k for b, k in zip(batches, depths)) == 20000
        assert sum(batches) == last.call.scalars["R1"] > 1


def test_products_with_results_enough_stay_whole() -> None:
    for info, shape in ((CPU, (256, 1024, 256)), (device("sm_80"), (1024, 4096, 1024))):
        assert depth_parts(info, *shape) == 1
