"""Quantised tables and layers of ONNX Runtime's domain whose numbers become real where they are read."""

from __future__ import annotations

import numpy as np

from a1400.errors import GraphError
from a1400.frontends.onnx.context import Ctx
from a1400.frontends.onnx.ops.delegation import onnx_op
from a1400.frontends.onnx.ops.indexing import as_index
from a1400.frontends.onnx.ops.quantization import I32, dequantized, spread
from a1400.frontends.onnx.ops.registry import translates
from a1400.graph.graph import Value

MICROSOFT = "com.microsoft"
_U8 = np.dtype(np.uint8)


def _unpacked(c: Ctx, packed: Value, bits: int) -> Value:
    """u8 [..., n] as i32 numbers [..., n * 8 / bits], the lowest bits first."""
    each = 8 // bits
    if each == 1:
        return c.cast(packed, I32)
    shifts = c.table(("shifts", bits), lambda: np.arange(each, dtype=np.int32) * bits)
    parts = c.op("shr", c.cast(c.reshape(packed, (*packed.shape, 1)), I32), shifts)
    parts = c.op("bit_and", parts, c.scalar((1 << bits) - 1, I32))
    return c.reshape(parts, (*packed.shape[:-1], packed.shape[-1] * each))


@translates("GatherBlockQuantized", domain=MICROSOFT)
def gather_block_quantized(c: Ctx) -> Value:
    """Rows of a table of few bits, as real numbers; scales and zero points count blocks along another axis."""
    data, index, scales, zeros = c[0], as_index(c, c[1]), c[2], c.opt(3)
    bits, block = c.integer("bits", 4), c.integer("block_size", 128)
    packed = data.dtype == _U8
    if packed and bits not in (2, 4, 8):
        raise c.unsupported(f"GatherBlockQuantized of {bits} bits is not supported: 2, 4 and 8 are")
    axis = c.axis(c.integer("gather_axis", 0), data.rank)
    along = c.axis(c.integer("quantize_axis", 1), data.rank)
    if axis == along or (packed and axis == data.rank - 1 and bits < 8):
        raise c.unsupported("GatherBlockQuantized along the axis of its blocks is not supported: gather along another")
    block = block or data.shape[along]

    def rows(table: Value) -> Value:
        if table.rank != data.rank:
            raise GraphError(f"{list(table.shape)} does not fit the table {list(data.shape)}")
        return c.op("gather", table, index, axis=axis) if table.shape[axis] != 1 or data.shape[axis] == 1 else table

    numbers, factors = rows(data), rows(scales)
    place = along if along < axis else along - 1 + index.rank
    numbers = _unpacked(c, numbers, bits) if packed else numbers
    if zeros is not None:
        point: Value | None = rows(zeros)
        if packed:
            point = c.slice(_unpacked(c, rows(zeros), bits), numbers.rank - 1, 0, factors.shape[-1])
        point = None if point is None else spread(c, point, numbers, place, block)
    else:
        point = c.scalar(1 << (bits - 1), I32) if packed else None
    return c.cast(dequantized(c, numbers, spread(c, factors, numbers, place, block), point), scales.dtype)


@translates("DynamicQuantizeLSTM", domain=MICROSOFT)
def dynamic_quantize_lstm(c: Ctx) -> object:
    """LSTM whose weights [directions, inputs, 4 H] are of 8 bits: they become real numbers, and rows stay so.

    ONNX Runtime quantises the rows of every step too; results differ from its by what that loses.
    """

    def real(weights: Value, scale: Value, zero: Value | None) -> Value:
        def fitted(v: Value) -> Value:
            if v.size == 1:
                return c.reshape(v, ())
            return c.reshape(v, (v.shape[0], 1, v.size // v.shape[0]))

        point = None if zero is None else fitted(zero)
        return c.transpose(dequantized(c, weights, fitted(scale), point), (0, 2, 1))

    w, r = real(c[1], c[8], c.opt(9)), real(c[2], c[10], c.opt(11))
    return onnx_op(c, "LSTM", c[0], w, r, *(c.opt(i) for i in range(3, 8)), opset=14, keep=True)
