"""Small operators of ONNX Runtime's domain, most of them older forms of what ONNX has now."""

from __future__ import annotations

from typing import Any

import numpy as np

from a1400 import dtypes
from a1400.errors import GraphError
from a1400.frontends.onnx.context import Ctx
from a1400.frontends.onnx.ops.delegation import onnx_op
from a1400.frontends.onnx.ops.indexing import as_index
from a1400.frontends.onnx.ops.integer_products import one
from a1400.frontends.onnx.ops.quantization import F32, I32
from a1400.frontends.onnx.ops.registry import AS_VIEW, translates
from a1400.graph.graph import Value

MICROSOFT = "com.microsoft"
_U32, _BOOL = np.dtype(np.uint32), np.dtype(np.bool_)


@translates("Trilu", "Pad", "GatherND", domain=MICROSOFT)
def as_in_onnx(c: Ctx) -> object:
    """What ONNX has under the same name since opset 13 or 14."""
    return onnx_op(c, c.node.op, *c.inputs, opset=14, keep=True)


@translates("GridSample", domain=MICROSOFT)
def grid_sample(c: Ctx) -> object:
    """ONNX's operator as opset 16 has it."""
    return onnx_op(c, "GridSample", c[0], c[1], opset=16, keep=True)


@translates("NhwcMaxPool", domain=MICROSOFT)
def channels_last_max_pool(c: Ctx) -> Value:
    """Maximum of each window of images with channels last."""
    found = onnx_op(c, "MaxPool", c.channels_first(c[0]), opset=12, keep=True)[0]
    assert isinstance(found, Value)
    return c.channels_last(found)


@translates("ConvTransposeWithDynamicPads", domain=MICROSOFT)
def conv_transpose_with_dynamic_pads(c: Ctx) -> object:
    """Transposed convolution whose pads are an input."""
    pads: dict[str, Any] = {} if c.opt(2) is None else {"pads": list(c.need_ints(2, "the pads"))}
    return onnx_op(c, "ConvTranspose", c[0], c[1], c.opt(3), opset=11, keep=True, **pads)


@translates("Range", domain=MICROSOFT)
def number_range(c: Ctx) -> object:
    """Numbers from start to limit in steps of delta, 1 where it is absent."""
    delta = c.scalar(1, c[0]) if c.opt(2) is None else c[2]
    return onnx_op(c, "Range", *(one(c, v) for v in (c[0], c[1], delta)), opset=11)


@translates("Unique", domain=MICROSOFT)
def unique(c: Ctx) -> object:
    """The different values in the order of their first appearance, where each element's is, how many there are."""
    values, places, counts = (*c.node.outputs, "", "")[:3]
    found = onnx_op(c, "Unique", c[0], opset=11, outputs=(values, "", places, counts), sorted=0)
    return found[0], found[2], found[3]


@translates("ExpandDims", domain=MICROSOFT, runs=AS_VIEW)
def expand_dims(c: Ctx) -> Value:
    """An axis of size 1 put in."""
    x, axis = c[0], int(c.need_scalar(1, "the axis"))
    at = c.axis(axis, x.rank + 1)
    return c.reshape(x, (*x.shape[:at], 1, *x.shape[at:]))


translates("SampleOp", domain=MICROSOFT, runs=AS_VIEW)(lambda c: c[0])
translates("TorchEmbedding", domain=MICROSOFT)(lambda c: c.op("gather", c[0], as_index(c, c[1]), axis=0))
translates("MatMulInteger16", domain=MICROSOFT)(lambda c: c.op("matmul", c.cast(c[0], I32), c.cast(c[1], I32)))


@translates("ReduceSumInteger", domain=MICROSOFT)
def reduce_sum_integer(c: Ctx) -> Value:
    """Sum over axes of small integers, in 32 bits."""
    x, wide = c[0], _U32 if c[0].dtype.kind == "u" else I32
    axes = [c.axis(a, x.rank) for a in c.ints("axes") or range(x.rank)]
    return c.reduce("sum", c.cast(x, wide), axes, keepdims=c.flag("keepdims", True))


@translates("MulInteger", domain=MICROSOFT)
def mul_integer(c: Ctx) -> Value:
    """Product of 8-bit integers less their zero points, in i32."""

    def moved(x: int, zero: int) -> Value:
        wide = c.cast(c[x], I32)
        return wide if c.opt(zero) is None else c.op("sub", wide, c.cast(one(c, c[zero]), I32))

    return c.op("mul", moved(0, 1), moved(2, 3))


@translates("GatedAdd", domain=MICROSOFT)
def gated_add(c: Ctx) -> Value:
    """x + y gate."""
    if c.opt(3) is not None:
        raise c.unsupported("GatedAdd with gate_weight is not supported: write the product and the sigmoid as nodes")
    return c.op("add", c[0], c.op("mul", c[1], c[2]))


@translates("UnfoldTensor", domain=MICROSOFT)
def unfold(c: Ctx) -> Value:
    """Windows of ``size`` along an axis, every ``step``; what is in a window lies along a new last axis."""
    x, size, step = c[0], c.integer("size"), c.integer("step", 1)
    axis = c.axis(c.integer("dim", -1), x.rank)
    if step < 1 or not 0 < size <= x.shape[axis]:
        raise GraphError(f"windows of {size} every {step} do not fit an axis of {x.shape[axis]}")
    count = (x.shape[axis] - size) // step + 1
    c.claim(count * size)
    index = c.table(("unfold", count, size, step), lambda: np.arange(count)[:, None] * step + np.arange(size))
    y = c.op("gather", x, index, axis=axis)
    return c.transpose(y, (*range(axis + 1), *range(axis + 2, y.rank), axis + 1))


@translates("CDist", domain=MICROSOFT)
def pairwise_distances(c: Ctx) -> Value:
    """Euclidean distances [M, K], squared or not, of the rows of two matrices."""
    a, b, metric = c[0], c[1], c.text("metric", "sqeuclidean")
    if metric not in ("euclidean", "sqeuclidean"):
        raise c.unsupported(f"CDist with metric {metric!r} is not supported: 'euclidean' and 'sqeuclidean' are")
    squares = [c.reduce("sum", c.op("mul", v, v), (1,)) for v in (a, b)]
    sums = c.op("add", squares[0], c.transpose(squares[1], (1, 0)))
    inner = c.op("matmul", a, c.transpose(b, (1, 0)))
    y = c.op("max", c.op("sub", sums, c.op("mul", inner, c.scalar(2, inner))), c.scalar(0, inner))
    return c.op("sqrt", y) if metric == "euclidean" else y


@translates("IsAllFinite", domain=MICROSOFT)
def is_all_finite(c: Ctx) -> Value:
    """Whether no number of any tensor is infinite (unless ``isnan_only``) or NaN (unless ``isinf_only``)."""
    found: Value | None = None
    for x in c.tensors():
        tests = [("isinf", "isnan_only"), ("isnan", "isinf_only")]
        bad = [c.cast(c.op(op, x), I32) for op, without in tests if not c.flag(without)]
        if not bad:
            raise GraphError("isnan_only and isinf_only cannot both be 1")
        worst = c.reduce("max", bad[0] if len(bad) == 1 else c.op("max", *bad), range(x.rank), keepdims=False)
        found = worst if found is None else c.op("max", found, worst)
    assert found is not None
    return c.op("eq", found, c.scalar(0, I32))


@translates("NGramRepeatBlock", domain=MICROSOFT)
def block_repeated_grams(c: Ctx) -> Value:
    """Scores [B, V] with minus infinity at every token that would end an n-gram seen before in the row's tokens."""
    ids, scores, size = c[0], c[1], c.integer("ngram_size")
    if size < 1 or ids.rank != 2 or scores.rank != 2:
        raise GraphError(f"{size}-grams of tokens {list(ids.shape)} with scores {list(scores.shape)}")
    count = ids.shape[1] - size + 1
    if count < 1:
        return scores
    last = c.slice(ids, 1, size - 1, count)
    for k in range(size - 1):
        same = c.op("eq", c.slice(ids, 1, k, count), c.slice(ids, 1, count + k, 1))
        # what is no repetition goes to a place outside, which scatters drop
        last = c.op("where", same, last, c.scalar(scores.shape[1], last))
    updates = c.expand(c.scalar(-np.inf, scores), last.shape)
    return c.op("scatter_elements", scores, as_index(c, last), updates, axis=1, reduction="none")


def _murmur_words(c: Ctx, x: Value) -> list[Value]:
    """The numbers' bits as uint32 words, the low ones first."""
    if x.dtype.itemsize == 4:
        return [c.op("bitcast", x, to=_U32) if x.dtype != _U32 else x]
    if x.dtype.itemsize != 8:
        raise c.unsupported(f"MurmurHash3 of {x.dtype} is not supported: 32-bit and 64-bit numbers are")
    whole = x if x.dtype == np.dtype(np.uint64) else c.op("bitcast", x, to=np.dtype(np.uint64))
    return [c.cast(whole, _U32), c.cast(c.op("shr", whole, c.scalar(32, whole)), _U32)]


@translates("MurmurHash3", domain=MICROSOFT)
def murmur_hash(c: Ctx) -> Value:
    """MurmurHash3_x86_32 (Austin Appleby, public domain) of each number's bytes."""

    def number(value: int) -> Value:
        return c.scalar(value, _U32)

    def rotated(v: Value, bits: int) -> Value:
        return c.op("bit_or", c.op("shl", v, number(bits)), c.op("shr", v, number(32 - bits)))

    def mixed(v: Value, bits: int) -> Value:
        return c.op("bit_xor", v, c.op("shr", v, number(bits)))

    words = _murmur_words(c, c[0])
    h = number(c.integer("seed", 0) & 0xFFFFFFFF)
    for word in words:
        k = c.op("mul", rotated(c.op("mul", word, number(0xCC9E2D51)), 15), number(0x1B873593))
        h = c.op("add", c.op("mul", rotated(c.op("bit_xor", h, k), 13), number(5)), number(0xE6546B64))
    h = mixed(c.op("bit_xor", h, number(4 * len(words))), 16)
    h = mixed(c.op("mul", h, number(0x85EBCA6B)), 13)
    h = mixed(c.op("mul", h, number(0xC2B2AE35)), 16)
    return h if c.flag("positive", True) else c.op("bitcast", h, to=I32)


@translates("RelativePositionBias", domain=MICROSOFT)
def relative_position_bias(c: Ctx) -> Value:
    """T5's bias [1, heads, Q, K] of how far keys lie from queries, in buckets that grow with the distance."""
    buckets, count = c[0].shape if c[0].rank == 2 else (0, 0)
    queries, keys = (int(c.need_scalar(i, "the length")) for i in (1, 2))
    both, furthest = c.flag("is_bidirectional"), c.integer("max_distance")
    sides = 2 if both else 1
    near = buckets // sides // 2  # distances below have a bucket each
    if near < 1 or buckets % sides or furthest <= near or min(queries, keys) < 1:
        raise GraphError(f"{list(c[0].shape)} buckets do not fit distances up to {furthest}")

    def make() -> np.ndarray:
        ahead = np.arange(keys) - np.arange(queries)[:, None]
        distance = np.abs(ahead) if both else np.maximum(-ahead, 0)
        each = buckets // sides
        steps = np.log(np.maximum(distance, 1).astype(np.float32) / near) / np.log(furthest / near) * (each - near)
        place = np.where(distance < near, distance, np.minimum(near + steps.astype(np.int64), each - 1))
        return place + (each * (ahead > 0) if both else 0)

    places = c.table(("t5 buckets", queries, keys, buckets, furthest, both), make)
    table = c.reshape(c[0], (count, buckets))  # declared as its transpose, but stored head by head
    return c.reshape(c.op("gather", table, places, axis=1), (1, count, queries, keys))


@translates("CropAndResize", domain=MICROSOFT)
def crop_and_resize(c: Ctx) -> Value:
    """Boxes [R, 4] (y1, x1, y2, x2 in parts of the image's last row and column) of chosen images, at one size."""
    x, boxes, mode = c[0], c[1], c.text("mode", "bilinear")
    sizes = c.need_ints(3, "the crop size")
    if len(sizes) != 2 or min(sizes) < 1 or boxes.rank != 2 or x.rank != 4 or mode not in ("bilinear", "nearest"):
        raise GraphError(f"crops {list(sizes)} of {list(x.shape)} by boxes {list(boxes.shape)}, mode {mode!r}")
    count, places, inside = boxes.shape[0], [], None
    for d, size in enumerate(sizes):
        last = x.shape[2 + d] - 1
        low, high = (c.op("mul", c.slice(boxes, 1, d + k, 1), c.scalar(last, boxes)) for k in (0, 2))
        if size > 1:
            step = c.op("div", c.op("sub", high, low), c.scalar(size - 1, boxes))
            c.claim(size)
            ramp = c.table(("f32 ramp", size), lambda size=size: np.arange(size, dtype=np.float32))  # type: ignore[misc]
            at = c.op("add", low, c.op("mul", c.cast(ramp, boxes.dtype), step))
        else:
            at = c.op("mul", c.op("add", low, high), c.scalar(0.5, boxes))
        fits = c.op("and", c.op("ge", at, c.scalar(0, at)), c.op("le", at, c.scalar(last, at)))
        if mode == "nearest":
            at = c.op("floor", c.op("add", at, c.scalar(0.5, at)))
        shape = (count, size, 1) if d == 0 else (count, 1, size)
        fits = c.reshape(fits, shape)
        inside = fits if inside is None else c.op("and", inside, fits)
        at = c.op("sub", c.op("mul", at, c.scalar(2 / max(last, 1), at)), c.scalar(1, at))
        places.append(c.reshape(c.expand(c.reshape(at, shape), (count, *sizes)), (count, *sizes, 1)))
    chosen = c.op("gather", x, as_index(c, c[2]), axis=0)
    grid = c.concat([places[1], places[0]], 3)
    y = c.op("grid_sample", c.channels_last(chosen), grid, mode="linear", padding="border", align_corners=True)
    assert inside is not None
    inside = c.reshape(inside, (count, *sizes, 1))
    return c.channels_first(c.op("where", inside, y, c.scalar(c.number("extrapolation_value", 0.0), y)))


@translates("Inverse", domain=MICROSOFT)
def inverse(c: Ctx) -> Value:
    """Inverses of matrices [..., n, n]: Gauss-Jordan elimination with the largest pivot of each column."""
    x = c[0]
    if x.rank < 2 or x.shape[-1] != x.shape[-2] or x.size == 0:
        raise GraphError(f"inverses are of square matrices, not of {list(x.shape)}")
    n = x.shape[-1]
    many = x.size // (n * n)
    if n > _LARGEST:
        raise c.unsupported(f"inverses of matrices beyond {_LARGEST} x {_LARGEST} are not supported")
    wide = c.cast(x, F32) if dtypes.is_float(x.dtype) and x.dtype.itemsize < 4 else x
    unit = c.expand(c.table(("unit", n, str(wide.dtype)), lambda: np.eye(n, dtype=wide.dtype)), (many, n, n))
    rest = c.concat([c.reshape(wide, (many, n, n)), unit], 2)
    ramp = c.table(("ramp", (1, n, 1)), lambda: np.arange(n, dtype=np.int64).reshape(1, n, 1))
    for k in range(n):
        here = c.op("eq", ramp, c.scalar(k, ramp))
        column = c.op("abs", c.slice(rest, 2, k, 1))
        column = c.op("where", c.op("lt", ramp, c.scalar(k, ramp)), c.scalar(-1, column), column)
        place = c.op("arg_reduce", column, kind="argmax", axis=1, keepdims=True, select_last=False)
        chosen = c.op("eq", ramp, place)
        row = c.reduce("sum", c.op("where", chosen, rest, c.scalar(0, rest)), (1,))
        rest = c.op("where", chosen, c.slice(rest, 1, k, 1), rest)  # row k goes where the pivot's row was
        row = c.op("div", row, c.slice(row, 2, k, 1))
        factor = c.slice(rest, 2, k, 1)
        rest = c.op("where", here, row, c.op("sub", rest, c.op("mul", factor, row)))
    return c.cast(c.reshape(c.slice(rest, 2, n, n), x.shape), x.dtype)


#: largest matrix that is inverted: the elimination is written out, a few launches for each row
_LARGEST = 64
