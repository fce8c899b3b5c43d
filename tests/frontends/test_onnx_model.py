"""Loading, signatures, tracing again, values that steer shapes, work done once per model."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper

from a1400.errors import InputError
from a1400.frontends.onnx import NeedsValue, OnnxModel, load_onnx
from a1400.graph.graph import evaluate
from tests.frontends.building import f32, i64, model_of, value_info


def _linear() -> onnx.ModelProto:
    """y = x w' + b for any number of rows."""
    nodes = [
        helper.make_node("Transpose", ["w"], ["wt"], name="turn", perm=[1, 0]),
        helper.make_node("MatMul", ["x", "wt"], ["xw"], name="product"),
        helper.make_node("Add", ["xw", "b"], ["y"], name="bias"),
        helper.make_node("Neg", ["x"], ["unused"], name="dead"),
    ]
    model = model_of(nodes, {}, {"w": f32(5, 4), "b": f32(5)}, ["y"])
    model.graph.input.append(value_info("x", np.float32, ["batch", 4]))
    model.graph.name = "linear"
    return model


def test_signature(tmp_path: Path) -> None:
    path = tmp_path / "linear.onnx"
    onnx.save(_linear(), path)
    for source in (path, str(path), path.read_bytes(), _linear()):
        model = load_onnx(source)
        assert isinstance(model, OnnxModel)
        assert (model.name, model.nodes, model.opset) == ("linear", 3, 17)
        assert model.inputs["x"].shape == ("batch", 4)
        assert model.inputs["x"].dtype == np.float32
        assert str(model.inputs["x"]) == "float32[batch, 4]"
        assert list(model.outputs) == ["y"]


def test_graph_names_its_sources() -> None:
    graph = load_onnx(_linear()).graph({"x": (3, 4)})
    assert {s for n in graph.nodes for s in n.sources} == {"product", "bias"}
    assert list(graph.inputs) == ["x"]
    assert graph.outputs["y"].shape == (3, 5)


def test_constants_are_the_same_objects_on_every_trace() -> None:
    model = load_onnx(_linear())
    first, second = (model.graph({"x": (rows, 4)}) for rows in (3, 7))
    arrays = [{c.name: c.data for c in g.constants()} for g in (first, second)]
    assert set(arrays[0]) == {"wt", "b"}
    assert all(arrays[0][name] is arrays[1][name] for name in arrays[0])


def test_big_constants_are_folded_once() -> None:
    scale = np.array(0.1, np.float32)
    weights = np.random.default_rng(0).integers(-9, 9, (300, 200)).astype(np.int8)
    nodes = [
        helper.make_node("DequantizeLinear", ["q", "s"], ["w"]),
        helper.make_node("MatMul", ["x", "w"], ["y"]),
    ]
    model = load_onnx(model_of(nodes, {"x": f32(2, 300)}, {"q": weights, "s": scale}, ["y"]))
    graphs = [model.graph({"x": (2, 300)}) for _ in range(2)]
    assert [n.op for n in graphs[0].nodes] == ["matmul"]
    (a,), (b,) = (list(g.constants()) for g in graphs)
    assert a.data is b.data
    np.testing.assert_allclose(a.data, weights * scale, rtol=1e-6)


@pytest.mark.parametrize(
    ("shapes", "text"),
    [
        ({}, "'x' is not given"),
        ({"x": (3, 4), "z": (1,)}, "no input is called 'z'"),
        ({"x": (3, 5)}, r"takes float32\[batch, 4\]"),
        ({"x": (4,)}, "the model takes"),
        ({"x": (2**40, 4)}, "cannot have"),
        ({"x": (-1, 4)}, "cannot have"),
    ],
)
def test_wrong_inputs(shapes: dict[str, tuple[int, ...]], text: str) -> None:
    with pytest.raises(InputError, match=text):
        load_onnx(_linear()).graph(shapes)


def test_initializers_that_are_inputs_are_defaults() -> None:
    model = _linear()
    model.ir_version = 3
    model.graph.input.append(value_info("b", np.float32, [5]))
    loaded = load_onnx(model)
    assert list(loaded.inputs) == ["x"]
    assert list(loaded.graph({"x": (3, 4)}).inputs) == ["x"]
    assert list(loaded.graph({"x": (3, 4), "b": (5,)}).inputs) == ["x", "b"]


def test_values_that_steer_shapes() -> None:
    nodes = [
        helper.make_node("Add", ["s", "one"], ["t"]),
        helper.make_node("Reshape", ["x", "t"], ["y"], name="shape_it"),
    ]
    model = load_onnx(model_of(nodes, {"x": f32(6), "s": i64(1, 2)}, {"one": i64(1, 1)}, ["y"]))
    shapes = {"x": (6,), "s": (2,)}
    with pytest.raises(NeedsValue, match=r"shape_it.*'s'") as caught:
        model.graph(shapes)
    assert caught.value.inputs == ("s",)
    graph = model.graph(shapes, {"s": i64(1, 2)})
    assert list(graph.inputs) == ["x", "s"]
    assert evaluate(graph, {"x": f32(6), "s": i64(1, 2)})["y"].shape == (2, 3)


def test_unsorted_nodes_are_sorted() -> None:
    model = _linear()
    nodes = list(model.graph.node)[::-1]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    assert load_onnx(model).graph({"x": (3, 4)}).outputs["y"].shape == (3, 5)


def test_batch_normalisation_stays_channels_last() -> None:
    statistics = {n: f32(3, low=0.5) for n in ("s", "b", "m", "v")}
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"]),
        helper.make_node("BatchNormalization", ["c", "s", "b", "m", "v"], ["n"]),
        helper.make_node("Conv", ["n", "w"], ["y"]),
    ]
    model = load_onnx(model_of(nodes, {"x": f32(1, 3, 6, 6)}, {"w": f32(3, 3, 2, 2), **statistics}, ["y"]))
    ops = [n.op for n in model.graph({"x": (1, 3, 6, 6)}).nodes]
    assert ops == ["transpose", "conv", "mul", "add", "conv", "transpose"]


def test_tracing_from_many_threads() -> None:
    model = load_onnx(_linear())
    shapes: list[tuple[int, ...]] = []

    def work(rows: int) -> None:
        for _ in range(5):
            shapes.append(model.graph({"x": (rows, 4)}).outputs["y"].shape)

    threads = [threading.Thread(target=work, args=(n,)) for n in (1, 2, 3, 4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert sorted(shapes) == sorted([(n, 5) for n in (1, 2, 3, 4)] * 5)


def test_nodes_of_one_name_are_told_apart() -> None:
    names = ("same", "same#2", "same", "same")
    nodes = [helper.make_node("Neg", [f"v{i}"], [f"v{i + 1}"], name=n) for i, n in enumerate(names)]
    model = load_onnx(model_of(nodes, {"v0": f32(3)}, {}, ["v4"]))
    assert list(model.node_ops) == ["same", "same#2", "same#3", "same#4"]


def test_metadata_is_what_the_author_wrote() -> None:
    proto = model_of([helper.make_node("Neg", ["x"], ["y"])], {"x": f32(3)}, {}, ["y"])
    helper.set_model_props(proto, {"author": "somebody", "a1400.log_mel": "{}"})
    assert load_onnx(proto).metadata == {"author": "somebody", "a1400.log_mel": "{}"}
