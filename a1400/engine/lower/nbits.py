"""Products with packed weights: read as they are, by kernels that unpack them in registers."""

from __future__ import annotations

from math import prod

import numpy as np

from a1400.engine.lower.slots import Filled, with_epilogue
from a1400.engine.lowering import Lowering, lowers, split_inputs
from a1400.errors import GraphError
from a1400.graph.graph import Node


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
    types = {"TA": a.dtype, "TS": scales.dtype, "TZ": zeros.dtype, "TC": c.dtype}
    buffers = {"a": a.ref(), "b": lw.bind(b), "scales": lw.bind(scales), "zeros": lw.bind(zeros), "c": c.ref()}
    scalars: dict[str, int | float] = {
        "M": rows, "N": columns, "K": depth, "bits": node.attrs["bits"], "block": node.attrs["block"],
        "blocks": blocks, "a_off": a.offset, "a_m": a.strides[0], "z_n": blocks if zeros.shape else 0,
        "z_b": 1 if zeros.shape else 0, "c_off": c.offset, "c_m": c.strides[0],
    }  # fmt: skip
    lw.launch("gemm_nbits", types, buffers, scalars, slots=with_epilogue(slots, np.dtype(np.float32), c.dtype))
