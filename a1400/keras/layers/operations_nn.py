"""Operations of ``keras.ops.nn``, and the classes of ``keras.activations``."""

from __future__ import annotations

import math

import numpy as np

from a1400.graph.tensor import Tensor
from a1400.keras.layers.activations import FUNCTIONS, elu, gelu, relu, softmax_over
from a1400.keras.registry import converts_operation
from a1400.keras.tracing import F32, Call
from a1400.ops.ctc import ctc_loss
from a1400.train import losses


@converts_operation("Gelu")
def _gelu(c: Call) -> Tensor:
    return gelu(c.real, bool(c.layer.approximate))


@converts_operation("Softmax")
def _softmax(c: Call) -> Tensor:
    axis = c.layer.axis
    x = c.real
    return softmax_over(x, list(range(x.rank)) if axis is None else [axis] if isinstance(axis, int) else list(axis))


@converts_operation("LeakyRelu")
def _leaky(c: Call) -> Tensor:
    return relu(c.real, float(c.layer.negative_slope))


@converts_operation("ReLU")
def _relu(c: Call) -> Tensor:
    maximum = c.layer.max_value
    top = None if maximum is None else float(maximum)
    return relu(c.real, float(c.layer.negative_slope), top, float(c.layer.threshold))


@converts_operation("Elu", "Celu")
def _elu(c: Call) -> Tensor:
    alpha = float(c.layer.alpha)
    if type(c.layer).__name__ == "Elu":
        return elu(c.real, alpha)
    x = c.real
    return (x <= 0.0).where(((x.minimum(0.0) / alpha).exp() - 1.0) * alpha, x)


@converts_operation("Glu")
def _glu(c: Call) -> Tensor:
    x, axis = c.real, c.layer.axis
    axis %= x.rank
    half = [n // 2 if d == axis else n for d, n in enumerate(x.shape)]
    start = [half[axis] if d == axis else 0 for d in range(x.rank)]
    return x.slice([0] * x.rank, half) * x.slice(start, half).sigmoid()


@converts_operation("HardShrink")
def _hard_shrink(c: Call) -> Tensor:
    x = c.real
    return (x.abs() > float(c.layer.threshold)).where(x, 0.0)


@converts_operation("SoftShrink")
def _soft_shrink(c: Call) -> Tensor:
    x, t = c.real, float(c.layer.threshold)
    return (x > t).where(x - t, (x < -t).where(x + t, 0.0))


@converts_operation("Threshold")
def _threshold(c: Call) -> Tensor:
    x = c.real
    return (x > float(c.layer.threshold)).where(x, float(c.layer.default_value))


@converts_operation("Squareplus")
def _squareplus(c: Call) -> Tensor:
    x = c.real
    return (x + (x * x + float(c.layer.b)).sqrt()) / 2.0


@converts_operation("LogSoftmax")
def _log_softmax(c: Call) -> Tensor:
    x, axis = c.real, c.layer.axis
    if isinstance(axis, int):
        return x.log_softmax(axis)
    return x - x.reduce("logsumexp", range(x.rank) if axis is None else axis, keepdims=True)


@converts_operation("Sparsemax")
def _sparsemax(c: Call) -> Tensor:
    if c.layer.axis not in (-1, c.x.rank - 1):
        c.refuse("sparsemax is supported along the last axis only")
    return FUNCTIONS["sparsemax"](c.real)


@converts_operation("OneHot")
def _one_hot(c: Call) -> Tensor:
    """Rows of the classes' numbers; a number that is no class gives zeros."""
    x, count = c.x, int(c.layer.num_classes)
    axis = c.layer.axis % (x.rank + 1)
    numbers = c.constant(np.arange(count).reshape([count if d == axis else 1 for d in range(x.rank + 1)]), np.int32)
    dtype = str(c.option("dtype") or "float32")
    return x.cast(np.int32).expand_dims(axis).equal(numbers).cast(F32 if "float" in dtype else dtype)


@converts_operation("Normalize")
def _normalize(c: Call) -> Tensor:
    x, axis, order = c.real, c.layer.axis, c.layer.order
    if order != 2:
        c.refuse(f"normalize of order {order} is not supported; 2 is")
    axes = tuple(range(x.rank)) if axis is None else tuple(np.atleast_1d(axis) % x.rank)
    epsilon = 1e-7 if c.layer.epsilon is None else float(c.layer.epsilon)
    return x * (x * x).sum(axes, keepdims=True).maximum(epsilon**2).rsqrt()


@converts_operation("LayerNorm")
def _layer_norm(c: Call) -> Tensor:
    if c.option("rms_scaling"):
        c.refuse("rms_scaling=True is not supported; use rms_normalization")
    return _normed(c, "layer_norm", "gamma", "beta")


@converts_operation("RMSNorm")
def _rms_norm(c: Call) -> Tensor:
    return _normed(c, "rms_norm", "scale")


def _normed(c: Call, op: str, *weights: str) -> Tensor:
    x = c.real
    axes = sorted(int(a) % x.rank for a in np.atleast_1d(c.layer.axis))
    if axes != list(range(x.rank - len(axes), x.rank)):
        c.refuse("only the last axes are supported")
    names = list(c.arguments)[1:]
    given = [c.given(name, c.given(names[i]) if i < len(names) else None) for i, name in enumerate(weights)]
    shape = x.shape[axes[0] :]
    tensors = [None if w is None else c.lift(w).cast(F32).reshape(shape) for w in given]
    if op == "rms_norm" and tensors[0] is None:
        tensors[0] = c.constant(np.ones(shape), F32)
    epsilon = 1e-7 if c.layer.epsilon is None else float(c.layer.epsilon)
    return x.op(op, *tensors, axis=axes[0], eps=epsilon)


@converts_operation("DotProductAttention")
def _attention(c: Call) -> Tensor:
    """Queries, keys and values are [B, T, N, H]."""
    if c.option("attn_logits_soft_cap") is not None:
        c.refuse("attn_logits_soft_cap is not supported")
    q, k, v = (c.lift(c.given(n)).cast(F32).transpose((0, 2, 1, 3)) for n in ("query", "key", "value"))
    bias, mask, causal = c.given("bias"), c.given("mask"), bool(c.layer.is_causal)
    added = None if bias is None else c.lift(bias).cast(F32)
    if mask is not None:
        seen = c.lift(mask).cast(bool)
        if causal:
            seen, causal = seen & c.constant(np.tril(np.ones((q.shape[2], k.shape[2]), bool)), bool), False
        added = seen.where(q.filled(0.0, ()), -1e30)
    scale = c.given("scale")
    scale = 1 / math.sqrt(q.shape[3]) if scale is None else float(scale)
    found = q.op("attention", k, v, *([] if added is None else [added]), scale=scale, causal=causal)
    return found.transpose((0, 2, 1, 3))


@converts_operation("StopGradient")
def _stop(c: Call) -> Tensor:
    return c.x.op("stop_gradient") if c.training else c.x


@converts_operation("CTCLoss")
def _ctc(c: Call) -> Tensor:
    labels, logits, lengths, times = (c.lift(x) for x in c.arguments.values())
    return ctc_loss(logits.cast(F32), labels, times, lengths, int(c.layer.mask_index))


@converts_operation("BinaryCrossentropy")
def _binary_crossentropy(c: Call) -> Tensor:
    t, p = (c.lift(c.given(n)).cast(F32) for n in ("target", "output"))
    return losses.binary_values(t, p, bool(c.layer.from_logits))


@converts_operation("CategoricalCrossentropy")
def _categorical_crossentropy(c: Call) -> Tensor:
    made = losses.CategoricalCrossentropy(bool(c.layer.from_logits), axis=int(c.layer.axis))
    return made.values(c.lift(c.given("target")).cast(F32), c.lift(c.given("output")).cast(F32))


@converts_operation("SparseCategoricalCrossentropy")
def _sparse_crossentropy(c: Call) -> Tensor:
    made = losses.SparseCategoricalCrossentropy(bool(c.layer.from_logits), axis=int(c.layer.axis))
    return made.values(c.lift(c.given("target")), c.lift(c.given("output")).cast(F32))
