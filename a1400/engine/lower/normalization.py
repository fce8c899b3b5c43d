"""Normalisations: scale and bias ride in the epilogue of the row kernels."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import numpy as np

from a1400 import dtypes
from a1400.engine.lower.images import image_groups, pixel_result, pixel_view
from a1400.engine.lower.slots import Filled, with_epilogue
from a1400.engine.lowering import Lowering, lowers, split_inputs
from a1400.graph.graph import Node, Value
from a1400.kernels import expr as expressions
from a1400.kernels import group_norm as group_kernel
from a1400.kernels.expr import Expr
from a1400.memory.storage import View


def rows_view(lw: Lowering, value: Value, axis: int) -> tuple[View, int, int, int]:
    """The value as rows over axes ``axis..``: (view, rows, row length, row stride).

    It is copied unless its rows are contiguous.
    """
    view = lw.view(value)
    rows, n = prod(value.shape[:axis]), prod(value.shape[axis:])
    flat = view.reshape((rows, n))
    if flat is None or (flat.strides[1] != 1 and n > 1):
        view = lw.dense_view(view)
        flat = view.reshape((rows, n))
    assert flat is not None
    return flat, rows, n, flat.strides[0] if rows > 1 else n


def affine(
    lw: Lowering, node: Node, scale: Value | None, bias: Value | None, dtype: np.dtype
) -> tuple[Expr, list[Value | View]]:
    """``epilogue(value * scale + bias)`` as one expression with its operands (scale and bias first).

    Half types are computed as float32, which is what registers hold.
    """
    wide = np.dtype(np.float32) if dtypes.info(dtype).register == "float" else dtype
    body = expressions.cast(expressions.arg(0, dtype), wide)
    operands: list[Value | View] = []
    for op, value in (("mul", scale), ("add", bias)):
        if value is not None:
            operands.append(value)
            body = expressions.apply(op, body, expressions.cast(expressions.arg(len(operands), value.dtype), wide))
    attached = node.attrs.get("epilogue")
    if attached is not None:
        _, _, extras = split_inputs(node)
        shift = {0: body}
        for i, extra in enumerate(extras):
            assert extra is not None
            operands.append(extra)
            shift[i + 1] = expressions.arg(len(operands), extra.dtype)
        body = expressions.substitute(attached, shift)
    return body, operands


def _row_groups(rank: int, axis: int) -> list[list[int]]:
    return [list(range(axis)), list(range(axis, rank))]


def _norm(lw: Lowering, node: Node, name: str, own: Sequence[Value | None]) -> None:
    x = own[0]
    assert x is not None
    axis = node.attrs["axis"]
    shape = x.shape
    view, rows, n, stride = rows_view(lw, x, axis)
    target = lw.result(node.output)
    groups = _row_groups(len(shape), axis)
    scale, bias = (*own[1:], None, None)[:2]
    body, operands = affine(lw, node, scale, bias, x.dtype)
    slots: dict[str, Filled] = {}
    if body.op != "arg" or operands:
        slots["EPILOGUE"] = lw.slot(body, operands, shape, groups)
    slots = with_epilogue(slots, x.dtype, target.dtype)
    if (prologue := lw.attached(node, "prologue", shape, groups)) is not None:
        slots["PROLOGUE"] = prologue
    lw.launch(
        name, {"T": x.dtype, "OUT": target.dtype}, {"x": view.ref(), "y": lw.bind(target)},
        {"rows": rows, "n": n, "x_off": view.offset, "x_row": stride, "eps": float(node.attrs["eps"])}, slots=slots,
    )  # fmt: skip


@lowers("layer_norm")
def _layer_norm(lw: Lowering, node: Node) -> None:
    own, _, _ = split_inputs(node)
    _norm(lw, node, "layer_norm", own)


@lowers("rms_norm")
def _rms_norm(lw: Lowering, node: Node) -> None:
    own, _, _ = split_inputs(node)
    _norm(lw, node, "rms_norm", own)


@lowers("group_norm")
def _group_norm(lw: Lowering, node: Node) -> None:
    own, _, _ = split_inputs(node)
    x, scale, bias = (*own, None, None)[:3]
    assert x is not None
    view, step = pixel_view(lw, x)
    target, y_step = pixel_result(lw, node.output)
    if target.size == 0:
        return
    images, channels = x.shape[0], x.shape[-1]
    pixels, groups = prod(x.shape[1:-1]), int(node.attrs["groups"])
    parts, chunk = group_kernel.split(lw.info, images, pixels, channels)
    single = dtypes.from_short("f32")
    partial = lw.temporary((images, parts, 2, channels), single)
    mean, inverse = lw.temporary((images, groups), single), lw.temporary((images, groups), single)
    shared = {"N": images, "P": pixels, "C": channels}
    lw.launch(
        "group_norm_partial", {"T": x.dtype}, {"x": view.ref(), "part": partial.ref()},
        {**shared, "S": parts, "chunk": chunk, "x_off": view.offset, "x_ld": step},
    )  # fmt: skip
    lw.launch(
        "group_norm_stats", {}, {"part": partial.ref(), "mean": mean.ref(), "inv_std": inverse.ref()},
        {**shared, "G": groups, "S": parts, "chunk": chunk, "eps": float(node.attrs["eps"])},
    )  # fmt: skip
    body, operands = affine(lw, node, scale, bias, x.dtype)
    slots: dict[str, Filled] = {}
    if body.op != "arg" or operands:
        slots["EPILOGUE"] = lw.slot(body, operands, x.shape, image_groups(x.rank))
    slots = with_epilogue(slots, x.dtype, target.dtype)
    lw.launch(
        "group_norm_apply", {"T": x.dtype, "OUT": target.dtype},
        {"x": view.ref(), "mean": mean.ref(), "inv_std": inverse.ref(), "y": target.ref()},
        {**shared, "G": groups, "x_off": view.offset, "x_ld": step, "y_off": target.offset, "y_ld": y_step},
        slots=slots,
    )  # fmt: skip
