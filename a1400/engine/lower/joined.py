"""Products with several matrices side by side: packed one after the other, they are the panels of one wide matrix."""

from __future__ import annotations

from math import prod

import numpy as np

from a1400.engine.lower.linear import Product, emit_product, uses_packed
from a1400.engine.lower.slots import Filled
from a1400.engine.lowering import Lowering, lowers, split_inputs
from a1400.graph.graph import Node
from a1400.kernels.gemm_pack import PANEL, pack_b
from a1400.memory.storage import View, dense_strides


@lowers("matmul_joined")
def _joined(lw: Lowering, node: Node) -> None:
    own, _, _ = split_inputs(node)
    a_value, *parts = (value for value in own if value is not None)
    shape = node.output.shape
    rows, depth, columns = prod(shape[:-1]), a_value.shape[-1], shape[-1]
    view = lw.view(a_value)
    a = view.reshape((rows, depth)) or lw.dense_view(view).reshape((rows, depth))
    c = lw.result(node.output).reshape((rows, columns))
    assert a is not None and c is not None
    slots: dict[str, Filled] = {}
    groups: list[list[int]] = [[], list(range(len(shape) - 1)), [len(shape) - 1]]
    if (epilogue := lw.attached(node, "epilogue", shape, groups)) is not None:
        slots["EPILOGUE"] = epilogue
    side_by_side = all(value.shape[1] % PANEL == 0 for value in parts[:-1])
    if uses_packed(lw, a.dtype) and side_by_side:
        packed = lw.packed(parts, ("pack_b",), pack_parts)
        # of B only the shape counts, its elements are in the panels
        b = View(packed.storage, packed.dtype, (depth, columns), dense_strides((depth, columns)))
        emit_product(lw, Product(a, b, c, None, slots), packed)
        return
    emit_product(lw, Product(a, lw.packed(parts, ("joined",), _join), c, None, slots))


def pack_parts(*weights: np.ndarray) -> np.ndarray:
    """Matrices [K, N] packed one after the other, without ever being one array: ``[panels of all][K][32]``.

    The columns of all but the last must be whole panels.
    """
    panels = [-(-w.shape[1] // PANEL) for w in weights]
    packed = np.empty((sum(panels), weights[0].shape[0], PANEL), weights[0].dtype)
    start = 0
    for weight, count in zip(weights, panels, strict=True):
        packed[start : start + count] = pack_b(weight)
        start += count
    return packed


def _join(*weights: np.ndarray) -> np.ndarray:
    return np.concatenate(weights, axis=1)
