"""To bytes and back."""

from __future__ import annotations

import numpy as np

from tests.onnx_sweep.case import FEW, Draw, Node, Tolerance, sweep
from tests.onnx_sweep.families.dense import BYTES, zero_point


def _scales(
    draw: Draw, shape: tuple[int, ...], dtype: np.dtype
) -> tuple[np.ndarray, tuple[int, ...], dict[str, object]]:
    """Scales for the whole tensor, for an axis or for blocks; the shape of the zero points; attributes."""
    whole = draw.opset < 13 or not shape or draw.chance(0.35)
    attrs: dict[str, object] = {}
    if whole:
        kept: tuple[int, ...] = ()
    elif draw.opset >= 21 and draw.chance(0.4):
        axis = draw.integer(0, len(shape) - 1)
        block = draw.choose([b for b in range(1, shape[axis] + 1) if shape[axis] % b == 0][-6:])
        kept = tuple(s // block if i == axis else s for i, s in enumerate(shape))
        attrs.update(axis=axis, block_size=int(block))
    else:
        axis = draw.axis(len(shape))
        attrs["axis"] = axis
        kept = (shape[axis],)
    return draw.rng.uniform(0.01, 0.1, kept).astype(dtype), kept, attrs


@sweep("QuantizeLinear", tolerance=BYTES, widen=False, types=("float", "float16", "int32"))
def quantize(draw: Draw) -> Node:
    shape = draw.shape((0, 4), 8000, empty=0.0)
    if draw.dtype.kind == "i":
        x, dtype = draw.values(shape, -30, 30), np.dtype(np.float32)
    else:
        x, dtype = draw.values(shape, -12, 12), draw.dtype
    scale, kept, attrs = _scales(draw, shape, dtype)
    kinds = [np.uint8, np.int8, *([np.uint16, np.int16] if draw.opset >= 21 else [])]
    arrays = [x, scale]
    if draw.chance(0.8) or draw.opset < 13:
        arrays.append(zero_point(draw, np.dtype(draw.choose(kinds)), kept))
    if attrs.get("axis") is not None and draw.opset >= 19 and draw.chance(0.2):
        attrs["saturate"] = 1
    return Node(arrays, attrs, constants=draw.fixed(*range(1, len(arrays)), probability=0.7))


@sweep("DequantizeLinear", tolerance=FEW, types=("uint8", "int8", "int32", "uint16", "int16"))
def dequantize(draw: Draw) -> Node:
    shape = draw.shape((0, 4), 8000, empty=0.0)
    x = draw.values(shape, -30000, 60000) if draw.dtype.itemsize == 2 else draw.values(shape, -128, 255)
    dtype = np.dtype(np.float16 if draw.opset >= 19 and draw.chance(0.2) and draw.dtype.itemsize == 1 else np.float32)
    scale, kept, attrs = _scales(draw, shape, dtype)
    arrays = [x, scale]
    if draw.dtype != np.int32 and draw.chance(0.8):
        arrays.append(zero_point(draw, draw.dtype, kept))
    return Node(arrays, attrs, constants=draw.fixed(*range(1, len(arrays)), probability=0.7))


@sweep(
    "DynamicQuantizeLinear",
    tolerance=Tolerance("the scale is a quotient; a number between two bytes may go to either", rel=4.0, steps=1),
)
def dynamic_quantize(draw: Draw) -> Node:
    low, high = draw.choose([(-2, 3), (0.5, 2), (-3, -1)])
    return Node([draw.values(draw.shape((1, 4), empty=0.0), low, high)], outputs=3)
