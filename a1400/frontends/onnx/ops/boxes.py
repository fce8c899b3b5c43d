"""Boxes in images: NonMaxSuppression and RoiAlign.

Scores are sorted, corners found and boxes struck out on the device; how many are left is read.
"""

from __future__ import annotations

import numpy as np

from a1400.errors import GraphError
from a1400.frontends.onnx.compaction import I32, I64, places
from a1400.frontends.onnx.context import Ctx
from a1400.frontends.onnx.ops.registry import translates
from a1400.graph.graph import Value

_NONE = np.zeros((0, 3), np.int64)


@translates("NonMaxSuppression")
def non_max_suppression(c: Ctx) -> Value:
    """``[count, 3]``: batch, class and box of those kept, by batch, then class, then score (equal ones by index)."""
    boxes, scores = c[0], c[1]
    batch, n = boxes.shape[:2] if boxes.rank == 3 else (0, 0)
    if boxes.rank != 3 or boxes.shape[2] != 4 or scores.rank != 3 or (scores.shape[0], scores.shape[2]) != (batch, n):
        raise GraphError(f"boxes [batch, n, 4] and scores [batch, classes, n] are needed, not {boxes} and {scores}")
    classes = scores.shape[1]
    rows = batch * classes
    if c.opt(2) is None or not rows * n:
        return c.const(_NONE)
    limit = c.op("max", c.op("min", c.reshape(c[2], (1,)), c.scalar(n, c[2])), c.scalar(0, c[2]))
    threshold = c.scalar(0, boxes) if c.opt(3) is None else c.cast(c[3], boxes.dtype)
    ranked, order = c.multi("topk", c.reshape(scores, (rows, n)), k=n, axis=1, largest=True, sorted=True)
    if c.opt(4) is None:
        valid = c.const(np.full(rows, n, I32))
    else:
        better = c.cast(c.op("gt", ranked, c.reshape(c.cast(c[4], ranked.dtype), ())), I32)
        valid = c.reduce("sum", better, (1,), keepdims=False)
    corners = _corners(c, boxes)
    wide = c.reshape(c.expand(c.reshape(corners, (batch, 1, n, 4)), (batch, classes, n, 4)), (rows, n, 4))
    index = c.expand(c.reshape(order, (rows, n, 1)), (rows, n, 4))
    sorted_boxes = c.op("gather_elements", wide, index, axis=1)
    keep = c.op("non_max_suppression", sorted_boxes, valid, c.cast(limit, I32), c.reshape(threshold, (1,)))
    chosen = c.op("gt", c.reshape(keep, (rows * n,)), c.scalar(0, I32))
    where = places(c, chosen, "the number of boxes left", [order])
    if not where.size:
        return c.const(_NONE)
    row = c.op("div", where, c.scalar(n, I32))
    columns = [
        c.cast(c.op("div", row, c.scalar(classes, I32)), I64), c.cast(c.op("mod", row, c.scalar(classes, I32)), I64),
        c.op("gather", c.reshape(order, (rows * n,)), where, axis=0),
    ]  # fmt: skip
    return c.concat([c.reshape(column, (where.size, 1)) for column in columns], 1)


def _corners(c: Ctx, boxes: Value) -> Value:
    """Boxes as low y, low x, high y, high x."""
    if c.integer("center_point_box", 0):  # x, y, width, height
        centre = c.concat([c.slice(boxes, 2, 1, 1), c.slice(boxes, 2, 0, 1)], 2)
        half = c.concat([c.slice(boxes, 2, 3, 1), c.slice(boxes, 2, 2, 1)], 2)
        half = c.op("mul", half, c.scalar(0.5, boxes))
        return c.concat([c.op("sub", centre, half), c.op("add", centre, half)], 2)
    first, second = c.slice(boxes, 2, 0, 2), c.slice(boxes, 2, 2, 2)
    return c.concat([c.op("min", first, second), c.op("max", first, second)], 2)


@translates("MaxRoiPool")
def max_roi_pool(c: Ctx) -> Value:
    """The largest of the whole pixels in each bin of a region; rows of regions start with their image's number."""
    x, rois, shape = c[0], c[1], c.ints("pooled_shape")
    if x.rank != 4 or rois.rank != 2 or rois.shape[1] != 5 or shape is None or len(shape) != 2 or min(shape) < 1:
        raise GraphError(f"regions {list(rois.shape)} of {list(x.shape)} pooled to {shape}")
    image = c.reshape(c.cast(c.slice(rois, 1, 0, 1), I32), (rois.shape[0],))
    y = c.op(
        "roi_align", c.channels_last(x), c.slice(rois, 1, 1, 4), image, height=shape[0], width=shape[1],
        scale=c.number("spatial_scale", 1.0), samples=0, largest=2, half_pixel=False,
    )  # fmt: skip
    return c.channels_first(y)


@translates("RoiAlign")
def roi_align(c: Ctx) -> Value:
    """Regions of feature maps resampled to one size."""
    x, rois, image = c[0], c[1], c[2]
    mode, samples = c.text("mode", "avg"), c.integer("sampling_ratio", 0)
    placed = c.text("coordinate_transformation_mode", "half_pixel") if c.opset >= 16 else "output_half_pixel"
    if mode not in ("avg", "max") or placed not in ("half_pixel", "output_half_pixel"):
        raise GraphError(f"mode {mode!r} with coordinate_transformation_mode {placed!r}")
    y = c.op(
        "roi_align", c.channels_last(x), rois, c.cast(image, I32), height=c.integer("output_height", 1),
        width=c.integer("output_width", 1), scale=c.number("spatial_scale", 1.0), samples=max(samples, 0),
        largest=mode == "max", half_pixel=placed == "half_pixel",
    )  # fmt: skip
    return c.channels_first(y)
