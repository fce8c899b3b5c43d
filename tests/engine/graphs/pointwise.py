"""Pointwise ops: each alone, then mixtures of types, scalars and empty tensors."""

from __future__ import annotations

import numpy as np

from a1400.graph import Graph
from tests.engine.graphs.base import GRAPHS, RNG, Build, Feeds, f32, graph


def _pointwise_of(op: str, arity: int, low: float, high: float) -> None:
    def builder(g: Graph) -> Feeds:
        b = Build(g)
        args = [b.input(f32(5, 7, low=low, high=high)) for _ in range(arity)]
        return b.out(g.op(op, *args))

    GRAPHS[f"pointwise_{op}"] = builder


for _op in ("add", "sub", "mul", "max", "min", "atan2"):
    _pointwise_of(_op, 2, -2, 2)
for _op in ("div", "mod", "fmod", "pow"):
    _pointwise_of(_op, 2, 0.5, 2)
for _op in ("neg", "abs", "sign", "floor", "ceil", "round", "trunc"):
    _pointwise_of(_op, 1, -1.4, 1.4)
for _op in ("exp", "tanh", "sigmoid", "erf", "softplus", "sin", "cos", "tan", "atan", "sinh", "cosh", "asinh"):
    _pointwise_of(_op, 1, -1.4, 1.4)
for _op in ("sqrt", "rsqrt", "log", "reciprocal"):
    _pointwise_of(_op, 1, 0.1, 3)
for _op in ("asin", "acos", "atanh"):
    _pointwise_of(_op, 1, -0.9, 0.9)
_pointwise_of("acosh", 1, 1.1, 3)


@graph
def comparisons_and_where(g: Graph) -> Feeds:
    b = Build(g)
    x, y = b.input(f32(6, 33)), b.input(f32(33))
    both = g.op("and", g.op("gt", x, y), g.op("not", g.op("le", x, b.const(np.float32(0)))))
    return b.out(g.op("where", both, x, y), both, g.op("cast", both, to=np.float32))


@graph
def integers(g: Graph) -> Feeds:
    b = Build(g)
    x = b.input(RNG.integers(-9, 9, (4, 19)))
    y = b.input(RNG.integers(-3, 3, (4, 19)))
    return b.out(g.op("div", x, y), g.op("mul", x, y), g.op("max", x, y), g.op("cast", x, to=np.int32))


@graph
def casts(g: Graph) -> Feeds:
    b = Build(g)
    x = b.input(f32(3, 21, low=0, high=100))
    kinds = (np.int32, np.int64, np.uint8, np.int8, np.float16, np.bool_)
    return b.out(*(g.op("cast", x, to=k) for k in kinds))


@graph
def empty_tensors(g: Graph) -> Feeds:
    b = Build(g)
    x = b.input(f32(0, 5))
    y = b.input(f32(3, 5))
    return b.out(
        g.op("add", x, b.const(f32(5))),
        g.op("concat", x, y, axis=0),
        g.op("reduce", x, kind="sum", axes=(0,), keepdims=False),
        g.op("matmul", x, b.const(f32(5, 4))),
        g.op("matmul", g.op("transpose", x, perm=(1, 0)), b.input(f32(0, 4))),
    )


@graph
def scalars(g: Graph) -> Feeds:
    b = Build(g)
    x = b.input(np.array(1.5, np.float32))
    return b.out(
        g.op("mul", x, x), g.op("reshape", x, shape=(1, 1)), g.op("reduce", x, kind="sum", axes=(), keepdims=False)
    )
