"""Normalisations and softmaxes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from tests.onnx_sweep.case import EXACT, Draw, Node, Tolerance, sweep

NORMAL = Tolerance(
    "means and variances are sums in another order, and what is left after the mean is taken away is small",
    rel=32.0, abs=32.0, half=2.0,
)  # fmt: skip
SHARES = Tolerance("exponentials to some ulps over a sum of them in another order", rel=64.0, abs=8.0)


STORED = replace(NORMAL, reason=NORMAL.reason + "; 16-bit factors and shifts are stored", half_abs=1.0)


@sweep("BatchNormalization", tolerance=STORED)
def batch_normalization(draw: Draw) -> Node:
    shape = draw.shape(draw.choose([2, 3, 4, 4, 5]), empty=0.0)
    channels = shape[1]
    other = np.float32 if draw.opset >= 15 and draw.dtype.itemsize == 2 and draw.chance(0.5) else draw.dtype
    arrays = [draw.values(shape), *(draw.values((channels,), dtype=other) for _ in range(3)),
              draw.values((channels,), 0.1, 2, dtype=other)]  # fmt: skip
    attrs: dict[str, object] = {"epsilon": 1e-3} if draw.chance(0.5) or draw.dtype == np.float64 else {}
    if draw.opset >= 14 and draw.chance(0.2):
        attrs.update(training_mode=1, momentum=0.8)
        return Node(arrays, attrs, outputs=draw.choose([1, 3]), scale=64)
    if draw.opset < 9 and draw.chance(0.5):
        attrs["spatial"] = 1
    return Node(arrays, attrs, constants=draw.fixed(1, 2, 3, 4, probability=0.7), scale=8)


@sweep("InstanceNormalization", tolerance=NORMAL)
def instance_normalization(draw: Draw) -> Node:
    shape = draw.shape(draw.choose([3, 4, 4, 5]), empty=0.0)
    shape = (*shape[:-1], max(shape[-1], 7))  # two that happen to be near are told apart by their last bits
    arrays = [draw.values(shape), draw.values((shape[1],)), draw.values((shape[1],))]
    attrs = {"epsilon": 1e-2} if draw.chance(0.5) else {}
    return Node(arrays, attrs, constants=draw.fixed(1, 2), scale=8)


@sweep("LayerNormalization", tolerance=NORMAL)
def layer_normalization(draw: Draw) -> Node:
    shape = draw.shape((1, 4), empty=0.02)
    axis = draw.axis(len(shape))
    rest = shape[axis:]
    arrays = [draw.values(shape), draw.values(rest)]
    if draw.chance(0.6):
        arrays.append(draw.values(rest))
    attrs: dict[str, object] = {"axis": axis, "epsilon": draw.choose([1e-5, 1e-2])}
    outputs = draw.choose([1, 1, 3]) if draw.dtype.itemsize > 2 and 0 not in shape else 1
    return Node(arrays, attrs, outputs=outputs, constants=draw.fixed(*range(1, len(arrays))), scale=16)


@sweep("RMSNormalization", tolerance=NORMAL)
def rms_normalization(draw: Draw) -> Node:
    shape = draw.shape((1, 4), empty=0.0)
    axis = draw.axis(len(shape))
    return Node([draw.values(shape), draw.values(shape[axis:])], {"axis": axis, "epsilon": draw.choose([1e-5, 1e-2])},
                constants=draw.fixed(1))  # fmt: skip


@sweep("GroupNormalization", tolerance=NORMAL)
def group_normalization(draw: Draw) -> Node:
    groups, per = draw.choose([1, 2, 3, 8]), draw.choose([1, 2, 5, 17])
    shape = (draw.integer(1, 3), groups * per, *draw.shape(draw.choose([1, 2, 2, 3]), 1025, empty=0.0))
    shape = (*shape[:-1], max(shape[-1], 7))
    x, scale, bias = arrays = [draw.values(shape), draw.values((groups * per,)), draw.values((groups * per,))]
    attrs: dict[str, object] = {"num_groups": groups, "epsilon": draw.choose([1e-5, 1e-2])}

    def answer() -> list[np.ndarray]:
        parts = x.reshape(shape[0], groups, -1)
        deviation = np.sqrt(parts.var(axis=2, keepdims=True) + float(np.float32(attrs["epsilon"])))
        y = ((parts - parts.mean(axis=2, keepdims=True)) / deviation).reshape(shape)
        return [y * scale.reshape(-1, *[1] * (len(shape) - 2)) + bias.reshape(-1, *[1] * (len(shape) - 2))]

    # of float64, ONNX's own body takes the mean and the variance in float32
    own = answer if draw.dtype == np.float64 else None
    return Node(arrays, attrs, constants=draw.fixed(1, 2), scale=16, expected=own)


@sweep("MeanVarianceNormalization", tolerance=STORED)
def mean_variance(draw: Draw) -> Node:
    shape = draw.shape(4, empty=0.0)
    axes = draw.choose([None, [0, 2, 3], [2, 3], [1, 2, 3], [0, 1, 2, 3]])
    kept = axes or [0, 2, 3]
    if np.prod([shape[a] for a in kept]) < 2:
        shape = (*shape[:3], 7)
    return Node([draw.values(shape)], {"axes": axes}, scale=16)


@sweep("LpNormalization", tolerance=NORMAL)
def lp_normalization(draw: Draw) -> Node:
    shape = draw.shape((1, 4), empty=0.0)
    return Node([draw.values(shape)], {"axis": draw.axis(len(shape)), "p": draw.choose([None, 1, 2])})


@sweep("Softmax", "LogSoftmax", tolerance=SHARES)
def softmax(draw: Draw) -> Node:
    shape = draw.shape((1, 4))
    reach = draw.choose([1, 10, 80])
    attrs = {"axis": draw.axis(len(shape)) if draw.opset >= 11 else draw.integer(0, len(shape) - 1)}
    if draw.chance(0.2) and (draw.opset >= 13 or len(shape) >= 2):
        attrs = {}
    x = draw.values(shape, -reach, reach)
    if draw.chance(0.15) and x.size:
        x.reshape(-1)[:: draw.integer(2, 9)] = -np.inf  # masked; the first of each row may be, never all
        x = np.where(np.isneginf(x.astype(np.float32)).all(axis=attrs.get("axis", -1), keepdims=True),
                     np.array(0, x.dtype), x) if draw.opset >= 13 else draw.values(shape, -reach, reach)  # fmt: skip
    return Node([x], attrs, scale=reach if draw.operator == "LogSoftmax" else 0.1)


@sweep("Hardmax", tolerance=EXACT, doubt="before opset 13 it takes one axis, not all from there on")
def hardmax(draw: Draw) -> Node:
    shape = draw.shape((1, 4), empty=0.0)
    attrs = {"axis": draw.axis(len(shape)) if draw.opset >= 11 else draw.integer(0, len(shape) - 1)}
    return Node([draw.values(shape, -3, 3)], attrs)
