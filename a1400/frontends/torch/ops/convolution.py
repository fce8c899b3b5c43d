"""Convolution and its gradient: channels first in PyTorch, last in the graph."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from a1400.frontends.torch.context import Ctx
from a1400.frontends.torch.registry import translates
from a1400.graph.tensor import Tensor


def channels_last(x: Tensor) -> Tensor:
    """N C ... to N ... C."""
    return x.transpose((0, *range(2, x.rank), 1))


def channels_first(x: Tensor) -> Tensor:
    """N ... C to N C ... ."""
    return x.transpose((0, x.rank - 1, *range(1, x.rank - 1)))


def spread(given: Any, count: int) -> tuple[int, ...]:
    """One number for each axis."""
    given = (given,) if isinstance(given, int) else tuple(given)
    return tuple(given) if len(given) == count else given * count


def _convolved(
    x: Tensor, w: Tensor, stride: Any, padding: Any, dilation: Any, transposed: bool, extra: Any, groups: int
) -> Tensor:
    n = x.rank - 2
    low = spread(padding, n)
    attrs: dict[str, Any] = {
        "strides": spread(stride, n), "dilations": spread(dilation, n), "low": low, "high": low, "groups": groups,
    }  # fmt: skip
    if transposed:
        attrs["output_padding"] = spread(extra, n)
    return channels_first(channels_last(x).op("conv_transpose" if transposed else "conv", w, **attrs))


@translates("convolution")
def convolution(
    c: Ctx, x: Tensor, w: Tensor, bias: Tensor | None, stride: Any, padding: Any, dilation: Any, transposed: bool,
    output_padding: Any, groups: int,
) -> Tensor:  # fmt: skip
    """Convolution or its transpose, with groups."""
    y = _convolved(x, w, stride, padding, dilation, transposed, output_padding, groups)
    return y if bias is None else y + bias.reshape((1, bias.shape[0], *(1,) * (y.rank - 2)))


@translates("convolution_backward")
def convolution_backward(
    c: Ctx, coming: Tensor, x: Tensor, w: Tensor, bias_sizes: Any, stride: Any, padding: Any, dilation: Any,
    transposed: bool, output_padding: Any, groups: int, mask: Sequence[bool],
) -> tuple[Tensor | None, ...]:  # fmt: skip
    """What reaches input, weights and bias."""

    def forward(x: Tensor, w: Tensor) -> Tensor:
        return _convolved(x, w, stride, padding, dilation, transposed, output_padding, groups)

    dx, dw = c.through(forward, [x, w], coming)
    bias = coming.sum((0, *range(2, coming.rank))) if mask[2] else None
    return dx if mask[0] else None, dw if mask[1] else None, bias
