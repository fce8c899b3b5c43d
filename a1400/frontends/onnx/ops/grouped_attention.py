"""GroupQueryAttention and RotaryEmbedding of ONNX Runtime's domain, as exported language models have them.

A cache [B, HK, C, D] is read and written at places that each row's length ``seqlens_k + 1`` gives, at run time: new
keys stand at ``length - S ... length - 1``.  Shapes come from ``total_sequence_length`` alone, which is known while
tracing (it is made of shapes, or steers the plan).
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np

from a1400.errors import GraphError
from a1400.frontends.onnx.context import Ctx
from a1400.frontends.onnx.ops import heads
from a1400.frontends.onnx.ops.registry import translates
from a1400.graph.graph import Value

MICROSOFT = "com.microsoft"
I32, I64 = np.dtype(np.int32), np.dtype(np.int64)


@translates("RotaryEmbedding", domain=MICROSOFT)
def rotary_embedding(c: Ctx) -> Value:
    """Pairs of channels of each head turned by the angle of the token's position."""
    x, places, cosines, sines = c[0], c[1], c[2], c[3]
    if c.flag("is_packed_batching"):
        raise c.unsupported("RotaryEmbedding with is_packed_batching=1 is not supported: export padded batches")
    if x.rank == 4:
        rows = c.transpose(x, (0, 2, 1, 3))
    elif x.rank == 3:
        count = c.integer("num_heads", 0) or x.shape[2] // max(2 * cosines.shape[-1], 1)
        if count < 1 or x.shape[2] % count:
            raise GraphError(f"{list(x.shape)} does not divide into {count} heads")
        rows = c.reshape(x, (*x.shape[:2], count, x.shape[2] // count))
    else:
        raise GraphError(f"RotaryEmbedding takes tensors of rank 3 or 4, not {list(x.shape)}")
    if places.size == 1 and places.rank == 1:
        ramp = c.table(("ramp", (rows.shape[1],)), lambda: np.arange(rows.shape[1], dtype=np.int64))
        places = c.reshape(c.op("add", c.cast(places, I64), ramp), (1, rows.shape[1]))
    y = heads.turned(c, rows, cosines, sines, places, c.flag("interleaved"))
    return c.transpose(y, (0, 2, 1, 3)) if x.rank == 4 else c.reshape(y, x.shape)


@dataclass(frozen=True)
class _Places:
    """Where the new tokens of a step stand.  ``past`` i32 [B] is None where it is ``before`` in every row."""

    before: int
    past: Value | None
    total: int

    def of_queries(self, c: Ctx, length: int) -> Value:
        """Positions i32 [B or 1, S]."""
        ramp = c.reshape(heads.ramp(c, length), (1, length))
        if self.past is None:
            return c.op("add", ramp, c.scalar(self.before, I32))
        return c.op("add", ramp, c.reshape(self.past, (self.past.size, 1)))


def _places(c: Ctx, batch: int, length: int, cached: int) -> _Places:
    total, last = int(c.need_scalar(6, "total_sequence_length")), c[5]
    if total < length:
        raise GraphError(f"total_sequence_length {total} is less than the {length} new tokens")
    if last.size != batch:
        raise GraphError(f"seqlens_k {list(last.shape)} does not fit a batch of {batch}")
    if total == length:
        return _Places(0, None, total)
    if last.data is not None and np.all(last.data == total - 1) and cached == total - length:
        return _Places(cached, None, total)
    past = c.op("add", c.reshape(c.cast(last, I32), (batch,)), c.scalar(1 - length, I32))
    return _Places(total - length, past, total)


def _cached(c: Ctx, old: Value | None, new: Value, places: _Places) -> Value:
    """The cache [B, HK, max(C, total), D] with the new [B, HK, S, D] at its places, and zeros behind them."""
    batch, count, length, size = new.shape
    room = 0 if old is None else old.shape[2]
    keys, zero = max(room, places.total), c.scalar(0, new)
    if places.past is None:
        parts = [c.slice(old, 2, 0, places.before)] if old is not None and places.before else []
        rest = keys - places.before - length
        return c.concat([*parts, new, *([c.expand(zero, (batch, count, rest, size))] if rest else [])], 2)
    start = c.reshape(places.past, (batch, 1))
    back = c.op("sub", heads.ramp(c, keys), start)  # [B, T]: which new token stands there
    before, inside = (
        c.reshape(c.op("lt", back, c.scalar(n, I32)), (batch, 1, keys, 1)) for n in (0, length)
    )
    if length > 1:
        rows = c.transpose(new, (0, 2, 1, 3))
        found = c.op("gather_nd", rows, c.reshape(back, (batch, keys, 1)), batch_dims=1)
        new = c.transpose(found, (0, 2, 1, 3))
    if old is None:
        old = c.expand(zero, (batch, count, keys, size))
    elif room < keys:
        old = c.op("pad", old, zero, low=(0,) * 4, high=(0, 0, keys - room, 0), mode="constant")
    return c.op("where", before, old, c.op("where", inside, new, zero))


def _seen(c: Ctx, places: _Places, batch: int, queries: int, keys: int) -> Value | None:
    """Which keys each query sees, bool [B, 1, S, T]; None where that is plain causality or everything."""
    window, causal = c.integer("local_window_size", -1), c.flag("causal", True)
    if window >= 0 and not causal:
        raise GraphError("local_window_size needs causal=1")
    if places.past is None and causal:
        if not 0 <= window < keys:
            return None
        return heads.within(c, queries, keys, places.before, window)
    ramp = heads.ramp(c, keys)
    if not causal:
        return c.op("le", ramp, c.reshape(c.cast(c[5], I32), (batch, 1, 1, 1)))
    at = c.reshape(places.of_queries(c, queries), (batch, 1, queries, 1))
    seen = c.op("le", ramp, at)
    if window >= 0:
        seen = c.op("and", seen, c.op("gt", ramp, c.op("sub", at, c.scalar(window, I32))))
    return seen


def _refuse(c: Ctx) -> None:
    """Uses that we do not have."""
    for name in ("sliding_window_cache", "qk_output"):
        if c.integer(name, 0) != 0:
            raise c.unsupported(f"GroupQueryAttention with {name} is not supported: export the model without it")
    if any(c.text(f"{x}_quant_type", "NONE") != "NONE" for x in "kv") or c.opt(12) is not None:
        raise c.unsupported("GroupQueryAttention with a quantised cache is not supported: keep the cache in floats")
    if c.opt(16) is not None:
        raise c.unsupported("GroupQueryAttention with query_seqlens is not supported: give it unpadded chunks")


def _rows(c: Ctx, x: Value, count: int) -> Value:
    if count < 1 or x.shape[2] % count:
        raise GraphError(f"{list(x.shape)} does not divide into {count} heads")
    return c.reshape(x, (*x.shape[:2], count, x.shape[2] // count))


def _operands(c: Ctx, count: int, groups: int) -> tuple[Value, Value, Value]:
    """Queries, keys and values [B, S, heads, D], packed or apart."""
    if c[0].rank != 3:
        raise GraphError(f"GroupQueryAttention takes rows [batch, length, channels], not {list(c[0].shape)}")
    if c.opt(1) is not None:
        return _rows(c, c[0], count), _rows(c, c[1], groups), _rows(c, c[2], groups)
    whole = _rows(c, c[0], count + 2 * groups)
    ends = (0, count, count + groups, count + 2 * groups)
    q, k, v = (c.slice(whole, 2, a, b - a) for a, b in itertools.pairwise(ends))
    return q, k, v


def _normalized(c: Ctx, x: Value, scale: Value | None, which: str) -> Value:
    """RMS normalisation of each head where a scale is given."""
    if scale is None:
        return x
    eps = c.number(f"{which}_norm_epsilon", c.number("qk_norm_epsilon", 1e-6))
    return c.op("rms_norm", x, scale, axis=3, eps=eps)


@translates("GroupQueryAttention", domain=MICROSOFT)
def group_query_attention(c: Ctx) -> object:
    """Causal attention of grouped queries over a cache that it extends; rotary positions, window, softcap, sinks."""
    _refuse(c)
    q, k, v = _operands(c, c.integer("num_heads"), c.integer("kv_num_heads"))
    q, k = _normalized(c, q, c.opt(14), "q"), _normalized(c, k, c.opt(15), "k")
    batch, length, count, size = q.shape
    old_keys, old_values = c.opt(3), c.opt(4)
    places = _places(c, batch, length, 0 if old_keys is None else old_keys.shape[2])
    if c.flag("do_rotary"):
        at = places.of_queries(c, length) if c.opt(9) is None else c[9]
        turn = (c[7], c[8], at, c.flag("rotary_interleaved"))
        q, k = heads.turned(c, q, *turn), heads.turned(c, k, *turn)
    q, k, v = (c.transpose(x, (0, 2, 1, 3)) for x in (q, k, v))
    keys, values = _cached(c, old_keys, k, places), _cached(c, old_values, v, places)
    seen_keys, seen_values = (k, v) if places.total == length else (keys, values)
    total = seen_keys.shape[2]
    mask, bias = _seen(c, places, batch, length, total), c.opt(10)
    past = places.before if mask is None and c.flag("causal", True) else None
    if bias is not None:
        if bias.rank == 4 and bias.shape[3] < total:
            bias = c.op("pad", bias, c.scalar(0, bias), low=(0,) * 4, high=(0, 0, 0, total - bias.shape[3]),
                        mode="constant")  # fmt: skip
        hidden = c.scalar(float(np.finfo(np.float16).min) if q.dtype.itemsize == 2 else -3e38, q)
        mask = bias if mask is None else c.op("where", mask, bias, hidden)
    sink = c.opt(11)
    if sink is None and c.integer("smooth_softmax", -1) == 1:
        sink = c.expand(c.scalar(0, q), (count,))
    y = heads.attend(c, q, seen_keys, seen_values, heads.scale_of(c, size), mask, past, c.number("softcap", 0.0), sink)
    return heads.merged(c, y), keys, values
