"""Determinants by elimination."""

from __future__ import annotations

import numpy as np

from a1400.errors import GraphError
from a1400.frontends.onnx.context import Ctx
from a1400.frontends.onnx.ops.registry import translates
from a1400.graph.graph import Value
from a1400.graph.tensor import Tensor

#: largest matrix: the elimination is written out, a few launches for each row
_LARGEST = 64


@translates("Det")
def determinant(c: Ctx) -> Value:
    """Determinants of matrices [..., n, n]: Gaussian elimination with the largest pivot of each column."""
    x = c[0]
    if x.rank < 2 or x.shape[-1] != x.shape[-2] or x.size == 0:
        raise GraphError(f"determinants are of square matrices, not of {list(x.shape)}")
    n, lead = x.shape[-1], x.shape[:-2]
    if n > _LARGEST:
        raise c.unsupported(f"determinants of matrices beyond {_LARGEST} x {_LARGEST} are not supported")
    wide = np.promote_types(x.dtype, np.float32)  # 16-bit floats are rounded once, at the end
    rest = Tensor(c.graph, c.cast(c.reshape(x, (x.size // (n * n), n, n)), wide))
    product: Tensor | None = None
    for size in range(n, 0, -1):
        many = rest.shape[0]
        column = rest.slice((0, 0, 0), (many, size, 1))
        place = column.abs().argmax(1).reshape((many, 1, 1))
        ramp = c.const(np.arange(size, dtype=np.int64).reshape(1, size, 1))
        chosen = Tensor(c.graph, ramp).equal(place)  # one row of each matrix
        row = chosen.where(rest, 0).sum((1,), keepdims=True)
        # the first row takes the pivot's place, and the sign turns unless they are one
        first = rest.slice((0, 0, 0), (many, 1, size))
        pivot = row.slice((0, 0, 0), (many, 1, 1))
        turned = place.equal(0).where(pivot, -pivot) if size > 1 else pivot
        product = turned if product is None else product * turned
        if size > 1:
            below = chosen.where(first, rest).slice((0, 1, 0), (many, size - 1, size))
            safe = pivot.equal(0).where(pivot.lift(1), pivot)
            factor = below.slice((0, 0, 0), (many, size - 1, 1)) / safe
            rest = (below - factor * row).slice((0, 0, 1), (many, size - 1, size - 1))
    assert product is not None
    return c.reshape(c.cast(product.value, x.dtype), lead)
