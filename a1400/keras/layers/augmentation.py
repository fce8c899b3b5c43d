"""Random changes of pictures while training: drawn on the device, other ones for each picture and step."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from a1400.graph.tensor import Tensor
from a1400.keras.layers.windows import channels_last
from a1400.keras.registry import converts
from a1400.keras.tracing import F32, Call


def _between(c: Call, count: int, low: float, high: float) -> Tensor:
    return c.uniform((count,)) * float(high - low) + float(low)


def _batched(c: Call, work: Callable[[Tensor], Tensor]) -> Tensor:
    """``work`` on [N, H, W, C] while training; pictures pass unchanged otherwise."""
    x = c.real
    if not c.training:
        return x
    if x.rank != 4:
        c.refuse(f"pictures of rank {x.rank} are not supported; a batch of them has rank 4")
    return channels_last(c, x, work)


@converts("RandomFlip")
def _flip(c: Call) -> Tensor:
    def work(x: Tensor) -> Tensor:
        flips = (c.uniform((x.shape[0],)) <= 0.5).reshape((x.shape[0], 1, 1, 1))
        y = x
        for axis, name in ((2, "horizontal"), (1, "vertical")):
            if name in c.layer.mode:
                starts = [n - 1 if d == axis else 0 for d, n in enumerate(x.shape)]
                y = y.slice(starts, x.shape, [-1 if d == axis else 1 for d in range(4)])
        return flips.where(y, x)

    return _batched(c, work)


def _sampled(c: Call, x: Tensor, across: Tensor, down: Tensor) -> Tensor:
    """``x`` read at pixel positions ``across`` and ``down``, both [N, H, W]."""
    layer = c.layer
    padding = {"constant": "zeros", "nearest": "border", "reflect": "reflection"}.get(layer.fill_mode)
    if padding is None:
        c.refuse(f"fill_mode={layer.fill_mode!r} is not supported; constant, nearest and reflect are")
    height, width = x.shape[1:3]
    grid = [
        ((p * 2.0 + 1.0) * (1.0 / n) - 1.0).reshape((*p.shape, 1)) for p, n in ((across, width), (down, height))
    ]
    fill = float(layer.fill_value) if padding == "zeros" else 0.0
    mode = "nearest" if layer.interpolation == "nearest" else "linear"
    y = (x - fill if fill else x).op(
        "grid_sample", grid[0].op("concat", grid[1], axis=3), mode=mode, padding=padding, align_corners=False
    )
    return y + fill if fill else y


def _pixels(c: Call, x: Tensor) -> tuple[Tensor, Tensor]:
    """Column and row of each pixel: [1, H, W]."""
    rows, columns = np.indices(x.shape[1:3], F32)
    return c.constant(columns[None]), c.constant(rows[None])


def _per_picture(x: Tensor) -> Tensor:
    return x.reshape((x.shape[0], 1, 1))


@converts("RandomRotation")
def _rotate(c: Call) -> Tensor:
    def work(x: Tensor) -> Tensor:
        low, high = (float(f) * 2 * math.pi for f in c.layer.factor)
        angle = _per_picture(_between(c, x.shape[0], low, high))
        sine, cosine = angle.op("sin"), angle.op("cos")
        columns, rows = _pixels(c, x)
        middle = ((x.shape[2] - 1) / 2, (x.shape[1] - 1) / 2)
        right, below = columns - middle[0], rows - middle[1]
        across = cosine * right - sine * below + middle[0]
        return _sampled(c, x, across, sine * right + cosine * below + middle[1])

    return _batched(c, work)


@converts("RandomTranslation")
def _translate(c: Call) -> Tensor:
    def work(x: Tensor) -> Tensor:
        layer, (count, height, width) = c.layer, x.shape[:3]
        down = _per_picture(_between(c, count, layer.height_lower * height, layer.height_upper * height))
        across = _per_picture(_between(c, count, layer.width_lower * width, layer.width_upper * width))
        columns, rows = _pixels(c, x)
        whole = (count, height, width)
        return _sampled(c, x, (columns - across).expand(whole), (rows - down).expand(whole))

    return _batched(c, work)


@converts("RandomZoom")
def _zoom(c: Call) -> Tensor:
    def work(x: Tensor) -> Tensor:
        layer, (count, height, width) = c.layer, x.shape[:3]
        down = _per_picture(_between(c, count, 1 + layer.height_lower, 1 + layer.height_upper))
        across = down
        if layer.width_factor is not None:
            across = _per_picture(_between(c, count, 1 + layer.width_lower, 1 + layer.width_upper))
        columns, rows = _pixels(c, x)
        whole = (count, height, width)
        columns = (columns - (width - 1) / 2) * across + (width - 1) / 2
        rows = (rows - (height - 1) / 2) * down + (height - 1) / 2
        return _sampled(c, x, columns.expand(whole), rows.expand(whole))

    return _batched(c, work)


def _clipped(c: Call, x: Tensor) -> Tensor:
    low, high = (float(v) for v in c.layer.value_range)
    return x.op("max", low).op("min", high)


@converts("RandomContrast")
def _contrast(c: Call) -> Tensor:
    def work(x: Tensor) -> Tensor:
        low, high = c.layer.factor
        factor = _between(c, x.shape[0], 1 - low, 1 + high).reshape((x.shape[0], 1, 1, 1))
        mean = x.mean((1, 2), keepdims=True)
        return _clipped(c, (x - mean) * factor + mean)

    return _batched(c, work)


@converts("RandomBrightness")
def _brighten(c: Call) -> Tensor:
    def work(x: Tensor) -> Tensor:
        low, high = c.layer.value_range
        delta = _between(c, x.shape[0], *(float(f) * (high - low) for f in c.layer.factor))
        return _clipped(c, x + delta.reshape((x.shape[0], 1, 1, 1)))

    return _batched(c, work)


@converts("RandomCrop")
def _crop(c: Call) -> Tensor:
    """One window for the whole batch, as Keras has it."""
    layer = c.layer

    def work(x: Tensor) -> Tensor:
        for axis, wanted in ((1, int(layer.height)), (2, int(layer.width))):
            room = x.shape[axis] - wanted
            if room < 0:
                c.refuse(f"its window is larger than its pictures of {list(x.shape[1:3])}")
            start = (c.uniform((1,)) * float(room + 1)).op("floor").op("min", float(room)).cast("int32")
            x = x.op("gather", start + c.constant(np.arange(wanted), np.int32), axis=axis)
        return x

    return _batched(c, work)
