"""Per-channel factors and shifts end up in weights and one bias."""

from __future__ import annotations

import pytest

from tests.optimizer.graphs import Build, count, find


@pytest.mark.parametrize("groups", [1, 2, 4])
@pytest.mark.parametrize("layout", ["layout", "none"])
def test_after_convolution(groups: int, layout: str) -> None:
    b = Build()
    y = b.conv(b.input(2, 4, 6, 6), 8, groups=groups)
    y = b.op("add", y, b.const(1, 8, 1, 1))
    y = b.op("sub", y, b.const(8, 1, 1))
    y = b.op("div", y, b.graph.constant(abs(b.array(1, 8, 1, 1)) + 0.5))
    b.finish(b.op("add", b.op("mul", y, b.const(1, 8, 1, 1)), b.const(1, 8, 1, 1)))
    b.check(disable=["fusion"] if layout == "layout" else ["fusion", "layout"])
    assert count(b.graph, "mul") == 0 and count(b.graph, "add") == 1 and count(b.graph, "sub") == 0


@pytest.mark.parametrize("groups", [1, 2])
def test_after_transposed_convolution(groups: int) -> None:
    b = Build()
    y = b.op(
        "conv_transpose", b.input(2, 5, 5, 4), b.const(4, 3, 2, 2), strides=(2, 2), dilations=(1, 1), low=(0, 0),
        high=(0, 0), output_padding=(0, 0), groups=groups,
    )  # fmt: skip
    c = 3 * groups
    b.finish(b.op("add", b.op("mul", y, b.const(c)), b.const(c)))
    b.check(disable=["fusion"])
    assert count(b.graph, "mul") == 0 and count(b.graph, "add") == 1


def test_after_matmul() -> None:
    b = Build()
    y = b.op("add", b.op("matmul", b.input(2, 3, 8), b.const(8, 5)), b.const(5))
    b.finish(b.op("add", b.op("mul", y, b.const(5)), b.const(1, 1, 5)))
    b.check(disable=["fusion"])
    assert [n.op for n in b.graph.nodes] == ["matmul", "add"]


def test_before_a_convolution_without_padding() -> None:
    b = Build()
    x = b.op("sub", b.op("mul", b.input(2, 4, 6, 6), b.const(1, 4, 1, 1)), b.const(1, 4, 1, 1))
    b.finish(b.conv(x, 8, groups=2, pad=0))
    b.check(disable=["fusion", "layout"])
    # the chain and the weights are only neighbours once transposes have moved
    b = Build()
    x = b.op("sub", b.op("mul", b.input(2, 6, 6, 4), b.const(4)), b.const(4))
    w = b.const(8, 2, 3, 3)
    b.finish(b.op("conv", x, w, strides=(1, 1), dilations=(1, 1), low=(0, 0), high=(0, 0), groups=2))
    b.check(disable=["fusion"])
    assert [n.op for n in b.graph.nodes] == ["conv", "add"]


def test_a_shift_before_a_padded_convolution_stays() -> None:
    b = Build()
    x = b.op("add", b.op("mul", b.input(2, 6, 6, 4), b.const(4)), b.const(4))
    w = b.const(8, 4, 3, 3)
    b.finish(b.op("conv", x, w, strides=(1, 1), dilations=(1, 1), low=(1, 1), high=(1, 1), groups=1))
    b.check(disable=["fusion"])
    assert count(b.graph, "add") == 1 and count(b.graph, "mul") == 1


def test_a_chain_between_two_linear_ops_is_folded_once() -> None:
    b = Build()
    y = b.op("matmul", b.input(4, 8), b.const(8, 6))
    y = b.op("mul", y, b.const(6))
    b.finish(b.op("matmul", y, b.const(6, 3)))
    b.check()
    assert [n.op for n in b.graph.nodes] == ["matmul", "matmul"]


def test_shared_results_are_not_folded() -> None:
    b = Build()
    y = b.op("matmul", b.input(4, 8), b.const(8, 6))
    b.finish(y, b.op("mul", y, b.const(6)))
    b.check()
    assert find(b.graph, "pointwise")


def test_no_outputs() -> None:
    b = Build()
    b.finish(b.op("add", b.op("matmul", b.input(2, 3, 8), b.const(8, 0)), b.const(0)))
    b.check()
