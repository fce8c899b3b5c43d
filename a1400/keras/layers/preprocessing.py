"""Preprocessing that is the same at every step: scaling, resizing, cropping, encoding categories."""

from __future__ import annotations

import keras
import numpy as np

from a1400.graph.tensor import Tensor
from a1400.keras.layers.reshaping import resized
from a1400.keras.layers.windows import channels_last
from a1400.keras.registry import converts
from a1400.keras.tracing import F32, Call


@converts("Rescaling")
def _rescale(c: Call) -> Tensor:
    return c.real * np.asarray(c.layer.scale, F32) + np.asarray(c.layer.offset, F32)


@converts("Normalization")
def _normalize(c: Call) -> Tensor:
    if c.layer.mean is None:
        c.refuse("it has neither been adapted nor given a mean")
    mean, variance = (np.asarray(keras.ops.convert_to_numpy(v), F32) for v in (c.layer.mean, c.layer.variance))
    deviation = np.maximum(np.sqrt(variance), np.float32(keras.config.epsilon()))
    return c.real * deviation + mean if c.layer.invert else (c.real - mean) / deviation


def _with_batch(x: Tensor) -> tuple[Tensor, bool]:
    """An image without a batch axis gets one."""
    return (x.reshape((1, *x.shape)), True) if x.rank == 3 else (x, False)


@converts("Resizing")
def _resize(c: Call) -> Tensor:
    layer = c.layer
    mode = {"bilinear": "linear", "nearest": "nearest"}.get(layer.interpolation)
    if mode is None:
        c.refuse(f"interpolation={layer.interpolation!r} is not supported; bilinear and nearest are")
    if layer.pad_to_aspect_ratio:
        c.refuse("pad_to_aspect_ratio=True is not supported")
    sizes = (int(layer.height), int(layer.width))

    def work(x: Tensor) -> Tensor:
        if layer.crop_to_aspect_ratio:
            x = _cropped_to(x, sizes)
        return resized(x, sizes, str(mode), bool(layer.antialias) and mode == "linear")

    x, single = _with_batch(c.real)
    y = channels_last(c, x, work)
    return y.reshape(y.shape[1:]) if single else y


def _cropped_to(x: Tensor, sizes: tuple[int, int]) -> Tensor:
    """The largest window in the middle that has the shape (not the size) asked for."""
    height, width = x.shape[1:3]
    rows = max(min(height, int(float(width * sizes[0]) / sizes[1])), 1)
    columns = max(min(width, int(float(height * sizes[1]) / sizes[0])), 1)
    start = (0, int(float(height - rows) / 2), int(float(width - columns) / 2), 0)
    return x.slice(start, (x.shape[0], rows, columns, x.shape[3]))


@converts("CenterCrop")
def _center_crop(c: Call) -> Tensor:
    sizes = (int(c.layer.height), int(c.layer.width))

    def work(x: Tensor) -> Tensor:
        height, width = x.shape[1:3]
        if height < sizes[0] or width < sizes[1]:
            return resized(_cropped_to(x, sizes), sizes, "linear")
        start = (0, (height - sizes[0]) // 2, (width - sizes[1]) // 2, 0)
        return x.slice(start, (x.shape[0], *sizes, x.shape[3]))

    x, single = _with_batch(c.real)
    y = channels_last(c, x, work)
    return y.reshape(y.shape[1:]) if single else y


@converts("CategoryEncoding")
def _encode(c: Call) -> Tensor:
    layer = c.layer
    if c.given("count_weights") is not None:
        c.refuse("it is called with count_weights")
    x, tokens = c.x.cast("int32"), int(layer.num_tokens)
    single = x.reshape(x.shape[:-1]) if x.rank > 1 and x.shape[-1] == 1 else x
    if layer.output_mode == "one_hot":
        return _hot(c, single, tokens)
    if x.rank == 1:
        x = x.reshape((*x.shape, 1))
    hot = _hot(c, x, tokens)
    return hot.reduce("max" if layer.output_mode == "multi_hot" else "sum", (hot.rank - 2,))


def _hot(c: Call, x: Tensor, tokens: int) -> Tensor:
    return x.reshape((*x.shape, 1)).equal(c.constant(np.arange(tokens), x.dtype)).cast(F32)
