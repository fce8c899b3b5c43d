"""Matrix products."""

from __future__ import annotations

import numpy as np

from a1400.graph import Graph
from tests.engine.graphs.base import RNG, Build, Feeds, f32, graph


@graph
def matmul_weights(g: Graph) -> Feeds:
    b = Build(g)
    x = b.input(f32(2, 9, 40))
    w = b.const(f32(40, 70))
    return b.out(
        g.op("add", g.op("matmul", x, w), b.const(f32(70))), g.op("matmul", g.op("transpose", x, perm=(1, 0, 2)), w)
    )


@graph
def matmul_vectors(g: Graph) -> Feeds:
    b = Build(g)
    m, v = b.input(f32(9, 40)), b.input(f32(40))
    return b.out(g.op("matmul", m, v), g.op("matmul", v, g.op("transpose", m, perm=(1, 0))), g.op("matmul", v, v))


@graph
def matmul_batches(g: Graph) -> Feeds:
    b = Build(g)
    x, y = b.input(f32(2, 3, 9, 20)), b.input(f32(3, 20, 11))
    t = g.op("transpose", b.input(f32(2, 3, 11, 20)), perm=(0, 1, 3, 2))
    s = g.op("expand", b.input(f32(2, 1, 20, 5)), shape=(2, 3, 20, 5))
    return b.out(g.op("matmul", x, y), g.op("matmul", x, t), g.op("matmul", x, s))


@graph
def matmul_types(g: Graph) -> Feeds:
    b = Build(g)
    i = b.input(RNG.integers(-5, 5, (7, 12)).astype(np.int32))
    d = b.input(RNG.uniform(-1, 1, (7, 12)))
    h = b.input(f32(7, 12).astype(np.float16))
    half = b.const(f32(12, 5).astype(np.float16))
    return b.out(
        g.op("matmul", i, b.const(RNG.integers(-5, 5, (12, 5)).astype(np.int32))),
        g.op("matmul", d, b.const(RNG.uniform(-1, 1, (12, 5)))), g.op("matmul", h, half),
    )  # fmt: skip


@graph
def matmul_trained(g: Graph) -> Feeds:
    """Both operands at run time, as in a training step: a layer, and the gradients of its rows and of its weight."""
    b = Build(g)
    x, w, d, h = (b.input(f32(*shape)) for shape in ((2, 35, 40), (40, 56), (2, 35, 56), (2, 35, 40)))
    flat = [g.op("reshape", v, shape=(70, v.shape[-1])) for v in (x, d)]
    across = [g.op("transpose", v, perm=(1, 0)) for v in (w, *flat)]
    narrow = b.input(f32(70, 10))
    return b.out(
        g.op("max", g.op("add", g.op("matmul", x, w), b.input(f32(56))), b.const(np.float32(0))),
        g.op("mul", g.op("matmul", d, across[0]), h),
        g.op("matmul", across[1], flat[1]),
        g.op("matmul", across[1], narrow),  # rows of B that are no whole vectors
        g.op("matmul", across[2], flat[0]),
        g.op("matmul", across[0], across[1]),
    )  # fmt: skip


@graph
def matmul_trained_batches(g: Graph) -> Feeds:
    """Products of heads whose operands are transposed views, as in the gradients of attention."""
    b = Build(g)
    q, k = (g.op("transpose", b.input(f32(2, 19, 3, 16)), perm=(0, 2, 1, 3)) for _ in range(2))
    p = b.input(f32(2, 3, 19, 24))
    v = b.input(f32(2, 3, 16, 24))
    turned = [g.op("transpose", x, perm=(0, 1, 3, 2)) for x in (p, k, v)]
    return b.out(
        g.op("matmul", turned[0], q), g.op("matmul", q, turned[1]), g.op("matmul", turned[1], p),
        g.op("matmul", turned[2], turned[1]),
    )  # fmt: skip


@graph
def matmul_deep(g: Graph) -> Feeds:
    """So deep, with so few results, that the depth is cut into parts; with an epilogue, and as a part of a row."""
    b = Build(g)
    x, d = b.input(f32(9001, 10)), b.input(f32(9001, 40))
    y = g.op("matmul", g.op("transpose", x, perm=(1, 0)), d)
    z = g.op("matmul", g.op("transpose", d, perm=(1, 0)), x)
    biased = g.op("add", g.op("mul", y, b.const(np.float32(0.5))), b.input(f32(40)))
    return b.out(biased, g.op("concat", g.op("reshape", z, shape=(400,)), b.input(f32(5)), axis=0))


@graph
def matmul_half(g: Graph) -> Feeds:
    """Layers and attention in half precision: rows in units of 16 bytes and not, both layouts of B, slots."""
    b = Build(g)

    def f16(*shape: int) -> np.ndarray:
        return f32(*shape, low=-0.25, high=0.25).astype(np.float16)

    x, r = b.input(f16(2, 19, 24)), b.input(f16(2, 19, 64))
    wide = g.op("add", g.op("matmul", x, b.const(f16(24, 64))), b.const(f16(64)))
    head = g.op("add", g.op("matmul", x, b.const(f16(24, 37))), b.const(f16(37)))
    back = g.op("matmul", wide, g.op("transpose", b.const(f16(32, 64)), perm=(1, 0)))
    flipped = g.op("transpose", g.op("reshape", wide, shape=(2, 19, 4, 16)), perm=(0, 2, 1, 3))
    scores = g.op("matmul", flipped, g.op("transpose", flipped, perm=(0, 1, 3, 2)))
    context = g.op("matmul", scores, flipped)
    return b.out(
        g.op("add", g.op("max", wide, b.const(np.float16(0))), r), head, g.op("tanh", back), scores, context
    )


@graph
def matmul_joined(g: Graph) -> Feeds:
    """Several matrices as one: whole panels of 32 columns, and not; with an epilogue; rows that are not dense."""
    b = Build(g)
    x = b.input(f32(2, 9, 40))
    w = [b.const(f32(40, n)) for n in (64, 32, 7, 5)]
    biased = g.op("add", g.op("matmul_joined", x, *w[:3]), b.const(f32(103)))
    half = b.input(f32(5, 12).astype(np.float16))
    halves = [b.const(f32(12, 32).astype(np.float16)) for _ in range(2)]
    return b.out(
        biased, g.op("matmul_joined", x, w[2], w[3]), g.op("matmul_joined", g.op("transpose", x, perm=(1, 0, 2)), w[1]),
        g.op("matmul_joined", half, *halves),
    )  # fmt: skip


@graph
def matmul_nbits(g: Graph) -> Feeds:
    """Packed weights: zero points one by one and for all, an epilogue, rows that are not dense."""
    b = Build(g)
    x = b.input(f32(3, 2, 75))
    weights, scales = b.const(RNG.integers(0, 256, (21, 3, 16)).astype(np.uint8)), b.const(f32(21, 3))
    zeros = b.const(RNG.integers(0, 16, (21, 3)).astype(np.float32))
    y = g.op("matmul_nbits", x, weights, scales, zeros, bits=4, block=32)
    turned = g.op("transpose", b.input(f32(40, 5)), perm=(1, 0))
    wide = b.const(RNG.integers(0, 256, (9, 2, 32)).astype(np.uint8))
    middle = b.const(np.float32(128))
    z = g.op("matmul_nbits", turned, wide, b.const(f32(9, 2)), middle, bits=8, block=32)
    return b.out(g.op("add", g.op("mul", y, b.const(np.float32(0.1))), b.const(f32(21))), z)


@graph
def matmul_nbits_of_many_rows(g: Graph) -> Feeds:
    """Packed weights that CPUs unpack into panels first: both kinds of zero points, an epilogue, whole panels only."""
    b = Build(g)
    x, middle = b.input(f32(70, 64)), b.const(np.float32(128))
    weights, scales = b.const(RNG.integers(0, 256, (64, 2, 16)).astype(np.uint8)), b.const(f32(64, 2))
    zeros = b.const(RNG.integers(0, 16, (64, 2)).astype(np.float32))
    y = g.op("matmul_nbits", x, weights, scales, zeros, bits=4, block=32)
    y = g.op("add", y, b.const(f32(64)))
    wide = b.const(RNG.integers(0, 256, (32, 2, 32)).astype(np.uint8))
    small = b.const(f32(32, 2) * np.float32(0.01))  # of sums as large as their terms no digits are left
    return b.out(y, g.op("matmul_nbits", y, wide, small, middle, bits=8, block=32))


@graph
def matmul_heads(g: Graph) -> Feeds:
    """Queries, keys and values of one input, of which keys are fewer: one product, read through slices."""
    b = Build(g)
    x = b.input(f32(2, 9, 40))
    parts = []
    for heads in (4, 2, 2):
        y = g.op("add", g.op("matmul", x, b.const(f32(40, heads * 16))), b.const(f32(heads * 16)))
        parts.append(g.op("transpose", g.op("reshape", y, shape=(2, 9, heads, 16)), perm=(0, 2, 1, 3)))
    return b.out(g.op("attention", *parts, scale=0.25, causal=False, causal_offset=0))


@graph
def rotary_heads(g: Graph) -> Feeds:
    """Rotary embedding of queries and keys, which are slices of one product, in front of attention with older keys."""
    b = Build(g)
    x, older = b.input(f32(2, 3, 40)), b.input(f32(2, 2, 4, 16))
    cosines, sines = b.const(f32(1, 1, 3, 16)), b.input(f32(3, 16))
    parts = []
    for heads in (4, 2, 2):
        y = g.op("reshape", g.op("matmul", x, b.const(f32(40, heads * 16))), shape=(2, 3, heads, 16))
        parts.append(g.op("transpose", y, perm=(0, 2, 1, 3)))
    turned = []
    for y in parts[:2]:
        shape, steps = (*y.shape[:-1], 8), (1,) * 4
        low, high = (g.op("slice", y, starts=(0, 0, 0, start), shape=shape, steps=steps) for start in (0, 8))
        crossed = g.op("mul", g.op("concat", g.op("neg", high), low, axis=3), sines)
        turned.append(g.op("add", g.op("mul", y, cosines), crossed))
    keys = g.op("concat", older, turned[1], axis=2)
    values = g.op("concat", older, parts[2], axis=2)
    return b.out(g.op("attention", turned[0], keys, values, scale=0.25, causal=False, causal_offset=0), keys)
