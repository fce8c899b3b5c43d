"""Pooling: channels-first in the model, channels-last in the graph."""

from __future__ import annotations

import math
from typing import Any

from a1400.errors import GraphError
from a1400.frontends.onnx.context import Ctx
from a1400.frontends.onnx.ops.registry import translates
from a1400.frontends.onnx.windows import read_windows
from a1400.graph.graph import Value


def window_attrs(c: Ctx, x: Value) -> dict[str, Any]:
    """Attributes of op ``pool`` for the node's windows over x[N,C,*S]."""
    if not 3 <= x.rank <= 5:
        raise c.unsupported(f"pooling over {x.rank - 2} spatial axes; 1 to 3 are supported")
    kernel = c.ints("kernel_shape")
    if kernel is None:
        raise GraphError("attribute 'kernel_shape' is missing")
    p = read_windows(c, x.shape[2:], kernel)
    return {
        "kernel": p.kernel, "strides": p.strides, "dilations": p.dilations, "low": p.low, "high": p.high, "out": p.out,
    }  # fmt: skip


@translates("MaxPool")
def max_pool(c: Ctx) -> object:
    """Maximum of each window, and where it was when asked."""
    x = c[0]
    attrs = window_attrs(c, x)
    if not c.wants(1):
        return c.channels_first(c.op("pool", c.channels_last(x), kind="max", **attrs))
    order = c.integer("storage_order", 0)
    y, index = c.multi("max_pool_indices", c.channels_last(x), kind="max", storage_order=order, **attrs)
    return c.channels_first(y), c.channels_first(index)


@translates("AveragePool")
def average_pool(c: Ctx) -> Value:
    """Mean of each window."""
    attrs = window_attrs(c, c[0])
    counted = c.flag("count_include_pad")
    return c.channels_first(
        c.op("pool", c.channels_last(c[0]), kind="average", count_include_pad=counted, **attrs)
    )  # fmt: skip


@translates("LpPool")
def lp_pool(c: Ctx) -> Value:
    """p-norm of each window."""
    attrs = window_attrs(c, c[0])
    return c.channels_first(c.op("pool", c.channels_last(c[0]), kind="lp", p=c.integer("p", 2), **attrs))


def spatial_reduce(c: Ctx, kind: str, x: Value) -> Value:
    """Reduce all spatial axes of x[N,C,*S] to size 1, reading the channels-last side where there is one."""
    if x.rank < 3:
        return x
    ones = (*x.shape[:2], *[1] * (x.rank - 2))
    if c.is_channels_last_view(x):
        return c.reshape(c.reduce(kind, c.channels_last(x), range(1, x.rank - 1), keepdims=False), ones)
    return c.reduce(kind, x, range(2, x.rank))


@translates("GlobalAveragePool")
def global_average_pool(c: Ctx) -> Value:
    """Mean over all spatial axes."""
    return spatial_reduce(c, "mean", c[0])


@translates("GlobalMaxPool")
def global_max_pool(c: Ctx) -> Value:
    """Maximum over all spatial axes."""
    return spatial_reduce(c, "max", c[0])


@translates("GlobalLpPool")
def global_lp_pool(c: Ctx) -> Value:
    """p-norm over all spatial axes."""
    p = c.integer("p", 2)
    if p in (1, 2):
        return spatial_reduce(c, f"l{p}", c[0])
    powers = c.op("pow", c.op("abs", c[0]), c.scalar(p, c[0]))
    return c.op("pow", spatial_reduce(c, "sum", powers), c.scalar(1 / p, c[0]))


@translates("MaxUnpool")
def max_unpool(c: Ctx) -> Value:
    """Scatter values to the places that MaxPool reported."""
    x, index = c[0], c[1]
    kernel = c.ints("kernel_shape")
    rank = x.rank - 2
    strides, pads = c.ints("strides") or (1,) * rank, c.ints("pads") or (0,) * (2 * rank)
    inferred = (
        *x.shape[:2],
        *((n - 1) * s - pads[d] - pads[d + rank] + k for d, (n, s, k) in enumerate(zip(x.shape[2:], strides, kernel))),
    )
    wanted = inferred if c.opt(2) is None else c.need_ints(2, "the output shape")
    # indices count through the shape that pooling started from
    planes, size = math.prod(x.shape[:2]), math.prod(inferred)
    flat = c.expand(c.scalar(0, x), (size,))
    filled = c.op(
        "scatter_elements", flat, c.reshape(index, (x.size,)), c.reshape(x, (x.size,)), axis=0, reduction="none"
    )
    y = c.reshape(filled, inferred)
    if planes and wanted != inferred:
        y = c.op("pad", y, low=(0,) * y.rank, high=tuple(w - i for w, i in zip(wanted, inferred)), mode="constant")
    return y
