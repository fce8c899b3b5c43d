"""Operators on strings, LabelEncoder, and the first form of Scan: the traced graph against ONNX Runtime."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from a1400.errors import GraphError, UnsupportedOpError
from a1400.frontends.onnx import load_onnx
from a1400.frontends.onnx.ops.strings import written
from tests.frontends.building import check, f32, i64, model_of, one_node, runtime


def strings(*texts: str) -> np.ndarray:
    return np.array(texts, object)


def over_text(op: str, text: np.ndarray, domain: str = "", opset: int = 20, **attrs: Any) -> list[Any]:
    """What the graph of one node over strings gives."""
    node = helper.make_node(op, ["x"], ["y"], name="the_node", domain=domain, **attrs)
    given = helper.make_tensor_value_info("x", TensorProto.STRING, None)
    graph = helper.make_graph([node], "test", [given], [onnx.ValueInfoProto(name="y")])
    opsets = [helper.make_opsetid("", opset), helper.make_opsetid("ai.onnx.ml", 4)]
    traced = load_onnx(helper.make_model(graph, opset_imports=opsets, ir_version=10)).graph(
        {"x": text.shape}, {"x": text}
    )
    assert traced.on_host == {"the_node"} and not traced.nodes
    value = traced.outputs.get("y")
    return (traced.told[value.name] if value is not None else (traced.results or {})["y"]).tolist()


def test_a_hostile_pattern_does_not_hang() -> None:
    pytest.importorskip("re2", reason="google-re2 is not installed")
    text = strings("a" * 5000 + "b", "a" * 5000, "", "é")
    assert over_text("RegexFullMatch", text, pattern="(a|a?)+") == [False, True, True, False]
    assert over_text("RegexFullMatch", text, pattern=".") == [False, False, False, True]
    for pattern in (r"(a)\1", "(?=a)", "((a{1000}){1000}){1000}", "("):
        with pytest.raises(GraphError, match=r"the_node.*no regular expression of RE2"):
            over_text("RegexFullMatch", text, pattern=pattern)


def test_without_re2_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "re2", None)
    with pytest.raises(UnsupportedOpError, match=r"the_node.*pip install google-re2"):
        over_text("RegexFullMatch", strings("a"), pattern="a")


def test_labels_of_strings() -> None:
    keys, values = ["a", "b", "é", "a"], [1, 2, 3, 4]
    text = np.array([["b", "x"], ["a", "é"]], object)
    encode = {"domain": "ai.onnx.ml", "keys_strings": keys}
    assert over_text("LabelEncoder", text, values_int64s=values, **encode) == [[2, -1], [4, 3]]
    assert over_text("LabelEncoder", text, values_floats=[0.5, 1.5, 2.5, 3.5], default_float=9.0, **encode) == [
        [1.5, 9.0], [3.5, 2.5]
    ]  # fmt: skip
    assert over_text("LabelEncoder", text, values_strings=["p", "q", "r", "s"], **encode) == [
        ["q", "_Unused"], ["s", "r"]
    ]  # fmt: skip
    with pytest.raises(GraphError, match="3 keys for 2 values"):
        over_text("LabelEncoder", text, domain="ai.onnx.ml", keys_strings=keys[:3], values_int64s=[1, 2])


def test_numbers_from_strings_and_back() -> None:
    for array in (np.array([1 / 3, -0.1, 3, 1e20, np.nan, -np.inf], np.float32), i64(5, -7), np.array([True, False])):
        model, _ = one_node("Cast", [array], [0], to=TensorProto.STRING)
        (made,) = (load_onnx(model).graph({}).results or {}).values()
        assert made.tolist() == runtime(model, {})[0].tolist()
    assert written(np.array([1e300, -0.1, 1 / 3])).tolist() == ["1e+300", "-0.1", "0.3333333333333333"]
    text = strings("1", "-2", "007")
    assert over_text("Cast", text, to=TensorProto.INT32) == [1, -2, 7]
    assert over_text("Cast", strings("1.5", "-2e3", "INF"), to=TensorProto.FLOAT) == [1.5, -2000, np.inf]
    for wrong in ("word", "1_0", "", "9" * 30):
        with pytest.raises(GraphError, match=r"the_node.*is no number of type int64"):
            over_text("Cast", strings(wrong), to=TensorProto.INT64)


@pytest.mark.parametrize("count", [1, 2, 7])
def test_labels_of_numbers_are_looked_up_on_the_device(count: int) -> None:
    def model_with(x: np.ndarray, **attrs: Any) -> onnx.ModelProto:
        node = helper.make_node("LabelEncoder", ["x"], ["y"], domain="ai.onnx.ml", **attrs)
        return model_of([node], {"x": x}, {}, ["y"], opsets=[helper.make_opsetid("ai.onnx.ml", 4)])

    keys = [5, -3, 8, 0, 2**40, -(2**50), 7][:count]
    x = np.array([[5, -3, 1], [0, 2**40, -(2**50)], [9, 7, 8]], np.int64)
    made = [float(i) for i in range(count)]
    check(model_with(x, keys_int64s=keys, values_floats=made, default_float=-2.0), {"x": x})
    real = np.array([0.25, np.nan, -1.5, np.inf, 0.0, 3.0], np.float32)
    keys_floats = [float("nan"), 0.25, float("inf"), -1.5, -0.0, 4.0, 9.0][:count]
    check(model_with(real, keys_floats=keys_floats, values_int64s=list(range(10, 10 + count))), {"x": real})
    assert load_onnx(model_with(x, keys_int64s=keys, values_floats=made)).graph({"x": x.shape}).nodes


def test_scan_over_a_batch() -> None:
    """Opset 8: a batch of sequences of different lengths, one of two operands read from its end."""
    nodes = [
        helper.make_node("Add", ["sum_in", "a"], ["part"]),
        helper.make_node("Sub", ["part", "b"], ["sum_out"]),
        helper.make_node("Mul", ["sum_out", "a"], ["given"]),
    ]
    infos = [helper.make_tensor_value_info(n, TensorProto.FLOAT, [2]) for n in ("sum_in", "a", "b", "sum_out", "given")]
    body = helper.make_graph(nodes, "body", infos[:3], infos[3:])
    arrays = [i64(3, 1), f32(2, 2), f32(2, 3, 2, seed=1), f32(2, 3, 2, seed=2)]
    model, feeds = one_node("Scan", arrays, [0], 2, opset=8, body=body, num_scan_inputs=2, directions=[0, 1])
    check(model, feeds, by=_scanned)


def _scanned(_: onnx.ModelProto, feeds: dict[str, np.ndarray]) -> list[np.ndarray]:
    final, given = feeds["x1"].copy(), np.zeros((2, 3, 2), np.float32)
    for n, length in enumerate((3, 1)):
        for t in range(length):
            final[n] += feeds["x2"][n, t] - feeds["x3"][n, length - 1 - t]
            given[n, t] = final[n] * feeds["x2"][n, t]
    return [final, given]
