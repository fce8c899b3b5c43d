"""Large tensors stay in the file: found again wherever they stand, and nothing a file holds is taken for one."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

import numpy as np
import onnx
import pytest
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from onnx import helper, numpy_helper

from a1400.errors import ModelFileError
from a1400.frontends.onnx import load_onnx
from a1400.frontends.onnx.payloads import LARGE, Malformed, Payloads
from a1400.graph.graph import Graph, evaluate
from a1400.memory.mapped import release
from tests.frontends.building import f32, model_of

W = f32(80, 90)
assert W.nbytes >= LARGE


def _product(constant: bool) -> onnx.ModelProto:
    """y = x w: w an initializer, or a Constant node's tensor."""
    nodes = [helper.make_node("MatMul", ["x", "w"], ["y"])]
    if constant:
        nodes.insert(0, helper.make_node("Constant", [], ["w"], value=numpy_helper.from_array(W)))
    return model_of(nodes, {"x": f32(2, 80)}, {} if constant else {"w": W}, ["y"])


def _check(graph: Graph) -> None:
    np.testing.assert_allclose(evaluate(graph, {"x": f32(2, 80)})["y"], f32(2, 80) @ W, rtol=1e-5, atol=1e-4)


def _stripped(model: onnx.ModelProto) -> tuple[onnx.ModelProto, Payloads]:
    data = np.frombuffer(model.SerializeToString(), np.uint8)
    payloads = Payloads(data)
    text = payloads.strip()
    assert len(text) < data.size - W.nbytes + 64
    return onnx.ModelProto.FromString(text), payloads


def _base(array: np.ndarray) -> np.ndarray:
    while isinstance(array.base, np.ndarray):
        array = array.base
    return array


@pytest.mark.parametrize("constant", [False, True])
def test_weights_stay_in_the_file(tmp_path: Path, constant: bool) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(_product(constant).SerializeToString())
    graph = load_onnx(path).graph({"x": (2, 80)})
    (weights,) = graph.constants()
    assert weights.data is not None and isinstance(_base(weights.data), np.memmap)
    assert not weights.data.flags.writeable
    _check(graph)
    release(weights.data)  # read again from the file
    _check(graph)


@pytest.mark.parametrize("constant", [False, True])
def test_from_bytes(constant: bool) -> None:
    _check(load_onnx(_product(constant).SerializeToString()).graph({"x": (2, 80)}))


def test_in_a_subgraph() -> None:
    branches = {}
    for name, factor in (("then_branch", 1.0), ("else_branch", 2.0)):
        node = helper.make_node("MatMul", ["x", f"w_{name}"], [f"y_{name}"])
        tensor = numpy_helper.from_array((W * factor).astype(np.float32), f"w_{name}")
        out = helper.make_tensor_value_info(f"y_{name}", onnx.TensorProto.FLOAT, None)
        branches[name] = helper.make_graph([node], name, [], [out], [tensor])
    chosen = numpy_helper.from_array(np.array(True), "c")
    model = model_of([helper.make_node("If", ["c"], ["y"], **branches)], {"x": f32(2, 80)}, {}, ["y"])
    model.graph.initializer.append(chosen)
    proto, payloads = _stripped(model)
    inner = proto.graph.node[0].attribute[0].g.initializer[0]
    assert payloads.find(inner.raw_data) is not None
    _check(load_onnx(model.SerializeToString()).graph({"x": (2, 80)}))


def test_everything_else_is_kept() -> None:
    model = _product(False)
    model.producer_name, model.doc_string = "p" * 300, "d" * (3 * LARGE)
    model.graph.doc_string = "g" * (2 * LARGE)
    model.metadata_props.add(key="k", value="v" * LARGE)
    proto, payloads = _stripped(model)
    found = payloads.find(proto.graph.initializer[0].raw_data)
    assert found is not None
    proto.graph.initializer[0].raw_data = found.tobytes()
    assert proto == model


def test_small_tensors_are_not_looked_up() -> None:
    model = model_of([helper.make_node("Add", ["x", "w"], ["y"])], {"x": f32(3)}, {"w": f32(3)}, ["y"])
    payloads = Payloads(np.frombuffer(model.SerializeToString(), np.uint8))
    assert payloads.strip() == model.SerializeToString()
    assert payloads.find(b"\0" * 24) is None


def test_cut_short_anywhere() -> None:
    whole = _product(True).SerializeToString()
    rng = np.random.default_rng(0)
    for end in (1, 5, 40, 200, *rng.integers(1, len(whole), 60).tolist(), len(whole) - 1):
        with pytest.raises(ModelFileError):
            load_onnx(whole[:end])


def test_damaged_anywhere() -> None:
    """With a flipped byte the walk and protobuf agree: both refuse the file, or both see the same graph."""
    whole = _product(True).SerializeToString()
    kept = 0
    for at in [i for i in range(len(whole)) if i < 120 or i > len(whole) - 120]:
        data = bytearray(whole)
        data[at] ^= 0x55
        try:
            wanted = onnx.ModelProto.FromString(bytes(data))
        except DecodeError:
            with pytest.raises((Malformed, DecodeError)):
                onnx.ModelProto.FromString(Payloads(np.frombuffer(bytes(data), np.uint8)).strip())
            continue
        with suppress(Malformed):  # protobuf then reads the file as it is
            got = onnx.ModelProto.FromString(Payloads(np.frombuffer(bytes(data), np.uint8)).strip())
            assert [n.op_type for n in got.graph.node] == [n.op_type for n in wanted.graph.node]
            assert len(got.graph.initializer) == len(wanted.graph.initializer)
            kept += 1
    assert kept > 20


def test_nested_too_deep() -> None:
    body = b"\0" * LARGE
    for _ in range(150):  # a node in a graph in an attribute in a node ...
        for tag in (b"\x32", b"\x2a", b"\x0a"):
            size, left = b"", len(body)
            while left > 127:
                size, left = size + bytes([left & 127 | 128]), left >> 7
            body = tag + size + bytes([left]) + body
    with pytest.raises(ModelFileError):
        load_onnx(b"\x3a" + body)


def test_a_file_written_to_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    data = _product(False).SerializeToString()
    path.write_bytes(data)
    model = load_onnx(path)
    model.graph({"x": (2, 80)})
    with path.open("r+b") as file:
        file.write(data[:20])
    os.utime(path, ns=(1, 1))
    with pytest.raises(ModelFileError, match="was changed after it was loaded"):
        model.graph({"x": (2, 80)})


def test_a_file_replaced_does_not_matter(tmp_path: Path) -> None:
    path, new = tmp_path / "model.onnx", tmp_path / "new"
    path.write_bytes(_product(False).SerializeToString())
    model = load_onnx(path)
    new.write_bytes(b"something else")
    new.rename(path)
    _check(model.graph({"x": (2, 80)}))
    path.unlink()
    _check(model.graph({"x": (2, 80)}))
