"""Pointwise regions, and where they go."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest

from a1400.graph.graph import Node, Value
from a1400.optimizer.slots import epilogue_groups, slot_operand_ok
from tests.kernels.test_pointwise_plan import CPU
from tests.optimizer.graphs import Build, count, find


def test_chain_becomes_one_node_with_scalars_in_its_expression() -> None:
    b = Build()
    x = b.input(3, 5)
    y = b.op("mul", b.op("tanh", b.op("add", x, b.number(2))), x)
    b.finish(b.op("exp", b.op("neg", b.op("abs", y))))
    b.check()
    node = find(b.graph, "pointwise")
    assert node.inputs == [x] and len(b.graph.nodes) == 1


def test_a_value_with_readers_outside_ends_its_region() -> None:
    b = Build()
    y = b.op("tanh", b.input(3, 5))
    b.finish(b.op("exp", y), b.op("matmul", y, b.const(5, 2)))
    b.check()
    assert [v.shape for v in find(b.graph, "pointwise").outputs] == [(3, 5), (3, 5)]


def test_a_cheap_cast_is_computed_again_rather_than_stored() -> None:
    b = Build()
    y = b.op("cast", b.input(3, 5, dtype=np.float16), to=np.float32)
    b.finish(b.op("exp", y), b.op("reduce", b.op("tanh", y), kind="sum", axes=(1,), keepdims=False))
    b.check()
    assert count(b.graph, "pointwise") == 1 and "prologue" in find(b.graph, "reduce").attrs


def test_diamonds_fuse() -> None:
    b = Build()
    y = b.op("tanh", b.input(3, 5))
    b.finish(b.op("add", b.op("exp", y), b.op("sigmoid", y)))
    b.check()
    assert count(b.graph, "pointwise") == 1


def test_small_broadcast_operands_are_computed_once() -> None:
    b = Build()
    scale = b.op("exp", b.input(1, 5))
    b.finish(b.op("mul", b.input(300, 5), scale))
    b.check()
    assert sorted(n.output.shape for n in b.graph.nodes) == [(1, 5), (300, 5)]


def test_scalar_constants_that_give_the_rank_stay_operands() -> None:
    b = Build()
    b.finish(b.op("mul", b.input(5), b.const(1, 1)))
    b.check()
    assert find(b.graph, "pointwise").output.shape == (1, 5)


def test_long_chains_are_cut() -> None:
    b = Build()
    y = b.input(3, 5)
    for _ in range(300):
        y = b.op("sigmoid", b.op("add", y, b.number(0.5)))
    b.finish(y)
    b.check()
    assert 6 <= count(b.graph, "pointwise") <= 8


def test_many_operands_are_cut() -> None:
    b = Build()
    y = b.input(3, 5)
    for _ in range(30):
        y = b.op("add", y, b.input(3, 5))
    b.finish(y)
    b.check()
    assert all(len(n.inputs) <= 13 for n in b.graph.nodes)


def host(b: Build, op: str) -> Value:
    """One op of each kind that takes an epilogue, over ``[2, 4, 6, 8]``."""
    x = b.input(2, 4, 6, 8)
    window = {"strides": (1, 1), "dilations": (1, 1), "low": (1, 1), "high": (1, 1)}
    if op == "conv":
        return b.op("conv", x, b.const(5, 8, 3, 3), groups=1, **window)
    if op == "conv_transpose":
        return b.op("conv_transpose", x, b.const(8, 5, 3, 3), groups=1, output_padding=(0, 0), **window)
    if op == "pool":
        return b.op("pool", x, kind="average", kernel=(3, 3), out=(4, 6), count_include_pad=False, **window)
    if op == "matmul":
        return b.op("matmul", x, b.const(8, 5))
    if op in ("softmax", "log_softmax"):
        return b.op(op, x, axis=3)
    if op == "reduce":
        return b.op("reduce", x, kind="sum", axes=(1, 2), keepdims=True)
    if op == "group_norm":
        return b.op("group_norm", x, b.const(8), groups=2, eps=1e-5)
    if op == "resize":
        table = (np.array([[0], [1], [1]], np.int32), np.ones((3, 1), np.float32))
        return b.op("resize", x, tables=(table, None))
    return b.op(op, x, b.const(8), axis=3, eps=1e-5)


HOSTS = [
    "conv", "conv_transpose", "pool", "matmul", "softmax", "log_softmax", "reduce", "group_norm", "resize",
    "layer_norm", "rms_norm",
]  # fmt: skip


@pytest.mark.parametrize("op", HOSTS)
def test_epilogue(op: str) -> None:
    b = Build()
    y = host(b, op)
    channels, shape = y.shape[-1], y.shape
    y = b.op("add", b.op("tanh", y), b.op("exp", b.input(channels)))
    b.finish(b.op("mul", b.op("sub", b.number(3), y), b.input(*shape)))
    b.check()
    node = find(b.graph, op)
    assert node.attrs["epilogue_inputs"] == 2 and count(b.graph, "pointwise") == 1
    assert node.output is b.graph.outputs["y0"]


@pytest.mark.parametrize("op", ["softmax", "log_softmax", "layer_norm", "rms_norm", "reduce"])
def test_prologue_and_epilogue(op: str) -> None:
    b = Build()
    x = b.op("mul", b.op("add", b.input(2, 4, 6, 8), b.const(8)), b.number(0.5))
    if op == "reduce":
        y = b.op("reduce", x, kind="sum_square", axes=(3,), keepdims=False)
    elif op in ("layer_norm", "rms_norm"):
        y = b.op(op, x, b.const(8), axis=3, eps=1e-5)
    else:
        y = b.op(op, x, axis=3)
    b.finish(b.op("sub", b.input(*y.shape), y))
    b.check()
    node = find(b.graph, op)
    assert len(b.graph.nodes) == 1
    assert node.attrs["prologue_inputs"] == 1 and node.attrs["epilogue_inputs"] == 1


def test_expensive_work_is_not_repeated_in_a_prologue() -> None:
    b = Build()
    b.finish(b.op("softmax", b.op("tanh", b.op("erf", b.input(4, 6))), axis=1))
    b.check()
    assert count(b.graph, "pointwise") == 1 and "prologue" not in find(b.graph, "softmax").attrs


def test_narrow_products_scale_their_operand_themselves() -> None:
    def build(columns: int) -> Node:
        b = Build()
        b.finish(b.op("matmul", b.op("mul", b.input(5, 8), b.input(5, 1)), b.const(8, columns)))
        b.check()
        return find(b.graph, "matmul")

    assert "prologue" in build(16).attrs and "prologue" not in build(256).attrs


def test_only_one_of_two_products_takes_their_sum() -> None:
    b = Build()
    first, second = b.op("matmul", b.input(4, 8), b.const(8, 6)), b.op("matmul", b.input(4, 9), b.const(9, 6))
    b.finish(b.relu(b.op("add", first, second)))
    b.check()
    assert ["epilogue" in n.attrs for n in b.graph.nodes] == [False, True]


def test_results_that_others_read_take_no_epilogue() -> None:
    b = Build()
    y = b.op("matmul", b.input(4, 8), b.const(8, 6))
    b.finish(y, b.op("tanh", y))
    b.check()
    assert "epilogue" not in find(b.graph, "matmul").attrs


def test_a_mask_over_heads_does_not_fit_a_flat_batch() -> None:
    b = Build()
    scores = b.op("matmul", b.input(2, 4, 6, 8), b.input(2, 4, 8, 7))
    b.finish(b.op("add", scores, b.input(2, 1, 6, 7)))
    b.check()
    assert "epilogue" not in find(b.graph, "matmul").attrs and count(b.graph, "pointwise") == 1


def test_a_bias_over_heads_is_added_where_they_are_columns() -> None:
    b = Build()
    product = b.op("matmul", b.input(2, 5, 6), b.input(6, 12))
    b.finish(b.op("add", b.op("reshape", product, shape=(2, 5, 3, 4)), b.input(3, 4)))
    b.check()
    assert count(b.graph, "matmul") == 1 and count(b.graph, "pointwise") == 0


def test_epilogue_may_change_the_dtype() -> None:
    b = Build()
    y = b.op("matmul", b.input(4, 8, dtype=np.float16), b.const(8, 6, dtype=np.float16))
    b.finish(b.op("cast", y, to=np.float32))
    b.check(tolerance=2e-3)
    assert find(b.graph, "matmul").output.dtype == np.float32


def test_no_product_of_floats_writes_doubles() -> None:
    b = Build()
    b.finish(b.op("cast", b.op("matmul", b.input(4, 8), b.const(8, 6)), to=np.float64))
    assert "epilogue" not in find(b.graph, "matmul").attrs


def test_comparisons_of_a_product_stay_apart() -> None:
    b = Build()
    b.finish(b.op("lt", b.op("matmul", b.input(4, 8), b.const(8, 6)), b.number(0)))
    b.check()
    assert "epilogue" not in find(b.graph, "matmul").attrs


@pytest.mark.parametrize(
    ("operand", "fits"),
    [
        ((), True), ((5,), True), ((2, 3, 4, 5), True), ((2, 1, 1, 5), True), ((2, 1, 1, 1), True), ((3, 4, 1), True),
        ((3, 1, 5), False), ((1, 4, 5), False), ((2, 3, 1, 1), False), ((1, 3, 4, 5), True), ((7, 2, 3, 4, 5), False),
    ],
)  # fmt: skip
def test_operands_of_image_slots(operand: tuple[int, ...], fits: bool) -> None:
    assert slot_operand_ok(operand, (2, 3, 4, 5), ((0,), (1, 2), (3,))) is fits


def test_slot_coordinates_of_reductions_cover_the_output() -> None:
    b = Build()
    for keepdims in (True, False):
        for axes in [(0,), (3,), (1, 2), (0, 2), (0, 1, 2, 3)]:
            y = b.op("reduce", b.input(2, 3, 4, 5), kind="sum", axes=axes, keepdims=keepdims)
            assert y.producer is not None
            groups = epilogue_groups(y.producer)
            assert math.prod(y.shape[d] for g in groups for d in g) == y.size


@pytest.mark.parametrize("kind", ["cpu", "gpu"])
def test_random_numbers_are_an_epilogue_but_on_cpus(kind: str) -> None:
    b = Build()
    y = b.op("matmul", b.input(6, 5), b.const(5, 4))
    bits = b.op("philox0", b.graph.op("iota", shape=(6, 4)), *(b.number(k, np.uint32) for k in range(5)))
    b.finish(b.op("where", b.op("gt", bits, b.number(1 << 30, np.uint32)), y, b.number(0)))
    b.check(info=dataclasses.replace(CPU, kind=kind))
    assert ("epilogue" in find(b.graph, "matmul").attrs) == (kind == "gpu")
