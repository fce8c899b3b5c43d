"""Sequences, optionals and strings as inputs and outputs of a model on a device."""

from __future__ import annotations

import numpy as np
import onnx
import onnx.parser
import pytest
from onnx import TensorProto, helper

import a1400
from a1400.backends.base import DeviceInfo
from a1400.engine.device_array import DeviceArray
from a1400.engine.structures import flat
from a1400.errors import InputError

FLOATS = helper.make_tensor_type_proto(TensorProto.FLOAT, None)
SEQUENCE = helper.make_sequence_type_proto(FLOATS)
OPSETS = [helper.make_opsetid("", 20), helper.make_opsetid("ai.onnx.ml", 2)]
GROWING = """
<ir_version: 8, opset_import: ["" : 16]>
test (int64 trips, optional(seq(float)) start) => (seq(float[]) grown) {
  grown = Loop (trips, "", start) <
    body: graph = body (int64 i, bool go, optional(seq(float)) held) => (bool on, seq(float) out) {
    on = Identity (go)
    some = OptionalHasElement (held)
    sequence = If (some) <
      then_branch: graph = full () => (seq(float) a) { a = OptionalGetElement (held) },
      else_branch: graph = empty () => (seq(float) b) {
        zero = Constant <value: tensor = float zero_tensor {0}> ()
        b = SequenceConstruct (zero)
      }
    >
    x = Constant <value: tensor = float[5] x_tensor {1,2,3,4,5}> ()
    one = Constant <value: tensor = int64 one_tensor {1}> ()
    first = Constant <value: tensor = int64[1] first_tensor {0}> ()
    axes = Constant <value: tensor = int64 axes_tensor {0}> ()
    end = Add (i, one)
    last = Unsqueeze (end, axes)
    slice = Slice (x, first, last)
    out = SequenceInsert (sequence, slice)
  }>
}
"""


def load(
    info: DeviceInfo, nodes: list[onnx.NodeProto], inputs: dict[str, onnx.TypeProto], outputs: dict[str, onnx.TypeProto]
) -> a1400.Model:
    given = [helper.make_value_info(n, t) for n, t in inputs.items()]
    made = [helper.make_value_info(n, t) for n, t in outputs.items()]
    graph = helper.make_graph(nodes, "test", given, made)
    return a1400.load(helper.make_model(graph, opset_imports=OPSETS, ir_version=10), device=info.id)


def test_sequences(device_info: DeviceInfo) -> None:
    place = helper.make_tensor_type_proto(TensorProto.INT64, [])
    body = helper.make_graph(
        [helper.make_node("Add", ["item", "item"], ["twice"])], "body",
        [helper.make_value_info("item", FLOATS)], [helper.make_value_info("twice", FLOATS)],
    )  # fmt: skip
    nodes = [
        helper.make_node("SequenceMap", ["s"], ["mapped"], name="map", body=body),
        helper.make_node("SequenceErase", ["mapped", "at"], ["rest"], name="erase"),
        helper.make_node("SequenceLength", ["s"], ["count"], name="count"),
        helper.make_node("Add", ["at", "count"], ["total"], name="total"),
    ]
    outputs = {"rest": SEQUENCE, "total": place}
    model = load(device_info, nodes, {"s": SEQUENCE, "at": place}, outputs)
    assert model.inputs["s"].kind == "sequence" and model.inputs["s"].dtype == np.float32
    items = [np.arange(n, dtype=np.float32) for n in (3, 1, 4)]
    for at in (0, 2, -2):
        result = model.run({"s": items, "at": np.int64(at)})
        wanted = [2 * x for x in items]
        del wanted[at]
        assert len(result["rest"]) == 2 and result["total"] == at + 3
        for have, want in zip(result["rest"], wanted):
            np.testing.assert_array_equal(have, want)
    story = model.explain().to_dict()
    # where to erase steers what the graph is, so that number is known to the host, and so is the sum
    assert story["placement"]["erase"]["where"] == "host"
    assert story["placement"]["total"]["where"].startswith("device and host: ")
    assert story["host_nodes"] == 2 and story["launches"] >= 1
    kept = model.run({"s": items, "at": np.int64(0)}, outputs={"rest": "device"})["rest"]
    assert all(isinstance(item, DeviceArray) for item in kept)
    again = model.run({"s": [np.asarray(item) for item in kept], "at": np.int64(0)})["rest"]
    np.testing.assert_array_equal(again[0], 4 * items[2])
    whole = [np.zeros(2, np.int64)]
    for wrong, text in ((items[0], "a list of arrays"), (None, "sequence"), (whole, r"s\[0\].*int64")):
        with pytest.raises(InputError, match=text):
            model.run({"s": wrong, "at": np.int64(0)})


def test_optionals(device_info: DeviceInfo) -> None:
    """A loop that starts from an optional sequence, as the one case of ONNX's suite that its comparison cannot take."""
    model = a1400.load(onnx.parser.parse_model(GROWING), device=device_info.id)
    assert model.inputs["start"].kind == "optional sequence"
    for start in (None, [np.array(7, np.float32)]):
        result = model.run({"trips": np.int64(3), "start": start})["grown"]
        assert [item.tolist() for item in result] == [0 if start is None else 7, [1], [1, 2], [1, 2, 3]]
    assert len(model.run({"trips": np.int64(1)})["grown"]) == 2
    with pytest.raises(InputError, match="'start' is a list of arrays"):
        model.run({"trips": np.int64(3), "start": np.zeros(3, np.float32)})


def test_strings(device_info: DeviceInfo) -> None:
    text = helper.make_tensor_type_proto(TensorProto.STRING, [None])
    number = helper.make_tensor_type_proto(TensorProto.FLOAT, [None])
    nodes = [
        helper.make_node("LabelEncoder", ["t"], ["code"], name="code", domain="ai.onnx.ml",
                         keys_strings=["one", "two"], values_floats=[1.0, 2.0], default_float=0.0),
        helper.make_node("Mul", ["code", "x"], ["product"], name="product"),
        helper.make_node("LabelEncoder", ["product"], ["answer"], name="answer", domain="ai.onnx.ml",
                         keys_floats=[4.0, 3.0], values_strings=["four", "three"], default_string="?"),
    ]  # fmt: skip
    model = load(device_info, nodes, {"t": text, "x": number}, {"answer": text, "product": number})
    x = np.array([3, 2, 5], np.float32)
    for words, wanted in (
        (["one", "two", "six"], ["three", "four", "?"]),
        ([b"two", "one", "one"], ["?", "?", "?"]),
        (["one", "two", "six"], ["three", "four", "?"]),
    ):
        result = model.run({"t": words, "x": x})
        assert result["answer"].dtype == object and result["answer"].tolist() == wanted
    assert len(model._plans) == 1  # the numbers that come of strings are fed to it
    story = model.explain().to_dict()["placement"]
    assert story["code"]["where"] == "host" and story["product"]["where"].startswith("device")
    assert story["answer"]["where"].startswith("device")
    for wrong, message in ((x, "'t' is float32, the model needs strings"), (["one", 2, "six"], "'t' holds int")):
        with pytest.raises(InputError, match=message):
            model.run({"t": wrong, "x": x})
    with pytest.raises(InputError, match="'answer' holds strings"):
        model.run({"t": ["one"] * 3, "x": x}, outputs="device")


def test_strings_that_decide_shapes(device_info: DeviceInfo) -> None:
    """How many words there are is the shape of what comes out: a plan for each number, not for each text."""
    text = helper.make_tensor_type_proto(TensorProto.STRING, [1])
    nodes = [
        helper.make_node("StringSplit", ["t"], ["words", "count"], name="split"),
        helper.make_node("LabelEncoder", ["words"], ["codes"], name="codes", domain="ai.onnx.ml",
                         keys_strings=["up", "down"], values_floats=[1.0, -1.0], default_float=0.5),
        helper.make_node("ReduceSum", ["codes"], ["sum"], name="sum", keepdims=0),
        helper.make_node("Expand", ["sum", "count"], ["out"], name="out"),
    ]  # fmt: skip
    outputs = {"words": helper.make_tensor_type_proto(TensorProto.STRING, None), "out": FLOATS}
    model = load(device_info, nodes, {"t": text}, outputs)
    for line in ("up up", "up other down", "down up", "up up up", "down x"):
        result = model.run({"t": [line]})
        words = line.split()
        assert result["words"].tolist() == [words]
        total = sum({"up": 1.0, "down": -1.0}.get(word, 0.5) for word in words)
        assert result["out"].tolist() == [total] * len(words)
    assert len(model._plans) == 2
    story = model.explain().to_dict()["placement"]
    assert [n for n, p in story.items() if p["where"] == "host"] == ["split", "codes"]
    assert story["sum"]["where"].startswith("device")


def test_strings_in_front_of_shapes_that_depend_on_data(device_info: DeviceInfo) -> None:
    """A chain of plans for each text: what comes of the strings is fed to its parts, also when they are kept."""
    text = helper.make_tensor_type_proto(TensorProto.STRING, [None])
    x = helper.make_tensor_type_proto(TensorProto.FLOAT, [None])
    places = helper.make_tensor_type_proto(TensorProto.INT64, None)
    nodes = [
        helper.make_node("LabelEncoder", ["t"], ["code"], name="code", domain="ai.onnx.ml",
                         keys_strings=["one", "two"], values_floats=[1.0, 2.0], default_float=0.0),
        helper.make_node("Mul", ["code", "x"], ["product"], name="product"),
        helper.make_node("NonZero", ["product"], ["at"], name="at"),
        helper.make_node("Compress", ["product", "picked"], ["out"], name="out", axis=0),
        helper.make_node("Cast", ["product"], ["picked"], name="picked", to=TensorProto.BOOL),
        helper.make_node("SequenceConstruct", ["out", "product"], ["both"], name="both"),
    ]  # fmt: skip
    nodes = [nodes[i] for i in (0, 1, 2, 4, 3, 5)]
    model = load(device_info, nodes, {"t": text, "x": x}, {"at": places, "both": SEQUENCE, "t": text})
    for words, numbers in (
        (["one", "two", "six"], [3, 2, 5]), (["two", "six", "one"], [3, 2, 5]), (["one", "two", "six"], [0, 2, 5])
    ):  # fmt: skip
        for _ in range(2):
            result = model.run({"t": words, "x": np.array(numbers, np.float32)})
            product = np.array([{"one": 1, "two": 2}.get(w, 0) * n for w, n in zip(words, numbers)], np.float32)
            assert result["at"].tolist() == [np.flatnonzero(product).tolist()]
            assert [a.tolist() for a in result["both"]] == [product[product != 0].tolist(), product.tolist()]
            assert result["t"].tolist() == words
    assert model.explain().to_dict()["placement"]["code"]["where"] == "host"


def test_outputs_as_arrays_only() -> None:
    two, word = np.arange(2), np.array(["a", "bcd"], object)
    arrays = flat({"s": [two, [word, None]], "none": None, "empty": [], "t": word})
    assert list(arrays) == ["s[0]", "s[1][0]", "t"] and arrays["s[0]"] is two
    assert arrays["t"].dtype == "<U3" and arrays["t"].tolist() == ["a", "bcd"]
