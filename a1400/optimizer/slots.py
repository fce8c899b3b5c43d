"""Which operands an expression inside another op's kernel can read: one stride per coordinate of the slot.

A kernel hands its slot a value and a few coordinates, e.g. (image, pixel, channel) in a convolution.  Each coordinate
stands for a run of the tensor's axes, flattened.  An operand fits when, along each run, a single stride describes it.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

from a1400.graph.graph import Node

Groups = tuple[tuple[int, ...], ...]

#: ops whose kernels have an EPILOGUE slot; what they hand to it has the output's shape
EPILOGUE_OPS = frozenset({
    "conv", "conv_transpose", "matmul", "matmul_joined", "matmul_nbits", "pool", "pool_gradient", "reduce", "softmax",
    "log_softmax", "layer_norm", "rms_norm", "group_norm", "resize", "layer_norm_gradient", "rms_norm_gradient",
    "softmax_gradient", "log_softmax_gradient",
})  # fmt: skip
#: ops whose kernels have a PROLOGUE slot on input 0
PROLOGUE_OPS = frozenset({"reduce", "softmax", "log_softmax", "layer_norm", "rms_norm", "matmul"})


def operand_strides(shape: Sequence[int], full: Sequence[int]) -> list[int]:
    """Strides over ``full`` of a dense operand of ``shape`` that broadcasts to it (0 where it is repeated)."""
    padded = [1] * (len(full) - len(shape)) + list(shape)
    strides, step = [0] * len(full), 1
    for d in reversed(range(len(full))):
        strides[d] = step if padded[d] != 1 else 0
        step *= max(padded[d], 1)
    return strides


def slot_operand_ok(shape: Sequence[int], full: Sequence[int], groups: Groups) -> bool:
    """True when a dense operand of ``shape`` that broadcasts to ``full`` has one stride along each group of axes."""
    if len(shape) > len(full):
        return False
    strides = operand_strides(shape, full)
    for group in groups:
        axes = [d for d in group if full[d] != 1]
        if any(strides[a] != strides[b] * full[b] for a, b in itertools.pairwise(axes)):
            return False
    return True


def epilogue_groups(node: Node) -> Groups:
    """Axes of the output that each coordinate of the node's EPILOGUE slot stands for."""
    rank = node.output.rank
    axes = tuple(range(rank))
    if node.op in ("matmul", "matmul_joined"):
        return _matmul_groups(node)
    if node.op == "matmul_nbits":
        return (), axes[:-1], axes[-1:]
    if node.op == "reduce":
        return _reduce_groups(node)[1]
    if node.op in ("softmax", "log_softmax"):
        return _line_groups(node.attrs["axis"], rank)
    if node.op in ("softmax_gradient", "log_softmax_gradient"):
        return axes[:-1], axes[-1:]
    if node.op in ("layer_norm", "rms_norm", "layer_norm_gradient", "rms_norm_gradient"):
        return axes[: node.attrs["axis"]], axes[node.attrs["axis"] :]
    return axes[:1], axes[1:-1], axes[-1:]  # image, pixel, channel


def prologue_groups(node: Node) -> Groups:
    """Axes of input 0 that each coordinate of the node's PROLOGUE slot stands for."""
    x = node.inputs[0]
    assert x is not None
    axes = tuple(range(x.rank))
    if node.op == "reduce":
        return _reduce_groups(node)[0]
    if node.op == "matmul":
        b = node.inputs[1]
        one_matrix = b is not None and math.prod(b.shape[:-2]) == 1
        return ((), axes[:-1], axes[-1:]) if one_matrix else (axes[:-2], axes[-2:-1], axes[-1:])
    if node.op in ("softmax", "log_softmax"):
        return _line_groups(node.attrs["axis"], x.rank)
    return axes[: node.attrs["axis"]], axes[node.attrs["axis"] :]


def _line_groups(axis: int, rank: int) -> Groups:
    return tuple(range(axis)), (axis,), tuple(range(axis + 1, rank))


def _matmul_groups(node: Node) -> Groups:
    """(batch, row, column); against one matrix all rows of a batch of matrices are one long column of rows."""
    a, b = node.inputs[:2]
    assert a is not None and b is not None
    axes = tuple(range(node.output.rank))
    columns = axes[-1:] if b.rank > 1 else ()
    rows = axes[: len(axes) - len(columns)]
    if a.rank == 1:
        return rows, (), columns
    if math.prod(b.shape[:-2]) == 1:
        return (), rows, columns
    return rows[:-1], rows[-1:], columns


def _reduce_groups(node: Node) -> tuple[Groups, Groups]:
    """Slot coordinates of a reduction over the input, (o, r, i), and over the output, (o, i)."""
    x = node.inputs[0]
    assert x is not None
    reduced = node.attrs["axes"]
    # axes of size 1 count as kept on either side: they have no stride
    last = max((d for d in reduced if x.shape[d] != 1), default=-1)
    kept = [d for d in range(x.rank) if d not in reduced]
    outer, inner = [d for d in kept if d < last], [d for d in kept if d > last]
    keepdims = node.attrs["keepdims"]
    place = {d: d if keepdims else kept.index(d) for d in kept}
    return (
        (tuple(outer), tuple(reduced), tuple(inner)),
        (tuple(place[d] for d in outer), tuple(place[d] for d in inner)),
    )
