"""Broken, hostile and unsupported models: one clear error each, raised on load where it can be."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from a1400.errors import A1400Error, GraphError, InputError, ModelFileError, UnsupportedOpError
from a1400.frontends.onnx import load_onnx
from tests.frontends.building import f32, i64, model_of, one_node, value_info


def _good() -> onnx.ModelProto:
    nodes = [
        helper.make_node("Add", ["x", "w"], ["t"], name="first"),
        helper.make_node("Relu", ["t"], ["y"], name="second"),
    ]
    return model_of(nodes, {"x": f32(3, 4)}, {"w": f32(3, 4)}, ["y"])


def _edited(edit: Callable[[onnx.ModelProto], None]) -> bytes:
    model = _good()
    edit(model)
    return model.SerializeToString()


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"", "is empty"),
        (b"hello, this is no model at all\n" * 9, "not an ONNX model"),
        (b"PK\x03\x04" + bytes(100), "zip archive"),
        (b"\x80\x02}q\x00.", "pickle"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:1\n", "git lfs pull"),
        (b"\x00" * 64, "not an ONNX model"),
        (helper.make_node("Add", ["a", "b"], ["c"]).SerializeToString(), "not an ONNX model"),
    ],
)
def test_not_a_model(tmp_path: Path, content: bytes, text: str) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(content)
    with pytest.raises(ModelFileError, match=text):
        load_onnx(path)


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match="there is no model file"):
        load_onnx(tmp_path / "absent.onnx")
    with pytest.raises(ModelFileError, match="folder"):
        load_onnx(tmp_path)
    with pytest.raises(ModelFileError):
        load_onnx("bad\0name.onnx")


def test_every_truncation_is_an_error_of_ours() -> None:
    data = _good().SerializeToString()
    for cut in range(len(data)):
        try:
            load_onnx(data[:cut])
        except A1400Error:
            continue
        # what protobuf can still read may be a whole model without its trailing fields; it must never crash
        assert cut > len(data) // 2


def test_no_corruption_crashes() -> None:
    data = _good().SerializeToString()
    generator = np.random.default_rng(0)
    for _ in range(400):
        broken = bytearray(data)
        for position in generator.integers(0, len(data), 3):
            broken[position] = generator.integers(0, 256)
        with contextlib.suppress(A1400Error):
            model = load_onnx(bytes(broken))
            model.graph({n: (3, 4) for n in model.inputs})


def test_versions() -> None:
    def opset(version: int) -> Callable[[onnx.ModelProto], None]:
        return lambda m: setattr(m.opset_import[0], "version", version)

    for version in (0, 999, -3):
        with pytest.raises(ModelFileError, match="opset"):
            load_onnx(_edited(opset(version)))
    with pytest.raises(ModelFileError, match="IR version"):
        load_onnx(_edited(lambda m: setattr(m, "ir_version", 1)))
    with pytest.raises(ModelFileError, match="opset"):
        load_onnx(_edited(lambda m: m.ClearField("opset_import")))


def test_graph_mistakes() -> None:
    def rewire(node: int, field: str, name: str) -> Callable[[onnx.ModelProto], None]:
        def edit(m: onnx.ModelProto) -> None:
            getattr(m.graph.node[node], field)[0] = name

        return edit

    with pytest.raises(GraphError, match=r"'first'.*reads 'nowhere'"):
        load_onnx(_edited(rewire(0, "input", "nowhere")))
    with pytest.raises(GraphError, match="cycle"):
        load_onnx(_edited(rewire(0, "input", "y")))
    with pytest.raises(GraphError, match=r"'t' is defined more than once"):
        load_onnx(_edited(rewire(1, "output", "t")))
    with pytest.raises(GraphError, match="defined more than once"):
        load_onnx(_edited(rewire(1, "output", "x")))
    with pytest.raises(GraphError, match=r"output 'z' is not produced"):
        load_onnx(_edited(lambda m: m.graph.output.append(onnx.ValueInfoProto(name="z"))))
    with pytest.raises(GraphError, match="twice"):
        load_onnx(_edited(lambda m: m.graph.output.append(m.graph.output[0])))
    with pytest.raises(GraphError, match="no outputs"):
        load_onnx(_edited(lambda m: m.graph.ClearField("output")))
    with pytest.raises(GraphError, match="twice"):
        load_onnx(_edited(lambda m: m.graph.initializer.append(m.graph.initializer[0])))


def test_a_node_that_reads_itself() -> None:
    model = model_of([helper.make_node("Add", ["x", "y"], ["y"])], {"x": f32(3)}, {}, ["y"])
    with pytest.raises(GraphError, match="cycle"):
        load_onnx(model)


def test_all_unsupported_operators_are_listed_at_once() -> None:
    nodes = [
        helper.make_node("Frobnicate", ["x"], ["a"], name="one"),
        helper.make_node("Frobnicate", ["a"], ["b"], name="two"),
        helper.make_node("Mystery", ["b"], ["c"], domain="acme", name="three"),
        helper.make_node("Relu", ["c"], ["y"]),
    ]
    model = model_of(nodes, {"x": f32(3)}, {}, ["y"], opsets=[helper.make_opsetid("acme", 1)])
    with pytest.raises(UnsupportedOpError) as caught:
        load_onnx(model)
    assert re.search(r"Frobnicate: one, two", str(caught.value))
    assert re.search(r"acme::Mystery: three", str(caught.value))


def test_unsupported_operators_inside_branches_and_functions_are_found() -> None:
    branch = helper.make_graph(
        [helper.make_node("Odd", ["x"], ["b"], name="deep")], "b", [], [onnx.ValueInfoProto(name="b")]
    )
    node = helper.make_node("If", ["c"], ["y"], then_branch=branch, else_branch=branch)
    with pytest.raises(UnsupportedOpError, match="Odd: deep"):
        load_onnx(model_of([node], {"x": f32(3), "c": np.array(True)}, {}, ["y"]))


def test_functions_that_call_themselves() -> None:
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("local", 1)]
    again = helper.make_node("Again", ["a"], ["b"], domain="local")
    function = helper.make_function("local", "Again", ["a"], ["b"], [again], opsets)
    call = helper.make_node("Again", ["x"], ["y"], domain="local")
    with pytest.raises(GraphError, match="calls itself"):
        load_onnx(model_of([call], {"x": f32(3)}, {}, ["y"], functions=[function], opsets=opsets[1:]))


def test_functions_that_multiply() -> None:
    """Each function calls the next one twice: a few lines that expand to 2^40 nodes."""
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("local", 1)]
    functions = []
    for i in range(40):
        op, domain = (f"F{i + 1}", "local") if i < 39 else ("Neg", "")
        body = [helper.make_node(op, ["a"], ["t"], domain=domain), helper.make_node(op, ["t"], ["b"], domain=domain)]
        functions.append(helper.make_function("local", f"F{i}", ["a"], ["b"], body, opsets))
    call = helper.make_node("F0", ["x"], ["y"], domain="local")
    with pytest.raises(GraphError, match="expands to more than"):
        load_onnx(model_of([call], {"x": f32(3)}, {}, ["y"], functions=functions, opsets=opsets[1:]))


def test_tensors_that_do_not_fit() -> None:
    def weights(**fields: object) -> Callable[[onnx.ModelProto], None]:
        def edit(m: onnx.ModelProto) -> None:
            tensor = m.graph.initializer[0]
            for name, value in fields.items():
                if name == "dims":
                    del tensor.dims[:]
                    tensor.dims.extend(value)  # type: ignore[arg-type]
                else:
                    setattr(tensor, name, value)

        return edit

    for fields, text in (
        ({"dims": [3, 5]}, "48 bytes"),
        ({"dims": [-3, -4]}, "impossible shape"),
        ({"dims": [2**40, 2**40]}, "impossible shape"),
        ({"dims": [2**62, 4, 0]}, "impossible shape"),
        ({"raw_data": b"123"}, "3 bytes"),
        ({"data_type": 99}, "99"),
        ({"data_type": TensorProto.COMPLEX64}, "COMPLEX64"),
        ({"data_type": TensorProto.UNDEFINED}, "UNDEFINED"),
    ):
        with pytest.raises(ModelFileError, match=text):
            load_onnx(_edited(weights(**fields)))


def test_absurd_declared_shapes() -> None:
    with pytest.raises(ModelFileError, match="impossible shape"):
        load_onnx(_edited(lambda m: m.graph.input.append(value_info("huge", np.float32, [2**40, 2**40]))))
    model = load_onnx(one_node("ConstantOfShape", [i64(2**31, 2**31)], constants=[0])[0])
    with pytest.raises(GraphError, match=r"the_node.*not possible"):
        model.graph({})
    model = load_onnx(one_node("Expand", [f32(1), i64(2**20, 2**20)], constants=[1])[0])
    with pytest.raises(GraphError, match="the_node"):
        model.graph({"x0": (1,)})


@pytest.mark.parametrize(
    ("op", "inputs", "attrs"),
    [
        ("Transpose", [f32(2, 3)], {"perm": [0, 0]}),
        ("Conv", [f32(1, 2, 5, 5), f32(3, 4, 3, 3)], {}),
        ("Conv", [f32(1, 2, 5, 5), f32(3, 2, 3, 3)], {"strides": [0, 0]}),
        ("Conv", [f32(1, 2, 5, 5), f32(3, 2, 3, 3)], {"pads": [1]}),
        ("Conv", [f32(1, 2, 5, 5), f32(3, 2, 3, 3)], {"group": 0}),
        ("Conv", [f32(1, 2, 5, 5)], {}),
        ("MaxPool", [f32(1, 2, 5, 5)], {}),
        ("MaxPool", [f32(1, 2, 5, 5)], {"kernel_shape": [9, 9]}),
        ("MatMul", [f32(2, 3), f32(4, 5)], {}),
        ("Add", [f32(2, 3), f32(4)], {}),
        ("Add", [f32(2), i64(1, 2)], {}),
        ("Reshape", [f32(2, 3), i64(7, -1)], {}),
        ("Reshape", [f32(2, 3), i64(-1, -1)], {}),
        ("Softmax", [f32(2, 3)], {"axis": 5}),
        ("Gather", [f32(2, 3), i64(9)], {}),
        ("Split", [f32(2, 3), i64(5, 5)], {}),
        ("Einsum", [f32(2, 3)], {"equation": "ij->ik"}),
        ("Einsum", [f32(2, 3)], {"equation": "ijk,j"}),
        ("Conv", [f32(1, 2, 6, 6), f32(3, 2, 3, 3)], {"pads": [1, -1, 1, 1]}),
        ("ConvTranspose", [f32(1, 2, 6, 6), f32(2, 3, 3, 3)], {"pads": [1, 1, 1, -1]}),
        ("ConvTranspose", [f32(1, 2, 6, 6), f32(2, 3, 3, 3)], {"pads": [1, 1]}),
        ("MaxPool", [f32(1, 2, 6, 6)], {"kernel_shape": [3, 3], "pads": [-1, 0, 0, 0]}),
        ("DepthToSpace", [f32(1, 3, 2, 2)], {"blocksize": 2}),
        ("DepthToSpace", [f32(1, 4, 2, 2)], {"blocksize": 0}),
        ("Resize", [f32(1, 1, 4, 4), None, np.array([1, 1, -2, 0], np.float32)], {}),
        ("LSTM", [f32(2, 3, 4), f32(1, 8, 4), f32(1, 7, 2)], {"hidden_size": 2}),
        ("Cast", [f32(2)], {"to": 77}),
        ("Clip", [f32(2)], {"min": 1}),
        ("Range", [np.array(0.0), np.array(1e300), np.array(1e-300)], {}),
    ],
)
def test_malformed_nodes_are_named(op: str, inputs: list[np.ndarray], attrs: dict[str, object]) -> None:
    """No exception of NumPy's or Python's own comes out, whatever the node says."""
    constants = [i for i, a in enumerate(inputs) if i and a is not None]
    opset = 7 if op == "Clip" else 17
    model, feeds = one_node(op, inputs, constants=constants if op != "Range" else [0, 1, 2], opset=opset, **attrs)
    if op == "Clip":
        model.graph.node[0].attribute[0].CopyFrom(helper.make_attribute("min", "text"))
    with pytest.raises(A1400Error, match=r"the_node|the result"):
        load_onnx(model).graph({n: a.shape for n, a in feeds.items()})


def test_inputs_that_are_not_tensors() -> None:
    """Sequences, optionals, strings and maps are taken; sequences of maps and sparse tensors are refused by name."""
    model = _good()
    kind = helper.make_tensor_type_proto(TensorProto.FLOAT, [3, 4])
    sequence = helper.make_sequence_type_proto(kind)
    for refused in (
        helper.make_sequence_type_proto(helper.make_map_type_proto(TensorProto.STRING, kind)),
        helper.make_sparse_tensor_type_proto(TensorProto.FLOAT, [3, 4]),
        helper.make_sequence_type_proto(sequence),
    ):
        model.graph.input[0].type.CopyFrom(refused)
        with pytest.raises(UnsupportedOpError, match="'x'"):
            load_onnx(model)
    model.graph.input[0].type.CopyFrom(sequence)
    with pytest.raises(GraphError, match=r"'first'.*sequence"):
        load_onnx(model).graph({"x[0]": (3, 4)})
    model.graph.input[0].type.CopyFrom(helper.make_tensor_type_proto(TensorProto.STRING, [3, 4]))
    words = np.full((3, 4), "word", object)
    with pytest.raises(A1400Error, match="'first'"):
        load_onnx(model).graph({"x": (3, 4)}, {"x": words})
    with pytest.raises(InputError, match="'x' holds strings"):
        load_onnx(model).graph({"x": (3, 4)})


def test_deep_nesting() -> None:
    graph = helper.make_graph([helper.make_node("Neg", ["x"], ["b"])], "b", [], [onnx.ValueInfoProto(name="b")])
    for _ in range(20):
        node = helper.make_node("If", ["c"], ["b"], then_branch=graph, else_branch=graph.__class__.FromString(b""))
        node.attribute[1].g.output.append(onnx.ValueInfoProto(name="x"))
        graph = helper.make_graph([node], "b", [], [onnx.ValueInfoProto(name="b")])
    model = model_of([], {"x": f32(3), "c": np.array(True)}, {}, ["b"])
    model.graph.node.extend(graph.node)
    with contextlib.suppress(A1400Error):
        load_onnx(model.SerializeToString())


@pytest.mark.parametrize("scale", [1e9, np.nan, np.inf, -1.0, 0.0])
def test_absurd_scales(scale: float) -> None:
    model, feeds = one_node("Resize", [f32(1, 1, 2, 2), None, np.float32([1, 1, scale, scale])], constants=[2])
    with pytest.raises(GraphError, match=r"the_node.*(cannot resize|is not possible)"):
        load_onnx(model).graph({n: a.shape for n, a in feeds.items()})


@pytest.mark.parametrize("edge", [1e30, np.nan, np.inf])
def test_absurd_regions(edge: float) -> None:
    roi, sizes = np.float32([0, 0, 0, 0, 1, 1, edge, 1]), i64(1, 1, 4, 4)
    model, feeds = one_node(
        "Resize", [f32(1, 1, 2, 2), roi, None, sizes], constants=[1, 3],
        mode="linear", coordinate_transformation_mode="tf_crop_and_resize",
    )  # fmt: skip
    with pytest.raises(GraphError, match="region"):
        load_onnx(model).graph({n: a.shape for n, a in feeds.items()})


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
def test_what_is_no_regular_file_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.onnx")
    for path in (tmp_path / "pipe.onnx", "/dev/zero"):
        with pytest.raises(ModelFileError, match="regular file"):
            load_onnx(path)


def test_what_is_neither_path_nor_bytes() -> None:
    for source in (None, 3, _good().graph):
        with pytest.raises(ModelFileError, match="given by its path"):
            load_onnx(source)  # type: ignore[arg-type]
