"""Products with packed weights: read as they are, by kernels that unpack them in registers.

Where CPUs multiply many rows, the weights are first unpacked into the panels that the blocked product reads: a pass
over memory that the rows repay, into scratch memory that the next product takes again.
"""

from __future__ import annotations

from math import prod

import numpy as np

from a1400.engine.lower.linear import emit_product, uses_packed
from a1400.engine.lower.pointwise import emit_pointwise
from a1400.engine.lower.product import Product
from a1400.engine.lower.slots import Filled, with_epilogue
from a1400.engine.lowering import Lowering, lowers, split_inputs
from a1400.errors import GraphError
from a1400.graph.graph import Node
from a1400.kernels import expr
from a1400.kernels.gemm_pack import PANEL
from a1400.memory.storage import View

F32, I32 = np.dtype(np.float32), np.dtype(np.int32)
#: rows that repay unpacking, and the bytes that panels take at most
_MANY_ROWS, _MOST_BYTES = 64, 1 << 28


@lowers("matmul_nbits")
def _nbits(lw: Lowering, node: Node) -> None:
    own, _, _ = split_inputs(node)
    a_value, b_value, scales_value, zeros_value = (value for value in own if value is not None)
    shape = node.output.shape
    rows, depth, columns = prod(shape[:-1]), a_value.shape[-1], shape[-1]
    c = lw.result(node.output).reshape((rows, columns))
    if node.output.size == 0:
        return
    view = lw.view(a_value)
    a = view.reshape((rows, depth))
    if a is None or (a.strides[-1] != 1 and depth != 1):
        a = lw.dense_view(view).reshape((rows, depth))
    assert a is not None and c is not None
    slots: dict[str, Filled] = {}
    groups: list[list[int]] = [[], list(range(len(shape) - 1)), [len(shape) - 1]]
    if (epilogue := lw.attached(node, "epilogue", shape, groups)) is not None:
        slots["EPILOGUE"] = epilogue
    b, scales, zeros = lw.dense(b_value), lw.dense(scales_value), lw.dense(zeros_value)
    blocks = b_value.shape[1]
    if max(v.dtype.itemsize for v in (a, scales, zeros)) > 4:
        raise GraphError("packed weights multiply no f64 on a device: cast the rows, scales and zero points to f32")
    if rows >= _MANY_ROWS and a.dtype == F32 and uses_packed(lw, F32):
        panels = _panels(lw, b, scales, zeros, depth, node.attrs["bits"])
        if panels is not None:
            weights = View(panels.storage, F32, (depth, columns), (PANEL, 1), panels.offset)
            emit_product(lw, Product(a, weights, c, None, slots), panels)
            return
    types = {"TA": a.dtype, "TS": scales.dtype, "TZ": zeros.dtype, "TC": c.dtype}
    buffers = {"a": a.ref(), "b": lw.bind(b), "scales": lw.bind(scales), "zeros": lw.bind(zeros), "c": c.ref()}
    scalars: dict[str, int | float] = {
        "M": rows, "N": columns, "K": depth, "bits": node.attrs["bits"], "block": node.attrs["block"],
        "blocks": blocks, "a_off": a.offset, "a_m": a.strides[0], "z_n": blocks if zeros.shape else 0,
        "z_b": 1 if zeros.shape else 0, "c_off": c.offset, "c_m": c.strides[0],
    }  # fmt: skip
    lw.launch("gemm_nbits", types, buffers, scalars, slots=with_epilogue(slots, np.dtype(np.float32), c.dtype))


def _panels(lw: Lowering, b: View, scales: View, zeros: View, depth: int, bits: int) -> View | None:
    """The weights as f32 in panels [N / 32, K, 32]; None where blocks or columns are left over, or panels too large."""
    columns, blocks, size = b.shape
    each = 8 // bits
    if columns % PANEL or blocks * size * each != depth or columns * depth * F32.itemsize > _MOST_BYTES:
        return None
    panels = lw.temporary((columns // PANEL, blocks, size, each, PANEL), F32)

    def spread(v: View, of_blocks: int, of_bytes: int) -> View:
        """[N, ...] as the panels have it, with these strides between blocks and between bytes."""
        row = v.strides[0] if v.shape else 0
        return View(v.storage, v.dtype, panels.shape, (PANEL * row, of_blocks, of_bytes, 0, row), v.offset)

    step = 1 if zeros.shape else 0
    views = [spread(b, size, 1), spread(scales, 1, 0), spread(zeros, step, 0)]
    numbers, scale, zero = (expr.arg(i, v.dtype) for i, v in enumerate(views))
    numbers = expr.cast(numbers, I32)
    if each > 1:
        shifts = lw.constant(np.arange(each, dtype=np.int32) * bits)
        views.append(View(shifts.storage, I32, panels.shape, (0, 0, 0, 1, 0), shifts.offset))
        numbers = expr.apply("shr", numbers, expr.arg(3, I32))
        numbers = expr.apply("bit_and", numbers, expr.const((1 << bits) - 1, I32))
    moved = expr.apply("sub", expr.cast(numbers, F32), expr.cast(zero, F32))
    emit_pointwise(lw, expr.apply("mul", moved, expr.cast(scale, F32)), views, panels)
    return panels
