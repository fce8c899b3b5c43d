"""Reductions, softmax, scans and top-k."""

from __future__ import annotations

import numpy as np

from a1400.graph import Graph
from tests.engine.graphs.base import GRAPHS, RNG, Build, Feeds, f32, graph


def _reduce_of(kind: str) -> None:
    def builder(g: Graph) -> Feeds:
        b = Build(g)
        x = b.input(f32(3, 5, 37, 4, low=0.5, high=1.5))
        axes = ((3,), (1,), (0, 2), (1, 3), (0, 1, 2, 3), (2, 3), ())
        t = g.op("transpose", x, perm=(2, 0, 3, 1))
        values = [g.op("reduce", x, kind=kind, axes=a, keepdims=i % 2 == 0) for i, a in enumerate(axes)]
        return b.out(*values, g.op("reduce", t, kind=kind, axes=(1, 3), keepdims=False))

    GRAPHS[f"reduce_{kind}"] = builder


for _kind in ("sum", "mean", "max", "min", "prod", "l1", "l2", "sum_square", "log_sum", "logsumexp"):
    _reduce_of(_kind)


@graph
def reduce_integers_and_bools(g: Graph) -> Feeds:
    b = Build(g)
    x, m = b.input(RNG.integers(-9, 9, (4, 30))), b.input(RNG.integers(0, 2, (4, 30)).astype(bool))
    small = b.input(RNG.integers(0, 200, (4, 30)).astype(np.uint8))
    return b.out(
        *(g.op("reduce", x, kind=k, axes=(1,), keepdims=False) for k in ("sum", "max", "min", "prod", "mean")),
        *(g.op("reduce", m, kind=k, axes=(0,), keepdims=True) for k in ("any", "all")),
        g.op("reduce", small, kind="max", axes=(0, 1), keepdims=False),
    )  # fmt: skip


@graph
def reduce_a_million(g: Graph) -> Feeds:
    b = Build(g)
    x = b.input(f32(1000, 1000))
    return b.out(*(g.op("reduce", x, kind=k, axes=(0, 1), keepdims=False) for k in ("mean", "l2", "max", "logsumexp")))


@graph
def arg_reduce_and_topk(g: Graph) -> Feeds:
    b = Build(g)
    x = b.input(RNG.integers(0, 6, (4, 20, 3)).astype(np.float32))
    return b.out(
        g.op("arg_reduce", x, kind="argmax", axis=1, keepdims=True, select_last=False),
        g.op("arg_reduce", x, kind="argmin", axis=2, keepdims=False, select_last=True),
        *g.multi("topk", x, k=5, axis=1, largest=True, sorted=True),
        *g.multi("topk", x, k=3, axis=2, largest=False, sorted=True),
        *g.multi("topk", b.input(RNG.permutation(64).reshape(4, 16)), k=4, axis=1, largest=True, sorted=True),
        *g.multi("topk", b.input(RNG.uniform(-1, 1, (5, 3))), k=2, axis=0, largest=False, sorted=True),
        # long enough for some devices to sort everything
        *g.multi("topk", b.input(f32(1, 33000)), k=600, axis=1, largest=True, sorted=True),
    )


@graph
def softmaxes(g: Graph) -> Feeds:
    b = Build(g)
    x = b.input(f32(4, 20, 33, low=-5, high=5))
    return b.out(*(g.op(op, x, axis=axis) for op in ("softmax", "log_softmax") for axis in (0, 1, 2)))


@graph
def cumulates(g: Graph) -> Feeds:
    b = Build(g)
    x = b.input(f32(4, 20, 3))
    return b.out(
        g.op("cumulate", x, kind="sum", axis=1, exclusive=False, reverse=False),
        g.op("cumulate", x, kind="sum", axis=2, exclusive=True, reverse=True),
        g.op("cumulate", x, kind="prod", axis=0, exclusive=False, reverse=True),
    )
