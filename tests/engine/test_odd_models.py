"""Models as nobody's exporter should write them, and some do: the same answers as ONNX Runtime's, or a clear error."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import AttributeProto, TensorProto, helper

import a1400
from a1400.backends.base import Device, DeviceInfo
from a1400.engine.model import PLAN_LIMIT, Model
from a1400.errors import InputError, ModelFileError
from a1400.frontends.onnx import load_onnx
from tests.frontends.building import Arrays, f32, i64, model_of, runtime

N = helper.make_node
X = f32(3)


def _function(name: str, inputs: list[str], nodes: list[onnx.NodeProto], **more: Any) -> onnx.FunctionProto:
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid("own", 1)]
    overload = more.pop("overload", "")
    made = helper.make_function("own", name, inputs, ["r"], nodes, opsets, **more)
    made.overload = overload
    return made


def _calls(*nodes: onnx.NodeProto, functions: list[onnx.FunctionProto]) -> tuple[onnx.ModelProto, Arrays]:
    outputs = [name for node in nodes for name in node.output]
    model = model_of(list(nodes), {"x": X}, {}, outputs, 18, opsets=[helper.make_opsetid("own", 1)])
    model.functions.extend(functions)
    model.ir_version = 10
    return model, {"x": X}


def _slope(node: onnx.NodeProto, name: str, stands_for: str) -> onnx.NodeProto:
    node.attribute.append(AttributeProto(name=name, ref_attr_name=stands_for, type=AttributeProto.FLOAT))
    return node


def _attributes() -> tuple[onnx.ModelProto, Arrays]:
    """A default, a value given, and one handed on by a function around it."""
    leaky = _slope(N("LeakyRelu", ["p"], ["r"]), "alpha", "slope")
    inner = _function("F", ["p"], [leaky], attribute_protos=[helper.make_attribute("slope", 0.25)])
    handed = _slope(N("F", ["p"], ["r"], domain="own"), "slope", "s")
    outer = _function("G", ["p"], [handed], attribute_protos=[helper.make_attribute("s", 0.5)])
    nodes = [N("F", ["x"], ["a"], domain="own"), N("F", ["x"], ["b"], domain="own", slope=0.75),
             N("G", ["x"], ["c"], domain="own"), N("G", ["x"], ["d"], domain="own", s=2.0)]  # fmt: skip
    return _calls(*nodes, functions=[outer, inner])


def _overloads() -> tuple[onnx.ModelProto, Arrays]:
    nodes = [N("F", ["x"], ["a"], domain="own", overload="one"), N("F", ["x"], ["b"], domain="own", overload="two")]
    one = _function("F", ["p"], [N("Relu", ["p"], ["r"])], overload="one")
    return _calls(*nodes, functions=[one, _function("F", ["p"], [N("Neg", ["p"], ["r"])], overload="two")])


def _left_out() -> tuple[onnx.ModelProto, Arrays]:
    clip = _function("F", ["p", "low"], [N("Clip", ["p", "low"], ["r"])])
    nodes = [N("F", ["x"], ["a"], domain="own"), N("Clip", ["x", "", "high"], ["b"]), N("Clip", ["x", "", ""], ["c"])]
    model, _ = _calls(*nodes, functions=[clip])
    model.graph.input.append(helper.make_tensor_value_info("high", TensorProto.FLOAT, []))
    return model, {"x": X, "high": np.array(0.5, np.float32)}


def _outputs() -> tuple[onnx.ModelProto, Arrays]:
    """Outputs that are an input, an initializer, and one value under three names; nodes in no order."""
    nodes = [N("Identity", ["b"], ["c"]), N("Identity", ["b"], ["d"]), N("Relu", ["a"], ["b"]), N("Neg", ["x"], ["a"])]
    return model_of(nodes, {"x": X}, {"w": f32(2)}, ["x", "w", "b", "c", "d"]), {"x": X}


def _same_names() -> tuple[onnx.ModelProto, Arrays]:
    """Both branches call what they hold as the other does, and read the graph around them."""
    info = [helper.make_tensor_value_info("t", TensorProto.FLOAT, [3])]
    one, two = (onnx.numpy_helper.from_array(np.full(3, n, np.float32), "w") for n in (1, 7))
    then = helper.make_graph([N("Add", ["x", "w"], ["t"], name="n")], "then", [], info, [one])
    other = helper.make_graph([N("Mul", ["x", "w"], ["t"], name="n")], "else", [], info, [two])
    nodes = [N("If", ["c"], ["y"], name="n", then_branch=then, else_branch=other)]
    return model_of(nodes, {"x": X, "c": np.array(False)}, {}, ["y"]), {"x": X, "c": np.array(False)}


def _nothing() -> tuple[onnx.ModelProto, Arrays]:
    """No rows through a whole network."""
    nodes = [
        N("Conv", ["x", "w"], ["a"]), N("MaxPool", ["a"], ["b"], kernel_shape=[2, 2]), N("Relu", ["b"], ["c"]),
        N("GlobalAveragePool", ["c"], ["d"]), N("Flatten", ["d"], ["e"]), N("Gemm", ["e", "v"], ["f"]),
        N("LayerNormalization", ["f", "g"], ["h"]), N("Softmax", ["h"], ["y"]), N("ReduceSum", ["y"], ["s"]),
        N("Concat", ["y", "y"], ["z"], axis=0), N("NonZero", ["z"], ["n"]),
    ]  # fmt: skip
    feeds = {"x": np.zeros((0, 3, 8, 8), np.float32)}
    return model_of(nodes, feeds, {"w": f32(4, 3, 3, 3), "v": f32(4, 5), "g": f32(5)}, ["y", "s", "z", "n"]), feeds


def _undeclared() -> tuple[onnx.ModelProto, Arrays]:
    """ONNX Runtime's own domain without an import, an unused input, a node and an initializer that nobody reads."""
    nodes = [N("BiasGelu", ["x", "w"], ["y"], domain="com.microsoft"), N("Neg", ["w"], ["nobody"])]
    feeds = {"x": X, "unused": np.zeros((2, 0), np.float32)}
    return model_of(nodes, feeds, {"w": X, "more": X}, ["y"]), feeds


ODD = (_attributes, _overloads, _left_out, _outputs, _same_names, _nothing, _undeclared)


@pytest.mark.parametrize("made", ODD, ids=lambda f: f.__name__.strip("_"))
def test_as_onnx_runtime(made: Callable[[], tuple[onnx.ModelProto, Arrays]], device: Device) -> None:
    model, feeds = made()
    found = Model(load_onnx(model.SerializeToString()), device).run(feeds)
    for info, want in zip(model.graph.output, runtime(model, feeds), strict=True):
        have = found[info.name]
        assert (have.dtype, have.shape) == (want.dtype, want.shape), info.name
        np.testing.assert_allclose(have, want, rtol=1e-5, atol=1e-6, err_msg=info.name)


@pytest.mark.parametrize("ir", [*range(3, onnx.IR_VERSION + 1)])
def test_ir_versions(ir: int, device: Device) -> None:
    model = model_of([N("Add", ["x", "w"], ["y"])], {"x": X}, {"w": X}, ["y"], 9)
    model.ir_version = ir
    if ir < 4:
        model.graph.input.append(helper.make_tensor_value_info("w", TensorProto.FLOAT, [3]))
    np.testing.assert_array_equal(Model(load_onnx(model), device)(X), X + X)


def test_initializers_that_are_inputs(device: Device) -> None:
    """They may be given, and keep their value where they are not."""
    model = model_of([N("MatMul", ["x", "w"], ["y"])], {"x": X, "w": f32(3, 4)}, {"w": f32(3, 4)}, ["y"])
    ours = Model(load_onnx(model), device)
    assert list(ours.inputs) == ["x"] and list(ours.defaults) == ["w"]
    for feeds in ({"x": X}, {"x": X, "w": f32(3, 4, seed=5)}, {"x": X}):
        np.testing.assert_allclose(ours.run(feeds)["y"], runtime(model, feeds)[0], rtol=1e-5)
    with pytest.raises(InputError, match=r"'w'.*\[3, 4\]"):
        ours.run({"x": X, "w": f32(4, 4)})
    fixed = model_of([N("MatMul", ["x", "w"], ["y"])], {"x": X}, {"w": f32(3, 4)}, ["y"])
    with pytest.raises(InputError, match="no input 'w'"):
        Model(load_onnx(fixed), device).run({"x": X, "w": f32(3, 4)})


def test_plans_have_a_bound(device: Device) -> None:
    """Any length, one plan each; ``explain`` tells how many are kept."""
    model = model_of([N("Relu", ["x"], ["y"])], {"x": X}, {}, ["y"])
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_param = "n"
    ours = Model(load_onnx(model), device)
    for n in range(1, PLAN_LIMIT + 3):
        assert ours(f32(n)).shape == (n,)
    facts = ours.explain().to_dict()["plans"]
    assert facts == {"kept": PLAN_LIMIT, "limit": PLAN_LIMIT}
    assert f"{PLAN_LIMIT} plans are kept, {PLAN_LIMIT} at most" in str(ours.explain())


def test_sizes_that_must_agree(device: Device) -> None:
    model = model_of([N("Add", ["a", "b"], ["y"])], {"a": X, "b": X}, {}, ["y"])
    for info in model.graph.input:
        info.type.tensor_type.shape.dim[0].dim_param = "n"
    with pytest.raises(InputError, match="dimension 'n' is 3 in input 'a' but 1 in input 'b'"):
        Model(load_onnx(model), device).run({"a": X, "b": f32(1)})


def test_without_an_opset() -> None:
    model = model_of([N("Relu", ["x"], ["y"])], {"x": X}, {}, ["y"])
    del model.opset_import[:]
    with pytest.raises(ModelFileError, match="does not say which opset"):
        load_onnx(model)


def test_ten_thousand_nodes(device: Device) -> None:
    nodes = [N("Add" if i % 2 else "Mul", [f"v{i}", "w"], [f"v{i + 1}"]) for i in range(10_000)]
    model = model_of(nodes, {"v0": X}, {"w": np.float32(0.5)}, ["v10000"])
    want = X
    for i in range(10_000):
        want = want + np.float32(0.5) if i % 2 else want * np.float32(0.5)
    np.testing.assert_allclose(Model(load_onnx(model), device)(X), want, rtol=1e-5)


def _external(name: str, shape: tuple[int, ...], start: int) -> onnx.TensorProto:
    made = TensorProto(name=name, data_type=TensorProto.FLOAT, dims=shape, data_location=TensorProto.EXTERNAL)
    for key, value in (("location", "weights"), ("offset", start), ("length", 4 * int(np.prod(shape)))):
        made.external_data.add(key=key, value=str(value))
    return made


def test_more_than_two_gigabytes(tmp_path: Path, device_info: DeviceInfo) -> None:
    """Weights beyond 2^31 and 2^32 of a file that is mostly holes; one of them is larger than 2^31 bytes itself."""
    rows, columns = 540_000, 1000
    row, w, v = f32(columns), f32(columns, 4), f32(4, 2)
    starts = {"table": 4096, "w": 4096 + 4 * rows * columns, "v": (1 << 32) + 64}
    if device_info.memory < 4 * starts["v"]:
        starts["table"], rows = starts["w"] - 4 * 1000 * columns, 1000  # the device may have no room for the large one
    with open(tmp_path / "weights", "wb") as file:
        for start, array in ((starts["table"] + 4 * (rows - 2) * columns, row), (starts["w"], w), (starts["v"], v)):
            file.seek(start)
            file.write(array.tobytes())
    nodes = [N("Gather", ["table", "i"], ["a"]), N("MatMul", ["a", "w"], ["b"]), N("MatMul", ["b", "v"], ["y"])]
    model = model_of(nodes, {"i": i64(0, 0, 0)}, {}, ["y"])
    shapes = {"table": (rows, columns), "w": w.shape, "v": v.shape}
    model.graph.initializer.extend(_external(name, shape, starts[name]) for name, shape in shapes.items())
    path = tmp_path / "large.onnx"
    path.write_bytes(model.SerializeToString())
    before = _own_memory()
    found = a1400.load(path, device=device_info.id).run({"i": i64(rows - 2, 5, -2)})["y"]
    np.testing.assert_allclose(found[0], row @ w @ v, rtol=1e-3, atol=1e-4)
    np.testing.assert_array_equal(found, [found[0], [0, 0], found[0]])
    if device_info.kind == "cpu":
        assert _own_memory() - before < 1 << 30, "the file was read, not mapped"
    with open(path, "ab") as file:
        file.truncate(1 << 31)
    with pytest.raises(ModelFileError, match="a file holds at most 2147483647: save weights as external data"):
        a1400.load(path, device=device_info.id)


def _own_memory() -> int:
    """Bytes of this process that no file holds (Linux; else 0)."""
    status = Path("/proc/self/status")
    lines = status.read_text().splitlines() if status.exists() else []
    return sum(int(line.split()[1]) << 10 for line in lines if line.startswith("RssAnon"))
