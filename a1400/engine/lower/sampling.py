"""Resize and grid sampling of channels-last images."""

from __future__ import annotations

from math import prod

import numpy as np

from a1400 import dtypes
from a1400.engine.lower.images import image_groups, pixel_view, three
from a1400.engine.lower.pointwise import emit_pointwise
from a1400.engine.lower.slots import with_epilogue
from a1400.engine.lowering import Lowering, lowers, split_inputs
from a1400.errors import UnsupportedOpError
from a1400.graph.graph import Node, Value
from a1400.kernels import expr as expressions
from a1400.kernels import gather as gather_kernel
from a1400.kernels import grid as grid_kernel
from a1400.kernels import grid_gradient
from a1400.kernels import grid_volume as volume_kernel
from a1400.kernels import resize as resize_kernel
from a1400.memory.storage import View
from a1400.ops.registry import wide_dtype


@lowers("resize")
def _resize(lw: Lowering, node: Node) -> None:
    own, _, _ = split_inputs(node)
    x = own[0]
    assert x is not None
    target = lw.result(node.output)
    if target.size == 0:
        return
    tables = node.attrs["tables"]
    if not dtypes.is_float(x.dtype):
        _moved(lw, lw.dense(x), target, tables)
        return
    view, step = pixel_view(lw, x)
    batch, channels = x.shape[0], x.shape[-1]
    source, out = three(x.shape[1:-1]), three(node.output.shape[1:-1])
    filled = [None] * (3 - len(tables)) + list(tables)
    wide = wide_dtype(x.dtype)
    buffers, taps = {"x": view.ref(), "y": lw.bind(target)}, []
    for axis, table, size in zip("dhw", filled, source, strict=True):
        index, weight = table if table is not None else resize_kernel.identity(size)
        buffers[f"i{axis}"], buffers[f"w{axis}"] = lw.constant(index).ref(), lw.constant(np.asarray(weight, wide)).ref()
        taps.append(index.shape[1])
    scalars = resize_kernel.scalars(
        batch, source, out, channels, (taps[0], taps[1], taps[2]), float(node.attrs.get("extrapolation", 0.0))
    )
    _, h, w = source
    scalars |= {"x_off": view.offset, "x_w": step, "x_h": w * step, "x_d": h * w * step, "x_b": prod(source) * step}
    epilogue = lw.attached(node, "epilogue", node.output.shape, image_groups(node.output.rank))
    slots = with_epilogue({"EPILOGUE": epilogue} if epilogue else {}, x.dtype, target.dtype)
    lw.launch("resize", {"T": x.dtype, "W": wide}, buffers, scalars, slots=slots)


def _moved(lw: Lowering, view: View, target: View, tables: list[tuple[np.ndarray, np.ndarray] | None]) -> None:
    """Nearest resize of integers: a gather along each axis."""
    if any(t is not None and t[0].shape[1] != 1 for t in tables):
        raise UnsupportedOpError(f"resize of {view.dtype} in another mode than nearest is not implemented")
    current = view
    wanted = [d for d, t in enumerate(tables) if t is not None]
    for d in wanted:
        table = tables[d]
        assert table is not None
        index = lw.constant(np.maximum(table[0][:, 0], 0).astype(np.int32))
        axis = 1 + d
        shape = (*current.shape[:axis], index.shape[0], *current.shape[axis + 1 :])
        out = target if d == wanted[-1] else lw.temporary(shape, target.dtype)
        outer = int(np.prod(shape[:axis], dtype=np.int64))
        inner = int(np.prod(shape[axis + 1 :], dtype=np.int64))
        n, count = current.shape[axis], shape[axis]
        lw.launch(
            "gather", {"T": gather_kernel.word(target.dtype), "TI": np.dtype(np.int32)},
            {"x": current.ref(), "idx": index.ref(), "y": out.ref()},
            {"O": outer, "N": n, "J": count, "I": inner, "x_off": current.offset, "x_o": n * inner, "x_n": inner,
             "idx_off": 0, "y_off": out.offset, "y_o": count * inner, "y_j": inner},
        )  # fmt: skip
        current = out
    if not wanted:
        lw.copy(current, target)


@lowers("grid_sample")
def _grid_sample(lw: Lowering, node: Node) -> None:
    x, grid = node.inputs[:2]
    assert x is not None and grid is not None
    if x.rank == 5:
        return _grid_volume(lw, node, x, grid)
    if x.rank != 4:
        raise UnsupportedOpError("grid_sample is implemented for two or three spatial axes")
    view, points, target = lw.dense(x), lw.dense(grid), lw.result(node.output)
    b, h, w, c = x.shape
    _, oh, ow, _ = node.output.shape
    scalars = grid_kernel.scalars(
        b, h, w, c, oh, ow, node.attrs["mode"], node.attrs["padding"], bool(node.attrs["align_corners"])
    )
    scalars["x_off"] = view.offset
    lw.launch(
        "grid_sample", {"T": x.dtype, "TG": grid.dtype},
        {"x": view.ref(), "grid": lw.bind(points), "y": lw.bind(target)}, scalars,
    )  # fmt: skip


def _grid_volume(lw: Lowering, node: Node, x: Value, grid: Value) -> None:
    if node.attrs["mode"] == "cubic":
        raise UnsupportedOpError("grid_sample in mode cubic is defined for two spatial axes only")
    target = lw.result(node.output)
    b, d, h, w, c = x.shape
    points = prod(grid.shape[1:-1])
    scalars = volume_kernel.scalars(
        b, (d, h, w), c, points, node.attrs["mode"], node.attrs["padding"], bool(node.attrs["align_corners"])
    )
    buffers = {"x": lw.bind(lw.dense(x)), "grid": lw.bind(lw.dense(grid)), "y": lw.bind(target)}
    lw.launch("grid_sample_volume", {"T": x.dtype, "TG": grid.dtype}, buffers, scalars)


@lowers("grid_sample_gradient")
def _grid_sample_gradient(lw: Lowering, node: Node) -> None:
    g, x, grid = node.inputs
    assert g is not None and x is not None and grid is not None
    if x.rank != 4:
        raise UnsupportedOpError("the gradient of grid_sample is implemented for two spatial axes")
    coming, image, points = (lw.dense(value) for value in (g, x, grid))
    to_image, to_points = (lw.result(value) for value in node.outputs)
    b, h, w, c = x.shape
    _, oh, ow, _ = grid.shape
    scalars = grid_gradient.gradient_scalars(
        b, h, w, c, oh, ow, node.attrs["mode"], node.attrs["padding"], bool(node.attrs["align_corners"])
    )
    types = {"T": x.dtype, "TG": grid.dtype}
    read = {"grid": lw.bind(points), "dy": lw.bind(coming)}
    wide = wide_dtype(x.dtype)
    collected = to_image if x.dtype == wide else lw.temporary(x.shape, wide)
    lw.launch("grid_image_gradient", {**types, "ACC": wide}, {**read, "dx": lw.bind(collected)}, scalars)
    if collected is not to_image:
        emit_pointwise(lw, expressions.cast(expressions.arg(0, collected.dtype), x.dtype), [collected], to_image)
    lw.launch("grid_points_gradient", types, {**read, "x": lw.bind(image), "dgrid": lw.bind(to_points)}, scalars)
