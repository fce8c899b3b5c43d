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
from a1400.kernels import norm_gradient as gradient_kernel
from a1400.kernels.expr import Expr
from a1400.memory.storage import View
from a1400.ops.registry import wide_dtype


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
    wide = wide_dtype(x.dtype)
    partial = lw.temporary((images, parts, 2, channels), wide)
    mean, inverse = lw.temporary((images, groups), wide), lw.temporary((images, groups), wide)
    shared = {"N": images, "P": pixels, "C": channels}
    lw.launch(
        "group_norm_partial", {"T": x.dtype, "ACC": wide}, {"x": view.ref(), "part": partial.ref()},
        {**shared, "S": parts, "chunk": chunk, "x_off": view.offset, "x_ld": step},
    )  # fmt: skip
    lw.launch(
        "group_norm_stats", {"ACC": wide}, {"part": partial.ref(), "mean": mean.ref(), "inv_std": inverse.ref()},
        {**shared, "G": groups, "S": parts, "chunk": chunk, "eps": float(node.attrs["eps"])},
    )  # fmt: skip
    body, operands = affine(lw, node, scale, bias, x.dtype)
    slots: dict[str, Filled] = {}
    if body.op != "arg" or operands:
        slots["EPILOGUE"] = lw.slot(body, operands, x.shape, image_groups(x.rank))
    slots = with_epilogue(slots, x.dtype, target.dtype)
    lw.launch(
        "group_norm_apply", {"T": x.dtype, "OUT": target.dtype, "ACC": wide},
        {"x": view.ref(), "mean": mean.ref(), "inv_std": inverse.ref(), "y": target.ref()},
        {**shared, "G": groups, "x_off": view.offset, "x_ld": step, "y_off": target.offset, "y_ld": y_step},
        slots=slots,
    )  # fmt: skip


@lowers("layer_norm_gradient", "rms_norm_gradient")
def _row_gradient(lw: Lowering, node: Node) -> None:
    own, _, _ = split_inputs(node)
    x, g, scale = (*own, None)[:3]
    assert x is not None and g is not None
    axis = node.attrs["axis"]
    (of_x, rows, n, x_row), (of_g, _, _, g_row) = (rows_view(lw, v, axis) for v in (x, g))
    target, wide = lw.result(node.output), wide_dtype(x.dtype)
    groups = _row_groups(x.rank, axis)
    slots: dict[str, Filled] = {}
    if scale is not None:
        given = expressions.cast(expressions.arg(1, scale.dtype), wide)
        slots["WEIGHT"] = lw.slot(expressions.apply("mul", expressions.arg(0, wide), given), [scale], x.shape, groups)
    if (epilogue := lw.attached(node, "epilogue", x.shape, groups)) is not None:
        slots["EPILOGUE"] = epilogue
    parts, chunk = gradient_kernel.split(lw.info, rows, x.dtype)
    part = lw.temporary((max(parts, 1), 2, n), wide)
    lw.launch(
        node.op, {"T": x.dtype, "OUT": target.dtype, "ACC": wide},
        {"x": of_x.ref(), "g": of_g.ref(), "dx": lw.bind(target), "part": part.ref()},
        {"rows": rows, "n": n, "S": parts, "chunk": chunk, "x_off": of_x.offset, "x_row": x_row,
         "g_off": of_g.offset, "g_row": g_row, "eps": float(node.attrs["eps"])},
        slots=with_epilogue(slots, x.dtype, target.dtype),
    )  # fmt: skip
    if len(node.outputs) > 1:
        _sum_pairs(lw, part, node.outputs[1:], (1, parts, n))


def _sum_pairs(lw: Lowering, part: View, results: Sequence[Value], sizes: tuple[int, int, int]) -> None:
    """Add up parts [N, S, 2, C] into one or two results [N, C], which may be ranges of a longer vector."""
    images, parts, channels = sizes
    sums = [lw.result(v, lambda view: view.is_dense) for v in results]
    if len(sums) == 1:
        sums.append(lw.temporary((images, channels), part.dtype))
    lw.launch(
        "sum_pairs", {"T": part.dtype}, {"part": part.ref(), "a": sums[0].ref(), "b": sums[1].ref()},
        {"N": images, "S": parts, "C": channels, "a_off": sums[0].offset, "b_off": sums[1].offset},
    )  # fmt: skip


def _images(node: Node) -> tuple[int, int, int]:
    """(images, pixels, channels) over which statistics are made."""
    x = node.inputs[0]
    assert x is not None
    images = x.shape[0] if node.attrs["per_image"] else 1
    return images, prod(x.shape[:-1]) // max(images, 1), x.shape[-1]


@lowers("channel_statistics")
def _channel_statistics(lw: Lowering, node: Node) -> None:
    x = node.inputs[0]
    assert x is not None
    images, pixels, channels = _images(node)
    view, step = pixel_view(lw, x)
    parts, chunk = group_kernel.split(lw.info, images, pixels, channels)
    partial = lw.temporary((images, parts, 2, channels), node.output.dtype)
    shared = {"N": images, "P": pixels, "C": channels, "S": parts, "chunk": chunk}
    lw.launch(
        "group_norm_partial", {"T": x.dtype, "ACC": partial.dtype},
        {"x": view.ref(), "part": partial.ref()}, {**shared, "x_off": view.offset, "x_ld": step},
    )  # fmt: skip
    mean, variance = (lw.bind(lw.result(v)) for v in node.outputs)
    lw.launch(
        "channel_statistics", {"ACC": partial.dtype},
        {"part": partial.ref(), "mean": mean, "variance": variance}, shared,
    )  # fmt: skip


@lowers("channel_sums")
def _channel_sums(lw: Lowering, node: Node) -> None:
    x, g, mean = node.inputs
    assert x is not None and g is not None and mean is not None
    images, pixels, channels = _images(node)
    (of_x, x_step), (of_g, g_step) = pixel_view(lw, x), pixel_view(lw, g)
    parts, chunk = group_kernel.split(lw.info, images, pixels, channels)
    partial = lw.temporary((images, parts, 2, channels), node.output.dtype)
    lw.launch(
        "channel_sums_partial", {"T": x.dtype, "ACC": partial.dtype},
        {"x": of_x.ref(), "g": of_g.ref(), "mean": lw.bind(lw.dense(mean)), "part": partial.ref()},
        {"N": images, "P": pixels, "C": channels, "S": parts, "chunk": chunk, "x_off": of_x.offset, "x_ld": x_step,
         "g_off": of_g.offset, "g_ld": g_step},
    )  # fmt: skip
    _sum_pairs(lw, partial, node.outputs, (images, parts, channels))
