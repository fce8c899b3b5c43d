"""Recurrent layers, attention, quantised ops, control flow, sequences, functions."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper

from a1400.errors import UnsupportedOpError
from a1400.frontends.onnx import load_onnx
from tests.frontends.building import check, f32, i64, ints, model_of, one_node, ours, reference, value_info

STEPS, BATCH, SIZE, HIDDEN = 5, 2, 3, 4
GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}


def _recurrent(kind: str, directions: int, extra: int) -> list[Any]:
    """x, w, r and the first ``extra`` optional inputs."""
    rows = GATES[kind] * HIDDEN
    state = f32(directions, BATCH, HIDDEN)
    optional = [f32(directions, 2 * rows), np.array([5, 3], np.int32), state, state * 0.5, f32(directions, 3 * HIDDEN)]
    available = optional if kind == "LSTM" else optional[:3]
    weights = [f32(directions, rows, SIZE), f32(directions, rows, HIDDEN)]
    return [f32(STEPS, BATCH, SIZE), *weights, *available[:extra]]


@pytest.mark.parametrize("extra", [0, 1, 5])
@pytest.mark.parametrize("direction", ["forward", "reverse", "bidirectional"])
@pytest.mark.parametrize("kind", ["LSTM", "GRU", "RNN"])
def test_recurrent(kind: str, direction: str, extra: int) -> None:
    inputs = _recurrent(kind, 2 if direction == "bidirectional" else 1, extra)
    attrs = {"hidden_size": HIDDEN, "direction": direction}
    check(*one_node(kind, inputs, outputs=3 if kind == "LSTM" else 2, opset=14, **attrs))


def test_recurrent_variants() -> None:
    attrs: dict[str, Any] = {"hidden_size": HIDDEN, "opset": 14}
    gru, lstm, rnn = (_recurrent(k, 1, 1) for k in ("GRU", "LSTM", "RNN"))
    check(*one_node("GRU", gru, linear_before_reset=1, **attrs))
    check(
        *one_node(
            "GRU", gru, activations=["HardSigmoid", "Relu"], activation_alpha=[0.3], activation_beta=[0.4], **attrs
        )
    )
    check(*one_node("GRU", gru, clip=0.5, **attrs))
    check(*one_node("RNN", rnn, activations=["LeakyRelu"], activation_alpha=[0.2], **attrs))
    batch_first = [np.swapaxes(a, 0, 1).copy() if i == 0 else a for i, a in enumerate(lstm)]
    check(*one_node("LSTM", batch_first, outputs=3, layout=1, **attrs), by=reference)


ATTENTION: list[tuple[list[tuple[int, ...]], dict[str, Any]]] = [
    ([(2, 4, 3, 8), (2, 4, 5, 8), (2, 4, 5, 8)], {}),
    ([(2, 4, 3, 8), (2, 2, 5, 8), (2, 2, 5, 6)], {"scale": 0.3}),
    ([(2, 4, 5, 8), (2, 4, 5, 8), (2, 4, 5, 8)], {"is_causal": 1}),
    ([(2, 4, 3, 8), (2, 4, 5, 8), (2, 4, 5, 8), (3, 5)], {}),
    ([(2, 4, 3, 8), (2, 4, 5, 8), (2, 4, 5, 8)], {"softcap": 2.0}),
    ([(2, 3, 32), (2, 5, 16), (2, 5, 16)], {"q_num_heads": 4, "kv_num_heads": 2}),
]


@pytest.mark.parametrize(("shapes", "attrs"), ATTENTION)
def test_attention(shapes: list[tuple[int, ...]], attrs: dict[str, Any]) -> None:
    check(*one_node("Attention", [f32(*s) for s in shapes], opset=23, **attrs), by=reference)


def test_attention_with_a_cache() -> None:
    q, kv, past = f32(2, 4, 3, 8), f32(2, 4, 3, 8), f32(2, 4, 5, 8)
    model, feeds = one_node("Attention", [q, kv, kv, None, past, past], outputs=3, opset=24, is_causal=1)
    check(model, feeds, by=reference)
    graph = load_onnx(model).graph({n: a.shape for n, a in feeds.items()})
    assert "attention" in [n.op for n in graph.nodes]


def test_rotary_embedding() -> None:
    for interleaved in (0, 1):
        inputs = [f32(2, 3, 5, 8), f32(9, 4), f32(9, 4), ints(2, 5, low=0, high=9)]
        check(*one_node("RotaryEmbedding", inputs, opset=23, interleaved=interleaved), by=reference)


def test_quantisation() -> None:
    x, u8 = f32(3, 4, low=-9, high=9), np.array(100, np.uint8)
    check(*one_node("QuantizeLinear", [x, np.array(0.1, np.float32), u8]))
    check(*one_node("QuantizeLinear", [x, f32(3, low=0.1), ints(3, dtype=np.int8)], axis=0))
    check(*one_node("DequantizeLinear", [ints(3, 4, low=0, high=255, dtype=np.uint8), np.array(0.1, np.float32), u8]))
    check(*one_node("DequantizeLinear", [ints(3, 4, dtype=np.int8), f32(4), ints(4, dtype=np.int8)], axis=1))
    check(*one_node("DequantizeLinear", [ints(3, 4, dtype=np.int32), np.array(0.1, np.float32)]))
    check(*one_node("DynamicQuantizeLinear", [x], outputs=3))
    check(*one_node("DynamicQuantizeLinear", [np.zeros(4, np.float32)], outputs=3))
    a, b = ints(3, 4, low=0, high=255, dtype=np.uint8), ints(4, 2, low=0, high=255, dtype=np.uint8)
    check(*one_node("MatMulInteger", [a, b, u8, np.array(7, np.uint8)]))
    image, kernel = ints(1, 2, 5, 5, low=0, high=99, dtype=np.uint8), ints(3, 2, 3, 3, low=0, high=99, dtype=np.uint8)
    check(*one_node("ConvInteger", [image, kernel, u8], pads=[1, 1, 1, 1]))


def test_quantised_convolution() -> None:
    scale, zero = np.array(0.05, np.float32), np.array(120, np.uint8)
    image = ints(1, 2, 5, 5, low=0, high=255, dtype=np.uint8)
    kernel, bias = ints(3, 2, 3, 3, low=-99, high=99, dtype=np.int8), ints(3, low=-999, high=999, dtype=np.int32)
    inputs = [
        image,
        scale,
        zero,
        kernel,
        f32(3, low=0.01, high=0.05),
        np.zeros(3, np.int8),
        np.array(0.9, np.float32),
        zero,
    ]
    check(*one_node("QLinearConv", [*inputs, bias], constants=range(1, 9)))
    last = [np.moveaxis(image, 1, -1).copy(), *inputs[1:], bias]
    check(*one_node("QLinearConv", last, range(1, 9), domain="com.microsoft", channels_last=1))


@pytest.mark.parametrize("last", [0, 1])
def test_quantised_pooling(last: int) -> None:
    image = ints(1, 5, 6, 4, low=0, high=255, dtype=np.uint8)
    inputs = [image, np.array(0.047, np.float32), np.uint8(90), np.array(0.03, np.float32), np.uint8(7)]
    attrs: dict[str, Any] = {"kernel_shape": [3, 2], "pads": [1, 0, 1, 1], "strides": [2, 1], "channels_last": last}
    check(*one_node("QLinearAveragePool", inputs, range(1, 5), domain="com.microsoft", **attrs))


@pytest.mark.parametrize(("bits", "zeros"), [(4, "packed"), (4, "real"), (8, "packed"), (4, "none")])
def test_packed_weights(bits: int, zeros: str) -> None:
    depth, columns, blocks, packed = 75, 9, 3, 32 * bits // 8
    weights = ints(columns, blocks, packed, low=0, high=256, dtype=np.uint8)
    scales = f32(columns, blocks, low=0.01, high=0.1)
    points = {
        "packed": ints(columns, -(-blocks * bits // 8), low=0, high=256, dtype=np.uint8),
        "real": f32(columns, blocks, low=6, high=9), "none": None,
    }  # fmt: skip
    inputs = [f32(2, 3, depth), weights, scales, points[zeros], None, f32(columns)]
    attrs: dict[str, Any] = {"K": depth, "N": columns, "bits": bits, "block_size": 32, "domain": "com.microsoft"}
    check(*one_node("MatMulNBits", inputs, (1, 2, 5) if zeros == "none" else (1, 2, 3, 5), **attrs), atol=1e-4)
    order = [*inputs[:4], np.zeros(depth, np.int32)]
    with pytest.raises(UnsupportedOpError, match="g_idx"):
        ours(*one_node("MatMulNBits", order, (1, 2, 4), **attrs))


def _branches() -> dict[str, onnx.GraphProto]:
    """Subgraphs that use ``x`` of the graph around them."""
    made = {}
    for name, op in (("then_branch", "Neg"), ("else_branch", "Abs")):
        node = helper.make_node(op, ["x"], [f"{name}_y"])
        made[name] = helper.make_graph([node], name, [], [onnx.ValueInfoProto(name=f"{name}_y")])
    return made


@pytest.mark.parametrize("condition", [True, False])
@pytest.mark.parametrize("constant", [True, False])
def test_if(condition: bool, constant: bool) -> None:
    x, c = f32(2, 3), np.array(condition)
    node = helper.make_node("If", ["c"], ["y"], **_branches())
    feeds = {"x": x} if constant else {"x": x, "c": c}
    check(model_of([node], feeds, {"c": c} if constant else {}, ["y"]), feeds)


def _loop(trips: onnx.TensorProto | None) -> onnx.ModelProto:
    """total = x; repeat: total += x, collecting each total."""
    body = helper.make_graph(
        [
            helper.make_node("Add", ["total", "x"], ["next"]),
            helper.make_node("Identity", ["next"], ["seen"]),
            helper.make_node("Identity", ["go"], ["go_on"]),
        ],
        "body",
        [value_info("i", np.int64, []), value_info("go", np.bool_, []), value_info("total", np.float32, [3])],
        [value_info("go_on", np.bool_, []), value_info("next", np.float32, [3]), value_info("seen", np.float32, [3])],
    )
    node = helper.make_node("Loop", ["trips", "", "x"], ["last", "all"], body=body)
    constants = {} if trips is None else {"trips": onnx.numpy_helper.to_array(trips)}
    inputs = {"x": f32(3)} | ({"trips": np.array(3, np.int64)} if trips is None else {})
    return model_of([node], inputs, constants, ["last", "all"])


def test_loop_is_unrolled() -> None:
    check(_loop(onnx.numpy_helper.from_array(np.array(4, np.int64))), {"x": f32(3)})
    check(_loop(None), {"x": f32(3), "trips": np.array(3, np.int64)})


def test_sequences_vanish() -> None:
    nodes = [
        helper.make_node("SplitToSequence", ["x"], ["parts"], axis=1, keepdims=0),
        helper.make_node("SequenceAt", ["parts", "at"], ["one"]),
        helper.make_node("SequenceInsert", ["parts", "one"], ["more"]),
        helper.make_node("ConcatFromSequence", ["more"], ["y"], axis=0, new_axis=1),
    ]
    check(model_of(nodes, {"x": f32(2, 3)}, {"at": np.array(-1, np.int64)}, ["y"]), {"x": f32(2, 3)})


def test_local_functions_are_inlined() -> None:
    inner = helper.make_node("LeakyRelu", ["a"], ["b"])
    inner.attribute.add(name="alpha", type=onnx.AttributeProto.FLOAT, ref_attr_name="slope")
    function = helper.make_function(
        "local", "Twice", ["a"], ["c"], [inner, helper.make_node("Add", ["b", "b"], ["c"])],
        [helper.make_opsetid("", 17)], ["slope"],
    )  # fmt: skip
    call = helper.make_node("Twice", ["x"], ["y"], domain="local", slope=0.25, name="call")
    opsets = [helper.make_opsetid("local", 1)]
    model = model_of([call], {"x": f32(5)}, {}, ["y"], functions=[function], opsets=opsets)
    check(model, {"x": f32(5)})
    graph = load_onnx(model).graph({"x": (5,)})
    assert {s for n in graph.nodes for s in n.sources} == {"call/LeakyRelu_0", "call/Add_1"}


def test_ops_with_an_onnx_body_use_it() -> None:
    check(*one_node("AffineGrid", [f32(1, 2, 3), i64(1, 2, 4, 5)], constants=[1], opset=20), by=reference)
    check(*one_node("CenterCropPad", [f32(4, 5), i64(6, 3)], constants=[1], opset=18), by=reference)
    check(*one_node("HannWindow", [np.array(9, np.int64)], constants=[0]), by=reference)


def test_data_dependent_shapes_need_somebody_who_runs_the_graph() -> None:
    model, feeds = one_node("NonZero", [f32(30, 40)])
    with pytest.raises(UnsupportedOpError, match=r"the_node.*run-time values of 'x0'"):
        load_onnx(model).graph({"x0": (30, 40)})
    feeds["x0"][::3] = 0
    check(model, feeds)
