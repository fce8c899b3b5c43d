"""Normalisation layers."""

from __future__ import annotations

from collections.abc import Sequence

from a1400.graph.tensor import Tensor
from a1400.keras.registry import converts
from a1400.keras.tracing import Call
from a1400.ops.batch_norm import batch_norm_training
from a1400.train.reductions import EPSILON


def _at_end(rank: int, axes: Sequence[int]) -> tuple[list[int], list[int]]:
    """The order that brings ``axes`` to the end, and the one that undoes it."""
    wanted = [axis % rank for axis in axes]
    order = [*(d for d in range(rank) if d not in wanted), *wanted]
    return order, [order.index(d) for d in range(rank)]


def _axes(axis: int | Sequence[int]) -> list[int]:
    return [axis] if isinstance(axis, int) else list(axis)


@converts("BatchNormalization")
def _batch(c: Call) -> Tensor:
    layer = c.layer
    if layer.renorm:
        c.refuse("renorm=True is not supported")
    order, back = _at_end(c.x.rank, [layer.axis])
    x = c.real.transpose(order)
    gamma = None if layer.gamma is None else c.weight(layer.gamma)
    beta = None if layer.beta is None else c.weight(layer.beta)
    if c.training and layer.trainable:
        mask = c.given("mask")
        seen = None if mask is None else c.lift(mask).cast(bool).expand_dims(-1).expand(c.x.shape).transpose(order)
        y = _batch_statistics(c, x, gamma, beta, seen)
    else:
        scale = (c.weight(layer.moving_variance) + float(layer.epsilon)).rsqrt()
        scale = scale if gamma is None else scale * gamma
        shift = -(c.weight(layer.moving_mean) * scale)
        y = x * scale + (shift if beta is None else shift + beta)
    return y.transpose(back)


def _batch_statistics(
    c: Call, x: Tensor, gamma: Tensor | None, beta: Tensor | None, seen: Tensor | None
) -> Tensor:
    """Normalise over all axes but the last; the running statistics move towards the batch's (biased) ones.

    ``seen``, of the shape of ``x``, says what counts.
    """
    layer = c.layer
    if seen is None:
        y, mean, variance = batch_norm_training(x, gamma, beta, float(layer.epsilon))
    else:
        axes = range(x.rank - 1)
        count = seen.cast(x.dtype).sum(axes) + EPSILON  # as Keras divides
        mean = seen.where(x, 0.0).sum(axes) / count
        variance = seen.where(x - mean, 0.0).square().sum(axes) / count
        scale = (variance + float(layer.epsilon)).rsqrt()
        y = (x - mean) * (scale if gamma is None else scale * gamma)
        y = y if beta is None else y + beta
    keep = float(layer.momentum)
    for variable, value in ((layer.moving_mean, mean), (layer.moving_variance, variance)):
        c.update(variable, c.weight(variable) * keep + value * (1.0 - keep))
    return y


@converts("LayerNormalization")
def _layer(c: Call) -> Tensor:
    layer = c.layer
    if getattr(layer, "rms_scaling", False):
        c.refuse("rms_scaling=True is not supported; use RMSNormalization")
    order, back = _at_end(c.x.rank, _axes(layer.axis))
    x = c.real.transpose(order)
    scale = None if layer.gamma is None else c.weight(layer.gamma)
    shift = None if layer.beta is None else c.weight(layer.beta)
    y = x.op("layer_norm", scale, shift, axis=x.rank - len(_axes(layer.axis)), eps=float(layer.epsilon))
    return y.transpose(back)


@converts("RMSNormalization")
def _rms(c: Call) -> Tensor:
    axes = _axes(c.layer.axis)
    order, back = _at_end(c.x.rank, axes)
    x = c.real.transpose(order)
    scale = c.weight(c.layer.scale).reshape(x.shape[x.rank - len(axes) :])
    return x.op("rms_norm", scale, axis=x.rank - len(axes), eps=float(c.layer.epsilon)).transpose(back)


@converts("GroupNormalization")
def _group(c: Call) -> Tensor:
    layer = c.layer
    order, back = _at_end(c.x.rank, [layer.axis])
    x = c.real.transpose(order)
    scale = None if layer.gamma is None else c.weight(layer.gamma)
    shift = None if layer.beta is None else c.weight(layer.beta)
    return x.op("group_norm", scale, shift, groups=int(layer.groups), eps=float(layer.epsilon)).transpose(back)


@converts("UnitNormalization")
def _unit(c: Call) -> Tensor:
    x = c.real
    squares = (x * x).sum(tuple(axis % x.rank for axis in _axes(c.layer.axis)), keepdims=True)
    return x * squares.rsqrt().op("min", 1e12)


@converts("SpectralNormalization")
def _spectral(c: Call) -> Tensor:
    c.refuse("it changes its layer's kernel while it is called, which is not supported")
