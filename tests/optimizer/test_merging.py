"""Products of the same rows with constants become one product, where slices of it cost nothing."""

from __future__ import annotations

import numpy as np
import pytest

from a1400.graph.graph import Value
from tests.optimizer.graphs import Build, count, find


def _heads(b: Build, value: Value, size: int) -> Value:
    split = b.op("reshape", value, shape=(*value.shape[:-1], value.shape[-1] // size, size))
    return b.op("transpose", split, perm=(0, 2, 1, 3))


def _layer(b: Build, x: Value, columns: tuple[int, int, int], biases: tuple[bool, bool, bool], size: int = 8) -> Value:
    """Attention of ``x`` to itself; some of queries, keys and values have a bias."""
    made = []
    for width, biased in zip(columns, biases, strict=True):
        y = b.op("matmul", x, b.const(x.shape[-1], width))
        made.append(_heads(b, b.op("add", b.const(width), y) if biased else y, size))
    return b.op("attention", *made, scale=0.3, causal=False, causal_offset=0)


@pytest.mark.parametrize("biases", [(False,) * 3, (True,) * 3, (True, False, True)], ids=["none", "all", "some"])
def test_queries_keys_and_values(biases: tuple[bool, bool, bool]) -> None:
    b = Build()
    x = b.input(2, 5, 24)
    b.finish(_layer(b, x, (64, 32, 32), biases))
    report = b.check()
    whole = find(b.graph, "matmul_joined")
    assert whole.output.shape == (2, 5, 128) and count(b.graph, "matmul") == 0
    assert count(b.graph, "pointwise") + count(b.graph, "add") == 0  # the bias is the product's epilogue
    assert "3 products: 64 + 32 + 32" in str(report)


def test_the_weights_stay_arrays_of_their_own() -> None:
    b = Build()
    b.finish(_layer(b, b.input(1, 4, 24), (64, 32, 32), (True,) * 3))
    before = {id(v.data) for v in b.graph.constants() if v.rank == 2}
    b.check()
    assert {id(v.data) for v in b.graph.constants() if v.rank == 2} == before


def test_layers_share_what_they_join() -> None:
    b = Build()
    x = b.input(1, 4, 32)
    weights, biases = [b.const(32, 32) for _ in range(2)], [b.const(32) for _ in range(2)]
    outs = []
    for _ in range(2):
        x = b.op("exp", b.op("tanh", x))
        parts = [_heads(b, b.op("add", b.op("matmul", x, w), c), 8) for w, c in zip(weights, biases, strict=True)]
        outs.append(b.op("attention", parts[0], *parts, scale=0.3, causal=False, causal_offset=0))
    b.finish(*outs)
    b.check()
    first, second = (n for n in b.graph.nodes if n.op == "matmul_joined")
    assert [id(v.data) for v in first.inputs[1:] if v is not None] == [
        id(v.data) for v in second.inputs[1:] if v is not None
    ]


def test_of_narrow_matrices_one_can_join_and_comes_last() -> None:
    b = Build()
    x = b.input(2, 5, 24)
    heads = [_heads(b, b.op("matmul", x, b.const(24, width)), 8) for width in (40, 32, 40)]
    b.finish(*[b.op("attention", h, h, h, scale=0.3, causal=False, causal_offset=0) for h in heads])
    b.check()
    assert [v.shape[1] for v in find(b.graph, "matmul_joined").inputs[1:] if v is not None] == [32, 40]
    assert count(b.graph, "matmul") == 1


def test_a_product_with_an_epilogue_stays() -> None:
    b = Build()
    x = b.input(2, 5, 24)
    gate, up = b.op("matmul", x, b.const(24, 64)), b.op("matmul", x, b.const(24, 64))
    b.finish(b.op("mul", b.op("mul", gate, b.op("sigmoid", gate)), up))
    b.check()
    assert count(b.graph, "matmul") == 2 and count(b.graph, "matmul_joined") == 0


@pytest.mark.parametrize(
    "kind", ["output", "output of heads", "norm of heads", "other rows", "runtime weights", "rows split", "sums"]
)
def test_what_cannot_be_slices_stays(kind: str) -> None:
    b = Build()
    x = b.input(2, 6, 32)
    y = b.input(2, 6, 32) if kind == "other rows" else x
    w = b.input(32, 32) if kind == "runtime weights" else b.const(32, 32)
    first, second = b.op("matmul", x, b.const(32, 32)), b.op("matmul", y, w)
    if kind == "sums":  # a bias that is not one row
        second = b.op("add", second, b.const(6, 32))
    outs = []
    for value in (first, second):
        if kind == "output":
            outs.append(value)
        elif kind == "rows split":  # not a view of a slice
            outs.append(b.op("exp", b.op("reshape", value, shape=(2, 192))))
        else:
            heads = _heads(b, value, 8)
            if kind == "norm of heads":  # its kernel reads dense rows
                heads = b.op("rms_norm", heads, axis=3, eps=1e-5)
            attention = b.op("attention", heads, heads, heads, scale=0.3, causal=False, causal_offset=0)
            outs.append(heads if kind == "output of heads" else attention)
    b.finish(*outs)
    b.check()
    assert count(b.graph, "matmul_joined") == 0


def test_not_where_weights_would_be_copied() -> None:
    from tests.nvrtc.compiler import device

    b = Build()
    b.finish(_layer(b, b.input(2, 5, 24), (64, 32, 32), (False,) * 3))
    b.check(info=device("sm_80"))
    assert count(b.graph, "matmul") == 3


def test_switched_off() -> None:
    b = Build()
    b.finish(_layer(b, b.input(2, 5, 24), (64, 32, 32), (False,) * 3))
    b.check(disable=["merging"])
    assert count(b.graph, "matmul") == 3


def test_a_bias_of_another_rank() -> None:
    b = Build()
    x = b.input(2, 5, 24)
    parts = [_heads(b, b.op("add", b.op("matmul", x, b.const(24, 32)), b.const(1, 1, 32)), 8) for _ in range(3)]
    b.finish(b.op("attention", *parts, scale=0.3, causal=False, causal_offset=0))
    b.check()
    epilogue = find(b.graph, "matmul_joined").inputs[-1]
    assert epilogue is not None and np.shape(epilogue.data) == (96,)
