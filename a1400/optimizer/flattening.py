"""``flattening``: a product whose rows were flattened from a transpose reads them untransposed, its weights reordered.

Classifiers flatten channels-first images in front of their first product; the layout pass leaves that transpose just
before the reshape.  Reordering the constant's rows once saves a copy of the image on every run.
"""

from __future__ import annotations

import math

from a1400.graph.graph import Node, Value
from a1400.optimizer.rewriter import Context, Rewriter

#: weights above this many bytes are left alone: the copy is small beside such a product, and they would be held twice
LARGEST = 4 << 20


def flattening(ctx: Context) -> None:
    """Reorder constant weights instead of the activations they multiply."""
    Rewriter(ctx, {"matmul": (_untranspose,)}).run()


def _untranspose(walk: Rewriter, node: Node) -> Value | None:
    flat, weights = node.inputs
    assert flat is not None and weights is not None
    if weights.data is None or weights.rank != 2 or weights.nbytes > LARGEST or flat.rank < 2:
        return None
    reshape = flat.producer
    transpose = reshape.inputs[0].producer if reshape is not None and reshape.op == "reshape" else None  # type: ignore[union-attr]
    if transpose is None or transpose.op != "transpose":
        return None
    source, perm, shape = transpose.inputs[0], transpose.attrs["perm"], transpose.output.shape
    assert source is not None
    lead = _leading(shape, flat.shape[-1])
    if lead is None or tuple(perm[:lead]) != tuple(range(lead)):
        return None
    inner = [p - lead for p in perm[lead:]]  # axis i of the flattened part is axis inner[i] of the source's
    back = [inner.index(axis) for axis in range(len(inner))]
    columns = weights.shape[1]
    ordered = weights.data.reshape(*shape[lead:], columns).transpose(*back, len(inner)).reshape(weights.shape)
    made = walk.memo.derive(("flattening", tuple(shape[lead:]), tuple(back)), [weights.data], lambda: [ordered.copy()])
    rows = walk.op("reshape", source, shape=flat.shape, sources=reshape.sources)  # type: ignore[union-attr]
    return walk.op("matmul", rows, walk.constant(made[0]), sources=node.sources, **node.attrs)


def _leading(shape: tuple[int, ...], rows: int) -> int | None:
    """How many axes stand before those that together have ``rows`` elements."""
    for lead in range(len(shape) - 1, -1, -1):
        size = math.prod(shape[lead:])
        if size == rows and rows:
            return lead
        if size > rows:
            return None
    return None
