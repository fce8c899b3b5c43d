"""Choosing among boxes."""

from __future__ import annotations

import numpy as np

from tests.onnx_sweep.case import EXACT, Draw, Node, sweep


@sweep("NonMaxSuppression", tolerance=EXACT)
def non_max_suppression(draw: Draw) -> Node:
    batch, classes, count = draw.integer(1, 2), draw.integer(1, 3), draw.size(129)
    corners = np.sort(draw.rng.uniform(0, 1, (batch, count, 2, 2)), axis=2)
    boxes = corners.reshape(batch, count, 4).astype(np.float32)  # y1, x1, y2, x2
    attrs = {}
    if draw.chance(0.3):
        centre = corners.mean(axis=2)[..., ::-1]
        boxes = np.concatenate([centre, np.ptp(corners, axis=2)[..., ::-1]], axis=2).astype(np.float32)
        attrs["center_point_box"] = 1
    scores = draw.rng.permutation(batch * classes * count).reshape(batch, classes, count).astype(np.float32) / 400
    arrays: list[np.ndarray | None] = [boxes, scores, np.array([draw.choose([1, 3, 10, 1000])], np.int64)]
    if draw.chance(0.8):
        arrays.append(np.array([draw.choose([0.1, 0.3, 0.5, 0.0])], np.float32))
        if draw.chance(0.6):
            arrays.append(np.array([draw.choose([0.05, 0.2])], np.float32))
    return Node(arrays, attrs, constants=draw.fixed(*range(2, len(arrays)), probability=0.8))
