"""Concatenation and padding.  (Reshape, transpose, expand and slice are views: see ``engine/lowering.py``.)"""

from __future__ import annotations

from a1400.engine.lowering import Lowering, lowers
from a1400.graph.graph import Node, Value
from a1400.kernels import pad as pad_kernel
from a1400.kernels.gather import word
from a1400.memory.storage import View, dense_strides


def merged_result(lw: Lowering, value: Value) -> View:
    """Memory for [A, B, C, D] in [A, C, B, D] order when its users turn it so, which makes that a view.

    The gradient of attention reads what attention gave in either order.
    """
    users = [n for n in lw.graph.nodes if value in n.inputs]
    turned = [n for n in users if n.op == "transpose" and n.attrs["perm"] == (0, 2, 1, 3)]
    others = [n for n in users if n not in turned and n.op != "attention_gradient"]
    if not turned or others or value in lw.graph.outputs.values():
        return lw.result(value)
    a, b, c, d = value.shape
    memory = lw.result(value)
    view = View(memory.storage, memory.dtype, (a, c, b, d), dense_strides((a, c, b, d)), memory.offset)
    lw.views[id(value)] = view.transpose((0, 2, 1, 3))
    return lw.views[id(value)]


@lowers("concat")
def _concat(lw: Lowering, node: Node) -> None:
    target = lw.result(node.output, lambda _: True)
    axis = node.attrs["axis"]
    start = 0
    for value in node.inputs:
        assert value is not None
        starts = tuple(start if d == axis else 0 for d in range(value.rank))
        part = target.slice(starts, value.shape, (1,) * value.rank)
        if not lw.view(value).same_place(part):  # parts may have been written in place
            lw.copy(lw.view(value), part)
        start += value.shape[axis]


@lowers("pad")
def _pad(lw: Lowering, node: Node) -> None:
    value = node.inputs[0]
    assert value is not None
    fill = node.inputs[1] if len(node.inputs) > 1 else None
    attrs = node.attrs
    target = lw.result(node.output)
    view = lw.view(value)
    if view.size == 0 or (fill is not None and not fill.is_constant):
        _pad_by_parts(lw, node, view, target)
        return
    number = 0 if fill is None or fill.data is None else fill.data.reshape(-1)[0]
    scalars = pad_kernel.scalars(
        view.shape, attrs["low"], attrs["high"], attrs["mode"], pad_kernel.word_of(number, value.dtype), view.strides
    )
    scalars["x_off"] = view.offset
    lw.launch("pad", {"T": word(value.dtype)}, {"x": view.ref(), "y": lw.bind(target)}, scalars)


def _pad_by_parts(lw: Lowering, node: Node, view: View, target: View) -> None:
    """Constant padding with a run-time fill value (or of an empty tensor): fill everything, then copy the inside."""
    fill = node.inputs[1] if len(node.inputs) > 1 else None
    source = lw.view(fill) if fill is not None else lw.constant(lw.zero(target.dtype))
    scalar = source.reshape(())
    assert scalar is not None
    lw.copy(scalar.expand(target.shape), target)
    low, high = node.attrs["low"], node.attrs["high"]
    shape = tuple(n + min(lo, 0) + min(hi, 0) for n, lo, hi in zip(view.shape, low, high, strict=True))
    if min(shape, default=1) > 0:
        ones = (1,) * len(shape)
        lw.copy(
            view.slice(tuple(max(-lo, 0) for lo in low), shape, ones),
            target.slice(tuple(max(lo, 0) for lo in low), shape, ones),
        )
