"""Convolutions of every kind."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from tests.onnx_sweep.case import EXACT, SUMS, Draw, Node, sweep
from tests.onnx_sweep.families.dense import BYTES, zero_point

#: multiplications of a case
_WORK = 600_000


class Window:
    """A drawn window over ``rank`` axes: its attributes and the input's sizes."""

    def __init__(self, draw: Draw, rank: int, largest: int = 5, auto: bool = True, dilations: bool = True) -> None:
        self.rank = rank
        self.kernel = [draw.integer(1, largest) for _ in range(rank)]
        if draw.chance(0.5):
            self.kernel = [draw.choose([1, 2, 3, 5, 7]) if largest >= 5 else 3] * rank
        self.strides = [draw.integer(1, 3) for _ in range(rank)] if draw.chance(0.4) else [1] * rank
        self.dilations = [draw.integer(1, 3) for _ in range(rank)] if dilations and draw.chance(0.3) else [1] * rank
        self.auto = draw.choose(["SAME_UPPER", "SAME_LOWER", "VALID", "NOTSET"]) if auto and draw.chance(0.3) else None
        if self.auto:  # a step beyond the window would mean less than no padding
            self.strides = [min(s, k) for s, k in zip(self.strides, self.kernel)]
        spans = [(k - 1) * d + 1 for k, d in zip(self.kernel, self.dilations)]
        self.pads = [0] * (2 * rank)
        if self.auto in (None, "NOTSET") and draw.chance(0.6):
            self.pads = [draw.integer(0, k // 2) for k in (*self.kernel, *self.kernel)]
        limit = {1: 1025, 2: 65, 3: 17}[rank]
        self.sizes = [max(draw.size(limit), s) for s in spans]
        for axis in range(rank):  # one axis may be long
            while np.prod(self.sizes) > 6000 and self.sizes[axis] > max(spans[axis], 9):
                self.sizes[axis] = max(self.sizes[axis] // 2, spans[axis])

    def attrs(self, kernel: bool = True) -> dict[str, object]:
        """The node's attributes; those that are the default are left out."""
        attrs: dict[str, object] = {"kernel_shape": self.kernel} if kernel else {}
        if any(s != 1 for s in self.strides):
            attrs["strides"] = self.strides
        if any(d != 1 for d in self.dilations):
            attrs["dilations"] = self.dilations
        if any(self.pads):
            attrs["pads"] = self.pads
        if self.auto:
            attrs["auto_pad"] = self.auto
        return attrs


def _channels(draw: Draw, window: Window, budget: int = _WORK) -> tuple[int, int, int]:
    """Groups, and channels of input and output for each of them."""
    left = max(int(budget // (np.prod(window.sizes) * np.prod(window.kernel))), 1)
    sizes = [1, 1, 1]
    for at in draw.rng.permutation(3):
        if at == 0 and not draw.chance(0.4):
            continue
        sizes[at] = draw.size(min(left, 129))
        left //= sizes[at]
    if draw.chance(0.2):  # depthwise
        sizes = [draw.size(min(max(int(budget // np.prod(window.sizes)), 1), 129)), 1, draw.choose([1, 1, 2])]
    return sizes[0], sizes[1], sizes[2]


@sweep("Conv", tolerance=SUMS)
def conv(draw: Draw) -> Node:
    window = Window(draw, draw.choose([1, 2, 2, 2, 3]))
    groups, before, after = _channels(draw, window)
    batch = draw.choose([1, 1, 2, 3, 0 if draw.chance(0.2) else 1])
    arrays = [
        draw.values((batch, groups * before, *window.sizes), -1, 1),
        draw.values((groups * after, before, *window.kernel), -1, 1),
    ]
    if draw.chance(0.6):
        arrays.append(draw.values((groups * after,), -1, 1))
    attrs = window.attrs(kernel=draw.chance(0.6))
    if groups > 1:
        attrs["group"] = groups
    terms = before * float(np.prod(window.kernel))
    constants = draw.fixed(*range(1, len(arrays)), probability=0.7)
    return Node(arrays, attrs, constants=constants, scale=terms**0.5)


@sweep("ConvTranspose", tolerance=SUMS, doubt="it mixes groups up, and refuses output_shape with dilations")
def conv_transpose(draw: Draw) -> Node:
    window = Window(draw, draw.choose([1, 2, 2, 2, 3]), largest=4)
    groups, before, after = _channels(draw, window)
    arrays = [
        draw.values((draw.choose([1, 1, 2]), groups * before, *window.sizes), -1, 1),
        draw.values((groups * before, after, *window.kernel), -1, 1),
    ]
    if draw.chance(0.6):
        arrays.append(draw.values((groups * after,), -1, 1))
    attrs = window.attrs(kernel=draw.chance(0.6))
    if groups > 1:
        attrs["group"] = groups
    if draw.chance(0.3):
        attrs["output_padding"] = [draw.integer(0, s - 1) for s in window.strides]
    if draw.chance(0.2):
        attrs.pop("pads", None)
        attrs.pop("output_padding", None)
        attrs["output_shape"] = [
            (n - 1) * s + (k - 1) * d + 1 - draw.integer(0, min(2, (k - 1) * d))
            for n, s, k, d in zip(window.sizes, window.strides, window.kernel, window.dilations)
        ]
    terms = before * float(np.prod(window.kernel))
    return Node(arrays, attrs, constants=draw.fixed(*range(1, len(arrays)), probability=0.7), scale=terms**0.5)


@sweep("ConvInteger", tolerance=EXACT, types=("uint8", "int8"))
def conv_integer(draw: Draw) -> Node:
    window = Window(draw, draw.choose([1, 2, 2]))
    groups, before, after = _channels(draw, window)
    other = np.dtype(np.uint8 if draw.dtype == np.uint8 and draw.chance(0.5) else np.int8)
    arrays = [
        draw.values((draw.choose([1, 2]), groups * before, *window.sizes), -128, 255),
        draw.values((groups * after, before, *window.kernel), -128, 255, dtype=other),
    ]
    if draw.chance(0.7):
        arrays.append(zero_point(draw, draw.dtype))
        if draw.chance(0.5):
            arrays.append(zero_point(draw, other))
    attrs = window.attrs()
    if groups > 1:
        attrs["group"] = groups
    return Node(arrays, attrs, constants=draw.fixed(*range(1, len(arrays)), probability=0.7))


@sweep("QLinearConv", tolerance=BYTES, types=("uint8", "int8"))
def qlinear_conv(draw: Draw) -> Node:
    window = Window(draw, draw.choose([1, 2, 2]))
    groups, before, after = _channels(draw, window)
    other = np.dtype(np.uint8 if draw.dtype == np.uint8 and draw.chance(0.4) else np.int8)
    per = (groups * after,) if draw.chance(0.5) else ()
    terms = before * float(np.prod(window.kernel))
    weight_zero = (
        np.zeros(per, other) if other == np.int8 and draw.chance(0.5) else np.broadcast_to(zero_point(draw, other), per)
    )
    arrays = [
        draw.values((draw.choose([1, 2]), groups * before, *window.sizes), -128, 255), np.float32(0.02),
        zero_point(draw, draw.dtype), draw.values((groups * after, before, *window.kernel), -128, 255, dtype=other),
        draw.rng.uniform(0.01, 0.03, per).astype(np.float32), np.array(weight_zero), np.float32(0.03 * terms**0.5),
        zero_point(draw, draw.dtype),
    ]  # fmt: skip
    if draw.chance(0.5):
        arrays.append(draw.values((groups * after,), -3000, 3000, dtype=np.int32))
    attrs = window.attrs()
    if groups > 1:
        attrs["group"] = groups
    return Node(arrays, attrs, constants=frozenset(range(1, len(arrays))))


BENT = replace(SUMS, reason=SUMS.reason + "; 16-bit samples are stored", half_abs=1.0)


@sweep("DeformConv", tolerance=BENT)
def deform_conv(draw: Draw) -> Node:
    window = Window(draw, 2, largest=3, auto=False)
    window.sizes = [max(min(s, 17), (k - 1) * d + 1) for s, k, d in zip(window.sizes, window.kernel, window.dilations)]
    groups, before, after = (draw.choose(v) for v in ([1, 1, 2], [1, 2, 3, 8], [1, 3, 8, 17]))
    offsets = draw.choose([1, 1, groups * before])
    batch = draw.integer(1, 2)
    out = [
        (n + window.pads[i] + window.pads[i + 2] - (k - 1) * d - 1) // s + 1
        for i, (n, k, d, s) in enumerate(zip(window.sizes, window.kernel, window.dilations, window.strides))
    ]
    taps = int(np.prod(window.kernel))
    arrays: list[np.ndarray | None] = [
        draw.values((batch, groups * before, *window.sizes), -1, 1),
        draw.values((groups * after, before, *window.kernel), -1, 1),
        draw.values((batch, offsets * taps * 2, *out), -2, 2),
    ]
    if draw.chance(0.6):
        arrays.append(draw.values((groups * after,), -1, 1) if draw.chance(0.7) else None)
        if draw.chance(0.6) or arrays[-1] is None:
            arrays.append(draw.values((batch, offsets * taps, *out), 0, 1))
    attrs = window.attrs()
    if groups > 1:
        attrs["group"] = groups
    if offsets > 1:
        attrs["offset_group"] = offsets
    # a corner's weight is a difference of coordinates, so that its error is the coordinate's
    return Node(arrays, attrs, constants=frozenset({1}), scale=4 * (before * taps) ** 0.5)


@sweep("CausalConvWithState", tolerance=SUMS)
def causal_conv(draw: Draw) -> Node:
    batch, channels, length, taps = draw.integer(1, 3), draw.size(65), draw.size(129), draw.integer(1, 5)
    arrays: list[np.ndarray | None] = [
        draw.values((batch, channels, length), -1, 1), draw.values((channels, 1, taps), -1, 1),
    ]  # fmt: skip
    bias, state = draw.chance(0.5), draw.chance(0.6)
    if bias or state:
        arrays.append(draw.values((channels,), -1, 1) if bias else None)
    if state:
        arrays.append(draw.values((batch, channels, taps - 1), -1, 1))
    attrs = {"activation": draw.choose(["silu", "swish", "none"])} if draw.chance(0.6) else {}
    return Node(arrays, attrs, outputs=2, constants=draw.fixed(1), scale=taps**0.5)
