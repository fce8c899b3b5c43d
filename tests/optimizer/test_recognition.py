"""Operations that exporters write out as primitives."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest

from a1400.graph.graph import Value
from tests.optimizer.graphs import Build, count, find


def mean(b: Build, x: Value, axes: tuple[int, ...]) -> Value:
    return b.op("reduce", x, kind="mean", axes=axes, keepdims=True)


@pytest.mark.parametrize("square", ["pow", "mul"])
@pytest.mark.parametrize("last", ["div", "rsqrt", "reciprocal"])
@pytest.mark.parametrize("parameters", ["none", "scale", "both", "leading"])
def test_layer_norm(square: str, last: str, parameters: str) -> None:
    b = Build()
    x = b.op("tanh", b.input(2, 5, 8))
    d = b.op("sub", x, mean(b, x, (2,)))
    again = b.op("sub", x, mean(b, x, (2,)))
    sq = b.op("pow", again, b.number(2)) if square == "pow" else b.op("mul", again, d)
    var = b.op("add", mean(b, sq, (2,)), b.number(1e-5))
    if last == "div":
        y = b.op("div", d, b.op("sqrt", var))
    elif last == "rsqrt":
        y = b.op("mul", d, b.op("rsqrt", var))
    else:
        y = b.op("mul", b.op("reciprocal", b.op("sqrt", var)), d)
    if parameters != "none":
        y = b.op("mul", y, b.const(1, 1, 8) if parameters == "leading" else b.const(8))
    if parameters in ("both", "leading"):
        y = b.op("add", b.const(8), y)
    b.finish(y)
    b.check()
    assert {n.op for n in b.graph.nodes} == {"layer_norm", "pointwise"} or len(b.graph.nodes) == 1
    norm = find(b.graph, "layer_norm")
    extras = norm.attrs.get("prologue_inputs", 0)
    assert len(norm.inputs) - extras == {"none": 1, "scale": 2, "both": 3, "leading": 3}[parameters]


def test_layer_norm_over_several_axes_and_in_half() -> None:
    b = Build()
    x = b.op("cast", b.input(2, 3, 4, dtype=np.float16), to=np.float32)
    d = b.op("sub", x, mean(b, x, (1, 2)))
    var = mean(b, b.op("mul", d, d), (1, 2))
    y = b.op("div", d, b.op("sqrt", b.op("add", var, b.number(1e-6))))
    b.finish(b.op("cast", y, to=np.float16))
    b.check(tolerance=1e-3)
    assert find(b.graph, "layer_norm").attrs["axis"] == 1 and len(b.graph.nodes) == 1


def test_channels_first_layer_norm() -> None:
    b = Build()
    x = b.conv(b.input(2, 3, 6, 6), 8)
    d = b.op("sub", x, mean(b, x, (1,)))
    y = b.op("div", d, b.op("sqrt", b.op("add", mean(b, b.op("pow", d, b.number(2)), (1,)), b.number(1e-6))))
    y = b.op("add", b.op("mul", b.const(8, 1, 1), y), b.const(8, 1, 1))
    b.finish(b.conv(y, 4))
    b.check()
    assert count(b.graph, "transpose") == 2 and len(find(b.graph, "layer_norm").inputs) == 3


def test_a_variance_that_others_read_is_still_computed() -> None:
    b = Build()
    x = b.input(2, 5, 8)
    d = b.op("sub", x, mean(b, x, (2,)))
    var = mean(b, b.op("mul", d, d), (2,))
    b.finish(b.op("div", d, b.op("sqrt", b.op("add", var, b.number(1e-5)))), var)
    b.check()
    assert count(b.graph, "layer_norm") == 1 and count(b.graph, "reduce") == 2


@pytest.mark.parametrize("last", ["div", "rsqrt"])
def test_rms_norm(last: str) -> None:
    b = Build()
    x = b.input(2, 5, 8)
    var = b.op("add", mean(b, b.op("pow", x, b.number(2)), (2,)), b.number(1e-6))
    y = b.op("div", x, b.op("sqrt", var)) if last == "div" else b.op("mul", x, b.op("rsqrt", var))
    b.finish(b.op("mul", b.const(8), y))
    b.check()
    assert len(b.graph.nodes) == 1 and len(find(b.graph, "rms_norm").inputs) == 2


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_softmax(axis: int) -> None:
    b = Build()
    x = b.input(3, 4, 5)
    e = b.op("exp", b.op("sub", x, b.op("reduce", x, kind="max", axes=(axis,), keepdims=True)))
    total = b.op("reduce", e, kind="sum", axes=(axis,), keepdims=True)
    b.finish(b.op("div", e, total) if axis else b.op("mul", e, b.op("reciprocal", total)))
    b.check()
    assert find(b.graph, "softmax").attrs["axis"] == axis and len(b.graph.nodes) == 1


def test_group_norm_as_instance_norm_of_groups() -> None:
    b = Build()
    x = b.conv(b.input(2, 3, 6, 6), 8)
    y = b.op("transpose", b.op("reshape", x, shape=(2, 4, 72)), perm=(0, 2, 1))
    ones, zeros = b.graph.constant(np.ones(4, np.float32)), b.graph.constant(np.zeros(4, np.float32))
    y = b.op("transpose", b.op("group_norm", y, ones, zeros, groups=4, eps=1e-5), perm=(0, 2, 1))
    y = b.op("reshape", y, shape=(2, 8, 6, 6))
    y = b.relu(b.op("add", b.op("mul", y, b.const(8, 1, 1)), b.const(8, 1, 1)))
    b.finish(b.conv(y, 4))
    b.check()
    norm = find(b.graph, "group_norm")
    assert norm.output.rank == 4 and norm.attrs["groups"] == 4 and len(norm.inputs) == 3
    assert count(b.graph, "transpose") == 2 and count(b.graph, "pointwise") == 0


def test_activations_are_named() -> None:
    b = Build()
    x = b.input(3, 8)
    one, half = b.number(1), b.number(0.5)
    gelu = b.op("mul", b.op("mul", x, b.op("add", b.op("erf", b.op("div", x, b.number(math.sqrt(2)))), one)), half)
    cube = b.op("add", x, b.op("mul", b.op("pow", x, b.number(3)), b.number(0.044715)))
    tanh = b.op("tanh", b.op("mul", cube, b.number(math.sqrt(2 / math.pi))))
    gelu_tanh = b.op("mul", b.op("mul", half, x), b.op("add", one, tanh))
    silu = b.op("mul", x, b.op("sigmoid", x))
    mish = b.op("mul", x, b.op("tanh", b.op("softplus", x)))
    clip = b.op("min", b.op("max", b.op("add", x, b.number(3)), b.number(0)), b.number(6))
    hard = b.op("mul", x, b.op("div", clip, b.number(6)))
    b.finish(gelu, gelu_tanh, silu, mish, hard)
    report = b.check()
    notes = str(report)
    for name in ("gelu: 1", "gelu_tanh: 1", "silu: 1", "mish: 1", "hard_swish: 1"):
        assert name in notes
    assert {label for n in b.graph.nodes for label in n.attrs.get("labels", ())} >= {"gelu", "silu"}


# ---- attention -----------------------------------------------------------------------------------------
B, H, S, T, D = 2, 3, 5, 7, 4


def heads(b: Build, length: int, count: int = H, width: int = D) -> Value:
    """``[B, H, length, D]`` split from a projection."""
    x = b.op("matmul", b.input(B, length, 8), b.const(8, count * width))
    return b.op("transpose", b.op("reshape", x, shape=(B, length, count, width)), perm=(0, 2, 1, 3))


def scores(b: Build, q: Value, k: Value, scale: str) -> Value:
    c = D**-0.5
    if scale == "q":
        q = b.op("mul", q, b.number(c))
    if scale == "k":
        k = b.op("div", k, b.number(1 / c))
    if scale == "both":
        q, k = b.op("mul", q, b.number(c**0.5)), b.op("mul", k, b.number(c**0.5))
    s = b.op("matmul", q, b.op("transpose", k, perm=(0, 1, 3, 2)))
    return b.op("div", s, b.number(1 / c)) if scale == "scores" else s


def visible(b: Build, *shape: int) -> Value:
    """A mask that hides some keys but never all of a row."""
    data = b.array(*shape, dtype=np.bool_)
    data[..., 0] = True
    name = f"x{len(b.feeds)}"
    b.feeds[name] = data
    return b.graph.input(name, shape, np.dtype(np.bool_))


def masked(b: Build, s: Value, kind: str) -> Value:
    if kind == "add":
        return b.op("add", s, b.input(B, 1, S, T))
    if kind == "where_add_inf":
        return b.op("add", b.op("where", visible(b, B, 1, 1, T), b.number(0), b.number(-np.inf)), s)
    if kind == "where_add_finite":
        return b.op("add", s, b.op("where", visible(b, B, 1, S, T), b.number(0), b.number(-3.4e38)))
    if kind == "where":
        return b.op("where", visible(b, B, 1, S, T), s, b.number(-np.inf))
    if kind == "masked_fill":
        return b.op("where", b.op("not", visible(b, B, 1, S, T)), b.number(-1e9), s)
    if kind == "bias_and_mask":
        s = b.op("add", s, b.const(1, H, S, T))
        return b.op("add", s, b.op("where", visible(b, B, 1, 1, T), b.number(0), b.number(-np.inf)))
    if kind == "causal":
        return b.op("add", s, b.graph.constant(np.triu(np.full((S, T), -np.inf, np.float32), 1 + T - S)[None, None]))
    if kind == "causal_and_padding":
        causal = b.graph.constant(np.tril(np.ones((1, 1, S, T), np.bool_), T - S))
        both = b.op("and", causal, visible(b, B, 1, 1, T))
        return b.op("add", s, b.op("where", both, b.number(0), b.number(-np.inf)))
    return s


MASKS = [
    "none", "add", "where_add_inf", "where_add_finite", "where", "masked_fill", "bias_and_mask", "causal",
    "causal_and_padding",
]  # fmt: skip


def finish_attention(b: Build, p: Value, v: Value) -> None:
    y = b.op("transpose", b.op("matmul", p, v), perm=(0, 2, 1, 3))
    y = b.op("reshape", y, shape=(B, y.shape[1], H * v.shape[3]))
    b.finish(b.op("matmul", y, b.const(y.shape[2], 6)))


@pytest.mark.parametrize(
    ("scale", "mask"), [*itertools.product(["scores"], MASKS), ("q", "add"), ("k", "where"), ("both", "none")]
)
@pytest.mark.parametrize("disable", [(), ("layout",)], ids=["all", "no-layout"])
def test_attention(scale: str, mask: str, disable: tuple[str, ...]) -> None:
    b = Build()
    q, k, v = heads(b, S), heads(b, T), heads(b, T, width=6)
    finish_attention(b, b.op("softmax", masked(b, scores(b, q, k, scale), mask), axis=3), v)
    b.check(disable=disable)
    node = find(b.graph, "attention")
    assert math.isclose(node.attrs["scale"], D**-0.5, rel_tol=1e-6)
    assert count(b.graph, "softmax") == 0
    assert count(b.graph, "transpose") == 4 or disable
    assert node.attrs["causal"] is ("causal" in mask) and node.attrs["causal_offset"] == (
        T - S if "causal" in mask else 0
    )
    if mask in ("where_add_inf", "where", "causal_and_padding"):
        assert node.inputs[3].dtype == np.bool_
    if mask in ("none", "causal"):
        assert len(node.inputs) == 3


def test_attention_with_a_guard_against_hidden_rows_and_wide_softmax() -> None:
    b = Build()
    half: dict[str, Any] = {"to": np.float16}
    q, k, v = (b.op("cast", x, **half) for x in (heads(b, S), heads(b, T), heads(b, T)))
    s = b.op("matmul", q, b.op("transpose", k, perm=(0, 1, 3, 2)))
    mask = b.array(B, 1, S, T, dtype=np.bool_)
    mask[0, 0, 2] = False
    s = b.op("add", b.op("cast", s, to=np.float32), b.graph.constant(np.where(mask, 0, -np.inf).astype(np.float32)))
    p = b.op("softmax", s, axis=3)
    p = b.op("cast", b.op("where", b.op("isnan", p), b.number(0), p), **half)
    y = b.op("matmul", p, v)
    b.finish(b.op("cast", y, to=np.float32))
    b.check(tolerance=5e-3)
    assert count(b.graph, "attention") == 1


def test_attention_over_flattened_heads() -> None:
    b = Build()
    q, k, v = (b.op("reshape", heads(b, n), shape=(B * H, n, D)) for n in (S, T, T))
    s = b.op("matmul", q, b.op("transpose", k, perm=(0, 2, 1)))
    s = b.op("add", b.op("reshape", s, shape=(B, H, S, T)), b.input(B, 1, S, T))
    p = b.op("softmax", b.op("reshape", s, shape=(B * H, S, T)), axis=2)
    y = b.op("reshape", b.op("matmul", p, v), shape=(B, H, S, D))
    b.finish(b.op("reshape", b.op("transpose", y, perm=(0, 2, 1, 3)), shape=(B, S, H * D)))
    b.check()
    node = find(b.graph, "attention")
    assert node.output.shape == (B, H, S, D) and node.inputs[3].shape == (B, 1, S, T)


def test_attention_over_plain_sequences() -> None:
    b = Build()
    q, k, v = b.input(3, S, D), b.input(3, T, D), b.input(3, T, 6)
    s = b.op("matmul", q, b.op("transpose", k, perm=(0, 2, 1)))
    b.finish(b.op("matmul", b.op("softmax", s, axis=2), v))
    b.check()
    assert find(b.graph, "attention").output.shape == (3, 1, S, 6)


def test_attention_with_keys_that_come_transposed() -> None:
    b = Build()
    s = b.op("matmul", b.input(B, H, S, D), b.input(B, H, D, T))
    b.finish(b.op("matmul", b.op("softmax", s, axis=3), b.input(B, H, T, D)))
    b.check()
    assert find(b.graph, "attention").inputs[1].shape == (B, H, T, D)


def test_attention_in_windows_with_a_mask_per_window() -> None:
    b = Build()
    windows = 4
    q, k, v = b.input(2 * windows, H, S, D), b.input(2 * windows, H, S, D), b.input(2 * windows, H, S, D)
    s = b.op("add", b.op("matmul", q, b.op("transpose", k, perm=(0, 1, 3, 2))), b.const(1, H, S, S))
    s = b.op("add", b.op("reshape", s, shape=(2, windows, H, S, S)), b.const(1, windows, 1, S, S))
    p = b.op("softmax", b.op("reshape", s, shape=(2 * windows, H, S, S)), axis=3)
    b.finish(b.op("matmul", p, v))
    b.check()
    assert count(b.graph, "attention") == 1 and count(b.graph, "pointwise") == 0


@pytest.mark.parametrize("repeat", ["grouped", "single"])
def test_grouped_queries_share_keys(repeat: str) -> None:
    b = Build()
    fewer = 2 if repeat == "grouped" else 1
    q = b.input(B, 4, S, D)
    past = [b.op("concat", b.input(B, fewer, 2, D), b.input(B, fewer, S, D), axis=2) for _ in range(2)]

    def repeated(x: Value) -> Value:
        if repeat == "single":
            return b.op("expand", x, shape=(B, 4, *x.shape[2:]))
        x = b.op("reshape", x, shape=(B, fewer, 1, *x.shape[2:]))
        x = b.op("expand", x, shape=(B, fewer, 2, *x.shape[3:]))
        return b.op("reshape", x, shape=(B, 4, *x.shape[3:]))

    k, v = (repeated(x) for x in past)
    s = b.op("mul", b.op("matmul", q, b.op("transpose", k, perm=(0, 1, 3, 2))), b.number(0.5))
    b.finish(b.op("matmul", b.op("softmax", s, axis=3), v))
    b.check()
    assert find(b.graph, "attention").inputs[1].shape[1] == fewer and count(b.graph, "expand") == 0


def test_probabilities_that_others_read_are_kept() -> None:
    b = Build()
    q, k, v = heads(b, S), heads(b, T), heads(b, T)
    p = b.op("softmax", scores(b, q, k, "scores"), axis=3)
    b.finish(b.op("matmul", p, v), p)
    b.check()
    assert count(b.graph, "attention") == 0 and count(b.graph, "softmax") == 1


def test_a_mask_added_before_scaling_is_scaled() -> None:
    b = Build()
    s = b.op("add", b.op("matmul", b.input(B, H, S, D), b.input(B, H, D, T)), b.input(B, 1, S, T))
    p = b.op("softmax", b.op("mul", s, b.number(0.3)), axis=3)
    b.finish(b.op("matmul", p, b.input(B, H, T, D)))
    b.check()
    assert count(b.graph, "attention") == 1


def test_doubles_have_no_attention_kernel() -> None:
    b = Build()
    q, k, v = (b.input(B, H, S, D, dtype=np.float64) for _ in range(3))
    s = b.op("matmul", q, b.op("transpose", k, perm=(0, 1, 3, 2)))
    b.finish(b.op("matmul", b.op("softmax", s, axis=3), v))
    b.check()
    assert count(b.graph, "softmax") == 1
