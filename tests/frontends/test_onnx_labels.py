"""``ai.onnx.ml`` with strings and dicts: labels, categories, maps in and out, as ONNX Runtime has them."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper

import a1400
from a1400.backends.base import DeviceInfo
from a1400.engine.structures import assembled
from a1400.errors import InputError
from a1400.frontends.onnx import load_onnx
from a1400.graph.graph import evaluate
from tests.frontends.building import f32

OPSETS = [helper.make_opsetid("", 18), helper.make_opsetid("ai.onnx.ml", 3)]
WORDS = np.array([["red", "blue"], ["green", "red"]], object)


def model_of(nodes: list[onnx.NodeProto], inputs: dict[str, Any], outputs: list[str]) -> onnx.ModelProto:
    """``inputs``: arrays, or types."""
    given = []
    for name, what in inputs.items():
        if isinstance(what, onnx.TypeProto):
            given.append(helper.make_value_info(name, what))
        else:
            kind = helper.np_dtype_to_tensor_dtype(what.dtype)
            given.append(helper.make_tensor_value_info(name, kind, what.shape))
    graph = helper.make_graph(nodes, "test", given, [onnx.ValueInfoProto(name=n) for n in outputs])
    return helper.make_model(graph, opset_imports=OPSETS, ir_version=8)


def ml(op: str, inputs: list[str], outputs: list[str], **attrs: Any) -> onnx.NodeProto:
    return helper.make_node(op, inputs, outputs, domain="ai.onnx.ml", **attrs)


def expected(model: onnx.ModelProto, feeds: dict[str, Any]) -> list[Any]:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return session.run(None, feeds)


def same(have: Any, want: Any) -> None:
    if isinstance(want, list):
        assert isinstance(have, list) and len(have) == len(want)
        for a, b in zip(have, want):
            assert set(a) == set(b) and type(next(iter(a))) is type(next(iter(b)))
            np.testing.assert_allclose(list(a.values()), [b[key] for key in a], rtol=1e-5)
    elif want.dtype == object:
        assert have.dtype == object
        np.testing.assert_array_equal(have, want)
    else:
        assert have.dtype == want.dtype
        np.testing.assert_allclose(have, want, rtol=1e-4, atol=1e-5)


def check(nodes: list[onnx.NodeProto], feeds: dict[str, np.ndarray], outputs: list[str]) -> None:
    """Through the traced graph and the NumPy references, beside ONNX Runtime."""
    model = model_of(nodes, feeds, outputs)
    texts = {n: a for n, a in feeds.items() if a.dtype == object}
    graph = load_onnx(model).graph({n: a.shape for n, a in feeds.items()}, texts)
    found = evaluate(graph, {**{n: a for n, a in feeds.items() if n in graph.inputs}, **graph.told})
    got = assembled(graph.results or {name: name for name in outputs}, found)
    for name, want in zip(outputs, expected(model, feeds)):
        same(got[name], want)


@pytest.mark.parametrize("how", ["NONE", "LOGISTIC", "PROBIT"])
def test_labels_that_are_strings(how: str) -> None:
    x = abs(f32(6, 3)) / 8
    three = {"classlabels_strings": ["a", "b", "c"], "post_transform": how}
    linear = {"coefficients": (abs(f32(9)) / 4).tolist(), "intercepts": [0.1, 0.2, 0.15]}
    check([ml("LinearClassifier", ["x"], ["y", "z"], **three, **linear)], {"x": x}, ["y", "z"])
    tree = {
        "nodes_treeids": [0] * 3, "nodes_nodeids": [0, 1, 2], "nodes_modes": ["BRANCH_LEQ", "LEAF", "LEAF"],
        "nodes_featureids": [0] * 3, "nodes_values": [0.1, 0.0, 0.0], "nodes_truenodeids": [1, 0, 0],
        "nodes_falsenodeids": [2, 0, 0], "class_treeids": [0] * 4, "class_nodeids": [1, 1, 2, 2],
        "class_ids": [0, 1, 1, 2], "class_weights": [0.3, 0.6, 0.2, 0.7],
    }  # fmt: skip
    outputs = ["y", "z"] if how != "PROBIT" else ["y"]
    check([ml("TreeEnsembleClassifier", ["x"], ["y", "z"], **three, **tree)], {"x": x}, outputs)
    if how != "PROBIT":  # of two classes there it says nothing sensible
        two = {"classlabels_strings": ["no", "yes"], "post_transform": how, "coefficients": [1.0, -2.0, 0.5]}
        check([ml("LinearClassifier", ["x"], ["y", "z"], **two, intercepts=[0.02])], {"x": x}, ["y", "z"])


def test_one_label_of_a_tree() -> None:
    tree = {
        "nodes_treeids": [0] * 3, "nodes_nodeids": [0, 1, 2], "nodes_modes": ["BRANCH_LEQ", "LEAF", "LEAF"],
        "nodes_featureids": [0] * 3, "nodes_values": [0.0] * 3, "nodes_truenodeids": [1, 0, 0],
        "nodes_falsenodeids": [2, 0, 0], "class_treeids": [0] * 2, "class_nodeids": [1, 2], "class_ids": [0, 0],
        "class_weights": [-0.2, 0.7], "classlabels_int64s": [7],
    }  # fmt: skip
    check([ml("TreeEnsembleClassifier", ["x"], ["y", "z"], **tree)], {"x": f32(6, 3)}, ["y", "z"])


def test_strings_moved_by_the_device() -> None:
    """As classifiers end that pick their label by ArgMax: the class's name at a place that the device finds."""
    x = f32(5, 3)
    nodes = [
        helper.make_node("Constant", [], ["names"], value_strings=["a", "b", "c"]),
        helper.make_node("ArgMax", ["x"], ["best"], axis=1),
        ml("ArrayFeatureExtractor", ["names", "best"], ["found"]),
        helper.make_node("Constant", [], ["shape"], value_ints=[-1, 1]),
        helper.make_node("Reshape", ["found", "shape"], ["y"]),
        ml("LabelEncoder", ["y"], ["numbers"], keys_strings=["c", "a"], values_int64s=[30, 10], default_int64=-7),
        helper.make_node("Greater", ["x", "zero"], ["positive"]),
        helper.make_node("Constant", [], ["zero"], value_float=0.0),
        helper.make_node("Constant", [], ["yes"], value_string="yes"),
        helper.make_node("Constant", [], ["no"], value_string="no"),
        helper.make_node("Where", ["positive", "yes", "no"], ["signs"]),
        helper.make_node("Concat", ["signs", "y"], ["all"], axis=1),
    ]
    nodes.sort(key=lambda n: n.op_type != "Constant")
    check(nodes, {"x": x}, ["y", "numbers", "signs", "all"])


def test_categories() -> None:
    pairs = {"cats_int64s": [3, -2, 0], "cats_strings": ["red", "green", "black"]}
    check([ml("CategoryMapper", ["x"], ["y"], **pairs, default_int64=9)], {"x": WORDS}, ["y"])
    check([ml("CategoryMapper", ["x"], ["y"], **pairs, default_string="?")], {"x": np.array([3, 5, -2])}, ["y"])
    words = {"cats_strings": ["red", "green", "black"]}
    check([ml("OneHotEncoder", ["x"], ["y"], **words)], {"x": WORDS}, ["y"])


def test_zip_map() -> None:
    x = f32(4, 3)
    check([ml("ZipMap", ["x"], ["y"], classlabels_strings=["a", "b", "c"])], {"x": x}, ["y"])
    check([ml("ZipMap", ["x"], ["y"], classlabels_int64s=[4, 2, 9])], {"x": x}, ["y"])


def _map(key: int, value: int) -> onnx.TypeProto:
    return helper.make_map_type_proto(key, helper.make_tensor_type_proto(value, []))


def test_maps_in_and_out(device_info: DeviceInfo) -> None:
    """A pipeline as scikit-learn's converter writes it: a dict in, a label that is a string and dicts of scores out."""
    nodes = [
        ml("DictVectorizer", ["d"], ["x"], name="vector", string_vocabulary=["wide", "high", "deep"]),
        ml("LinearClassifier", ["x"], ["label", "scores"], name="linear", post_transform="SOFTMAX",
           coefficients=[1.0, 2.0, -1.0, 0.5, 0.25, 0.0, 0.0, -1.0, 3.0], intercepts=[0.0, 0.1, 0.2],
           classlabels_strings=["a", "b", "c"]),
        ml("ZipMap", ["scores"], ["p"], classlabels_strings=["a", "b", "c"]),
    ]  # fmt: skip
    proto = model_of(nodes, {"d": _map(TensorProto.STRING, TensorProto.FLOAT)}, ["label", "p"])
    model = a1400.load(proto, device=device_info.id)
    for d in ({"high": 2.0, "wide": 0.5}, {"deep": 4.0, "other": 1.0}, {}):
        got = model.run({"d": d})
        label, p = expected(proto, {"d": d}) if d else (np.array(["c"], object), None)
        same(got["label"], label)
        if p is not None:
            same(got["p"], p)
    assert len(model._plans) == 1
    placed = model.explain().placement()
    assert placed["vector"] == "host" and placed["linear"].startswith("device")
    with pytest.raises(InputError, match="dict"):
        model.run({"d": [1.0]})


def test_cast_map(device_info: DeviceInfo) -> None:
    kind = _map(TensorProto.INT64, TensorProto.FLOAT)
    for attrs in ({"cast_to": "TO_FLOAT"}, {"cast_to": "TO_INT64", "map_form": "SPARSE", "max_map": 6}):
        proto = model_of([ml("CastMap", ["d"], ["y"], **attrs)], {"d": kind}, ["y"])
        given = {4: 2.0, 1: 3.0}
        same(a1400.load(proto, device=device_info.id).run({"d": given})["y"], expected(proto, {"d": given})[0])


def test_every_element_must_be_a_category(device_info: DeviceInfo) -> None:
    node = ml("OneHotEncoder", ["x"], ["y"], cats_int64s=[3, -2, 0], zeros=0)
    good, bad = np.array([0] * 40 + [3] * 30), np.array([0] * 40 + [5] * 30)
    model = a1400.load(model_of([node], {"x": good}, ["y"]), device=device_info.id)
    assert model(good).sum() == 70
    with pytest.raises(InputError, match="zeros=0"):
        model(bad)
    assert model(good).shape == (70, 3)
