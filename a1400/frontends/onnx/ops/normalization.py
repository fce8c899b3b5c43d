"""Normalisations."""

from __future__ import annotations

import math

import numpy as np

from a1400.errors import GraphError
from a1400.frontends.onnx.context import Ctx
from a1400.frontends.onnx.ops.registry import translates
from a1400.graph.graph import Value


@translates("BatchNormalization")
def batch_normalization(c: Ctx) -> object:
    """A multiply and an add per channel; with the batch's own statistics in training."""
    x, scale, bias, mean, var = (c[i] for i in range(5))
    if c.opset < 9 and not c.flag("spatial", True):
        raise c.unsupported("BatchNormalization with spatial=0 is not supported")
    training = c.flag("training_mode") if c.opset >= 14 else False
    trained = c.training is not None and c.training.is_buffer(mean) and c.training.is_buffer(var)
    outputs: tuple[Value, ...] = ()
    if training or trained:
        axes = [d for d in range(x.rank) if d != 1]
        batch_mean = c.reduce("mean", x, axes, keepdims=False)
        shape = (x.shape[1], *[1] * (x.rank - 2))
        centred = c.op("sub", x, c.reshape(batch_mean, shape))
        batch_var = c.reduce("mean", c.op("mul", centred, centred), axes, keepdims=False)
        keep = c.number("momentum", 0.9)
        outputs = tuple(
            c.op(
                "add",
                c.op("mul", old, c.scalar(keep, old)),
                c.op("mul", c.cast(new, old.dtype), c.scalar(1 - keep, old)),
            )
            for old, new in ((mean, batch_mean), (var, batch_var))
        )
        if trained and c.training is not None:
            c.training.update(mean, outputs[0])
            c.training.update(var, outputs[1])
        mean, var = c.cast(batch_mean, mean.dtype), c.cast(batch_var, var.dtype)
    deviation = c.op("sqrt", c.op("add", var, c.scalar(c.number("epsilon", 1e-5), var)))
    factor = c.op("div", c.cast(scale, var.dtype), deviation)
    shift = c.cast(c.op("sub", c.cast(bias, mean.dtype), c.op("mul", mean, factor)), x.dtype)
    factor = c.cast(factor, x.dtype)
    if x.rank == 1:
        raise GraphError("BatchNormalization needs a channel axis")
    last = c.channels_last(x)
    y = c.channels_first(c.op("add", c.op("mul", last, factor), shift))
    return (y, *outputs) if training else y


@translates("InstanceNormalization")
def instance_normalization(c: Ctx) -> Value:
    """Each channel of each sample by itself."""
    return _group(c, c[0], c[1], c[2], c[0].shape[1])


@translates("GroupNormalization")
def group_normalization_by_group(c: Ctx) -> Value:
    """Opset 18: scale and bias per group."""
    x, groups = c[0], c.integer("num_groups")
    if groups < 1 or x.shape[1] % groups:
        raise GraphError(f"{groups} groups do not divide {x.shape[1]} channels")

    def per_channel(v: Value) -> Value:
        if v.shape == x.shape[1:2]:
            return v
        return c.reshape(c.expand(c.reshape(v, (groups, 1)), (groups, x.shape[1] // groups)), (x.shape[1],))

    return _group(c, x, per_channel(c[1]), per_channel(c[2]), groups)


@translates("GroupNormalization", since=21)
def group_normalization(c: Ctx) -> Value:
    """Scale and bias per channel."""
    return _group(c, c[0], c[1], c[2], c.integer("num_groups"))


def _group(c: Ctx, x: Value, scale: Value, bias: Value, groups: int) -> Value:
    if groups < 1:
        raise GraphError(f"{groups} groups are not possible")
    eps = c.number("epsilon", 1e-5)
    if x.dtype == np.float64:  # the kernel's statistics are float32
        return _exact_group(c, x, scale, bias, groups, eps)
    return c.channels_first(c.op("group_norm", c.channels_last(x), scale, bias, groups=groups, eps=eps))


def _exact_group(c: Ctx, x: Value, scale: Value, bias: Value, groups: int, eps: float) -> Value:
    if x.rank < 2 or x.shape[1] % groups or not scale.shape == bias.shape == x.shape[1:2]:
        raise GraphError(f"{groups} groups of {list(x.shape)} with scale {list(scale.shape)}, bias {list(bias.shape)}")
    if not x.size:
        return x
    parts = c.reshape(x, (x.shape[0], groups, x.size // (x.shape[0] * groups)))
    centred = c.op("sub", parts, c.reduce("mean", parts, (2,)))
    variance = c.reduce("mean", c.op("mul", centred, centred), (2,))
    y = c.op("div", centred, c.op("sqrt", c.op("add", variance, c.scalar(eps, variance))))
    scale, bias = (c.reshape(v, (x.shape[1], *[1] * (x.rank - 2))) for v in (scale, bias))
    return c.op("add", c.op("mul", c.reshape(y, x.shape), scale), bias)


def _fitted(c: Ctx, parameter: Value | None, x: Value, axis: int) -> Value | None:
    """Scale or bias in exactly the normalised shape."""
    if parameter is None:
        return None
    shape = x.shape[axis:]
    if parameter.size == math.prod(shape):
        return c.reshape(parameter, shape)
    return c.expand(parameter, shape)


@translates("LayerNormalization")
def layer_normalization(c: Ctx) -> object:
    """Over the axes from ``axis`` on; optionally the mean and inverse deviation too."""
    x = c[0]
    axis, eps = c.axis(c.integer("axis", -1), x.rank), c.number("epsilon", 1e-5)
    y = c.op("layer_norm", x, _fitted(c, c.opt(1), x, axis), _fitted(c, c.opt(2), x, axis), axis=axis, eps=eps)
    if not (c.wants(1) or c.wants(2)):
        return y
    wide = c.cast(x, np.float32)
    mean = c.reduce("mean", wide, range(axis, x.rank))
    centred = c.op("sub", wide, mean)
    variance = c.reduce("mean", c.op("mul", centred, centred), range(axis, x.rank))
    return y, mean, c.op("rsqrt", c.op("add", variance, c.scalar(eps, variance)))


@translates("RMSNormalization")
@translates("SimplifiedLayerNormalization")
def rms_normalization(c: Ctx) -> Value:
    """Divided by the root of the mean square."""
    x = c[0]
    axis = c.axis(c.integer("axis", -1), x.rank)
    return c.op("rms_norm", x, _fitted(c, c.opt(1), x, axis), axis=axis, eps=c.number("epsilon", 1e-5))


@translates("LRN")
def local_response_normalization(c: Ctx) -> Value:
    """Divided by a power of the squares around each channel."""
    x, size = c[0], c.integer("size")
    alpha, beta, bias = c.number("alpha", 1e-4), c.number("beta", 0.75), c.number("bias", 1.0)
    n, channels, plane = x.shape[0], x.shape[1], math.prod(x.shape[2:])
    low = (size - 1) // 2
    # channels as the one spatial axis of an average pool; counting the padding makes it sum / size
    squares = c.reshape(c.op("mul", x, x), (n, channels, plane))
    means = c.op(
        "pool", squares, kind="average", kernel=(size,), strides=(1,), dilations=(1,), low=(low,),
        high=(size - 1 - low,), out=(channels,), count_include_pad=True,
    )  # fmt: skip
    base = c.op("add", c.op("mul", c.reshape(means, x.shape), c.scalar(alpha, x)), c.scalar(bias, x))
    return c.op("div", x, c.op("pow", base, c.scalar(beta, x)))


@translates("LpNormalization")
def lp_normalization(c: Ctx) -> Value:
    """Divided by the p-norm along an axis; lines of norm 0 stay 0."""
    x, p = c[0], c.integer("p", 2)
    if p not in (1, 2):
        raise GraphError(f"LpNormalization with p={p}; only 1 and 2 are defined")
    norm = c.reduce(f"l{p}", x, (c.axis(c.integer("axis", -1), x.rank),))
    safe = c.op("where", c.op("eq", norm, c.scalar(0, norm)), c.scalar(1, norm), norm)
    return c.op("div", x, safe)


@translates("MeanVarianceNormalization")
def mean_variance_normalization(c: Ctx) -> Value:
    """(x - mean) / deviation over ``axes``."""
    x = c[0]
    axes = [c.axis(a, x.rank) for a in (c.ints("axes") or (0, 2, 3))]
    centred = c.op("sub", x, c.reduce("mean", x, axes))
    deviation = c.op("sqrt", c.reduce("mean", c.op("mul", centred, centred), axes))
    return c.op("div", centred, c.op("add", deviation, c.scalar(1e-9, x)))
