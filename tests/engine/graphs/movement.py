"""Views, concatenations and pads."""

from __future__ import annotations

import numpy as np

from a1400.graph import Graph
from tests.engine.graphs.base import Build, Feeds, f32, graph


@graph
def views_of_everything(g: Graph) -> Feeds:
    b = Build(g)
    x = b.input(f32(4, 6, 10))
    t = g.op("transpose", x, perm=(2, 0, 1))
    s = g.op("slice", t, starts=(9, 0, 1), shape=(5, 4, 2), steps=(-2, 1, 3))
    r = g.op("reshape", s, shape=(10, 4))
    e = g.op("expand", g.op("reshape", r, shape=(10, 4, 1)), shape=(10, 4, 3))
    return b.out(s, r, e, g.op("add", e, b.const(f32(3))))


@graph
def seven_dimensions(g: Graph) -> Feeds:
    b = Build(g)
    x = b.input(f32(2, 3, 2, 3, 2, 3, 2))
    t = g.op("transpose", x, perm=(6, 4, 2, 0, 5, 3, 1))
    return b.out(t, g.op("add", t, b.const(f32(3, 1, 3))))


@graph
def same_value_twice(g: Graph) -> Feeds:
    b = Build(g)
    x = b.input(f32(8, 8))
    y = g.op("exp", x)
    return b.out(y, y, x, g.op("reshape", y, shape=(64,)), b.const(f32(3)))


@graph
def concat_and_pad(g: Graph) -> Feeds:
    b = Build(g)
    x, y = b.input(f32(3, 5, 4)), b.input(f32(3, 2, 4))
    c = g.op("concat", x, y, x, axis=1)
    pads = {"low": (1, 0, 2), "high": (0, 3, 1)}
    fill = b.input(np.array([2.5], np.float32))
    return b.out(
        c,
        g.op("pad", c, mode="constant", **pads),
        g.op("pad", c, b.const(np.float32(1.5)), mode="constant", **pads),
        g.op("pad", c, fill, mode="constant", **pads),
        g.op("pad", c, mode="reflect", low=(1, 2, 0), high=(1, 0, 2)),
        g.op("pad", c, mode="edge", low=(1, -2, 0), high=(1, 0, 2)),
        g.op("pad", c, mode="wrap", low=(1, 0, 0), high=(1, 0, 2)),
    )
