"""Pools, and what is normalised over neighbouring channels."""

from __future__ import annotations

import numpy as np

from tests.onnx_sweep.case import EXACT, FUNCTION, SUMS, Draw, Node, Tolerance, sweep
from tests.onnx_sweep.families.convolution import Window


def _windowed(draw: Draw, low: float = -1.0, high: float = 1.0) -> tuple[Window, np.ndarray, dict[str, object]]:
    since = {"MaxPool": (8, 10), "AveragePool": (19, 10), "LpPool": (18, 18)}[draw.operator]
    window = Window(draw, draw.choose([1, 2, 2, 2, 3]), dilations=draw.opset >= since[0])
    channels = draw.size(max(20000 // int(np.prod(window.sizes)), 1))
    x = draw.values((draw.choose([1, 1, 2]), min(channels, 129), *window.sizes), low, high)
    attrs = window.attrs()
    if attrs.get("auto_pad", "NOTSET") != "NOTSET":
        attrs.pop("dilations", None)  # the sizes that follow are told wrongly by both references
    if draw.opset >= since[1] and draw.chance(0.4):
        attrs["ceil_mode"] = draw.integer(0, 1)
    return window, x, attrs


@sweep("MaxPool", tolerance=EXACT)
def max_pool(draw: Draw) -> Node:
    low, high = (-100, 100) if draw.dtype.kind in "iu" else (-1, 1)
    _, x, attrs = _windowed(draw, low, high)
    if draw.opset >= 8 and draw.chance(0.2):
        attrs["storage_order"] = draw.integer(0, 1)
    indices = draw.opset >= 8 and draw.chance(0.4) and draw.dtype.kind == "f"
    return Node([x], attrs, outputs=2 if indices else 1)


@sweep("AveragePool", tolerance=SUMS)
def average_pool(draw: Draw) -> Node:
    _, x, attrs = _windowed(draw)
    if draw.chance(0.5):
        attrs["count_include_pad"] = draw.integer(0, 1)
    return Node([x], attrs)


@sweep("LpPool", tolerance=FUNCTION)
def lp_pool(draw: Draw) -> Node:
    _, x, attrs = _windowed(draw)
    if draw.chance(0.7):
        attrs["p"] = draw.integer(1, 4)
    return Node([x], attrs)


_RANKS = "maxima of tensors that have not four axes have a wrong shape"


@sweep("GlobalAveragePool", tolerance=SUMS)
@sweep("GlobalMaxPool", tolerance=EXACT, doubt=_RANKS)
@sweep("GlobalLpPool", tolerance=FUNCTION)
def global_pools(draw: Draw) -> Node:
    x = draw.values(draw.shape(draw.choose([3, 4, 4, 5]), empty=0), -1, 1)
    attrs = {"p": draw.integer(1, 4)} if draw.operator == "GlobalLpPool" and draw.chance(0.7) else {}
    return Node([x], attrs)


@sweep("MaxUnpool", tolerance=EXACT)
def max_unpool(draw: Draw) -> Node:
    rank = draw.choose([1, 2, 2, 3])
    kernel = [draw.integer(1, 3) for _ in range(rank)]
    batch, channels = draw.integer(1, 2), draw.choose([1, 3, 17])
    small = draw.shape(rank, 600, empty=0)
    big = [(n - 1) * k + k for n, k in zip(small, kernel)]
    attrs: dict[str, object] = {"kernel_shape": kernel, "strides": kernel}
    count = int(np.prod(small))
    arrays = [draw.values((batch, channels, *small), -9, 9)]
    wanted = [n + draw.integer(0, 2) for n in big]
    explicit = draw.chance(0.4)
    # indices run over the whole tensor, and none of them twice: which value stays is not said
    base = np.arange(batch * channels, dtype=np.int64)[:, None] * int(np.prod(big))
    chosen = np.stack([draw.rng.permutation(int(np.prod(big)))[:count] for _ in range(batch * channels)])
    arrays.append((base + chosen).reshape(arrays[0].shape).astype(np.int64))
    if explicit:
        arrays.append(np.array([batch, channels, *wanted], np.int64))
    doubt = "it takes indices as places in output_shape; ONNX's own case, in the size that follows from the strides"
    return Node(arrays, attrs, constants=draw.fixed(2) if explicit else frozenset(), doubt=doubt if explicit else "")


@sweep("MaxRoiPool", tolerance=EXACT)
def max_roi_pool(draw: Draw) -> Node:
    batch, high, wide = draw.integer(1, 3), draw.choose([7, 16, 33]), draw.choose([8, 17, 31])
    x = draw.values((batch, draw.choose([1, 3, 17]), high, wide), -1, 1)
    boxes = _boxes(draw, draw.size(33), batch, wide * 2, high * 2, whole=True)
    attrs: dict[str, object] = {"pooled_shape": [draw.integer(1, 5), draw.integer(1, 5)]}
    if draw.chance(0.7):
        attrs["spatial_scale"] = 0.5
    return Node([x, boxes], attrs)


def _boxes(draw: Draw, count: int, batch: int, wide: float, high: float, whole: bool = False) -> np.ndarray:
    """Rows (batch, x1, y1, x2, y2)."""
    corners = np.sort(draw.rng.uniform(0, 1, (count, 2, 2)), axis=1) * [wide - 1, high - 1]
    rows = np.concatenate([draw.rng.integers(0, batch, (count, 1)), corners.reshape(count, 4)], axis=1)
    return (np.round(rows) if whole else rows).astype(draw.dtype)


@sweep("RoiAlign", tolerance=SUMS, types=("float", "double", "float16"))
def roi_align(draw: Draw) -> Node:
    batch, high, wide = draw.integer(1, 3), draw.choose([7, 16, 33]), draw.choose([8, 17, 31])
    x = draw.values((batch, draw.choose([1, 3, 17]), high, wide), -1, 1)
    rows = _boxes(draw, draw.size(33), batch, wide, high)
    attrs: dict[str, object] = {"output_height": draw.integer(1, 5), "output_width": draw.integer(1, 5)}
    if draw.chance(0.7):
        attrs["sampling_ratio"] = draw.integer(0, 3)
    attrs["mode"] = draw.choose(["avg", "avg", "max"])
    if draw.opset >= 16 and draw.chance(0.7):
        attrs["coordinate_transformation_mode"] = draw.choose(["half_pixel", "output_half_pixel"])
    return Node([x, rows[:, 1:], rows[:, 0].astype(np.int64)], attrs, scale=float(max(high, wide)))


@sweep("LRN", tolerance=Tolerance("a power of a sum, to some ulps of ONNX Runtime's own", rel=64.0, abs=4.0),
       doubt="it sums over other channels than those around each")  # fmt: skip
def lrn(draw: Draw) -> Node:
    x = draw.values(draw.shape(4, empty=0), -2, 2)
    attrs: dict[str, object] = {"size": draw.choose([1, 3, 5, 7])}
    for name, low, high in (("alpha", 1e-4, 0.5), ("beta", 0.3, 1.0), ("bias", 0.8, 2.0)):
        if draw.chance(0.5):
            attrs[name] = float(np.float32(draw.rng.uniform(low, high)))
    return Node([x], attrs)
