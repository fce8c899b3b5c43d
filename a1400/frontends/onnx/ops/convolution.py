"""Convolutions: channels-first in the model, channels-last in the graph."""

from __future__ import annotations

from typing import Any

import numpy as np

from a1400.errors import GraphError
from a1400.frontends.onnx.context import Ctx
from a1400.frontends.onnx.ops.registry import translates
from a1400.frontends.onnx.windows import Windows, read_pads, read_windows, spatial_list
from a1400.graph.graph import Value


def _checked(c: Ctx, x: Value, w: Value) -> tuple[int, ...]:
    """The kernel's spatial sizes."""
    if not 3 <= x.rank <= 5 or w.rank != x.rank:
        raise c.unsupported(
            f"convolution over {x.rank - 2} spatial axes with weights {list(w.shape)}; 1 to 3 are supported"
        )
    declared = c.ints("kernel_shape")
    if declared is not None and declared != w.shape[2:]:
        raise GraphError(f"kernel_shape {list(declared)} does not fit weights {list(w.shape)}")
    return w.shape[2:]


def convolution_windows(c: Ctx, x: Value, w: Value) -> Windows:
    """Where the windows of the node's convolution of x[N,C,*S] with w[OC,C/groups,*K] go."""
    return read_windows(c, x.shape[2:], _checked(c, x, w))


def _sums(c: Ctx, op: str, x: Value, w: Value, **attrs: Any) -> Value:
    """The convolution of channels-last images; zeros where there are no channels to sum over."""
    y = c.op(op, c.channels_last(x), w, **attrs)
    return y if w.size else c.graph.constant(np.zeros(y.shape, y.dtype))


def _biased(c: Ctx, y: Value, bias: Value | None) -> Value:
    """Add the bias while the channels are last, then put them first."""
    if bias is not None:
        if bias.shape != y.shape[-1:]:
            raise GraphError(f"bias {list(bias.shape)} does not fit {y.shape[-1]} channels")
        y = c.op("add", y, bias)
    return c.channels_first(y)


@translates("Conv")
def conv(c: Ctx) -> Value:
    """Convolution of x[N,C,*S] with w[OC,C/groups,*K]."""
    return convolve(c, c[0], c[1], c.opt(2))


def convolve(c: Ctx, x: Value, w: Value, bias: Value | None) -> Value:
    """Convolution with the node's window attributes."""
    p = convolution_windows(c, x, w)
    y = _sums(
        c, "conv", x, w, strides=p.strides, dilations=p.dilations, low=p.low, high=p.high,
        groups=c.integer("group", 1),
    )  # fmt: skip
    return _biased(c, y, bias)


@translates("ConvTranspose")
def conv_transpose(c: Ctx) -> Value:
    """Transposed convolution of x[N,C,*S] with w[C,OC/groups,*K]."""
    x, w = c[0], c[1]
    kernel = _checked(c, x, w)
    rank, sizes = x.rank - 2, x.shape[2:]
    strides, dilations = spatial_list(c, "strides", rank, 1), spatial_list(c, "dilations", rank, 1)
    extra = spatial_list(c, "output_padding", rank, 0)
    auto = c.text("auto_pad", "NOTSET") or "NOTSET"
    extents = [(k - 1) * d + 1 for k, d in zip(kernel, dilations)]
    wanted = c.ints("output_shape")
    if wanted is not None and len(wanted) == rank + 2:
        wanted = wanted[2:]  # some exporters give batch and channels too
    if wanted is None and auto in ("SAME_UPPER", "SAME_LOWER"):
        wanted = tuple(n * s for n, s in zip(sizes, strides))
    if wanted is not None:
        if len(wanted) != rank:
            raise GraphError(f"output_shape {list(wanted)} for {rank} spatial axes")
        full = [s * (n - 1) + o + e for s, n, o, e in zip(strides, sizes, extra, extents)]
        # a wanted size beyond the full one grows the far side
        extra = tuple(o + max(t - f, 0) for o, t, f in zip(extra, wanted, full))
        total = [max(f - t, 0) for f, t in zip(full, wanted)]
        small, large = [t // 2 for t in total], [t - t // 2 for t in total]
        low, high = (small, large) if auto == "SAME_UPPER" else (large, small)
    elif auto == "VALID":
        low, high = [0] * rank, [0] * rank
    else:
        before, behind = read_pads(c, rank)
        low, high = list(before), list(behind)
    y = _sums(
        c, "conv_transpose", x, w, strides=strides, dilations=dilations, low=tuple(low), high=tuple(high),
        output_padding=extra, groups=c.integer("group", 1),
    )  # fmt: skip
    return _biased(c, y, c.opt(2))
