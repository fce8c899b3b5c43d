"""Convolutions: ordinary, depthwise, separable and transposed, of one to three spatial axes."""

from __future__ import annotations

from typing import Any

from a1400.graph.tensor import Tensor
from a1400.keras.layers.activations import activate
from a1400.keras.layers.windows import channels_last, windows
from a1400.keras.registry import converts
from a1400.keras.tracing import Call


def _filters(c: Call, variable: Any) -> Tensor:
    """Keras's [*K, I, O] as [O, I, *K]."""
    rank = len(variable.shape) - 2
    return c.weight(variable, [rank + 1, rank, *range(rank)])


def _convolve(c: Call, x: Tensor, filters: Tensor, groups: int, plain: bool = False) -> Tensor:
    """With the layer's strides, dilations and padding, or (``plain``) none of them."""
    spatial = x.rank - 2
    strides = (1,) * spatial if plain else _each(c.layer.strides, spatial)
    dilations = (1,) * spatial if plain else _each(c.layer.dilation_rate, spatial)
    where = windows(x.shape[1:-1], filters.shape[2:], strides, dilations, "valid" if plain else c.layer.padding)
    return x.op(
        "conv", filters, strides=strides, dilations=dilations, low=where.low, high=where.high, groups=groups
    )


def _each(value: int | tuple[int, ...], count: int) -> tuple[int, ...]:
    return (value,) * count if isinstance(value, int) else tuple(value)


def _finished(c: Call, y: Tensor) -> Tensor:
    return y if c.layer.bias is None else y + c.weight(c.layer.bias)


def _activated(c: Call, y: Tensor) -> Tensor:
    return activate(c, y, c.layer.activation)


@converts("Conv1D", "Conv2D", "Conv3D")
def _conv(c: Call) -> Tensor:
    filters = _filters(c, c.layer.kernel)
    y = channels_last(c, c.real, lambda x: _finished(c, _convolve(c, x, filters, c.layer.groups)))
    return _activated(c, y)


def _depthwise(c: Call, x: Tensor, variable: Any) -> Tensor:
    """Keras's [*K, C, M]: M filters for each channel."""
    rank = len(variable.shape) - 2
    filters = c.weight(variable, [rank, rank + 1, *range(rank)])
    channels, multiplier = filters.shape[:2]
    filters = filters.reshape((channels * multiplier, 1, *filters.shape[2:]))
    return _convolve(c, x, filters, channels)


@converts("DepthwiseConv1D", "DepthwiseConv2D")
def _depthwise_conv(c: Call) -> Tensor:
    y = channels_last(c, c.real, lambda x: _finished(c, _depthwise(c, x, c.layer.kernel)))
    return _activated(c, y)


@converts("SeparableConv1D", "SeparableConv2D")
def _separable(c: Call) -> Tensor:
    def both(x: Tensor) -> Tensor:
        between = _depthwise(c, x, c.layer.depthwise_kernel)
        return _finished(c, _convolve(c, between, _filters(c, c.layer.pointwise_kernel), 1, plain=True))

    return _activated(c, channels_last(c, c.real, both))


@converts("Conv1DTranspose", "Conv2DTranspose", "Conv3DTranspose")
def _transposed(c: Call) -> Tensor:
    layer = c.layer
    rank = len(layer.kernel.shape) - 2
    filters = c.weight(layer.kernel, [rank + 1, rank, *range(rank)])  # [*K, O, I] as [I, O, *K]
    strides, dilations = _each(layer.strides, rank), _each(layer.dilation_rate, rank)
    extra = (None,) * rank if layer.output_padding is None else _each(layer.output_padding, rank)
    crops = [
        _transposed_crop((k - 1) * d + 1, s, layer.padding, e)
        for k, s, d, e in zip(filters.shape[2:], strides, dilations, extra)
    ]
    low = tuple(max(before, 0) for before, _ in crops)
    high = tuple(max(behind, 0) for _, behind in crops)
    more = tuple(max(-behind, 0) for _, behind in crops)

    def spread(x: Tensor) -> Tensor:
        y = x.op(
            "conv_transpose", filters, strides=strides, dilations=dilations, low=low, high=high, output_padding=more,
            groups=1,
        )  # fmt: skip
        return _finished(c, y)

    return _activated(c, channels_last(c, c.real, spread))


def _transposed_crop(extent: int, stride: int, padding: str, extra: int | None) -> tuple[int, int]:
    """What is cut off before and behind the full result (negative behind: zeros are added).

    ``same`` gives ``size * stride``, ``valid`` ``(size - 1) * stride + max(extent, stride)``; ``output_padding``
    changes both as in Keras, whose padding of the spread input these are, counted from the other side.
    """
    if padding == "valid":
        behind = max(extent, stride) - extent if extra is None else extra
        return 0, -behind
    total = stride + extent - 2 if extra is None else extent + extent % 2 - 2 + extra
    left = min(total // 2 + total % 2, extent - 1)
    return extent - 1 - left, extent - 1 - (total - left)
