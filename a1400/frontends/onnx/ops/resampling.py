"""Resize, Upsample and grid sampling."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from a1400 import dtypes
from a1400.errors import GraphError
from a1400.frontends.onnx.context import Ctx
from a1400.frontends.onnx.ops.registry import translates
from a1400.graph.graph import MAX_ELEMENTS, Value
from a1400.kernels.resize_tables import axis_tables

#: longest resized axis: its tables are made on the host
_LONGEST = 2**24


def _scaled(size: int, scale: float, extent: float = 1.0) -> int:
    if not 0 < scale < 2**31:
        raise GraphError(f"a scale of {scale} is not possible")
    return math.floor(size * extent * scale)


def _scaled_sizes(c: Ctx, x: Value, scales: Sequence[float]) -> list[int]:
    if len(scales) != x.rank:
        raise GraphError(f"scales {list(scales)} do not fit rank {x.rank}")
    return [_scaled(n, s) for n, s in zip(x.shape, scales)]


@translates("Upsample")
def upsample_attribute(c: Ctx) -> Value:
    """Opset 7: scales as attribute."""
    scales = c.floats("scales")
    if scales is None:
        raise GraphError("attribute 'scales' is missing")
    return _resample(
        c, c[0], _scaled_sizes(c, c[0], scales), scales, coordinate_mode="asymmetric", nearest_mode="floor"
    )


@translates("Upsample", since=9)
@translates("Resize", since=10)
def resize_scales(c: Ctx) -> Value:
    """Opset 9 and 10: scales as input, asymmetric coordinates."""
    scales = [float(s) for s in c.need(1, "the scales").reshape(-1)]
    return _resample(
        c, c[0], _scaled_sizes(c, c[0], scales), scales, coordinate_mode="asymmetric", nearest_mode="floor"
    )


@translates("Resize", since=11)
def resize(c: Ctx) -> Value:
    """All modes; sizes or scales for all axes or some."""
    x = c[0]
    axes = [c.axis(a, x.rank) for a in (c.ints("axes") or range(x.rank))]
    coordinate_mode = c.text("coordinate_transformation_mode", "half_pixel")
    rois = [(0.0, 1.0)] * x.rank
    if coordinate_mode == "tf_crop_and_resize":
        roi = c.need(1, "the region of interest").reshape(-1)
        if roi.size != 2 * len(axes):
            raise GraphError(f"a region of {roi.size} numbers for {len(axes)} axes")
        if not (np.abs(roi) < 2**31).all():
            raise GraphError(f"a region of {roi.tolist()} is not possible")
        for i, a in enumerate(axes):
            rois[a] = (float(roi[i]), float(roi[i + len(axes)]))
    sizes, scales = list(x.shape), [1.0] * x.rank
    by_size = c.opt(3) is not None and c[3].size > 0
    if by_size:
        wanted = c.need_ints(3, "the sizes")
        policy = c.text("keep_aspect_ratio_policy", "stretch")
        ratios = [w / x.shape[a] if x.shape[a] else 1.0 for w, a in zip(wanted, axes)]
        if policy != "stretch":
            ratio = min(ratios) if policy == "not_larger" else max(ratios)
            ratios = [ratio] * len(axes)
            wanted = tuple(math.floor(ratio * x.shape[a] + 0.5) for a in axes)
        if len(wanted) != len(axes) or any(w < 0 for w in wanted):
            raise GraphError(f"sizes {list(wanted)} for {len(axes)} axes")
        for w, r, a in zip(wanted, ratios, axes):
            sizes[a], scales[a] = w, r
    elif c.opt(2) is not None:
        given = [float(s) for s in c.need(2, "the scales").reshape(-1)]
        if len(given) != len(axes):
            raise GraphError(f"{len(given)} scales for {len(axes)} axes")
        for s, a in zip(given, axes):
            scales[a] = s
            start, end = rois[a]
            extent = (end - start) if coordinate_mode == "tf_crop_and_resize" else 1.0
            sizes[a] = _scaled(x.shape[a], s, extent)
    else:
        raise GraphError("neither sizes nor scales are given")
    return _resample(
        c, x, sizes, scales, rois, coordinate_mode=coordinate_mode,
        nearest_mode=c.text("nearest_mode", "round_prefer_floor"),
        cubic_coeff=c.number("cubic_coeff_a", -0.75), exclude_outside=c.flag("exclude_outside"),
        antialias=c.flag("antialias"),
    )  # fmt: skip


def _resample(
    c: Ctx, x: Value, sizes: Sequence[int], scales: Sequence[float], rois: Sequence[tuple[float, float]] | None = None,
    **options: object,
) -> Value:  # fmt: skip
    """Resize any axes: those left alone are folded into the batch and the channels."""
    mode = {"bilinear": "linear"}.get(c.text("mode", "nearest"), c.text("mode", "nearest"))
    if mode not in ("nearest", "linear", "cubic"):
        raise c.unsupported(f"resize mode {mode!r} is not supported")
    crop = options["coordinate_mode"] == "tf_crop_and_resize"
    changed = [
        d for d in range(x.rank) if sizes[d] != x.shape[d] or scales[d] != 1 or (crop and rois and rois[d] != (0, 1))
    ]
    if not changed:
        return x
    if any(sizes[d] < 1 or x.shape[d] < 1 for d in changed):
        raise GraphError(f"cannot resize {list(x.shape)} to {list(sizes)}")
    if math.prod(sizes) > MAX_ELEMENTS or any(sizes[d] > _LONGEST for d in changed):
        raise GraphError(
            f"cannot resize {list(x.shape)} to {list(sizes)}: results have at most {MAX_ELEMENTS} elements, "
            f"{_LONGEST} along an axis"
        )
    if x.size == 0:  # no images
        return c.graph.constant(np.zeros(sizes, x.dtype))
    whole = dtypes.is_float(x.dtype)
    if mode == "nearest" and not whole and not crop:
        # integers are only moved: exact at any size
        for d in changed:
            index = _table(c, d, x, sizes, scales, rois, mode, options)[0]
            x = c.op("gather", x, c.graph.constant(index.reshape(-1)), axis=d)
        return x
    y = x if whole else c.cast(x, np.float32)
    image = x.rank >= 3 and changed[0] >= 2
    if image:
        y, first, last = c.channels_last(y), 2, x.rank - 1
    else:
        first, last = changed[0], changed[-1]
        if last - first > 2:
            raise c.unsupported(f"resizing over {last - first + 1} neighbouring axes is not supported")
        y = c.reshape(y, (math.prod(x.shape[:first]), *x.shape[first : last + 1], math.prod(x.shape[last + 1 :])))
    tables = tuple(
        _table(c, d, x, sizes, scales, rois, mode, options) if d in changed else None for d in range(first, last + 1)
    )
    y = c.op("resize", y, tables=tables, extrapolation=c.number("extrapolation_value", 0.0) if crop else 0.0)
    y = c.channels_first(y) if image else c.reshape(y, sizes)
    return c.cast(y, x.dtype)


def _table(
    c: Ctx, d: int, x: Value, sizes: Sequence[int], scales: Sequence[float], rois: Sequence[tuple[float, float]] | None,
    mode: str, options: dict[str, object],
) -> tuple[np.ndarray, ...]:  # fmt: skip
    arguments = {**options, "mode": mode, "scale": scales[d], "roi": rois[d] if rois else (0.0, 1.0)}

    stretch = max(1 / scales[d], 1.0) if options.get("antialias") and scales[d] > 0 else 1.0
    c.claim(int(min(sizes[d] * {"nearest": 1, "linear": 2, "cubic": 4}[mode] * stretch, 2.0**62)))

    def make() -> tuple[np.ndarray, ...]:
        index, weight = axis_tables(x.shape[d], sizes[d], **arguments)  # type: ignore[arg-type]
        if options["coordinate_mode"] == "tf_crop_and_resize":
            weight[index[:, 0] < 0] = 0  # positions outside take the extrapolation value
        return index, weight

    return c.memo.results(("resize", x.shape[d], sizes[d], *sorted((k, v) for k, v in arguments.items())), (), make)


@translates("GridSample")
def grid_sample(c: Ctx) -> Value:
    """Sample at run-time positions."""
    mode = c.text("mode", "bilinear" if c.opset < 20 else "linear")
    mode = {"bilinear": "linear", "bicubic": "cubic"}.get(mode, mode)
    padding = c.text("padding_mode", "zeros")
    if mode not in ("linear", "nearest", "cubic") or padding not in ("zeros", "border", "reflection"):
        raise GraphError(f"unknown mode {mode!r} or padding {padding!r}")
    y = c.op(
        "grid_sample", c.channels_last(c[0]), c[1], mode=mode, padding=padding, align_corners=c.flag("align_corners")
    )
    return c.channels_first(y)


@translates("AffineGrid")
def affine_grid(c: Ctx) -> Value:
    """Sampling positions of an affine map: [N,*S,k] from theta[N,k,k+1] (ONNX's own body fails for a batch of one)."""
    theta, size = c[0], c.need_ints(1, "the size")
    sizes, corners = size[2:], c.flag("align_corners")
    k = len(sizes)
    if theta.shape != (size[0], k, k + 1) or k not in (2, 3):
        raise GraphError(f"theta {list(theta.shape)} does not fit an image batch of {list(size)}")

    c.claim(math.prod(sizes) * (k + 1))

    def make() -> np.ndarray:
        axes = [np.linspace(-1, 1, n) if corners else (np.arange(n) * 2 + 1) / n - 1 for n in sizes]
        grid = np.meshgrid(*axes, indexing="ij")[::-1]  # x, y, z: the fastest axis first
        return np.stack([*grid, np.ones(sizes)], -1).reshape(-1, k + 1).astype(wide)

    wide = np.promote_types(theta.dtype, np.float32)  # sums that cancel: 16-bit floats are rounded once, at the end
    base = c.table(("affine grid", sizes, corners, str(wide)), make)
    grid = c.op("matmul", base, c.transpose(c.cast(theta, wide), (0, 2, 1)))
    return c.reshape(c.cast(grid, theta.dtype), (size[0], *sizes, k))
