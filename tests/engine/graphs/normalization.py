"""Normalisations and attention."""

from __future__ import annotations

import numpy as np

from a1400.graph import Graph, Value
from tests.engine.graphs.base import RNG, Build, Feeds, f32, graph


@graph
def normalizations(g: Graph) -> Feeds:
    b = Build(g)
    x = b.input(f32(3, 7, 40))
    image = b.input(f32(2, 9, 8, 24))
    s, t = b.const(f32(40)), b.const(f32(40))
    c, d = b.const(f32(24)), b.const(f32(24))
    return b.out(
        g.op("layer_norm", x, s, t, axis=2, eps=1e-5),
        g.op("layer_norm", x, axis=1, eps=1e-5),
        g.op("rms_norm", x, s, axis=2, eps=1e-6),
        g.op("group_norm", image, c, d, groups=4, eps=1e-5),
        g.op("group_norm", image, c, None, groups=24, eps=1e-5),
    )


@graph
def attention_heads(g: Graph) -> Feeds:
    b = Build(g)

    def heads(n: int) -> Value:
        return g.op("transpose", g.op("reshape", b.input(f32(2, 20, n * 16)), shape=(2, 20, n, 16)), perm=(0, 2, 1, 3))

    q, k, v = heads(4), heads(2), heads(2)
    y = g.op("attention", q, k, v, scale=0.25)
    merged = g.op("reshape", g.op("transpose", y, perm=(0, 2, 1, 3)), shape=(2, 20, 64))
    mask = b.input(np.where(RNG.random((2, 1, 1, 20)) < 0.3, -1e9, 0).astype(np.float32))
    keep = b.input(RNG.random((20, 20)) < 0.7)
    return b.out(
        merged, g.op("attention", q, k, v, mask, scale=0.25), g.op("attention", q, k, v, keep, scale=0.25),
        g.op("attention", q, k, v, scale=0.25, causal=True, causal_offset=0),
    )  # fmt: skip


@graph
def attention_large_heads(g: Graph) -> Feeds:
    b = Build(g)
    q, k, v = b.input(f32(1, 4, 5, 300)), b.input(f32(1, 2, 9, 300)), b.input(f32(1, 2, 9, 300))
    mask = b.input(f32(1, 1, 5, 9))
    return b.out(g.op("attention", q, k, v, mask, scale=0.05, causal=True, causal_offset=4))


@graph
def attention_decode(g: Graph) -> Feeds:
    b = Build(g)
    q, k, v = b.input(f32(1, 8, 1, 64)), b.input(f32(1, 2, 65, 64)), b.input(f32(1, 2, 65, 64))
    return b.out(g.op("attention", q, k, v, scale=0.125))
