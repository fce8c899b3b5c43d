"""Sampling of images."""

from __future__ import annotations

import numpy as np

from tests.onnx_sweep.case import Draw, Node, Tolerance, sweep

SAMPLED = Tolerance(
    "a coordinate's rounding, a part of the image's size, moves the weights between neighbours",
    rel=16.0,
    abs=32.0,
    half=2.0,
    steps=1,
)
_MODES = (
    "half_pixel",
    "asymmetric",
    "align_corners",
    "pytorch_half_pixel",
    "tf_crop_and_resize",
    "half_pixel_symmetric",
)


@sweep(
    "Resize",
    tolerance=SAMPLED,
    doubt="places of float64 are rounded to float32",
    types=("float", "double", "float16", "uint8", "int8", "int32"),
)
def resize(draw: Draw) -> Node:
    mode = draw.choose(["nearest", "linear", "cubic"] if draw.opset >= 11 else ["nearest", "linear"])
    if draw.dtype == np.uint8 and mode == "cubic":
        mode = "linear"
    if draw.dtype.kind in "iu" and draw.dtype != np.uint8:
        mode = "nearest"
    rank = draw.choose([1, 2, 2, 3]) if mode == "nearest" or (draw.opset >= 11 and mode != "cubic") else 2
    if draw.dtype.kind in "iu" and mode != "nearest":
        rank = 2
    sizes = draw.shape(rank, 900, empty=0.0)
    sizes = tuple(max(s, 2) for s in sizes)
    shape = (draw.integer(1, 2), draw.choose([1, 3, 8, 17]), *sizes)
    low, high = (0, 200) if draw.dtype == np.uint8 else (-100, 100) if draw.dtype.kind == "i" else (-1, 1)
    x = draw.values(shape, low, high)
    scales = [float(draw.choose([0.5, 2.0, 1.0, 3.0, 0.25, 1.5, 0.7])) for _ in sizes]
    scales = [1.0 if n * s < 1 else s for n, s in zip(sizes, scales)]
    if draw.opset < 11:
        factors = np.array([1, 1, *scales], np.float32)
        return Node([x, factors], {"mode": mode}, constants=draw.fixed(1, probability=0.7), scale=float(max(sizes)))
    coordinates = draw.choose(_MODES if draw.opset >= 19 else _MODES[:5])
    attrs: dict[str, object] = {"mode": mode, "coordinate_transformation_mode": coordinates}
    if mode == "nearest" and draw.chance(0.7):
        attrs["nearest_mode"] = draw.choose(["round_prefer_floor", "round_prefer_ceil", "floor", "ceil"])
    if mode == "cubic":
        if draw.chance(0.5):
            attrs["cubic_coeff_a"] = -0.5
        attrs["exclude_outside"] = draw.integer(0, 1)
    roi, crop = None, ""
    if coordinates == "tf_crop_and_resize":
        starts = [float(np.float32(draw.rng.uniform(0, 0.4))) for _ in sizes]
        ends = [float(np.float32(draw.rng.uniform(0.6, 1.2))) for _ in sizes]
        roi = np.array([0, 0, *starts, 1, 1, *ends], np.float32)
        attrs["extrapolation_value"] = 0.25 if draw.dtype.kind not in "iu" else 7.0
    if draw.opset >= 18 and draw.chance(0.3) and mode != "nearest" and draw.dtype == np.float32 and roi is None:
        attrs["antialias"] = 1
    # with a region and scales, the standard's text has the size shrink with the region, its reference does not
    by_size = draw.chance(0.4) or coordinates == "tf_crop_and_resize" or draw.dtype == np.float64
    if by_size:
        target = np.array([*shape[:2], *(max(int(n * s), 1) for n, s in zip(sizes, scales))], np.int64)
        arrays: list[np.ndarray | None] = [x, roi, None if draw.opset >= 13 else np.array([], np.float32), target]
        if roi is not None and any(int(t) == n for t, n in zip(target[2:], sizes)):
            crop = "along axes that keep their size, tf_crop_and_resize leaves the region out of account"
    else:
        arrays = [x, roi, np.array([1, 1, *scales], np.float32)]
    if roi is None and draw.opset < 13:
        arrays[1] = np.array([], np.float32)
    fixed = frozenset(i for i in range(1, len(arrays)) if arrays[i] is not None)
    doubt = crop
    if coordinates == "align_corners" and not by_size:
        doubt = "align_corners divides by the whole size that scales lead to; ONNX's own cases, by the fraction"
    return Node(
        arrays, attrs, constants=fixed if draw.chance(0.8) else frozenset(), scale=float(max(sizes)), doubt=doubt
    )


@sweep("Upsample", tolerance=SAMPLED, types=("float",), opsets=(7, 9))
def upsample(draw: Draw) -> Node:
    x = draw.values((draw.integer(1, 2), draw.choose([1, 3, 17]), *draw.shape(2, 600, empty=0.0)), -1, 1)
    scales = [1.0, 1.0, float(draw.choose([1, 2, 3])), float(draw.choose([1, 2, 4]))]
    mode = draw.choose(["nearest", "linear"])
    if draw.opset < 9:
        return Node([x], {"mode": mode, "scales": scales})
    return Node([x, np.array(scales, np.float32)], {"mode": mode}, constants=draw.fixed(1), scale=float(max(x.shape)))


@sweep("GridSample", tolerance=SAMPLED, types=("float", "double", "float16"))
def grid_sample(draw: Draw) -> Node:
    rank = 3 if draw.opset >= 20 and draw.chance(0.3) else 2
    sizes = tuple(max(s, 2) for s in draw.shape(rank, 600, empty=0.0))
    out = draw.shape(rank, 400, empty=0.0)
    batch = draw.integer(1, 2)
    x = draw.values((batch, draw.choose([1, 3, 17]), *sizes), -1, 1)
    mode = draw.choose(["linear", "nearest", "cubic"] if rank == 2 else ["linear", "nearest"])
    if draw.opset < 20:
        mode = {"linear": "bilinear", "cubic": "bicubic"}.get(mode, mode)
    grid = draw.values((batch, *out, rank), -1.3, 1.3)
    attrs = {
        "mode": mode,
        "padding_mode": draw.choose(["zeros", "border", "reflection"]),
        "align_corners": draw.integer(0, 1),
    }
    # a coordinate within a rounding of the middle between two pixels may go to either: none of them is drawn
    if mode == "nearest":
        grid = np.round(grid.astype(np.float64) * 64) / 64 + 1 / 311
    return Node([x, grid.astype(draw.dtype)], attrs, scale=float(max(sizes)))


@sweep("AffineGrid", tolerance=SAMPLED)
def affine_grid(draw: Draw) -> Node:
    rank = draw.choose([2, 2, 3])
    sizes = draw.shape(rank, 2000, empty=0.0)
    batch = draw.integer(1, 3)
    theta = draw.values((batch, rank, rank + 1), -1, 1)
    attrs = {"align_corners": draw.integer(0, 1)}
    if attrs["align_corners"]:
        sizes = tuple(max(s, 2) for s in sizes)
    return Node([theta, np.array([batch, 3, *sizes], np.int64)], attrs, constants=draw.fixed(1, probability=0.8))
