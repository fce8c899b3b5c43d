"""Transforms of signals, windows and determinants."""

from __future__ import annotations

import numpy as np

from tests.onnx_sweep.case import Draw, Node, Tolerance, sweep

_WINDOWS = {
    "HannWindow": (0.5, 0.5, 0.0), "HammingWindow": (25 / 46, 21 / 46, 0.0), "BlackmanWindow": (0.42, 0.5, 0.08)
}  # fmt: skip
WAVES = Tolerance("sums of as many terms as the transform is long, in another order", rel=32.0, abs=16.0, half=4.0)


@sweep("DFT", tolerance=WAVES)
def dft(draw: Draw) -> Node:
    length = draw.choose([1, 2, 3, 7, 8, 16, 17, 31, 64, 100, 129, 255])
    complex_ = draw.chance(0.5)
    lead = draw.shape((1, 2), 40, empty=0.0)
    axis = draw.integer(1, len(lead))
    shape = [*lead, 2 if complex_ else 1]
    shape.insert(axis, length)
    inverse = int(complex_ and draw.chance(0.4))
    onesided = int(not complex_ and draw.chance(0.5))
    attrs: dict[str, object] = {"inverse": inverse, "onesided": onesided}
    count = draw.choose([None, None, length, length + 3, max(length // 2, 1)])
    arrays: list[np.ndarray | None] = [draw.values(shape, -1, 1)]
    if count is not None:
        arrays.append(np.array(count, np.int64))
    if draw.opset >= 20:
        arrays += [None] * (2 - len(arrays)) + [np.array(axis - len(shape) if draw.chance(0.5) else axis, np.int64)]
    else:
        attrs["axis"] = axis
    fixed = frozenset(i for i in range(1, len(arrays)) if arrays[i] is not None)
    points = count or length
    doubt = "of other lengths than powers of two, four digits are right" if points & (points - 1) else ""
    return Node(arrays, attrs, constants=fixed, scale=float(points), doubt=doubt)


@sweep("STFT", tolerance=WAVES)
def stft(draw: Draw) -> Node:
    frame = draw.choose([2, 7, 8, 16, 31, 64])
    signal = frame + draw.choose([0, 1, 15, 100, 257])
    step = draw.choose([1, 3, 8, frame])
    x = draw.values((draw.integer(1, 3), signal, 1), -1, 1)
    arrays: list[np.ndarray | None] = [x, np.array(step, np.int64)]
    window = draw.chance(0.7)
    arrays.append(draw.values((frame,), 0, 1) if window else None)
    if not window or draw.chance(0.4):
        arrays.append(np.array(frame, np.int64))
    fixed = frozenset(i for i in (1, 2, 3) if i < len(arrays) and arrays[i] is not None)
    return Node(arrays, {"onesided": draw.choose([None, 0, 1])}, constants=fixed, scale=float(frame))


@sweep("HannWindow", "HammingWindow", "BlackmanWindow", types=("int32", "int64"),
       tolerance=Tolerance("cosines of rounded angles", rel=8.0, abs=8.0, half=2.0))  # fmt: skip
def windows(draw: Draw) -> Node:
    attrs: dict[str, object] = {"periodic": draw.choose([None, 0, 1])}
    if draw.chance(0.4):
        attrs["output_datatype"] = draw.choose([1, 11, 10])
    size = draw.size() + 1
    if attrs.get("output_datatype") != 11:
        return Node([np.array(size, draw.dtype)], attrs, constants=frozenset({0}))

    def answer() -> list[np.ndarray]:
        first, second, third = _WINDOWS[draw.operator]
        x = 2 * np.pi * np.arange(size) / (size if attrs["periodic"] != 0 else size - 1)
        return [first - second * np.cos(x) + third * np.cos(2 * x)]

    # of float64, ONNX Runtime's constants are float32
    return Node([np.array(size, draw.dtype)], attrs, constants=frozenset({0}), expected=answer)


@sweep(
    "MelWeightMatrix",
    types=("int32", "int64"),
    tolerance=Tolerance("quotients of whole numbers", rel=16.0, abs=16.0, half=2.0),
)
def mel(draw: Draw) -> Node:
    rate = draw.choose([8000, 16000, 44100])
    kinds = [draw.choose([8, 13, 20]), draw.choose([64, 256, 400, 512]), rate]
    arrays = [np.array(v, draw.dtype) for v in kinds]
    edges = [np.array(v, np.float32) for v in (draw.choose([0.0, 20.0, 125.0]), rate * draw.choose([0.25, 0.45]))]
    return Node([*arrays, *edges], constants=frozenset(range(5)))


@sweep(
    "Det",
    tolerance=Tolerance(
        "elimination with the same pivots, whose products are summed in another order", rel=512.0, abs=64.0, half=8.0
    ),
)
def det(draw: Draw) -> Node:
    size = draw.choose([1, 2, 3, 4, 7, 8, 16, 17])
    shape = (*draw.shape((0, 2), 33, empty=0.0), size, size)
    x = draw.values(shape, -1, 1)
    return Node([x], scale=float(2.0 ** (size / 2)))
