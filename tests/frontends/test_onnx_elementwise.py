"""Pointwise ops against ONNX Runtime."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from a1400.autodiff import gradients
from a1400.frontends.onnx import load_onnx
from a1400.graph.graph import evaluate
from tests.frontends.building import bools, check, f32, ints, one_node, reference

X = f32(3, 4)
SPECIAL = np.array([np.nan, np.inf, -np.inf, 0.0, -0.0, 1.5, -2.5, 0.5], np.float32)
UNIT, POSITIVE, ABOVE_ONE = f32(3, 4, low=-0.9, high=0.9), f32(3, 4, low=0.1, high=3), f32(3, 4, low=1.1, high=3)

UNARY = {
    "Neg": X, "Abs": X, "Sign": X, "Reciprocal": POSITIVE, "Sqrt": POSITIVE, "Exp": X, "Log": POSITIVE, "Erf": X,
    "Sin": X, "Cos": X, "Tan": UNIT, "Asin": UNIT, "Acos": UNIT, "Atan": X, "Sinh": X, "Cosh": X, "Asinh": X,
    "Acosh": ABOVE_ONE, "Atanh": UNIT, "Floor": X, "Ceil": X, "Relu": X, "Sigmoid": X, "Tanh": X, "Softplus": X,
    "Softsign": X, "HardSwish": f32(3, 4, low=-5, high=5), "Identity": X, "IsNaN": SPECIAL,
}  # fmt: skip


@pytest.mark.parametrize("op", UNARY)
def test_unary(op: str) -> None:
    check(*one_node(op, [UNARY[op]]))


WITH_ATTRIBUTES: list[tuple[str, np.ndarray, dict[str, Any], int]] = [
    ("LeakyRelu", X, {}, 17),
    ("LeakyRelu", X, {"alpha": 0.3}, 17),
    ("Elu", X, {"alpha": 1.5}, 17),
    ("Selu", X, {}, 17),
    ("Selu", X, {"alpha": 2.0, "gamma": 3.0}, 17),
    ("Celu", X, {"alpha": 0.7}, 17),
    ("HardSigmoid", X, {"alpha": 0.4, "beta": 0.3}, 17),
    ("ThresholdedRelu", X, {"alpha": 0.5}, 17),
    ("Shrink", X, {"lambd": 0.7, "bias": 0.2}, 17),
    ("Gelu", X, {}, 20),
    ("Gelu", X, {"approximate": "tanh"}, 20),
    ("Mish", X, {}, 18),
    ("Round", np.array([0.5, 1.5, 2.5, -0.5, -1.5, 2.4], np.float32), {}, 17),
    ("IsInf", SPECIAL, {}, 17),
    ("IsInf", SPECIAL, {"detect_negative": 0}, 17),
    ("IsInf", SPECIAL, {"detect_positive": 0}, 17),
    ("IsInf", SPECIAL, {"detect_positive": 0, "detect_negative": 0}, 17),
    ("Clip", X, {"min": -0.5, "max": 0.5}, 7),
    ("Clip", X, {"max": 0.5}, 7),
    ("Softmax", f32(2, 3, 4), {"axis": 1}, 17),
    ("Softmax", f32(2, 3, 4), {}, 17),
    ("Softmax", f32(2, 3, 4), {}, 11),
    ("Softmax", f32(2, 3, 4), {"axis": 2}, 11),
    ("LogSoftmax", f32(2, 3, 4), {"axis": 1}, 11),
    ("LogSoftmax", f32(2, 3, 4), {"axis": -2}, 13),
    ("Hardmax", f32(2, 3, 4), {"axis": 1}, 11),
    ("Hardmax", f32(2, 3, 4), {"axis": 1}, 13),
]


@pytest.mark.parametrize(("op", "x", "attrs", "opset"), WITH_ATTRIBUTES, ids=lambda v: v if isinstance(v, str) else "")
def test_activation(op: str, x: np.ndarray, attrs: dict[str, Any], opset: int) -> None:
    check(*one_node(op, [x], opset=opset, **attrs))


@pytest.mark.parametrize("approximate", ["none", "tanh"])
def test_gelu_of_the_largest_numbers(approximate: str) -> None:
    x = np.array([3e38, -3e38, 1e20], np.float32)
    model, feeds = one_node("Gelu", [x], opset=20, approximate=approximate)
    graph = load_onnx(model.SerializeToString()).graph({"x0": x.shape}, {})
    ones = graph.constant(np.ones_like(x))
    (slope,) = gradients(graph, graph.outputs["y0"], [graph.inputs["x0"]], ones)
    assert slope is not None
    graph.output("slope", slope)
    found = evaluate(graph, feeds)
    np.testing.assert_array_equal(found["y0"], np.maximum(x, 0))
    np.testing.assert_array_equal(found["slope"], x > 0)


def test_swish() -> None:
    check(*one_node("Swish", [X], opset=24, alpha=1.5), by=reference)


I32, U32 = np.int32, np.uint32
BINARY: list[tuple[str, np.ndarray, np.ndarray, dict[str, Any]]] = [
    ("Add", X, f32(4), {}),
    ("Sub", f32(3, 1), f32(2, 1, 4), {}),
    ("Mul", ints(3, 4), ints(4), {}),
    ("Div", X, f32(4, low=0.5, high=2), {}),
    ("Div", ints(20, dtype=I32), ints(20, seed=3, low=1, dtype=I32), {}),
    ("Div", ints(20), ints(20, low=-5, high=-1), {}),
    ("Pow", POSITIVE, f32(4), {}),
    ("Pow", X, np.array(2, np.int64), {}),
    ("Pow", ints(3, 4, low=1, dtype=I32), ints(4, low=0, high=4, dtype=I32), {}),
    ("Pow", ints(3, 4, low=1, dtype=I32), np.array(0.5, np.float32), {}),
    ("Mod", ints(20), ints(20, seed=5, low=1), {}),
    ("Mod", ints(20), ints(20, low=-5, high=-1), {}),
    ("Mod", ints(20, dtype=I32), ints(20, seed=5, low=1, dtype=I32), {"fmod": 1}),
    ("Mod", f32(20), f32(20, low=0.3, high=1), {"fmod": 1}),
    ("PRelu", f32(2, 3, 4), f32(3, 1), {}),
    ("Equal", ints(3, 4, low=0, high=2), ints(4, low=0, high=2), {}),
    ("Equal", bools(3, 4), bools(4), {}),
    ("Greater", X, f32(4), {}),
    ("Less", ints(3, 4), ints(4), {}),
    ("GreaterOrEqual", ints(3, 4), ints(4), {}),
    ("LessOrEqual", X, X, {}),
    ("And", bools(3, 4), bools(4), {}),
    ("Or", bools(3, 4), bools(4), {}),
    ("Xor", bools(3, 4), bools(4), {}),
    ("BitShift", ints(8, low=0, high=9, dtype=np.uint8), ints(8, low=0, high=4, dtype=np.uint8), {"direction": "LEFT"}),
    (
        "BitShift",
        ints(8, low=0, high=99, dtype=np.uint32),
        ints(8, low=0, high=4, dtype=np.uint32),
        {"direction": "RIGHT"},
    ),
    ("Max", SPECIAL, SPECIAL[::-1].copy(), {}),
    ("Min", SPECIAL, SPECIAL[::-1].copy(), {}),
]


@pytest.mark.parametrize(("op", "a", "b", "attrs"), BINARY, ids=lambda v: v if isinstance(v, str) else "")
def test_binary(op: str, a: np.ndarray, b: np.ndarray, attrs: dict[str, Any]) -> None:
    check(*one_node(op, [a, b], **attrs))


@pytest.mark.parametrize("exponent", [1, 2, 3, 0.5, -0.5, -1, 2.5, 0])
def test_power_by_a_constant(exponent: float) -> None:
    check(*one_node("Pow", [POSITIVE, np.array(exponent, np.float32)], constants=[1]))


@pytest.mark.parametrize("op", ["BitwiseAnd", "BitwiseOr", "BitwiseXor"])
def test_bits(op: str) -> None:
    check(*one_node(op, [ints(3, 4, dtype=I32), ints(4, dtype=I32)], opset=18))


def test_not() -> None:
    check(*one_node("Not", [bools(3, 4)]))
    check(*one_node("BitwiseNot", [ints(3, 4, dtype=I32)], opset=18))


@pytest.mark.parametrize("op", ["Sum", "Mean", "Max", "Min"])
@pytest.mark.parametrize("count", [1, 2, 3])
def test_variadic(op: str, count: int) -> None:
    check(*one_node(op, [f32(3, 4), f32(4, seed=1), f32(3, 1, seed=2)][:count]))


@pytest.mark.parametrize("bounds", [(None, None), (-0.5, None), (None, 0.5), (-0.5, 0.5), (0.5, -0.5)])
def test_clip_by_inputs(bounds: tuple[float | None, float | None]) -> None:
    given = [None if b is None else np.array(b, np.float32) for b in bounds]
    check(*one_node("Clip", [X, *given]))


@pytest.mark.parametrize("values", [(f32(3, 4), f32(4)), (bools(3, 4), bools(3, 1)), (ints(3, 4), ints(1))])
def test_where(values: tuple[np.ndarray, np.ndarray]) -> None:
    check(*one_node("Where", [bools(3, 4, seed=9), *values]), by=reference)


TYPES = [np.float32, np.float64, np.float16, np.int32, np.int64, np.int8, np.uint8, np.bool_]


@pytest.mark.parametrize("target", TYPES, ids=lambda t: t.__name__)
@pytest.mark.parametrize("source", TYPES, ids=lambda t: t.__name__)
def test_cast(source: Any, target: Any) -> None:
    from onnx.helper import np_dtype_to_tensor_dtype

    x = np.array([0, 1, 2.0, 3.7, 100], np.float32).astype(source)
    check(*one_node("Cast", [x], to=np_dtype_to_tensor_dtype(np.dtype(target))))
    check(*one_node("CastLike", [x, np.zeros(1, target)]), by=reference)
