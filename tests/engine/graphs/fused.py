"""Graphs whose pointwise regions the optimizer attaches to other ops, and parts written in place."""

from __future__ import annotations

import numpy as np

from a1400.graph import Graph, Value
from a1400.kernels.resize_tables import axis_tables
from tests.engine.graphs.base import CONV, RNG, Build, Feeds, f32, graph


def _silu(g: Graph, x: Value) -> Value:
    return g.op("mul", x, g.op("sigmoid", x))


@graph
def fused_convolutions(g: Graph) -> Feeds:
    b = Build(g)
    x = b.input(f32(2, 9, 9, 16))
    scale, shift = b.const(f32(24, low=0.5, high=1.5)), b.const(f32(24))
    y = g.op("add", g.op("mul", g.op("conv", x, b.const(f32(24, 16, 3, 3)), **CONV), scale), shift)
    y = g.op("max", y, b.const(np.float32(0)))
    z = g.op("conv", y, b.const(f32(16, 24, 1, 1)), **{**CONV, "low": (0, 0), "high": (0, 0)})
    z = g.op("max", g.op("add", z, x), b.const(np.float32(0)))
    gate = g.op("sigmoid", g.op("reduce", z, kind="mean", axes=(1, 2), keepdims=True))
    d = g.op("conv", g.op("mul", z, gate), b.const(f32(16, 1, 3, 3)), **{**CONV, "groups": 16})
    return b.out(_silu(g, g.op("add", d, b.const(f32(16)))))


@graph
def fused_products(g: Graph) -> Feeds:
    b = Build(g)
    x, r = b.input(f32(2, 7, 40)), b.input(f32(2, 7, 24))
    y = g.op("add", g.op("matmul", x, b.const(f32(40, 24))), b.const(f32(24)))
    gelu = g.op(
        "mul",
        g.op("mul", y, b.const(np.float32(0.5))),
        g.op("add", g.op("erf", g.op("mul", y, b.const(np.float32(0.7071)))), b.const(np.float32(1))),
    )
    row = b.input(f32(2, 7, 1))
    z = g.op("mul", g.op("add", g.op("matmul", gelu, b.const(f32(24, 24))), r), row)
    return b.out(z, g.op("cast", g.op("matmul", x, b.const(f32(40, 3))), to=np.float16))


@graph
def fused_rows(g: Graph) -> Feeds:
    b = Build(g)
    x, r = b.input(f32(2, 7, 40)), b.input(f32(2, 7, 40))
    keep = b.input(RNG.random((7, 40)) < 0.8)
    masked = g.op("where", keep, g.op("mul", x, b.const(np.float32(3))), b.const(np.float32(-1e9)))
    s = g.op("mul", g.op("softmax", masked, axis=2), b.const(f32(40)))
    n = g.op("layer_norm", g.op("add", x, r), b.const(f32(40)), b.const(f32(40)), axis=2, eps=1e-5)
    q = g.op("rms_norm", g.op("mul", x, r), b.const(f32(40)), axis=2, eps=1e-5)
    return b.out(s, _silu(g, n), g.op("add", q, r), g.op("add", g.op("log_softmax", masked, axis=1), r))


@graph
def fused_reductions(g: Graph) -> Feeds:
    b = Build(g)
    x, r = b.input(f32(3, 50, 70)), b.input(f32(70))
    y = g.op("mul", g.op("sub", x, r), g.op("sub", x, r))
    outs = []
    for axes in ((2,), (1,), (0, 1), (0, 1, 2)):
        m = g.op("reduce", y, kind="mean", axes=axes, keepdims=True)
        outs.append(g.op("sqrt", g.op("add", m, b.const(np.float32(1e-3)))))
    big = b.input(f32(300, 700))
    total = g.op("reduce", g.op("exp", big), kind="sum", axes=(0, 1), keepdims=False)
    return b.out(
        *outs, g.op("log", total), g.op("cast", g.op("reduce", x, kind="max", axes=(2,), keepdims=False), to=np.int32)
    )


@graph
def fused_images(g: Graph) -> Feeds:
    b = Build(g)
    x, skip = b.input(f32(1, 6, 6, 20)), b.input(f32(1, 12, 12, 20))
    up = g.op("resize", x, tables=[axis_tables(6, 12), axis_tables(6, 12)])
    y = g.op("max", g.op("add", up, skip), b.const(np.float32(0)))
    p = g.op(
        "pool", y, kind="max", kernel=(2, 2), strides=(2, 2), dilations=(1, 1), low=(0, 0), high=(0, 0), out=(6, 6)
    )
    n = g.op("group_norm", p, b.const(f32(20)), b.const(f32(20)), groups=5, eps=1e-5)
    t = {"strides": (2, 2), "dilations": (1, 1), "low": (0, 0), "high": (0, 0), "output_padding": (0, 0), "groups": 1}
    back = g.op("add", g.op("conv_transpose", _silu(g, n), b.const(f32(20, 8, 2, 2)), **t), b.const(f32(8)))
    return b.out(g.op("tanh", back), g.op("concat", y, back, axis=3))


@graph
def parts_written_in_place(g: Graph) -> Feeds:
    b = Build(g)
    x, z = b.input(f32(2, 6, 6, 8)), b.input(f32(2, 6, 6, 8))
    one = {**CONV, "low": (0, 0), "high": (0, 0)}
    window = {"kernel": (3, 3), "strides": (1, 1), "dilations": (1, 1), "low": (1, 1), "high": (1, 1), "out": (6, 6)}
    parts = [
        g.op("conv", x, b.const(f32(12, 8, 3, 3)), **CONV),
        g.op("conv", x, b.const(f32(5, 8, 1, 1)), **one),
        g.op("exp", x),
        g.op("pool", x, kind="max", **window),
        g.op("matmul", x, b.const(f32(8, 7))),
        z,
    ]
    wide = g.op("concat", *parts, axis=3)
    nested = g.op("concat", wide, g.op("neg", z), axis=3)
    stacked = g.op("concat", g.op("conv", x, b.const(f32(8, 8, 3, 3)), **CONV), g.op("tanh", x), axis=1)
    twice = g.op("concat", parts[0], parts[0], axis=3)
    depth = g.op("conv", wide, b.const(f32(48, 1, 3, 3)), **{**CONV, "groups": 48})
    return b.out(nested, stacked, twice, depth, g.op("sigmoid", parts[0]))
