"""Shapes, slices, gathers, scatters, reductions against ONNX Runtime."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.frontends.building import bools, check, f32, i64, ints, one_node, reference

X = f32(2, 3, 4)

SHAPING: list[tuple[str, list[Any], dict[str, Any], int]] = [
    ("Reshape", [X, i64(4, 6)], {}, 17),
    ("Reshape", [X, i64(0, -1)], {}, 17),
    ("Reshape", [np.zeros((0, 3), np.float32), i64(3, 0)], {"allowzero": 1}, 17),
    ("Flatten", [X], {"axis": 2}, 17),
    ("Flatten", [X], {"axis": 0}, 17),
    ("Flatten", [X], {"axis": -1}, 17),
    ("Transpose", [X], {}, 17),
    ("Transpose", [X], {"perm": [2, 0, 1]}, 17),
    ("Squeeze", [f32(1, 3, 1)], {}, 17),
    ("Squeeze", [f32(1, 3, 1), i64(-1)], {}, 17),
    ("Squeeze", [f32(1, 3, 1)], {"axes": [0]}, 11),
    ("Unsqueeze", [X, i64(0, -1)], {}, 17),
    ("Unsqueeze", [X], {"axes": [1, 3]}, 11),
    ("Expand", [f32(3, 1), i64(2, 1, 4)], {}, 17),
    ("Expand", [X, i64(1)], {}, 17),
    ("Tile", [X, i64(2, 1, 3)], {}, 17),
    ("Shape", [X], {"start": 1}, 17),
    ("Shape", [X], {"start": -2, "end": -1}, 17),
    ("Size", [X], {}, 17),
    ("Slice", [X, i64(0, 1), i64(2, 3), i64(1, 2)], {}, 17),
    ("Slice", [X, i64(-1), i64(-100), i64(2), i64(-2)], {}, 17),
    ("Slice", [X, i64(5), i64(9), i64(1)], {}, 17),
    ("Slice", [X, i64(0), i64(2**62), i64(0)], {}, 17),
    ("Slice", [X], {"starts": [0, 1], "ends": [1, 100], "axes": [0, 2]}, 9),
    ("Concat", [X, f32(2, 1, 4)], {"axis": 1}, 17),
    ("Concat", [X, np.zeros((2, 3, 0), np.float32), X], {"axis": -1}, 17),
    ("Pad", [X, i64(1, 0, 0, 0, 2, 1), np.array(1.5, np.float32)], {}, 17),
    ("Pad", [X, i64(0, -1, 1, 0, 0, 1)], {}, 17),
    ("Pad", [X, i64(0, 1, 2, 0, 2, 3)], {"mode": "reflect"}, 17),
    ("Pad", [X, i64(0, 1, 2, 0, 2, 5)], {"mode": "edge"}, 17),
    ("Pad", [X, i64(1, 2), None, i64(1)], {}, 18),
    ("Pad", [X, i64(0, 1, 2, 0, 2, 5)], {"mode": "wrap"}, 19),
    ("Pad", [X, i64(0, -1, 2, 0, 2, -1)], {"mode": "wrap"}, 19),
    ("Pad", [X, i64(0, 1, -1, 0, -1, 2)], {"mode": "reflect"}, 19),
    ("Pad", [X], {"pads": [1, 0, 0, 0, 2, 1], "value": 2.0}, 9),
    ("Trilu", [f32(2, 4, 5)], {}, 17),
    ("Trilu", [f32(4, 4), np.array(-1, np.int64)], {"upper": 0}, 17),
    ("Trilu", [bools(4, 4), np.array(1, np.int64)], {}, 17),
    ("EyeLike", [f32(3, 4)], {"k": 1}, 17),
    ("ConstantOfShape", [i64(2, 3)], {}, 17),
    ("Range", [np.array(1, np.int64), np.array(10, np.int64), np.array(3, np.int64)], {}, 17),
    ("Range", [np.array(1, np.float32), np.array(0, np.float32), np.array(-0.3, np.float32)], {}, 17),
    ("OneHot", [i64(0, 2, -1), np.array(4, np.int64), np.array([1, 5], np.float32)], {}, 17),
    ("OneHot", [ints(2, 2, low=0, high=3), np.array(3, np.int64), i64(0, 1)], {"axis": 1}, 17),
    ("Gather", [X, i64(2, 0, -1)], {"axis": 1}, 17),
    ("Gather", [X, np.array(1, np.int64)], {"axis": 2}, 17),
    ("Gather", [X, ints(2, 2, low=0, high=2, dtype=np.int32)], {}, 17),
    ("GatherElements", [X, ints(2, 2, 4, low=-3, high=3)], {"axis": 1}, 17),
    ("GatherND", [X, ints(5, 2, low=0, high=2)], {}, 17),
    ("GatherND", [X, ints(2, 5, 1, low=0, high=3)], {"batch_dims": 1}, 17),
    ("ScatterElements", [X, ints(2, 1, 4, low=0, high=3), f32(2, 1, 4)], {"axis": 1}, 17),
    ("ScatterElements", [X, ints(2, 2, 4, low=0, high=3), f32(2, 2, 4)], {"axis": 1, "reduction": "add"}, 17),
    ("ScatterND", [X, i64(1, 0).reshape(2, 1), f32(2, 3, 4)], {}, 17),
    ("ScatterND", [X, ints(3, 2, low=0, high=2), f32(3, 4)], {"reduction": "mul"}, 17),
    ("ReverseSequence", [f32(4, 3, 2), i64(1, 4, 2)], {}, 17),
    ("Compress", [X, np.array([True, False, True])], {"axis": 1}, 17),
    ("CumSum", [X, np.array(1, np.int64)], {"exclusive": 1, "reverse": 1}, 17),
    ("CumSum", [X, np.array(-1, np.int64)], {}, 17),
    ("Dropout", [X], {}, 17),
    ("Einsum", [f32(2, 3, 4), f32(2, 4, 5)], {"equation": "bij,bjk->bik"}, 17),
    ("Einsum", [f32(2, 3, 4, 5), f32(2, 6, 4, 5)], {"equation": "bthd,bshd->bhts"}, 17),
    ("Einsum", [f32(3, 4), f32(5, 4)], {"equation": "ij,kj"}, 17),
    ("Einsum", [f32(3, 3)], {"equation": "ii->i"}, 17),
    ("Einsum", [f32(3, 3)], {"equation": "ii"}, 17),
    ("Einsum", [f32(2, 3), f32(3, 4), f32(4, 2)], {"equation": "ij,jk,kl->il"}, 17),
    ("Einsum", [f32(5, 2, 3), f32(3, 4)], {"equation": "...ij,jk->...ik"}, 17),
    ("Einsum", [f32(3), f32(4)], {"equation": "i,j->ij"}, 17),
    ("Einsum", [f32(2, 3, 4)], {"equation": "ijk->kj"}, 17),
    ("NonZero", [bools(3, 4)], {}, 17),
]


@pytest.mark.parametrize(("op", "inputs", "attrs", "opset"), SHAPING, ids=lambda v: v if isinstance(v, str) else "")
def test_shaping(op: str, inputs: list[Any], attrs: dict[str, Any], opset: int) -> None:
    """Run-time data, with everything else constant."""
    constants = [i for i, a in enumerate(inputs) if i and a is not None and op not in ("Gather", "Concat", "Einsum")]
    check(
        *one_node(op, inputs, constants=[] if op in ("ConstantOfShape", "Range") else constants, opset=opset, **attrs)
    )


@pytest.mark.parametrize(("op", "inputs", "attrs", "opset"), SHAPING, ids=lambda v: v if isinstance(v, str) else "")
def test_shaping_folds(op: str, inputs: list[Any], attrs: dict[str, Any], opset: int) -> None:
    """All constants: nothing is left to run."""
    from a1400.frontends.onnx import load_onnx

    model, _ = one_node(op, inputs, constants=[i for i, a in enumerate(inputs) if a is not None], opset=opset, **attrs)
    check(model, {})
    assert not load_onnx(model).graph({}).nodes


@pytest.mark.parametrize("opset", [11, 13, 18])
def test_split(opset: int) -> None:
    x = f32(4, 7)
    if opset == 11:
        check(*one_node("Split", [x], outputs=2, opset=opset, axis=1, split=[3, 4]))
        check(*one_node("Split", [x], outputs=2, opset=opset))
    else:
        check(*one_node("Split", [x, i64(3, 0, 4)], constants=[1], outputs=3, opset=opset, axis=1))
    if opset == 13:
        check(*one_node("Split", [x], outputs=2, opset=opset))
    if opset == 18:
        check(*one_node("Split", [x], outputs=3, opset=opset, axis=1, num_outputs=3))


REDUCTIONS = ["Sum", "Mean", "Max", "Min", "Prod", "L1", "L2", "SumSquare", "LogSum", "LogSumExp"]


@pytest.mark.parametrize("kind", REDUCTIONS)
def test_reductions(kind: str) -> None:
    op, x = f"Reduce{kind}", f32(2, 3, 4, low=0.2)
    old = 12 if kind == "Sum" else 17
    for attrs in ({}, {"axes": [1]}, {"axes": [-1, 0], "keepdims": 0}):
        check(*one_node(op, [x], opset=old, **attrs))
    check(*one_node(op, [x, i64(0, 2)], constants=[1], opset=18, keepdims=0))
    check(*one_node(op, [x], opset=18, noop_with_empty_axes=0))


def test_reductions_of_other_types() -> None:
    for op in ("ReduceSum", "ReduceMax", "ReduceMin", "ReduceProd"):
        check(*one_node(op, [ints(3, 4, dtype=np.int32), i64(1)], constants=[1], opset=18))
    check(*one_node("ReduceMax", [bools(3, 4), i64(1)], constants=[1], opset=20), by=reference)


@pytest.mark.parametrize("op", ["ArgMax", "ArgMin"])
@pytest.mark.parametrize("attrs", [{}, {"axis": 1, "keepdims": 0}, {"axis": -1, "select_last_index": 1}])
def test_arg_reductions(op: str, attrs: dict[str, int]) -> None:
    check(*one_node(op, [ints(3, 4, 5, low=0, high=3).astype(np.float32)], **attrs))


@pytest.mark.parametrize("attrs", [{}, {"largest": 0}, {"axis": 0}])
def test_top_k(attrs: dict[str, int]) -> None:
    check(*one_node("TopK", [f32(5, 6), i64(3)], constants=[1], outputs=2, **attrs))


def test_unique_of_a_constant() -> None:
    for ordered in (0, 1):
        check(*one_node("Unique", [ints(12, low=0, high=5)], constants=[0], outputs=4, sorted=ordered))


def test_matrix_products() -> None:
    check(*one_node("MatMul", [f32(2, 3, 4), f32(4, 5)]))
    check(*one_node("MatMul", [f32(4), f32(2, 4, 5)]))
    check(*one_node("Gemm", [f32(3, 4), f32(4, 5), f32(5)], alpha=0.5, beta=2.0))
    check(*one_node("Gemm", [f32(4, 3), f32(5, 4)], transA=1, transB=1))
    check(*one_node("Gemm", [f32(3, 4), f32(4, 5), f32(3, 1)], constants=[1, 2]))


def test_signal() -> None:
    check(*one_node("DFT", [f32(2, 10, 1)], opset=17, axis=1, onesided=1))
    check(*one_node("DFT", [f32(2, 10, 2), np.array(12, np.int64)], constants=[1], opset=17, axis=1, inverse=1))
    check(*one_node("STFT", [f32(1, 64, 1), np.array(8, np.int64), f32(16)], constants=[1, 2]), atol=1e-4)
