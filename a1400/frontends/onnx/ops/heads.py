"""What the attention operators of ONNX Runtime's domain share: heads, masks, rotary positions, and the products."""

from __future__ import annotations

import math

import numpy as np

from a1400.errors import GraphError
from a1400.frontends.onnx.context import Ctx
from a1400.frontends.onnx.ops.indexing import as_index
from a1400.graph.graph import Value

BOOL, F32, I32 = np.dtype(np.bool_), np.dtype(np.float32), np.dtype(np.int32)


def split(c: Ctx, x: Value, heads: int) -> Value:
    """[B, S, heads * D] as [B, heads, S, D]."""
    if x.rank != 3 or heads < 1 or x.shape[2] % heads:
        raise GraphError(f"{list(x.shape)} does not divide into {heads} heads")
    return c.transpose(c.reshape(x, (*x.shape[:2], heads, x.shape[2] // heads)), (0, 2, 1, 3))


def merged(c: Ctx, y: Value) -> Value:
    """[B, heads, S, D] as [B, S, heads * D]."""
    batch, heads, length, size = y.shape
    return c.reshape(c.transpose(y, (0, 2, 1, 3)), (batch, length, heads * size))


def ramp(c: Ctx, count: int) -> Value:
    """0, 1 ... as i32 [count]."""
    c.claim(count)
    return c.table(("i32 ramp", count), lambda: np.arange(count, dtype=np.int32))


def scale_of(c: Ctx, size: int) -> float:
    """What multiplies the scores of heads of ``size``; 0 stands for the usual 1 / sqrt(size)."""
    return c.number("scale", 0.0) or 1 / math.sqrt(max(size, 1))


def key_mask(c: Ctx, mask: Value, batch: int, queries: int, keys: int, like: Value) -> Value:
    """What an attention mask adds to the scores, [B, 1, 1 or S, T]: ``mask_filter_value`` where a key is hidden.

    ``mask`` says so of each key [B, T] or of each pair [B, S, T], or holds the ends of rows [B] (also in front of other
    numbers, [3 B + 2]), or their ends and then their starts [2 B].
    """
    if mask.shape == (batch, keys):
        seen = c.op("gt", c.reshape(mask, (batch, 1, 1, keys)), c.scalar(0, mask))
    elif mask.shape == (batch, queries, keys):
        seen = c.op("gt", c.reshape(mask, (batch, 1, queries, keys)), c.scalar(0, mask))
    elif mask.rank == 1 and mask.size in (batch, 2 * batch, 3 * batch + 2):
        places = ramp(c, keys)

        def bound(start: int) -> Value:
            return c.reshape(c.cast(c.slice(mask, 0, start, batch), I32), (batch, 1, 1, 1))

        seen = c.op("lt", places, bound(0))
        if mask.size == 2 * batch:
            seen = c.op("and", seen, c.op("ge", places, bound(batch)))
    else:
        raise c.unsupported(
            f"an attention mask of shape {list(mask.shape)} is not supported for {batch} rows of {queries} queries and "
            f"{keys} keys; write it as [{batch}, {keys}] or [{batch}, {queries}, {keys}]"
        )
    return c.op("where", seen, c.scalar(0, like), c.scalar(c.number("mask_filter_value", -10000.0), like))


def added(c: Ctx, mask: Value | None, bias: Value | None) -> Value | None:
    """Two masks to be added, either of which may be absent."""
    return bias if mask is None else mask if bias is None else c.op("add", mask, bias)


def attend(
    c: Ctx, q: Value, k: Value, v: Value, scale: float, mask: Value | None = None, past: int | None = None,
    softcap: float = 0.0, sink: Value | None = None,
) -> Value:  # fmt: skip
    """Attention [B, H, S, DV] of q[B, H, S, D], k[B, HK, T, D] and v[B, HK, T, DV].

    ``mask`` broadcasts to the scores: truth values, or numbers that are added.  With ``past``, query i sees the keys up
    to ``past + i``.  ``softcap`` bounds the scores, ``sink`` [H] is a further score of each row that has no value.
    """
    if softcap == 0 and sink is None:
        causal = {"causal": True, "causal_offset": past} if past is not None else {}
        return c.op("attention", q, k, v, *(() if mask is None else (mask,)), scale=scale, **causal)
    weights = c.op("softmax", _with_sink(c, scores(c, q, k, scale, mask, past, softcap), sink), axis=3)
    weights = c.slice(weights, 3, 0, k.shape[2])
    batch, groups, keys, _ = k.shape
    grouped = c.reshape(weights, (batch, groups, q.shape[1] // groups * q.shape[2], keys))
    return c.reshape(c.op("matmul", grouped, v), (*q.shape[:3], v.shape[3]))


def scores(
    c: Ctx, q: Value, k: Value, scale: float, mask: Value | None, past: int | None, softcap: float = 0.0
) -> Value:
    """The scores [B, H, S, T] before their softmax; what is hidden is the lowest number."""
    batch, heads, queries, size = q.shape
    groups, keys = k.shape[1], k.shape[2]
    if groups < 1 or heads % groups:
        raise GraphError(f"{heads} query heads over {groups} key heads")
    rows = c.reshape(q, (batch, groups, heads // groups * queries, size))
    s = c.reshape(c.op("matmul", rows, c.transpose(k, (0, 1, 3, 2))), (batch, heads, queries, keys))
    s = c.op("mul", s, c.scalar(scale, s))
    if softcap:
        s = c.op("mul", c.op("tanh", c.op("div", s, c.scalar(softcap, s))), c.scalar(softcap, s))
    lowest = c.scalar(float(np.finfo(s.dtype).min) if s.dtype.kind == "f" else -3e38, s)
    if mask is not None:
        s = c.op("where", mask, s, lowest) if mask.dtype == BOOL else c.op("add", s, mask)
    if past is not None:
        s = c.op("where", within(c, queries, keys, past), s, lowest)
    return s


def within(c: Ctx, queries: int, keys: int, past: int, window: int = 0) -> Value:
    """Which keys a query sees, bool [S, T]: those up to its own place, or the last ``window`` of them."""

    def make() -> np.ndarray:
        back = np.arange(queries)[:, None] + past - np.arange(keys)
        return (back >= 0) & ((back < window) | (window == 0))

    c.claim(queries * keys)
    return c.table(("within", queries, keys, past, window), make)


def _with_sink(c: Ctx, s: Value, sink: Value | None) -> Value:
    if sink is None:
        return s
    column = c.expand(c.reshape(c.cast(sink, s.dtype), (1, s.shape[1], 1, 1)), (*s.shape[:3], 1))
    return c.concat([s, column], 3)


def turned(c: Ctx, x: Value, cosines: Value, sines: Value, places: Value, interleaved: bool) -> Value:
    """Rotary embedding of x[B, S, H, D] at ``places`` [B or 1, S] of tables [M, R / 2]; channels beyond R stay."""
    half = cosines.shape[-1]
    if cosines.rank != 2 or sines.shape != cosines.shape or 2 * half > x.shape[3] or not half:
        shapes = f"{list(cosines.shape)} and {list(sines.shape)}"
        raise GraphError(f"rotary tables {shapes} do not fit heads of {x.shape[3]}")
    pairs = (half, 2) if interleaved else (2, half)
    axis = 4 if interleaved else 3  # of the two channels that turn together
    rest = x.shape[3] - 2 * half
    part = c.reshape(c.slice(x, 3, 0, 2 * half), (*x.shape[:3], *pairs))
    index = as_index(c, places)

    def angle(table: Value) -> Value:
        found = c.op("gather", table, index, axis=0)
        return c.reshape(found, (*index.shape, 1, *((half, 1) if interleaved else (1, half))))

    shape = (1, 2) if interleaved else (2, 1)
    signs = c.table(("turn", shape, str(x.dtype)), lambda: np.array([-1, 1], x.dtype).reshape(shape))
    other = c.slice(part, axis, 1, 2, -1)
    y = c.op("add", c.op("mul", part, angle(cosines)), c.op("mul", other, c.op("mul", angle(sines), signs)))
    y = c.reshape(y, (*x.shape[:3], 2 * half))
    return c.concat([y, c.slice(x, 3, 2 * half, rest)], 3) if rest else y
