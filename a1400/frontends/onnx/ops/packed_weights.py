"""ONNX Runtime's product with weights of a few bits, which stay packed in the graph and on the device."""

from __future__ import annotations

import numpy as np

from a1400 import dtypes
from a1400.errors import GraphError
from a1400.frontends.onnx.context import Ctx
from a1400.frontends.onnx.ops.registry import translates
from a1400.graph.graph import Value

I32, U8 = np.dtype(np.int32), np.dtype(np.uint8)


@translates("MatMulNBits", domain="com.microsoft")
def matmul_nbits(c: Ctx) -> Value:
    """Rows [..., K] times packed weights [N, blocks, bytes], plus a bias; always as exact as ``accuracy_level`` 1."""
    a, b, bits, block = c[0], c[1], c.integer("bits", 4), c.integer("block_size")
    depth, columns = c.integer("K"), c.integer("N")
    if c.opt(4) is not None:
        raise c.unsupported("MatMulNBits with g_idx (weights in another order than the rows) is not supported")
    if bits not in (2, 4, 8) or block < 1 or block * bits % 8:
        raise c.unsupported(f"MatMulNBits with {bits} bits in blocks of {block} is not supported")
    if a.rank < 1 or a.shape[-1] != depth:
        raise GraphError(f"MatMulNBits of depth {depth} does not fit rows {list(a.shape)}")
    blocks, size = -(-depth // block), block * bits // 8
    b, scales = _shaped(c, b, (columns, blocks, size), "weights"), _shaped(c, c[2], (columns, blocks), "scales")
    point = c.opt(3)
    zeros = c.scalar(1 << (bits - 1), a) if point is None else _zeros(c, point, (columns, blocks), bits, a.dtype)
    y = c.op("matmul_nbits", a, b, scales, zeros, bits=bits, block=block)
    bias = c.opt(5)
    return y if bias is None else c.op("add", y, _shaped(c, bias, (columns,), "bias"))


def _zeros(c: Ctx, point: Value, shape: tuple[int, int], bits: int, dtype: np.dtype) -> Value:
    """Zero points as real numbers [N, blocks]: they are given so, or packed by rows as the weights are."""
    if dtypes.is_float(point.dtype):
        return _shaped(c, point, shape, "zero points")
    rows, blocks = shape
    each = 8 // bits
    length = -(-blocks // each)
    packed = c.cast(_shaped(c, point, (rows, length), "zero points"), I32)
    shifts = c.table(("shifts", bits), lambda: np.arange(each, dtype=np.int32) * bits)
    parts = c.op("shr", c.reshape(packed, (rows, length, 1)), shifts)
    parts = c.op("bit_and", parts, c.scalar((1 << bits) - 1, I32))
    return c.cast(c.slice(c.reshape(parts, (rows, length * each)), 1, 0, blocks), dtype)


def _shaped(c: Ctx, value: Value, shape: tuple[int, ...], what: str) -> Value:
    """``value`` in ``shape``, which older models write flat."""
    if value.size != int(np.prod(shape, dtype=np.int64)):
        raise GraphError(f"MatMulNBits' {what} {list(value.shape)} do not fit {list(shape)}")
    return c.reshape(value, shape)
