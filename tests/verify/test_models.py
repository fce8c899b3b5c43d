"""``a1400 verify MODEL``: the example passes; a wrong kernel, pass or driver is traced to the model's own node."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from a1400.graph import Graph
from a1400.graph.graph import evaluate
from a1400.kernels.expr import apply, arg
from a1400.verify.reference import evaluate_wide, widen_expr
from tests.verify.conftest import ROOT, Verify

DIGITS = str(ROOT / "examples/image_classification/digits.onnx")


def test_the_example_passes(verify: Verify) -> None:
    done = verify(DIGITS, "--dim", "batch=3", "--seed", "5")
    assert done.status == 0, done.text + done.errors
    results = [r for run in done.report.runs for r in run.results]
    assert [r.mode for r in results] == ["close", "repeat"] and results[0].case == "random, seed 5"
    assert results[0].error is not None and 0 < results[0].error < 1e-4
    assert any("float64 reference of" in note for note in done.report.notes)


def test_pictures_as_inputs(verify: Verify) -> None:
    picture = ROOT / "examples/image_classification/pictures/digit-3.png"
    done = verify(DIGITS, "--input", str(picture), "--mode", "close")
    assert done.status == 0, done.text + done.errors
    assert "digit-3.png" in done.report.runs[0].results[0].case


def _pooling(folder: Path) -> str:
    """A convolution, a maximum over windows that overlap (so that it is a launch of its own), and a mean."""
    weights = np.random.default_rng(5).standard_normal((16, 1, 3, 3)).astype(np.float32)
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"], "convolution", pads=[1, 1, 1, 1]),
        helper.make_node("MaxPool", ["c"], ["m"], "maximum", kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1]),
        helper.make_node("GlobalAveragePool", ["m"], ["y"], "mean"),
    ]
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 1, 9, 9])]
    outputs = [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 16, 1, 1])]
    graph = helper.make_graph(nodes, "pooling", inputs, outputs, [numpy_helper.from_array(weights, "w")])
    path = folder / "pooling.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return str(path)


def test_a_wrong_kernel_is_traced_to_its_node(verify: Verify, tmp_path: Path) -> None:
    done = verify(_pooling(tmp_path), "--plugin", "tests.verify.plugins.wrong_kernel")
    assert done.status == 1 and any(done.report.failures()), done.text + done.errors
    (failure,) = [r for _, r in done.report.failures()]
    assert failure.node == "maximum" and "pool_max/" in failure.message and failure.mode == "close"
    assert failure.error == pytest.approx(1e-3, rel=0.05) and failure.ulps is not None and failure.ulps > 1000
    content = json.loads(Path(failure.repro).read_text())
    assert content["kernel"] == "pool_max" and content["entry"] == "pool_max"
    assert verify("--repro", failure.repro).status == 1
    content["source"] = content["source"].replace("* 1.001f", "* 1.0f")
    Path(failure.repro).write_text(json.dumps(content))
    assert verify("--repro", failure.repro).status == 0


def test_a_driver_that_aborts_is_traced_to_its_node(verify: Verify, tmp_path: Path) -> None:
    model = _pooling(tmp_path)
    done = verify(model, "--plugin", "tests.verify.plugins.aborting_pool", "--mode", "close")
    assert done.status == 1
    (failure,) = [r for _, r in done.report.failures()]
    assert failure.outcome == "crash" and failure.node == "maximum" and "SIGABRT" in failure.message
    assert "compiling pool_max/" in failure.message
    without = verify("--repro", failure.repro)
    assert without.status == 1 and "give the model too" in without.errors
    assert verify(model, "--repro", failure.repro).status == 0


def test_a_wrong_pass_is_named(verify: Verify) -> None:
    done = verify(DIGITS, "--plugin", "tests.verify.plugins.wrong_pass", "--mode", "close")
    assert done.status == 1
    (failure,) = [r for _, r in done.report.failures()]
    assert "the optimizer changes the answer: not with pass algebra left out" in failure.message
    again = verify(DIGITS, "--plugin", "tests.verify.plugins.wrong_pass", "--mode", "close", "--disable", "algebra")
    assert again.status == 0


def test_a_half_precision_model_is_judged_by_float64(verify: Verify, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    weights = rng.standard_normal((64, 32)).astype(np.float16)
    nodes = [helper.make_node("MatMul", ["x", "w"], ["h"]), helper.make_node("Tanh", ["h"], ["y"])]
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT16, ["n", 64])]
    outputs = [helper.make_tensor_value_info("y", TensorProto.FLOAT16, ["n", 32])]
    graph = helper.make_graph(nodes, "half", inputs, outputs, [numpy_helper.from_array(weights, "w")])
    path = tmp_path / "half.onnx"
    path.write_bytes(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]).SerializeToString())
    done = verify(str(path), "--dim", "n=5")
    assert done.status == 0, done.text + done.errors
    assert any("judged as f16" in note for note in done.report.notes)
    assert 1e-5 < (done.report.runs[0].results[0].error or 0) < 2e-2


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        ((DIGITS, "--kernel", "gemm"), 2, "--kernel is for the kernels' own cases"),
        ((DIGITS, "--dim", "width=3"), 2, "no symbolic dimension 'width'"),
        ((DIGITS, "--disable", "magic"), 1, "there is no optimizer pass magic"),
        ((DIGITS, "--precision", "fp8"), 1, "there is no precision 'fp8'"),
        ((DIGITS, "--mode", "exact"), 1, "exact does not apply"),
        (("missing.onnx",), 1, "missing.onnx"),
    ],
)
def test_mistakes(verify: Verify, arguments: tuple[str, ...], status: int, words: str) -> None:
    done = verify(*arguments)
    assert done.status == status and words in done.errors


def test_the_reference_is_float64_throughout() -> None:
    """A sum that rounds to nothing in half precision, through a cast to half and a folded constant."""
    graph = Graph()
    x = graph.input("x", (4,), np.dtype(np.float16))
    one = graph.constant(np.full(4, 1000, np.float16))
    y = graph.op("cast", graph.op("add", x, one), to=np.dtype(np.float32))
    z = graph.op("cast", graph.op("sub", y, graph.constant(np.full(4, 1000, np.float32))), to=np.dtype(np.float16))
    graph.output("z", z)
    feeds = {"x": np.array([0.1, 0.2, -0.1, 3], np.float16)}
    wide = evaluate_wide(graph, feeds)[id(graph.outputs["z"])]
    assert wide.dtype == np.float64
    np.testing.assert_allclose(wide, feeds["x"].astype(np.float64), rtol=1e-12)
    assert np.abs(evaluate(graph, feeds)["z"] - feeds["x"]).max() > 0.05  # the plain reference rounds as the model says


def test_expressions_widen() -> None:
    half = np.dtype(np.float16)
    wide = widen_expr(apply("add", arg(0, half), arg(1, half)))
    assert wide.dtype == np.float64 and all(a.dtype == np.float64 for a in wide.args)
