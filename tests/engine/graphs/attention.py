"""Attention in half precision as models have it: in an encoder's layer, in a decoder with a cache, in its next step."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from a1400 import dtypes
from a1400.graph import Graph, Value
from tests.engine.graphs.base import GRAPHS, RNG, Build, Feeds, f32, graph

F16 = np.dtype(np.float16)
HEADS, SIZE = 4, 16


def _heads(g: Graph, x: Value, count: int, size: int = SIZE) -> Value:
    """[B, S, count * size] to [B, count, S, size]."""
    split = g.op("reshape", x, shape=(*x.shape[:2], count, size))
    return g.op("transpose", split, perm=(0, 2, 1, 3))


def _merge(g: Graph, y: Value) -> Value:
    b, h, s, d = y.shape
    return g.op("reshape", g.op("transpose", y, perm=(0, 2, 1, 3)), shape=(b, s, h * d))


def _project(b: Build, x: Value, width: int) -> Value:
    return b.g.op("matmul", x, b.const(f32(x.shape[-1], width, low=-0.3, high=0.3).astype(x.dtype)))


@graph
def attention_encoder_half(g: Graph) -> Feeds:
    """A layer of BERT: projections, heads, a mask on the keys, the heads merged and projected again."""
    b = Build(g)
    x = b.input(f32(2, 70, HEADS * SIZE).astype(F16))
    hidden = np.where(np.arange(70) < np.array([[70], [41]]), 0, np.finfo(np.float16).min)
    mask = b.input(hidden.astype(F16).reshape(2, 1, 1, 70))
    q, k, v = (_heads(g, _project(b, x, HEADS * SIZE), HEADS) for _ in range(3))
    y = _merge(g, g.op("attention", q, k, v, mask, scale=0.25))
    return b.out(g.op("add", x, _project(b, y, HEADS * SIZE)))


@graph
def attention_decoder_bfloat(g: Graph) -> Feeds:
    """Grouped heads behind a cache: new keys are joined to those seen, and the cache goes on as an output."""
    b = Build(g)
    x = b.input(f32(1, 9, HEADS * SIZE).astype(dtypes.bfloat16))
    past = [b.input(f32(1, 2, 61, SIZE).astype(dtypes.bfloat16)) for _ in range(2)]
    q = _heads(g, _project(b, x, HEADS * SIZE), HEADS)
    k, v = (g.op("concat", p, _heads(g, _project(b, x, 2 * SIZE), 2), axis=2) for p in past)
    y = g.op("attention", q, k, v, scale=0.25, causal=True, causal_offset=61)
    return b.out(_project(b, _merge(g, y), 2 * SIZE), k, v)


@graph
def attention_step_half(g: Graph) -> Feeds:
    """The next token of two sequences over the keys so far."""
    b = Build(g)
    q, k, v = (b.input(f32(2, n, t, 64).astype(F16)) for n, t in ((4, 1), (2, 90), (2, 90)))
    keep = b.input(RNG.random((2, 1, 1, 90)) < 0.8)
    return b.out(_merge(g, g.op("attention", q, k, v, keep, scale=0.125)))


@graph
def attention_odd_half(g: Graph) -> Feeds:
    """Heads of 20 and 21 that start anywhere in their rows."""
    b = Build(g)
    x = b.input(f32(1, 33, 61).astype(F16))
    q, k, v = (
        g.op("reshape", g.op("slice", x, starts=(0, 0, at), shape=(1, 33, n), steps=(1, 1, 1)), shape=(1, 1, 33, n))
        for at, n in ((0, 20), (20, 20), (40, 21))
    )
    return b.out(g.op("attention", q, k, v, scale=0.2, causal=True))


def _hidden_rows(size: int, dtype: np.dtype) -> Callable[[Graph], Feeds]:
    """Queries that see no key get zeros: hidden by a mask, by minus infinity or by their place, or by two together."""

    def builder(g: Graph) -> Feeds:
        b = Build(g)
        q, k = b.input(f32(1, 4, 5, size).astype(dtype)), b.input(f32(1, 2, 6, size).astype(dtype))
        keep = np.ones((5, 6), bool)
        keep[2], keep[3, :2] = False, False
        added = np.where(keep, 0.5, -np.inf).astype(dtype)
        given = {"scale": 0.1}
        return b.out(
            g.op("attention", q, k, k, b.input(keep), **given),
            g.op("attention", q, k, k, b.input(added), causal=True, causal_offset=-1, **given),
            g.op("attention", q, k, k, causal=True, causal_offset=-2, **given),
        )

    return builder


GRAPHS["attention_hidden_rows"] = _hidden_rows(24, np.dtype(np.float32))
GRAPHS["attention_hidden_rows_large_heads"] = _hidden_rows(260, np.dtype(np.float32))
GRAPHS["attention_hidden_rows_double"] = _hidden_rows(24, np.dtype(np.float64))


def _gradient(dtype: np.dtype, mask: np.ndarray) -> Callable[[Graph], Feeds]:
    """All gradients, of heads that are split from rows of a product."""

    def builder(g: Graph) -> Feeds:
        b = Build(g)
        q, o, out = (_heads(g, b.input(f32(2, 9, 4 * SIZE).astype(dtype)), 4) for _ in range(3))
        k, v = (_heads(g, b.input(f32(2, 11, 2 * SIZE).astype(dtype)), 2) for _ in range(2))
        found = g.multi(
            "attention_gradient", q, k, v, o, out, b.input(mask), scale=0.25, causal=True, causal_offset=2
        )
        return b.out(*(_merge(g, part) for part in found))

    return builder


_HIDE = np.where(np.arange(11) < np.array([[11], [4]]), 0, -np.inf).reshape(2, 1, 1, 11)
GRAPHS["attention_gradient_half"] = _gradient(F16, _HIDE.astype(F16))
GRAPHS["attention_gradient_double"] = _gradient(np.dtype(np.float64), _HIDE > -1)
