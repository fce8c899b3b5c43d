"""Attention and MultiHeadAttention as ONNX Runtime's optimizer writes them, on the one primitive."""

from __future__ import annotations

from a1400.errors import GraphError
from a1400.frontends.onnx.context import Ctx
from a1400.frontends.onnx.ops import heads
from a1400.frontends.onnx.ops.integer_products import one, product
from a1400.frontends.onnx.ops.quantization import F32
from a1400.frontends.onnx.ops.registry import translates
from a1400.graph.graph import Value

MICROSOFT = "com.microsoft"


def _refuse(c: Ctx, *flags: str) -> None:
    """Attributes whose meaning we do not have."""
    for flag in flags:
        if c.flag(flag):
            raise c.unsupported(f"{c.node.op} with {flag}=1 is not supported: export the model without it")


def _columns(c: Ctx, x: Value) -> tuple[Value, Value, Value]:
    """The columns of queries, keys and values."""
    total = x.shape[-1]
    sizes = c.ints("qkv_hidden_sizes") or (total // 3,) * 3
    if len(sizes) != 3 or sum(sizes) != total or min(sizes) < 1 or sizes[0] != sizes[1]:
        raise GraphError(f"{total} columns do not divide into queries, keys and values of {list(sizes)}")
    q, k, v = (c.slice(x, x.rank - 1, sum(sizes[:i]), sizes[i]) for i in range(3))
    return q, k, v


def _self_attention(c: Ctx, projected: Value, mask: Value | None, past: Value | None, bias: Value | None) -> object:
    """The output, and keys and values as one tensor [2, B, H, T, D], of the rows [B, S, 3 H D]."""
    count = c.integer("num_heads")
    q, k, v = (heads.split(c, part, count) for part in _columns(c, projected))
    queries, size = q.shape[2:]
    before = 0
    if past is not None:
        if past.rank != 5 or past.shape[0] != 2:
            raise GraphError(f"the past {list(past.shape)} is not [2, batch, heads, length, size]")
        before = past.shape[3]
        k, v = (
            c.concat([c.reshape(c.slice(past, 0, i, 1), past.shape[1:]), new], 2) for i, new in enumerate((k, v))
        )
    causal = before if c.flag("unidirectional") and queries > 1 else None
    y = heads.attend(c, q, k, v, heads.scale_of(c, size), _additions(c, q, k.shape[2], mask, bias), causal)
    if not c.wants(1):
        return heads.merged(c, y)
    present = c.concat([c.reshape(part, (1, *part.shape)) for part in (k, v)], 0)
    return heads.merged(c, y), present


@translates("Attention", domain=MICROSOFT)
def attention(c: Ctx) -> object:
    """Projection to queries, keys and values, and their attention; past and present keys and values are one tensor."""
    _refuse(c, "do_rotary", "past_present_share_buffer")
    projected = c.op("matmul", c[0], c[1])
    if c.opt(2) is not None:
        projected = c.op("add", projected, c[2])
    return _self_attention(c, projected, c.opt(3), c.opt(4), c.opt(5))


@translates("QAttention", domain=MICROSOFT)
def quantized_attention(c: Ctx) -> object:
    """Attention whose projection multiplies quantised numbers."""
    _refuse(c, "do_rotary", "past_present_share_buffer")
    sums = product(c, c[0], c[1], c.opt(6), c.opt(7))
    scale = c.op("mul", c.cast(one(c, c[3]), F32), c.cast(one(c, c[4]), F32))
    projected = c.op("add", c.op("mul", c.cast(sums, F32), scale), c[2])
    return _self_attention(c, projected, c.opt(5), c.opt(8), None)


def _packed(c: Ctx, x: Value, parts: int) -> list[Value]:
    """The ``parts`` of [B, S, heads, parts, D], each as [B, heads, S, D]."""
    batch, length, count, _, size = x.shape
    turned = c.transpose(x, (3, 0, 2, 1, 4))
    return [c.reshape(c.slice(turned, 0, i, 1), (batch, count, length, size)) for i in range(parts)]


def _operands(c: Ctx, count: int, bias: Value | None) -> tuple[Value, Value, Value]:
    """Queries, keys and values [B, heads, length, size] of MultiHeadAttention, in any of its forms, with their bias."""
    q, k, v = c[0], c.opt(1), c.opt(2)
    if q.rank == 5 and q.shape[3] == 3 and k is None:
        parts = _packed(c, q, 3)
    elif k is not None and k.rank == 5 and k.shape[3] == 2 and v is None:
        parts = [heads.split(c, q, count), *_packed(c, k, 2)]
    elif k is not None and v is not None and k.rank in (3, 4) and v.rank in (3, 4):
        parts = [heads.split(c, q, count), *(x if x.rank == 4 else heads.split(c, x, count) for x in (k, v))]
    else:
        shapes = [None if x is None else list(x.shape) for x in (q, k, v)]
        raise c.unsupported(f"{c.node.op} of query {shapes[0]}, key {shapes[1]} and value {shapes[2]} is not supported")
    if bias is None:
        return parts[0], parts[1], parts[2]
    start, result = 0, []
    for i, part in enumerate(parts):
        size = count * part.shape[3]
        if i and c.opt(1) is not None and c[1].rank == 4:  # keys and values of a cache have their bias
            result.append(part)
            continue
        if start + size > bias.size:
            raise GraphError(f"bias {list(bias.shape)} does not fit heads of {[p.shape[3] for p in parts]}")
        piece = c.reshape(c.slice(bias, 0, start, size), (count, 1, part.shape[3]))
        result.append(c.op("add", part, piece))
        start += size
    return result[0], result[1], result[2]


@translates("MultiHeadAttention", domain=MICROSOFT)
def multi_head_attention(c: Ctx) -> object:
    """Attention of projected queries, keys and values, packed or apart, with a cache."""
    if c.opt(8) is not None or c.opt(9) is not None:
        raise c.unsupported("MultiHeadAttention with a shared cache or cache_indirection is not supported: "
                            "export the model with past and present keys and values of their own")  # fmt: skip
    q, k, v = _operands(c, c.integer("num_heads"), c.opt(3))
    before = 0
    if c.opt(6) is not None and c.opt(7) is not None:
        before = c[6].shape[2]
        k, v = c.concat([c[6], k], 2), c.concat([c[7], v], 2)
    return _attended(c, q, k, v, _additions(c, q, k.shape[2], c.opt(4), c.opt(5)), before)


def _additions(c: Ctx, q: Value, keys: int, mask: Value | None, bias: Value | None) -> Value | None:
    """What is added to the scores of queries [B, H, S, D]."""
    found = None if mask is None else heads.key_mask(c, mask, q.shape[0], q.shape[2], keys, q)
    return heads.added(c, found, bias)


def _attended(c: Ctx, q: Value, k: Value, v: Value, added: Value | None, before: int) -> object:
    """Output, keys, values, and the scores where the model reads them."""
    scale = heads.scale_of(c, q.shape[3])
    causal = before if c.flag("unidirectional") and q.shape[2] > 1 else None
    y = heads.merged(c, heads.attend(c, q, k, v, scale, added, causal))
    return (y, k, v, heads.scores(c, q, k, scale, added, causal)) if c.wants(3) else (y, k, v)


@translates("DecoderMaskedMultiHeadAttention", domain=MICROSOFT)
def decoder_attention(c: Ctx) -> object:
    """MultiHeadAttention of one new token per row; a shared cache takes it at the place ``past_sequence_length``."""
    if c.opt(9) is not None:
        raise c.unsupported(f"{c.node.op} with cache_indirection is not supported: export the model without beams")
    if c.opt(1) is None:
        whole = c[0] if c.opt(10) is None else c.op("add", c[0], c[10])
        q, k, v = (heads.split(c, part, c.integer("num_heads")) for part in _columns(c, whole))
    else:
        q, k, v = _operands(c, c.integer("num_heads"), c.opt(10))
    mask, bias, old = c.opt(3), c.opt(4), (c.opt(5), c.opt(6))
    if old[0] is None or old[1] is None:
        return _attended(c, q, k, v, _additions(c, q, k.shape[2], mask, bias), 0)
    if not c.flag("past_present_share_buffer"):
        k, v = c.concat([old[0], k], 2), c.concat([old[1], v], 2)
        return _attended(c, q, k, v, _additions(c, q, k.shape[2], mask, bias), 0)
    if c.wants(3):
        raise c.unsupported(f"the scores of {c.node.op} over a shared cache are not supported as an output")
    if q.shape[2] != 1:
        raise GraphError(f"{c.node.op} over a shared cache takes one new token per row, not {q.shape[2]}")
    keys = old[0].shape[2]
    places, past = heads.ramp(c, keys), c.reshape(c.cast(c[7], heads.I32), ())
    here = c.reshape(c.op("eq", places, past), (keys, 1))
    k, v = c.op("where", here, k, old[0]), c.op("where", here, v, old[1])
    seen = c.op("le", places, past)
    # masks and biases count the keys up to the new one
    added = _additions(c, q, keys, *(None if x is None else _lengthened(c, x, keys) for x in (mask, bias)))
    return _attended(c, q, k, v, seen if added is None else c.op("where", seen, added, c.scalar(-3e38, q)), 0)


def _lengthened(c: Ctx, x: Value, keys: int) -> Value:
    """x with zeros behind its last axis."""
    missing = keys - x.shape[-1]
    if missing < 0:
        raise GraphError(f"a mask or bias {list(x.shape)} is longer than the cache of {keys} keys")
    low, high = (0,) * x.rank, (*(0,) * (x.rank - 1), missing)
    return c.op("pad", x, c.scalar(0, x), low=low, high=high, mode="constant") if missing else x
