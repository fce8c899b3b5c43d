"""Normalisations that ONNX Runtime's optimizer joins with what stands in front of them."""

from __future__ import annotations

import numpy as np

from a1400.errors import GraphError
from a1400.frontends.onnx.context import Ctx
from a1400.frontends.onnx.ops.indexing import as_index
from a1400.frontends.onnx.ops.quantization import dequantized
from a1400.frontends.onnx.ops.registry import translates
from a1400.graph.graph import Value

MICROSOFT = "com.microsoft"
F32, I32 = np.dtype(np.float32), np.dtype(np.int32)


def _sum(c: Ctx, *terms: Value | None) -> Value:
    """The terms that are there, added."""
    first, *rest = [t for t in terms if t is not None]
    for t in rest:
        first = c.op("add", first, t)
    return first


def _statistics(c: Ctx, x: Value, eps: float, centred: bool) -> tuple[Value | None, Value | None]:
    """Mean and inverse deviation of rows, where the model reads them."""
    if not (c.wants(1) or c.wants(2)):
        return None, None
    x = c.cast(x, F32)
    mean = c.reduce("mean", x, (x.rank - 1,))
    x = c.op("sub", x, mean) if centred else x
    square = c.reduce("mean", c.op("mul", x, x), (x.rank - 1,))
    return mean, c.op("rsqrt", c.op("add", square, c.scalar(eps, square)))


@translates("SkipLayerNormalization", domain=MICROSOFT)
def skip_layer_normalization(c: Ctx) -> object:
    """Layer normalisation of input + skip + bias; the sum is an output too."""
    total, eps = _sum(c, c[0], c[1], c.opt(4)), c.number("epsilon", 1e-12)
    y = c.op("layer_norm", total, c[2], c.opt(3), axis=total.rank - 1, eps=eps)
    return y, *_statistics(c, total, eps, centred=True), total


@translates("SkipSimplifiedLayerNormalization", domain=MICROSOFT)
def skip_simplified_layer_normalization(c: Ctx) -> object:
    """RMS normalisation of input + skip + bias; the sum is an output too."""
    total, eps = _sum(c, c[0], c[1], c.opt(3)), c.number("epsilon", 1e-12)
    y = c.op("rms_norm", total, c[2], axis=total.rank - 1, eps=eps)
    return y, *_statistics(c, total, eps, centred=False), total


@translates("GatedRMSNorm", domain=MICROSOFT)
def gated_rms_norm(c: Ctx) -> Value:
    """RMS normalisation of each run of as many channels as there are scales, times an activated gate."""
    x, scale, gate = c[0], c[1], c[2]
    size, kind = scale.size, c.text("activation", "silu")
    if kind not in ("silu", "swish", "sigmoid"):
        raise c.unsupported(f"GatedRMSNorm with activation {kind!r} is not supported")
    if size < 1 or x.shape[-1] % size:
        raise GraphError(f"{x.shape[-1]} channels are no multiple of {size} scales")
    rows = c.reshape(x, (*x.shape[:-1], x.shape[-1] // size, size))
    y = c.reshape(c.op("rms_norm", rows, scale, axis=rows.rank - 1, eps=c.number("epsilon", 1e-5)), x.shape)
    opened = c.op("sigmoid", gate)
    return c.op("mul", y, opened if kind == "sigmoid" else c.op("mul", gate, opened))


@translates("GroupNorm", "SkipGroupNorm", domain=MICROSOFT)
def group_norm(c: Ctx) -> object:
    """Group normalisation of the input, or of input + skip + bias (the sum is an output too), and SiLU."""
    last, activation, eps = c.flag("channels_last", True), c.integer("activation"), c.number("epsilon", 1e-5)
    x = c[0] if last else c.channels_last(c[0])
    if c.node.op == "SkipGroupNorm":
        skip = c[3]
        if skip.rank == 2:
            skip = c.reshape(skip, (skip.shape[0], *[1] * (x.rank - 2), skip.shape[1]))
        elif not last:
            skip = c.channels_last(skip)
        x = _sum(c, x, skip, c.opt(4))
    if activation not in (0, 1):
        raise c.unsupported(f"{c.node.op} with activation {activation} is not supported: 0 (none) and 1 (SiLU) are")
    scale, bias = c.cast(c[1], x.dtype), c.cast(c[2], x.dtype)
    y = c.op("group_norm", x, scale, bias, groups=c.integer("groups"), eps=eps)
    y = c.op("mul", y, c.op("sigmoid", y)) if activation else y
    return (y, x) if last else (c.channels_first(y), c.channels_first(x))


def _embedded(
    c: Ctx, words: Value, segments: tuple[Value, Value] | None, table: Value, places: Value | None
) -> Value:
    """Rows of words, positions (counted where they are not given) and segments, added."""
    length = words.shape[1]
    if places is None and table.shape[0] < length:
        raise GraphError(f"{length} tokens for {table.shape[0]} positions")
    at = c.slice(table, 0, 0, length) if places is None else c.op("gather", table, as_index(c, places), axis=0)
    total = c.op("add", words, at)
    if segments is None:
        return total
    return c.op("add", total, c.op("gather", segments[1], as_index(c, segments[0]), axis=0))


def _counted(c: Ctx, mask: Value | None, batch: int) -> Value:
    """How many tokens of each row are there: i32 [batch], 0 without a mask."""
    if mask is None:
        return c.expand(c.scalar(0, I32), (batch,))
    return c.reduce("sum", c.cast(c.op("eq", mask, c.scalar(1, mask)), I32), (1,), keepdims=False)


@translates("EmbedLayerNormalization", domain=MICROSOFT)
def embed_layer_normalization(c: Ctx) -> object:
    """Layer normalisation of embeddings of words, positions and segments added; the length of each row."""
    ids, segment = c[0], c.opt(1)
    words = c.op("gather", c[2], as_index(c, ids), axis=0)
    total = _embedded(c, words, None if segment is None else (segment, c[4]), c[3], c.opt(8))
    y = c.op("layer_norm", total, c[5], c[6], axis=2, eps=c.number("epsilon", 1e-12))
    return y, _counted(c, c.opt(7), ids.shape[0]), total


@translates("QEmbedLayerNormalization", domain=MICROSOFT)
def quantized_embed_layer_normalization(c: Ctx) -> object:
    """As EmbedLayerNormalization, from 8-bit tables: their rows become real numbers when they are read."""
    ids, segment = c[0], c.opt(1)

    def real(table: Value, scale: int, zero: int) -> Value:
        return dequantized(c, table, c.reshape(c[scale], ()), c.reshape(c[zero], ()))

    words = real(c.op("gather", c[2], as_index(c, ids), axis=0), 8, 13)
    segments = None if segment is None else (segment, real(c[4], 10, 15))
    total = _embedded(c, words, segments, real(c[3], 9, 14), None)
    scale, bias = real(c[5], 11, 16), real(c[6], 12, 17)
    y = c.op("layer_norm", total, scale, bias, axis=2, eps=c.number("epsilon", 1e-12))
    return y, _counted(c, c.opt(7), ids.shape[0])
