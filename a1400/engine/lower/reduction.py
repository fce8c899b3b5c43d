"""Reductions, softmax, scans and top-k."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from typing import Any

import numpy as np

from a1400 import dtypes
from a1400.engine.lower.slots import Filled, with_epilogue
from a1400.engine.lowering import Lowering, lowers, split_inputs
from a1400.graph.graph import Node
from a1400.kernels import reduction as kernel
from a1400.memory.storage import View, collapse_group


def line(lw: Lowering, view: View, axis: int) -> tuple[View, dict[str, int]]:
    """A view as x[o, r, i] around ``axis`` with one stride each; copied when its axes do not collapse."""
    rank = len(view.shape)
    for _ in range(2):
        outer = collapse_group(view.shape, view.strides, list(range(axis)))
        inner = collapse_group(view.shape, view.strides, list(range(axis + 1, rank)))
        if outer is not None and inner is not None:
            break
        view = lw.dense_view(view)
    assert outer is not None and inner is not None
    sizes = {"O": prod(view.shape[:axis]), "R": view.shape[axis], "I": prod(view.shape[axis + 1 :])}
    return view, {**sizes, "x_off": view.offset, "x_o": outer, "x_r": view.strides[axis], "x_i": inner}


def _groups(rank: int, axis: int) -> list[list[int]]:
    return [list(range(axis)), [axis], list(range(axis + 1, rank))]


@lowers("arg_reduce")
def _arg_reduce(lw: Lowering, node: Node) -> None:
    x = node.inputs[0]
    assert x is not None
    view, scalars = line(lw, lw.view(x), node.attrs["axis"])
    scalars["select_last"] = int(bool(node.attrs.get("select_last")))
    lw.launch(node.attrs["kind"], {"T": x.dtype}, {"x": view.ref(), "y": lw.bind(lw.result(node.output))}, scalars)


@lowers("cumulate")
def _cumulate(lw: Lowering, node: Node) -> None:
    x = node.inputs[0]
    assert x is not None
    view, scalars = line(lw, lw.view(x), node.attrs["axis"])
    scalars |= {"exclusive": int(bool(node.attrs["exclusive"])), "reverse": int(bool(node.attrs["reverse"]))}
    lw.launch(
        f"cum{node.attrs['kind']}", {"T": x.dtype}, {"x": view.ref(), "y": lw.bind(lw.result(node.output))}, scalars
    )


@lowers("topk")
def _topk(lw: Lowering, node: Node) -> None:
    x = node.inputs[0]
    assert x is not None
    axis, k = node.attrs["axis"], int(node.attrs["k"])
    moved = tuple(d for d in range(x.rank) if d != axis) + (axis,)
    view = lw.view(x).transpose(moved)
    row = collapse_group(view.shape, view.strides, list(range(x.rank - 1)))
    if row is None:
        view = _copied(lw, view)
        row = view.shape[-1]
    rows, n = prod(view.shape[:-1]), view.shape[-1]
    shape = (*view.shape[:-1], k)
    back = tuple(moved.index(d) for d in range(x.rank))
    results = []
    for value in node.outputs:
        memory = lw.result(value) if axis == x.rank - 1 else lw.temporary(shape, value.dtype)
        if axis != x.rank - 1:
            lw.views[id(value)] = memory.transpose(back)
        results.append(memory)
    lw.launch(
        "topk", {"T": x.dtype}, {"x": view.ref(), "values": lw.bind(results[0]), "indices": lw.bind(results[1])},
        {"rows": rows, "n": n, "k": k, "largest": int(bool(node.attrs["largest"])), "x_off": view.offset, "x_row": row,
         "x_col": view.strides[-1]},
    )  # fmt: skip


def _copied(lw: Lowering, view: View) -> View:
    target = lw.temporary(view.shape, view.dtype)
    lw.copy(view, target)
    return target


@lowers("softmax", "log_softmax")
def _softmax(lw: Lowering, node: Node) -> None:
    own, _, _ = split_inputs(node)
    x = own[0]
    assert x is not None
    axis = node.attrs["axis"]
    shape = x.shape
    last = axis == x.rank - 1
    groups = [list(range(axis)), [axis]] if last else _groups(x.rank, axis)
    slots: dict[str, Filled] = {}
    for slot in ("prologue", "epilogue"):
        if (filled := lw.attached(node, slot, shape, groups)) is not None:
            slots[slot.upper()] = filled
    view, target = lw.view(x), lw.result(node.output)
    if last:
        emit_softmax(lw, node.op, view, target, slots)
        return
    view, scalars = line(lw, view, axis)
    lw.launch(
        f"{node.op}_strided", {"T": x.dtype, "OUT": target.dtype}, {"x": view.ref(), "y": lw.bind(target)}, scalars,
        slots=with_epilogue(slots, x.dtype, target.dtype),
    )  # fmt: skip


def emit_softmax(lw: Lowering, name: str, view: View, target: View, slots: Mapping[str, Filled] | None = None) -> None:
    """Softmax (or log-softmax) over the last axis of a view, whose rows are copied unless they are contiguous."""
    rows, n = prod(view.shape[:-1]), view.shape[-1]
    row = collapse_group(view.shape, view.strides, list(range(len(view.shape) - 1)))
    if row is None or (view.strides[-1] != 1 and n > 1):
        view = lw.dense_view(view)
        row = n
    lw.launch(
        name, {"T": view.dtype, "OUT": target.dtype}, {"x": view.ref(), "y": lw.bind(target)},
        {"rows": rows, "n": n, "x_off": view.offset, "x_row": row if rows > 1 else n},
        slots=with_epilogue(slots or {}, view.dtype, target.dtype),
    )  # fmt: skip


def _two_levels(view: View, axes: list[int]) -> tuple[tuple[int, int], tuple[int, int]] | None:
    """Axes as two counts with one stride each, or None when they need more."""
    for cut in range(len(axes) + 1):
        outer = collapse_group(view.shape, view.strides, axes[:cut])
        inner = collapse_group(view.shape, view.strides, axes[cut:])
        if outer is not None and inner is not None:
            return (prod(view.shape[a] for a in axes[:cut]), prod(view.shape[a] for a in axes[cut:])), (outer, inner)
    return None


def _walk(view: View, kept: list[int], reduced: list[int]) -> tuple[dict[str, int], int] | None:
    """Scalars of a reduction over ``reduced`` and how many of the kept axes form O (the rest form I); None: copy first."""
    r = _two_levels(view, reduced)
    if r is None:
        return None
    (r0, r1), (s0, s1) = r
    shared = {"R0": r0, "R1": r1, "x_r0": s0, "x_r1": s1, "x_off": view.offset}
    rows_first = s1 == 1 and r1 > 1
    cuts = list(range(len(kept), -1, -1)) if rows_first or not kept else list(range(len(kept) + 1))
    for cut in cuts:
        o = _two_levels(view, kept[:cut])
        i = collapse_group(view.shape, view.strides, kept[cut:])
        if o is not None and i is not None:
            (o0, o1), (t0, t1) = o
            return {**shared, "O0": o0, "O1": o1, "x_o0": t0, "x_o1": t1, "I": prod(view.shape[a] for a in kept[cut:]), "x_i": i}, cut
    return None


@lowers("reduce")
def _reduce(lw: Lowering, node: Node) -> None:
    own, prologue_extras, epilogue_extras = split_inputs(node)
    x = own[0]
    assert x is not None
    attrs: dict[str, Any] = node.attrs
    reduced = list(attrs["axes"])
    kept = [d for d in range(x.rank) if d not in reduced]
    view = lw.view(x)
    found = _walk(view, kept, reduced)
    if found is None:
        order = tuple(kept + reduced)
        dense = _copied(lw, view.transpose(order))
        view = dense.transpose(tuple(order.index(d) for d in range(x.rank)))
        found = _walk(view, kept, reduced)
        assert found is not None
    scalars, cut = found
    target = lw.result(node.output)
    if target.size == 0:
        return
    # where the kept axes lie in the output
    places = kept if attrs["keepdims"] else list(range(len(kept)))
    slots: dict[str, Filled] = {}
    rows = scalars["I"] == 1
    accumulate = x.dtype
    if (expr := attrs.get("prologue")) is not None:
        groups = [kept[:cut], reduced, kept[cut:]]
        slots["PROLOGUE"] = lw.slot(
            expr, [v for v in prologue_extras if v is not None], x.shape, [kept, reduced] if rows else groups
        )
        accumulate = expr.dtype
    final: dict[str, Filled] = {}
    if (expr := attrs.get("epilogue")) is not None:
        groups = [places] if rows else [places[:cut], places[cut:]]
        final["EPILOGUE"] = lw.slot(expr, [v for v in epilogue_extras if v is not None], node.output.shape, groups)
    final = with_epilogue(final, accumulate, target.dtype)
    emit_reduce(lw, attrs["kind"], view, scalars, accumulate, target, slots, final)


def emit_reduce(
    lw: Lowering, kind: str, view: View, scalars: Mapping[str, int], accumulate: np.dtype, target: View,
    prologue: Mapping[str, Filled], epilogue: Mapping[str, Filled],
) -> None:  # fmt: skip
    """One launch, or two where few outputs of long reductions would leave compute units idle."""
    length = scalars["R0"] * scalars["R1"]
    outputs = scalars["O0"] * scalars["O1"] * scalars["I"]
    parts = _parts(lw, outputs, scalars["I"], length)
    if parts == 1:
        slots = {**prologue, **epilogue}
        _launch(lw, kind, view, {**scalars, "S": 1, "chunk": max(length, 1), "count": length}, accumulate, target, slots)
        return
    first, last = kernel.KINDS[kind].split if kernel.KINDS[kind].split[0] else (kind, kind)
    chunk = -(-length // parts)
    parts = -(-length // chunk)
    o, i = scalars["O0"] * scalars["O1"], scalars["I"]
    partial = lw.temporary((o, parts, i), _register_dtype(accumulate))
    _launch(lw, first, view, {**scalars, "S": parts, "chunk": chunk, "count": chunk}, accumulate, partial, prologue)
    again = {
        "O0": 1, "O1": o, "x_o0": 0, "x_o1": parts * i, "R0": 1, "R1": parts, "x_r0": 0, "x_r1": i, "I": i, "x_i": 1,
        "x_off": 0, "S": 1, "chunk": parts, "count": length,
    }  # fmt: skip
    _launch(lw, last, partial, again, partial.dtype, target, epilogue)


def _parts(lw: Lowering, outputs: int, inner: int, length: int) -> int:
    """Into how many parts to cut each reduction: enough to occupy the device, none shorter than 2048."""
    wanted = 4 * lw.info.compute_units * (1 if lw.info.kind == "cpu" else 64)
    units = max(outputs // (64 if inner >= 64 else 1), 1)
    return max(1, min(wanted // units, length // 2048))


def _register_dtype(dtype: np.dtype) -> np.dtype:
    return dtypes.from_short(dtypes.info(dtype).register_short)


def _launch(
    lw: Lowering, kind: str, view: View, scalars: Mapping[str, int], accumulate: np.dtype, target: View,
    slots: Mapping[str, Filled],
) -> None:  # fmt: skip
    values = dict(scalars)
    name = f"reduce_{kind}"
    if values["I"] == 1:
        name = f"reduce_rows_{kind}"
        del values["I"], values["x_i"]
    lw.launch(
        name, {"T": view.dtype, "ACC": accumulate, "OUT": target.dtype}, {"x": view.ref(), "y": lw.bind(target)}, values,
        slots=slots,
    )  # fmt: skip
