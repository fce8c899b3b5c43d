"""``matmul_nbits``: a product with weights of 2, 4 or 8 bits that stay packed, scaled block by block along the depth.

``matmul_nbits(a [..., K], b u8 [N, blocks, block * bits / 8], scales [N, blocks], zeros [N, blocks] or [])`` with attrs
``bits`` and ``block`` is ``a @ ((q - zeros) * scales).T`` of the unpacked ``q`` [N, K]; the first weight is in the
lowest bits of a byte.  ``scales`` and ``zeros`` are real, and what ``q`` has beyond K is not read.
"""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from a1400.graph.graph import Value
from a1400.graph.tensor import Tensor
from a1400.kernels.gemm_nbits import BITS, dequantized
from a1400.ops.registry import Backward, Result, gradient, is_real, op, require

_U8, _I32 = np.dtype(np.uint8), np.dtype(np.int32)


def _infer(attrs: dict[str, Any], a: Value, b: Value, scales: Value, zeros: Value) -> list[Result]:
    bits, block = attrs["bits"], attrs["block"]
    require(bits in BITS, f"weights of {bits} bits; packed ones have {', '.join(map(str, BITS))}")
    require(block > 0 and block * bits % 8 == 0, f"blocks of {block} weights of {bits} bits are no whole bytes")
    require(a.rank > 0 and is_real(a.dtype), f"packed weights multiply rows of real numbers, not {a}")
    blocks, size = -(-a.shape[-1] // block), block * bits // 8
    fits = b.rank == 3 and b.dtype == _U8 and b.shape[1:] == (blocks, size)
    require(fits, f"{b} is not u8 [N, {blocks}, {size}], which {a} asks for in blocks of {block}")
    known = is_real(scales.dtype) and is_real(zeros.dtype)
    require(scales.shape == b.shape[:2] and known, f"scales {scales} do not fit packed weights {b}")
    require(zeros.shape in ((), b.shape[:2]) and known, f"zero points {zeros} do not fit packed weights {b}")
    return [((*a.shape[:-1], b.shape[0]), a.dtype)]


def _reference(
    attrs: dict[str, Any], a: np.ndarray, b: np.ndarray, scales: np.ndarray, zeros: np.ndarray
) -> np.ndarray:
    zeros = np.broadcast_to(zeros, scales.shape)
    return (a.astype(np.float64) @ dequantized(b, scales, zeros, attrs["bits"], a.shape[-1])).astype(a.dtype)


op("matmul_nbits", "linear", _infer, _reference)


@gradient("matmul_nbits")
def _gradient(d: Backward) -> tuple[Tensor, None, Tensor, Tensor]:
    a, b, scales, zeros = d.x(0), d.x(1), d.x(2), d.x(3)
    depth, (count, blocks) = a.shape[-1], b.shape[:2]
    block = d.attrs["block"]
    whole = blocks * block
    point = zeros if zeros.rank == 0 else zeros.expand_dims(2)
    moved = unpacked(b, d.attrs["bits"]).cast(scales.dtype) - point.cast(scales.dtype)
    weights = (moved * scales.expand_dims(2)).reshape((count, whole)).slice((0, 0), (count, depth))
    da = d.g @ weights.cast(a.dtype)
    g = d.g.reshape((prod(a.shape[:-1]), count)).swap(0, 1)
    dw = (g @ a.reshape((prod(a.shape[:-1]), depth))).pad((0, 0), (0, whole - depth)).reshape((count, blocks, block))
    dw = dw.cast(scales.dtype)
    dz = -(dw.sum((2,)) * scales).cast(zeros.dtype)
    return da, None, (dw * moved).sum((2,)), dz.sum_to(zeros.shape)


def unpacked(b: Tensor, bits: int) -> Tensor:
    """u8 [..., bytes] as i32 numbers [..., bytes * 8 / bits]."""
    each = 8 // bits
    shifts = Tensor(b.graph, b.graph.constant(np.arange(each, dtype=np.int32) * bits))
    mask = Tensor(b.graph, b.graph.constant(np.array((1 << bits) - 1, np.int32)))
    parts = b.cast(_I32).expand_dims(b.rank).op("shr", shifts).op("bit_and", mask)
    return parts.reshape((*b.shape[:-1], b.shape[-1] * each))
