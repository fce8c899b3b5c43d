"""Operators that move numbers without changing them, and those that make them from nothing."""

from __future__ import annotations

import numpy as np

from tests.onnx_sweep.case import EXACT, SUMS, Draw, Node, Tolerance, sweep


def _any(draw: Draw, rank: int | tuple[int, int] = (0, 5), **more: float) -> np.ndarray:
    return draw.values(draw.shape(rank, **more), special=True)  # type: ignore[arg-type]


@sweep("Transpose", tolerance=EXACT)
def transpose(draw: Draw) -> Node:
    x = _any(draw)
    order = [int(a) for a in draw.rng.permutation(x.ndim)]
    return Node([x], {"perm": order} if x.ndim and draw.chance(0.85) else {})


def _factorise(draw: Draw, size: int) -> list[int]:
    sizes, left = [], size
    for _ in range(draw.integer(0, 3)):
        fits = [d for d in range(1, min(left, 64) + 1) if left % d == 0] or [1]
        sizes.append(draw.choose(fits))
        left //= sizes[-1]
    return [*sizes, left]


@sweep("Reshape", tolerance=EXACT)
def reshape(draw: Draw) -> Node:
    x = _any(draw, empty=0.0)
    target = _factorise(draw, x.size)
    attrs = {}
    if draw.chance(0.4):
        target[draw.integer(0, len(target) - 1)] = -1
    if draw.opset >= 14 and draw.chance(0.2):
        x, target, attrs = draw.values((0, 3, 5)), [3, 0, 4], {"allowzero": 1}
    elif draw.chance(0.3) and x.ndim >= 2:
        target = [0, -1]
    return Node([x, np.array(target, np.int64)], attrs, constants=draw.fixed(1, probability=0.7))


@sweep("Flatten", tolerance=EXACT)
def flatten(draw: Draw) -> Node:
    x = _any(draw, (1, 5))
    low = -x.ndim if draw.opset >= 11 else 0
    return Node([x], {"axis": draw.integer(low, x.ndim)} if draw.chance(0.8) else {})


@sweep("Squeeze", tolerance=EXACT)
def squeeze(draw: Draw) -> Node:
    kept = draw.shape((0, 3))
    shape = list(kept)
    for _ in range(draw.integer(0, 2)):
        shape.insert(draw.integer(0, len(shape)), 1)
    ones = [i for i, s in enumerate(shape) if s == 1]
    axes = [a - len(shape) if draw.opset >= 11 and draw.chance(0.4) else a for a in ones if draw.chance(0.7)]
    x = draw.values(shape, special=True)
    if not axes:
        return Node([x])
    if draw.opset < 13:
        return Node([x], {"axes": axes})
    return Node([x, np.array(axes, np.int64)], constants=draw.fixed(1, probability=0.7))


@sweep("Unsqueeze", tolerance=EXACT)
def unsqueeze(draw: Draw) -> Node:
    x = _any(draw, (0, 3))
    count = draw.integer(1, 2)
    rank = x.ndim + count
    axes = [
        int(a) - rank if draw.opset >= 11 and draw.chance(0.4) else int(a) for a in draw.rng.permutation(rank)[:count]
    ]
    if draw.opset < 13:
        return Node([x], {"axes": sorted(axes)})
    return Node([x, np.array(axes, np.int64)], constants=draw.fixed(1, probability=0.7))


@sweep("Concat", tolerance=EXACT)
def concat(draw: Draw) -> Node:
    shape = list(draw.shape((1, 4), 4000))
    axis = draw.axis(len(shape)) if draw.opset >= 11 else draw.integer(0, len(shape) - 1)
    arrays = []
    for _ in range(draw.integer(1, 5)):
        shape[axis] = draw.choose([0, 1, 3, 7, 16, 33]) if draw.chance(0.9) else 0
        arrays.append(draw.values(shape, special=True))
    constants = frozenset(i for i in range(len(arrays)) if draw.chance(0.2)) - {0}
    return Node(arrays, {"axis": axis}, constants=constants)


@sweep("Split", tolerance=EXACT)
def split(draw: Draw) -> Node:
    shape = list(draw.shape((1, 4), 4000))
    axis = draw.axis(len(shape)) if draw.opset >= 11 else draw.integer(0, len(shape) - 1)
    parts = [draw.choose([1, 2, 7, 16, 33]) for _ in range(draw.integer(1, 4))]
    even = draw.chance(0.4)
    parts = [parts[0]] * len(parts) if even else parts
    shape[axis] = sum(parts)
    attrs: dict[str, object] = {"axis": axis}
    x = draw.values(shape, special=True)
    if even and (draw.opset < 18 or draw.chance(0.6)):
        if draw.opset >= 18:
            attrs["num_outputs"] = len(parts)
            shape[axis] = max(shape[axis] - draw.integer(0, 1) * (parts[0] > len(parts)), 1)
            x = draw.values(shape, special=True)
        return Node([x], attrs, outputs=len(parts))
    if draw.opset < 13:
        return Node([x], {**attrs, "split": parts}, outputs=len(parts))
    return Node([x, np.array(parts, np.int64)], attrs, outputs=len(parts), constants=draw.fixed(1, probability=0.7))


@sweep("Slice", tolerance=EXACT)
def slices(draw: Draw) -> Node:
    x = _any(draw, (1, 4))
    axes = draw.axes(x.ndim, 1)
    if draw.opset < 10:
        axes = sorted(a % x.ndim for a in axes)
    starts, ends, steps = [], [], []
    for axis in axes:
        size = x.shape[axis]
        step = draw.choose([1, 1, 2, 3, -1, -1, -2, 7]) if draw.opset >= 10 else 1
        a, b = draw.integer(-size - 2, size + 2), draw.choose([draw.integer(-size - 2, size + 2), 2**31 - 1, 2**63 - 1])
        if step < 0:
            a, b = b, draw.choose([draw.integer(-size - 2, size), -(2**31), -(2**63) + 1])
        starts, ends, steps = [*starts, a], [*ends, b], [*steps, step]
    if draw.opset < 10:
        return Node([x], {"starts": starts, "ends": ends, "axes": axes})
    kind = np.int64 if max(map(abs, starts + ends)) >= 2**31 else draw.choose([np.int32, np.int64])
    arrays: list[np.ndarray | None] = [x, *(np.array(v, kind) for v in (starts, ends, axes, steps))]
    if len(axes) == x.ndim and draw.chance(0.2):
        arrays[3] = None
    if all(s == 1 for s in steps) and arrays[3] is not None and draw.chance(0.5):
        arrays = arrays[:4]
    fixed = [i for i in range(1, len(arrays)) if arrays[i] is not None]
    return Node(arrays, constants=draw.fixed(*fixed, probability=0.7))


@sweep("Pad", tolerance=EXACT)
def pad(draw: Draw) -> Node:
    modes = ["constant", "constant", "edge", "reflect", *(["wrap"] if draw.opset >= 19 else [])]
    mode = draw.choose([None, *modes])
    rank = draw.integer(1, 4)
    x = draw.values(draw.shape(rank, 6000, empty=0.03 if mode in (None, "constant") else 0.0), special=False)
    most = [s - 1 if mode == "reflect" else s if mode == "wrap" else 9 for s in x.shape]
    pads = [draw.integer(0, min(most[i % rank], 9)) if draw.chance(0.7) else 0 for i in range(2 * rank)]
    if mode in (None, "constant") and draw.dtype == np.float32 and draw.chance(0.5):
        pads = [draw.integer(-min(x.shape[i % rank] // 3, 3), 5) for i in range(2 * rank)]
    if draw.opset < 11:
        value = {"value": 1.5} if mode in (None, "constant") and draw.chance(0.5) else {}
        return Node([x], {"pads": pads, "mode": mode, **value})
    arrays: list[np.ndarray | None] = [x, np.array(pads, np.int64)]
    if mode in (None, "constant") and draw.chance(0.6):
        arrays.append(draw.values((), 1, 2))
    if draw.opset >= 18 and draw.chance(0.4):
        axes = draw.axes(rank, 1)
        some = [pads[a % rank] for a in axes] + [pads[a % rank + rank] for a in axes]
        arrays[1] = np.array(some, np.int64)
        arrays += [None] * (3 - len(arrays)) + [
            np.array(axes, np.int64 if min(pads) < 0 else draw.choose([np.int32, np.int64]))
        ]
    fixed = [i for i in range(1, len(arrays)) if arrays[i] is not None]
    return Node(arrays, {"mode": mode}, constants=draw.fixed(*fixed, probability=0.7))


@sweep("Tile", tolerance=EXACT)
def tile(draw: Draw) -> Node:
    x = _any(draw, (1, 4), limit=2000)
    repeats = [draw.choose([1, 1, 2, 3, 7 if x.size < 300 else 1, 0 if draw.chance(0.1) else 1]) for _ in x.shape]
    return Node([x, np.array(repeats, np.int64)], constants=draw.fixed(1, probability=0.7))


@sweep("Expand", tolerance=EXACT)
def expand(draw: Draw) -> Node:
    shape = draw.shape((0, 5), 10000)
    x = draw.values(draw.broadcastable(shape), special=True)
    target = [1 if draw.chance(0.2) else s for s in shape]
    return Node([x, np.array(target, np.int64)], constants=draw.fixed(1, probability=0.7))


@sweep("DepthToSpace", "SpaceToDepth", tolerance=EXACT)
def blocks(draw: Draw) -> Node:
    block, (high, wide) = draw.integer(1, 4), draw.shape(2, 257, empty=0.0)
    batch, channels = draw.integer(1, 2), draw.choose([1, 2, 3, 8, 17])
    attrs: dict[str, object] = {"blocksize": block}
    if draw.operator == "SpaceToDepth":
        return Node([draw.values((batch, channels, high * block, wide * block), special=True)], attrs)
    if draw.opset >= 11 and draw.chance(0.7):
        attrs["mode"] = draw.choose(["DCR", "CRD"])
    return Node([draw.values((batch, channels * block * block, high, wide), special=True)], attrs)


@sweep("ReverseSequence", tolerance=EXACT)
def reverse_sequence(draw: Draw) -> Node:
    shape = draw.shape((2, 4), empty=0.0)
    batch = draw.choose([None, 0, 1])
    time = 1 if batch == 0 else 0
    lengths = draw.rng.integers(1, shape[time] + 1, shape[1 - time])
    attrs = {} if batch is None else {"batch_axis": batch, "time_axis": time}
    return Node(
        [draw.values(shape, special=True), lengths.astype(np.int64)], attrs, constants=draw.fixed(1, probability=0.3)
    )


@sweep("CenterCropPad", tolerance=EXACT)
def center_crop_pad(draw: Draw) -> Node:
    x = draw.values(draw.shape((1, 4), 4000, empty=0.0), special=True)
    axes = draw.axes(x.ndim, 1) if draw.chance(0.6) else None
    count = x.ndim if axes is None else len(axes)
    target = [draw.choose([1, 2, 7, 16, 33]) if count < 3 else draw.integer(1, 9) for _ in range(count)]
    kind = draw.choose([np.int32, np.int64])
    return Node([x, np.array(target, kind)], {"axes": axes}, constants=draw.fixed(1, probability=0.7))


@sweep("Trilu", tolerance=EXACT)
def trilu(draw: Draw) -> Node:
    x = _any(draw, (2, 4))
    arrays = [x]
    if draw.chance(0.7):
        arrays.append(np.array(draw.integer(-x.shape[-2] - 2, x.shape[-1] + 2), np.int64))
    return Node(
        arrays, {"upper": draw.choose([None, 0, 1])}, constants=draw.fixed(1) if len(arrays) > 1 else frozenset()
    )


@sweep("EyeLike", tolerance=EXACT)
def eye_like(draw: Draw) -> Node:
    x = draw.values(draw.shape(2))
    attrs: dict[str, object] = {"k": draw.integer(-x.shape[0] - 1, x.shape[1] + 1)} if draw.chance(0.6) else {}
    if draw.chance(0.5):
        attrs["dtype"] = draw.choose([1, 6, 7, 9, 11, 12])
    return Node([x], attrs)


@sweep("Range", tolerance=Tolerance("start + i * delta is rounded twice", rel=4.0, abs=4.0, half=2.0))
def ranges(draw: Draw) -> Node:
    if draw.dtype.kind in "iu":
        start, delta = draw.integer(-50, 50), draw.choose([1, 3, -1, -7])
        limit = start + delta * draw.choose([-1, 0, 1, 17, 257, 1025])
    else:
        start, delta = float(draw.integer(-8, 8)), draw.choose([0.25, 1.5, -0.5])
        limit = start + delta * draw.choose([-1, 0, 1, 17, 129])
    arrays = [np.array(v, draw.dtype) for v in (start, limit, delta)]
    return Node(arrays, constants=draw.fixed(0, 1, 2), scale=abs(limit))


@sweep("Col2Im", tolerance=SUMS)
def col2im(draw: Draw) -> Node:
    rank = draw.choose([1, 2, 2, 3])
    block = [draw.integer(1, 3) for _ in range(rank)]
    dilations = [draw.integer(1, 2) for _ in range(rank)]
    strides, pads = [draw.integer(1, 3) for _ in range(rank)], [draw.integer(0, 1) for _ in range(2 * rank)]
    image = [max(s, (k - 1) * d + 1) for s, k, d in zip(draw.shape(rank, 600, empty=0.0), block, dilations)]
    counts = [
        (n + pads[i] + pads[i + rank] - (k - 1) * d - 1) // s + 1
        for i, (n, k, d, s) in enumerate(zip(image, block, dilations, strides))
    ]
    shape = (draw.integer(1, 2), draw.choose([1, 3, 8]) * int(np.prod(block)), int(np.prod(counts)))
    low, high = (-9, 9) if draw.dtype.kind in "iu" else (-1, 1)
    arrays = [draw.values(shape, low, high), np.array(image, np.int64), np.array(block, np.int64)]
    attrs = {"dilations": dilations, "strides": strides, "pads": pads}
    doubt = "it puts blocks elsewhere where they are dilated and more than a step apart"
    bent = any(d > 1 for d in dilations) and any(s > 1 for s in strides)
    return Node(
        arrays,
        attrs,
        constants=draw.fixed(1, 2, probability=0.8),
        scale=float(np.prod(block)),
        doubt=doubt if bent else "",
    )
