"""Per-axis index and weight tables of ONNX Resize, made on the host in float64.

Every mode of Resize is, along each axis, a weighted sum of a few input positions: ``y[o] = sum_k w[o,k] x[i[o,k]]``.
"""

from __future__ import annotations

import math

import numpy as np

COORDINATE_MODES = (
    "half_pixel", "half_pixel_symmetric", "pytorch_half_pixel", "align_corners", "asymmetric", "tf_crop_and_resize",
    "tf_half_pixel_for_nn",
)  # fmt: skip
NEAREST_MODES = ("round_prefer_floor", "round_prefer_ceil", "floor", "ceil")


def identity(size: int) -> tuple[np.ndarray, np.ndarray]:
    """Tables of an axis that is not resized."""
    return np.arange(size, dtype=np.int32)[:, None], np.ones((size, 1))


def coordinates(
    size: int, out: int, scale: float, mode: str, roi: tuple[float, float] = (0.0, 1.0), dtype: type = np.float64
) -> np.ndarray:
    """Input coordinate (``dtype``) of each output position, by ONNX's ``coordinate_transformation_mode``."""
    o: np.ndarray = np.arange(out, dtype=dtype)
    scale = dtype(scale)
    if mode == "half_pixel":
        return (o + 0.5) / scale - 0.5
    if mode == "half_pixel_symmetric":
        adjustment = out / (scale * size)
        return size / 2 * (1 - adjustment) + (o + 0.5) / scale - 0.5
    if mode == "pytorch_half_pixel":
        return (o + 0.5) / scale - 0.5 if out > 1 else np.zeros(out)
    if mode == "align_corners":
        last = dtype(size) * scale - 1  # ONNX counts the resized length before it is rounded down
        return o * (size - 1) / last if out > 1 else np.zeros(out)
    if mode == "asymmetric":
        return o / scale
    if mode == "tf_half_pixel_for_nn":
        return (o + 0.5) / scale
    if mode == "tf_crop_and_resize":
        start, end = dtype(roi[0]), dtype(roi[1])
        if out > 1:
            return start * (size - 1) + o * (end - start) * (size - 1) / (out - 1)
        return np.full(out, 0.5 * (start + end) * (size - 1))
    raise ValueError(f"coordinate_transformation_mode {mode!r} is not one of {COORDINATE_MODES}")


def axis_tables(
    size: int,
    out: int,
    *,
    mode: str = "nearest",
    scale: float | None = None,
    coordinate_mode: str = "half_pixel",
    nearest_mode: str = "round_prefer_floor",
    cubic_coeff: float = -0.75,
    exclude_outside: bool = False,
    antialias: bool = False,
    roi: tuple[float, float] = (0.0, 1.0),
) -> tuple[np.ndarray, np.ndarray]:
    """(indices int32 [out, taps], weights float64 [out, taps]) for one axis of ``size`` positions.

    ``scale`` defaults to ``out / size``.  With ``tf_crop_and_resize``, output positions whose coordinate lies outside
    the input get index -1 in their first tap: the kernel writes the extrapolation value there.
    """
    scale = out / size if scale is None else scale
    # ties and borders are decided in float32, as other runtimes do; weights are more exact in float64
    decides = mode == "nearest" or coordinate_mode == "tf_crop_and_resize"
    x = coordinates(size, out, scale, coordinate_mode, roi, np.float32 if decides else np.float64)
    if mode == "nearest":
        index, weight = _nearest(x, nearest_mode)[:, None], np.ones((out, 1))
    elif mode in ("linear", "cubic"):
        index, weight = _filter(x, mode, scale if antialias and scale < 1 else 1.0, cubic_coeff)
    else:
        raise ValueError(f"resize mode {mode!r} is not nearest, linear or cubic")
    if exclude_outside:
        weight = np.where((index >= 0) & (index < size), weight, 0.0)
        total = weight.sum(axis=1, keepdims=True)
        weight = weight / np.where(total == 0, 1, total)
    result = np.clip(index, 0, size - 1).astype(np.int32)
    if coordinate_mode == "tf_crop_and_resize":
        result[(x < 0) | (x > size - 1), 0] = -1
    return np.ascontiguousarray(result), np.ascontiguousarray(weight, dtype=np.float64)


def _nearest(x: np.ndarray, mode: str) -> np.ndarray:
    if mode == "round_prefer_floor":
        return np.ceil(x - 0.5).astype(np.int64)
    if mode == "round_prefer_ceil":
        return np.floor(x + 0.5).astype(np.int64)
    if mode == "floor":
        return np.floor(x).astype(np.int64)
    if mode == "ceil":
        return np.ceil(x).astype(np.int64)
    raise ValueError(f"nearest_mode {mode!r} is not one of {NEAREST_MODES}")


def _filter(x: np.ndarray, mode: str, scale: float, a: float) -> tuple[np.ndarray, np.ndarray]:
    """Taps of the linear or cubic kernel, stretched by 1/scale when shrinking with antialias."""
    support = (1.0 if mode == "linear" else 2.0) / scale
    if scale == 1.0:
        first, taps = np.floor(x).astype(np.int64) - (0 if mode == "linear" else 1), 2 if mode == "linear" else 4
    else:
        first, taps = np.floor(x - support).astype(np.int64) + 1, math.ceil(2 * support)
    index = first[:, None] + np.arange(taps)
    distance = np.abs(index - x[:, None]) * scale
    if mode == "linear":
        weight = np.maximum(0.0, 1.0 - distance)
    else:
        near = ((a + 2) * distance - (a + 3)) * distance * distance + 1
        far = ((a * distance - 5 * a) * distance + 8 * a) * distance - 4 * a
        weight = np.where(distance <= 1, near, np.where(distance < 2, far, 0.0))
    if scale != 1.0:
        weight = weight / weight.sum(axis=1, keepdims=True)
    return index, weight
