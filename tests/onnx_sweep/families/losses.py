"""Losses."""

from __future__ import annotations

import numpy as np

from tests.onnx_sweep.case import Draw, Node, Tolerance, sweep

LOSS = Tolerance("sums in another order over logarithms of sums of exponentials", rel=64.0, abs=32.0, half=4.0)


@sweep("NegativeLogLikelihoodLoss", "SoftmaxCrossEntropyLoss", tolerance=LOSS)
def losses(draw: Draw) -> Node:
    batch, classes = draw.size(65), draw.size(65)
    more = draw.shape(draw.choose([0, 0, 1, 2]), max(8000 // (batch * classes), 1), empty=0.0)
    scores = draw.values((batch, classes, *more), -3, 3)
    labels = draw.rng.integers(0, classes, (batch, *more)).astype(draw.choose([np.int32, np.int64]))
    attrs: dict[str, object] = {"reduction": draw.choose([None, "none", "sum", "mean"])}
    if draw.chance(0.4):
        attrs["ignore_index"] = draw.choose([0, -1, classes])
        labels = np.where(draw.rng.random(labels.shape) < 0.2, np.array(attrs["ignore_index"], labels.dtype), labels)
        if (labels == attrs["ignore_index"]).all():
            labels = np.where(
                np.arange(labels.size).reshape(labels.shape) == 0, np.array(classes - 1, labels.dtype), labels
            )
            attrs["ignore_index"] = -1
    arrays = [scores, labels]
    if draw.chance(0.4):
        arrays.append(draw.values((classes,), 0.2, 2))
    outputs = 2 if draw.operator == "SoftmaxCrossEntropyLoss" and draw.chance(0.4) else 1
    total = labels.size if attrs["reduction"] == "sum" else 1
    return Node(arrays, attrs, outputs=outputs, scale=float(3 * total))
