"""Boxes in images.

``roi_align(x [B, H, W, C], rois [R, 4], image i32 [R]; height, width, scale, samples, largest, half_pixel)`` ->
``[R, height, width, C]``: :mod:`a1400.kernels.roi_align`.  Its gradient, ``roi_align_gradient(g, x, rois, image)``, is
the image's; where regions lie is taken as given, as PyTorch does.

``non_max_suppression(boxes [R, n, 4], valid i32 [R], limit i32 [1], threshold [1])`` -> i32 ``[R, n]``: 1 for the boxes
that are kept; :mod:`a1400.kernels.non_max_suppression` tells the rule.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from a1400.graph.graph import Value
from a1400.graph.tensor import Tensor
from a1400.kernels.non_max_suppression import keep_boxes
from a1400.kernels.roi_align import align, align_back
from a1400.ops.registry import Backward, Result, gradient, op, require, stepwise, widen

_I32 = np.dtype(np.int32)


def _suppression(attrs: dict[str, Any], boxes: Value, valid: Value, limit: Value, threshold: Value) -> list[Result]:
    require(boxes.rank == 3 and boxes.shape[2] == 4, f"boxes are [rows, n, 4], not {list(boxes.shape)}")
    require(valid.shape == boxes.shape[:1] and limit.shape == threshold.shape == (1,), "sizes of the rows do not fit")
    require(valid.dtype == limit.dtype == _I32, f"numbers of boxes are int32, not {valid.dtype} and {limit.dtype}")
    require(threshold.dtype == boxes.dtype, f"one dtype is needed, not {boxes.dtype} and {threshold.dtype}")
    return [(boxes.shape[:2], _I32)]


def _reference(
    attrs: dict[str, Any], boxes: np.ndarray, valid: np.ndarray, limit: np.ndarray, threshold: np.ndarray
) -> np.ndarray:
    keep = np.zeros(boxes.shape[:2], np.int32)
    for row, count in enumerate(valid):
        keep[row] = keep_boxes(widen(boxes[row]), int(count), int(limit[0]), float(threshold[0]))
    return keep


op("non_max_suppression", "selection", _suppression, _reference)
stepwise("non_max_suppression")


def _roi_align(attrs: dict[str, Any], x: Value, rois: Value, image: Value) -> list[Result]:
    require(x.rank == 4 and rois.rank == 2 and rois.shape[1] == 4, f"roi_align of {x} by {rois}")
    require(image.shape == rois.shape[:1] and image.dtype == _I32, f"image numbers {image} do not fit {rois}")
    require(attrs["height"] > 0 and attrs["width"] > 0 and attrs["samples"] >= 0, "roi_align needs positive sizes")
    return [((rois.shape[0], attrs["height"], attrs["width"], x.shape[3]), x.dtype)]


def _roi_align_reference(attrs: dict[str, Any], x: np.ndarray, rois: np.ndarray, image: np.ndarray) -> np.ndarray:
    s = {**attrs, "OH": attrs["height"], "OW": attrs["width"]}
    return align(widen(x), widen(rois), image, s).astype(x.dtype)


op("roi_align", "selection", _roi_align, _roi_align_reference)


def _roi_gradient(attrs: dict[str, Any], g: Value, x: Value, rois: Value, image: Value) -> list[Result]:
    ((wanted, dtype),) = _roi_align(attrs, x, rois, image)
    require(g.shape == wanted and g.dtype == dtype, f"roi_align's gradient of {g}, {x} and {rois}")
    return [(x.shape, x.dtype)]


def _roi_gradient_reference(
    attrs: dict[str, Any], g: np.ndarray, x: np.ndarray, rois: np.ndarray, image: np.ndarray
) -> np.ndarray:
    return align_back(widen(g), widen(x), widen(rois), image, attrs).astype(x.dtype)


op("roi_align_gradient", "selection", _roi_gradient, _roi_gradient_reference)


@gradient("roi_align")
def _roi_align_gradient(b: Backward) -> list[Tensor | None]:
    inputs = [b.x(i).value for i in range(3)]
    return [Tensor(b.graph, b.graph.op("roi_align_gradient", b.g.value, *inputs, **b.attrs)), None, None]
