"""Reductions, softmax, scans and top-k."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from typing import Any

from a1400 import dtypes
from a1400.engine.lower.normalization import rows_view
from a1400.engine.lower.slots import Filled, with_epilogue
from a1400.engine.lowering import Lowering, lowers, split_inputs
from a1400.graph.graph import Node
from a1400.kernels import cross_entropy as cross_entropy_kernel
from a1400.kernels import topk as topk_kernel
from a1400.kernels.reduce_plan import ReduceView, plan_reduce
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
    moved = (*(d for d in range(x.rank) if d != axis), axis)
    view = lw.view(x).transpose(moved)
    row = collapse_group(view.shape, view.strides, list(range(x.rank - 1)))
    if row is None:
        view = _copied(lw, view)
        row = view.shape[-1]
    rows, n = prod(view.shape[:-1]), view.shape[-1]
    found = topk_kernel.padded_k(lw.info, n, k)  # some devices find a longer list more quickly
    back = tuple(moved.index(d) for d in range(x.rank))
    results = []
    for value in node.outputs:
        if axis == x.rank - 1 and found == k:
            results.append(lw.result(value))
            continue
        memory = lw.temporary((*view.shape[:-1], found), value.dtype)
        first = memory.slice((0,) * x.rank, (*view.shape[:-1], k), (1,) * x.rank)
        lw.views[id(value)] = first.transpose(back)
        results.append(memory)
    lw.launch(
        topk_kernel.spec_name(x.dtype), {"T": x.dtype},
        {"x": view.ref(), "values": lw.bind(results[0]), "indices": lw.bind(results[1])},
        {"rows": rows, "n": n, "k": found, "largest": int(bool(node.attrs["largest"])), "x_off": view.offset,
         "x_row": row, "x_col": view.strides[-1]},
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


@lowers("softmax_gradient", "log_softmax_gradient")
def _softmax_gradient(lw: Lowering, node: Node) -> None:
    own, _, _ = split_inputs(node)
    y, g = own
    assert y is not None and g is not None
    (of_y, rows, n, y_row), (of_g, _, _, g_row) = (rows_view(lw, v, y.rank - 1) for v in (y, g))
    target = lw.result(node.output)
    slots: dict[str, Filled] = {}
    if (filled := lw.attached(node, "epilogue", y.shape, [list(range(y.rank - 1)), [y.rank - 1]])) is not None:
        slots["EPILOGUE"] = filled
    lw.launch(
        node.op, {"T": y.dtype, "OUT": target.dtype}, {"y": of_y.ref(), "g": of_g.ref(), "dx": lw.bind(target)},
        {"rows": rows, "n": n, "y_off": of_y.offset, "y_row": y_row, "g_off": of_g.offset, "g_row": g_row},
        slots=with_epilogue(slots, y.dtype, target.dtype),
    )  # fmt: skip


@lowers("softmax_cross_entropy")
def _cross_entropy(lw: Lowering, node: Node) -> None:
    logits, target = node.inputs
    assert logits is not None and target is not None
    view, rows, n, step = rows_view(lw, logits, logits.rank - 1)
    outputs = {name: lw.bind(lw.result(v)) for name, v in zip(("loss", "lse", "weight"), node.outputs, strict=True)}
    types = {"T": logits.dtype, "ACC": node.output.dtype}
    scalars = {"rows": rows, "n": n, "x_off": view.offset, "x_row": step}
    if dtypes.is_float(target.dtype):
        given, _, _, t_row = rows_view(lw, target, target.rank - 1)
        scalars |= {"t_off": given.offset, "t_row": t_row}
        lw.launch("cross_entropy_dense", types, {"x": view.ref(), "target": given.ref(), **outputs}, scalars)
        return
    ignored = node.attrs["ignore"]
    scalars["ignored"] = cross_entropy_kernel.NONE_IGNORED if ignored is None else int(ignored)
    classes = lw.bind(lw.dense(target))
    types["TI"] = target.dtype
    lw.launch("cross_entropy_sparse", types, {"x": view.ref(), "target": classes, **outputs}, scalars)


@lowers("ctc", "ctc_gradient")
def _ctc(lw: Lowering, node: Node) -> None:
    names = ("scores", "jumps", "times", "lengths", "loss", "alpha")
    buffers = {name: lw.bind(lw.dense(v)) for name, v in zip(names, node.inputs) if v is not None}
    for name, value in zip(("y",) if node.op == "ctc_gradient" else names[4:], node.outputs, strict=True):
        buffers[name] = lw.bind(lw.result(value))
    rows, steps, positions = node.inputs[0].shape if node.inputs[0] is not None else (0, 0, 0)
    lw.launch(node.op, {"T": node.output.dtype}, buffers, {"B": rows, "T_len": steps, "L": positions})


@lowers("reduce")
def _reduce(lw: Lowering, node: Node) -> None:
    own, prologue_extras, epilogue_extras = split_inputs(node)
    x = own[0]
    assert x is not None
    attrs: dict[str, Any] = node.attrs
    target = lw.result(node.output, lw.bindable)
    if target.size == 0:
        return
    view = lw.view(x)
    walk = ReduceView.of(view.shape, view.strides, attrs["axes"], view.offset)
    if walk is None:
        kept = tuple(d for d in range(x.rank) if d not in attrs["axes"])
        order = kept + attrs["axes"]
        dense = _copied(lw, view.transpose(order))
        view = dense.transpose(tuple(order.index(d) for d in range(x.rank)))
        walk = ReduceView.of(view.shape, view.strides, attrs["axes"], view.offset)
        assert walk is not None
    accumulate = x.dtype
    prologue: dict[str, Filled] = {}
    if (expr := attrs.get("prologue")) is not None:
        groups = [walk.o_axes, walk.r_axes, *([] if walk.rows else [walk.i_axes])]
        prologue["PROLOGUE"] = lw.slot(expr, [v for v in prologue_extras if v is not None], x.shape, groups)
        accumulate = expr.dtype
    epilogue: dict[str, Filled] = {}
    if (expr := attrs.get("epilogue")) is not None:
        places = _places(x.rank, attrs["axes"], attrs["keepdims"])
        groups = [tuple(places[a] for a in axes) for axes in (walk.o_axes, *([] if walk.rows else [walk.i_axes]))]
        extras = [v for v in epilogue_extras if v is not None]
        epilogue["EPILOGUE"] = lw.slot(expr, extras, node.output.shape, groups)
    types = {"T": x.dtype, "ACC": accumulate, "OUT": target.dtype}
    source = view
    for stage in plan_reduce(lw.info, attrs["kind"], walk, types):
        out = target if stage.last else lw.temporary((stage.elements,), stage.types["OUT"])
        slots = {**(prologue if stage.first else {}), **(epilogue if stage.last else {})}
        lw.launch(
            stage.spec, stage.types, {"x": source.ref(), "y": lw.bind(out)}, stage.scalars,
            slots=with_epilogue(slots, stage.types["ACC"], out.dtype),
        )  # fmt: skip
        source = out


def _places(rank: int, axes: tuple[int, ...], keepdims: bool) -> dict[int, int]:
    """Where each axis of the tensor is found in the reduced tensor (reduced axes only with ``keepdims``)."""
    if keepdims:
        return {d: d for d in range(rank)}
    return {d: i for i, d in enumerate(d for d in range(rank) if d not in axes)}
