"""Transposes sink, cancel and become reshapes."""

from __future__ import annotations

import numpy as np
import pytest

from a1400.graph.graph import Value
from a1400.optimizer.permutation import reshape_permuted
from tests.optimizer.graphs import Build, count


def image(b: Build, channels: int = 4, side: int = 8) -> Value:
    return b.input(2, channels, side, side)


def test_residual_network_keeps_only_the_edge_transpose() -> None:
    b = Build()
    y = b.relu(b.batch_norm(b.conv(image(b), 8)))
    for _ in range(2):
        inner = b.relu(b.batch_norm(b.conv(y, 8)))
        y = b.relu(b.op("add", b.batch_norm(b.conv(inner, 8)), y))
    pooled = b.op("reduce", y, kind="mean", axes=(2, 3), keepdims=True)
    b.finish(b.op("matmul", b.op("reshape", pooled, shape=(2, 8)), b.const(8, 5)))
    b.check()
    assert count(b.graph, "transpose") == 1 and count(b.graph, "pointwise") == 0


def test_squeeze_and_excitation() -> None:
    b = Build()
    y = b.conv(image(b), 8)
    s = b.op("reduce", y, kind="mean", axes=(2, 3), keepdims=True)
    s = b.op("sigmoid", b.conv(b.relu(b.conv(s, 2, 1)), 8, 1))
    b.finish(b.conv(b.op("mul", y, s), 4))
    b.check()
    assert count(b.graph, "transpose") == 2


def test_concat_slice_pad_upsample() -> None:
    b = Build()
    x = b.conv(image(b), 8)
    left = b.op("slice", x, starts=(0, 0, 0, 0), shape=(2, 4, 8, 8), steps=(1, 1, 1, 1))
    right = b.op("slice", x, starts=(0, 4, 0, 0), shape=(2, 4, 8, 8), steps=(1, 1, 1, 1))
    y = b.op("concat", b.conv(left, 4), right, x, axis=1)
    y = b.op("pad", y, low=(0, 0, 1, 2), high=(0, 1, 0, 0), mode="reflect")
    b.finish(b.conv(b.op("softmax", y, axis=1), 4))
    b.check()
    assert count(b.graph, "transpose") == 2


def test_channels_first_layer_norm_of_convnext() -> None:
    b = Build()
    y = b.conv(image(b), 8)
    last = b.op("transpose", y, perm=(0, 2, 3, 1))
    h = b.op("layer_norm", last, b.const(8), b.const(8), axis=3, eps=1e-6)
    h = b.op("add", b.op("matmul", h, b.const(8, 8)), b.const(8))
    h = b.op("transpose", h, perm=(0, 3, 1, 2))
    b.finish(b.conv(b.op("add", y, h), 4))
    b.check()
    assert count(b.graph, "transpose") == 2


def test_patches_become_tokens_without_a_copy() -> None:
    b = Build()
    y = b.op("reshape", b.conv(image(b), 8), shape=(2, 8, 64))
    b.finish(b.op("matmul", b.op("transpose", y, perm=(0, 2, 1)), b.const(8, 5)))
    b.check()
    assert count(b.graph, "transpose") == 1


@pytest.mark.parametrize("keepdims", [True, False])
def test_reductions_move_their_axes(keepdims: bool) -> None:
    b = Build()
    y = b.conv(image(b), 8)
    b.finish(
        b.op("reduce", y, kind="max", axes=(1,), keepdims=keepdims),
        b.op("arg_reduce", y, kind="argmax", axis=1, keepdims=keepdims, select_last=False),
    )
    b.check()
    # dropping the channels leaves nothing to transpose; keeping them leaves a dimension of size 1
    assert count(b.graph, "transpose") == 1


def test_detection_head() -> None:
    b = Build()
    y = b.op("reshape", b.conv(image(b), 12), shape=(2, 3, 4, 8, 8))
    y = b.op("sigmoid", b.op("transpose", y, perm=(0, 1, 3, 4, 2)))
    b.finish(b.op("reshape", y, shape=(2, 192, 4)))
    b.check()
    assert count(b.graph, "transpose") == 2 and count(b.graph, "pointwise") == 0


def test_gather_along_channels() -> None:
    b = Build()
    y = b.conv(image(b), 6)
    picked = b.op("gather", y, b.graph.constant(np.array([3, 0, 3], np.int64)), axis=1)
    b.finish(b.conv(picked, 4))
    b.check()
    assert count(b.graph, "transpose") == 2


def test_mixed_layouts_take_the_cheaper_side() -> None:
    b = Build()
    x = b.conv(image(b), 4)
    small = b.input(1, 4, 1, 8)
    b.finish(b.conv(b.op("mul", x, small), 4))
    b.check()
    moved = sorted(n.output.size for n in b.graph.nodes if n.op == "transpose")
    assert moved[0] == 32 and len(moved) == 3


def test_transpose_of_constants_costs_nothing() -> None:
    b = Build()
    b.finish(b.conv(b.op("add", b.conv(image(b), 4), b.const(1, 4, 8, 8)), 4))
    b.check()
    assert count(b.graph, "transpose") == 2


def test_disabled_layout_leaves_transposes() -> None:
    b = Build()
    b.finish(b.relu(b.conv(b.relu(b.conv(image(b), 4)), 4)))
    b.check(disable=["layout"])
    assert count(b.graph, "transpose") == 4


@pytest.mark.parametrize("seed", range(40))
def test_reshape_moves_in_front_of_transposes(seed: int) -> None:
    rng = np.random.default_rng(seed)
    base = tuple(int(d) for d in rng.choice([1, 2, 3, 4], int(rng.integers(1, 5))))
    perm = tuple(int(p) for p in rng.permutation(len(base)))
    x = np.arange(int(np.prod(base))).reshape(base)
    y = x.transpose(perm)
    shape = [1, *y.shape]
    if len(shape) > 2:
        at = int(rng.integers(len(shape) - 1))
        shape[at : at + 2] = [shape[at] * shape[at + 1]]
    found = reshape_permuted(base, perm, shape)
    if found is not None:
        np.testing.assert_array_equal(x.reshape(found[0]).transpose(found[1]), y.reshape(shape))
