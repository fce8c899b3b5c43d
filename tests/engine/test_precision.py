"""Half storage on devices: every small graph against the references on the same graph, memory, explain, errors."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import a1400
from a1400 import dtypes
from a1400.backends.base import Device, DeviceInfo
from a1400.engine.executor import DeviceWeights, ExecutionContext
from a1400.engine.plan import Plan, make_plan
from a1400.engine.weight_store import WeightStore
from a1400.errors import InputError
from a1400.graph import Graph
from a1400.graph.graph import evaluate
from a1400.optimizer import optimize
from tests.engine.graphs import GRAPHS
from tests.engine.onnx_models import mlp

#: largest difference by the output's scale: to the references on the narrowed graph, where the rounding of even the
#: largest number may fall to the other side (2^-10, 2^-7), and to the float32 graph
TOLERANCE = {"fp16": (1e-3, 3e-3), "bf16": (8e-3, 2e-2)}
#: a recurrent state is rounded at every step by the kernels and never by the reference, and these cells amplify
RECURRENT = 25


def _error(got: np.ndarray, want: np.ndarray) -> float:
    a, b = got.astype(np.float64), want.astype(np.float64)
    finite = np.isfinite(b)
    if not np.array_equal(np.isfinite(a), finite):
        return np.inf
    scale = max(float(np.abs(b[finite]).max(initial=0)), 1e-6)
    return float(np.abs(a[finite] - b[finite]).max(initial=0)) / scale


#: both types take the same way but for loads, stores and range: the graphs take turns, those of fusion take both
CASES = [
    (name, precision)
    for i, name in enumerate(GRAPHS)
    for j, precision in enumerate(TOLERANCE)
    if i % 2 == j or name.startswith("fused")
]


@pytest.mark.parametrize(("name", "precision"), CASES)
def test_graph(name: str, precision: str, device: Device) -> None:
    g = Graph(name)
    feeds = GRAPHS[name](g)
    exact = evaluate(g, feeds)
    plan, narrowed = _plan(g, feeds, precision, device)
    got = ExecutionContext(plan, device, DeviceWeights(device)).run(feeds)
    coarsest = "bf16" if any(v.dtype == dtypes.bfloat16 for n in g.nodes for v in n.outputs) else precision
    close, near = (t * (RECURRENT if "recurrent" in {n.op for n in g.nodes} else 1) for t in TOLERANCE[coarsest])
    for output, want in exact.items():
        assert got[output].dtype == want.dtype and got[output].shape == want.shape
        if want.dtype.kind in "iub":
            np.testing.assert_array_equal(got[output], narrowed[output])
            continue
        error = _error(got[output], narrowed[output])
        assert error <= close, f"{output}: {error:.1e} of its scale from the same graph's references"
        error = _error(got[output], want)
        assert error <= near, f"{output}: {error:.1e} of its scale from float32; {plan.report.narrowing}"


def _plan(g: Graph, feeds: dict[str, np.ndarray], precision: str, device: Device) -> tuple[Plan, dict[str, np.ndarray]]:
    report = optimize(g, info=device.info, precision=precision)
    return make_plan(g, report, device, WeightStore(), None), evaluate(g, feeds)


def test_no_kernel_rounds_before_its_store(device: Device) -> None:
    """The last cast of a narrowed expression is the store's own rounding, so slots that hold no more are empty."""
    g = Graph("slots")
    x = g.input("x", (64, 96), np.dtype(np.float32))
    w = np.random.default_rng(0).standard_normal((96, 96)).astype(np.float32)
    y = g.op("tanh", g.op("add", g.op("matmul", g.op("matmul", x, g.constant(w)), g.constant(w + 1)), g.constant(w[0])))
    g.output("y", g.op("softmax", g.op("matmul", y, g.constant(w.T.copy())), axis=1))
    plan, _ = _plan(g, {"x": np.zeros((64, 96), np.float32)}, "fp16", device)
    products = [x.call for x in plan.launches if x.call.spec.name.startswith("gemm") and "TC" in x.call.types]
    assert [c.types["TC"] for c in products] == [np.dtype(np.float16)] * 3
    assert [sorted(c.slots) for c in products] == [[], ["EPILOGUE"], []]
    assert products[1].slots["EPILOGUE"].expr.op == "tanh"


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return mlp(tmp_path_factory.mktemp("models") / "mlp.onnx", hidden=2048)


def _load(path: Path, info: DeviceInfo, precision: str | None = None) -> a1400.Model:
    return a1400.load(path, device=info.id, precision=precision)


def test_memory_halves(path: Path, device_info: DeviceInfo) -> None:
    x = np.random.default_rng(0).standard_normal((256, 32)).astype(np.float32)
    reports, results = {}, {}
    for precision in ("fp32", "fp16", "bf16"):
        model = _load(path, device_info, precision)
        results[precision] = model(x)
        reports[precision] = model.memory()
    for precision, bound in (("fp16", 6e-3), ("bf16", 6e-2)):
        assert np.abs(results[precision] - results["fp32"]).max() < bound
        # the bias (8 KB of 330) stays float32, and the input has a copy of half the size
        assert reports[precision].weights < 0.55 * reports["fp32"].weights
        assert reports[precision].arena < 0.55 * reports["fp32"].arena
        assert (reports[precision].inputs, reports[precision].outputs) == (x.nbytes, 256 * 10 * 4)


def test_plans_of_other_shapes_share_the_rounded_weights(path: Path, device_info: DeviceInfo) -> None:
    model = _load(path, device_info, "fp16")
    for rows in (1, 40, 3):
        model.prepare({"x": (rows, 32)})
    plans = [entry.plan for entry in model._plans.values()]
    weights = [{id(s) for s in p.used("weight") if s.nbytes > 40_000} for p in plans]
    assert len(plans) == 3 and len(weights[0]) == 2 and weights[0] == weights[1] == weights[2]


def test_explain_tells_what_was_narrowed(path: Path, device_info: DeviceInfo) -> None:
    model = _load(path, device_info, "fp16")
    assert model.precision == "fp16"
    facts = model.explain().to_dict()["precision"]
    assert facts["asked"] == "fp16" and facts["dtype"] == "float16"
    assert (facts["values"], facts["weights"], facts["casts"]) == (2, 2, 1)
    assert facts["kept"] == {"model output": ["soft"]}
    text = str(model.explain())
    assert "precision fp16: 2 tensors and 2 weights stored as float16, 1 casts; 1 stay float32: 1 model output" in text
    assert "\nprecision fp32\n" in str(_load(path, device_info).explain())


def test_tf32_says_where_it_is_used(path: Path, device_info: DeviceInfo) -> None:
    """Only NVIDIA's units round to tf32: elsewhere the answer is float32's, bit by bit, and explain says so."""
    x = np.random.default_rng(0).standard_normal((64, 32)).astype(np.float32)
    model = _load(path, device_info, "tf32")
    got, facts = model(x), model.explain().to_dict()["precision"]
    if device_info.capability >= 80:
        assert facts["tf32_kernels"] and set(facts["tf32_nodes"]) >= {"first", "second"}
        assert np.abs(got - _load(path, device_info)(x)).max() < 2e-3
    else:
        assert facts == {"asked": "tf32", "tf32_kernels": {}, "tf32_nodes": []}
        np.testing.assert_array_equal(got, _load(path, device_info)(x))
        assert "precision tf32: no kernel for this device and model rounds to tf32" in str(model.explain())


def test_the_environment_names_a_default(
    path: Path, device_info: DeviceInfo, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("A1400_PRECISION", " BF16 ")
    assert _load(path, device_info).precision == "bf16"
    assert _load(path, device_info, "fp16").precision == "fp16"
    monkeypatch.setenv("A1400_PRECISION", "")
    assert _load(path, device_info).precision == "fp32"


@pytest.mark.parametrize("wrong", ["fp8", "float16", "FP16", 16])
def test_a_wrong_precision_is_named(path: Path, device_info: DeviceInfo, wrong: str) -> None:
    with pytest.raises(InputError, match=r"no precision '?\w+'?; choose one of fp32, tf32, fp16, bf16"):
        _load(path, device_info, wrong)


@pytest.mark.parametrize("precision", ["fp32", "tf32", "fp16", "bf16"])
def test_a_half_model_is_as_it_was(precision: str, device_info: DeviceInfo, tmp_path: Path) -> None:
    """No precision changes a tensor that is half already, nor the dtypes of inputs and outputs."""
    rng = np.random.default_rng(1)
    weight = rng.standard_normal((32, 32)).astype(np.float16)
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "W"], ["h"]), helper.make_node("Tanh", ["h"], ["y"])], "half",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT16, ["n", 32])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT16, ["n", 32])],
        [numpy_helper.from_array(weight, "W")],
    )  # fmt: skip
    file = tmp_path / "half.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), file)
    x = rng.standard_normal((5, 32)).astype(np.float16)
    model = _load(file, device_info, precision)
    y = model(x)
    assert y.dtype == np.float16
    plain = _load(file, device_info, "fp32")
    np.testing.assert_array_equal(y, plain(x))
    assert model.memory().weights == plain.memory().weights == weight.nbytes
