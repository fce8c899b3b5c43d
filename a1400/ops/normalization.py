"""Normalisations that have kernels of their own.

``layer_norm(x, scale?, bias?)`` over axes ``axis..`` (scale and bias have the shape of those axes), ``eps``;
``rms_norm(x, scale?)`` likewise; ``group_norm(x[N, *spatial, C], scale[C]?, bias[C]?)`` with ``groups`` and ``eps``
(groups = C is instance normalisation).  Batch normalisation is a multiply and an add, or in training
:func:`a1400.ops.batch_norm.batch_norm_training`.

``layer_norm_gradient(x, dy, scale?)`` gives dx and, with ``sums``, the gradients of scale and bias (float32 for half
types); ``rms_norm_gradient`` likewise, without a bias.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from a1400.graph.graph import Value
from a1400.graph.tensor import Tensor
from a1400.ops.batch_norm import channel_statistics, channel_sums, pixels
from a1400.ops.registry import Backward, Result, axis_of, gradient, op, require, wide_dtype, widen


def _trailing(attrs: dict[str, Any], x: Value, *parameters: Value | None) -> list[Result]:
    axis = axis_of(attrs, x.rank)
    for p in parameters:
        require(p is None or p.shape == x.shape[axis:], f"scale/bias {p} do not fit axes {list(x.shape[axis:])}")
    return [(x.shape, x.dtype)]


def _group(attrs: dict[str, Any], x: Value, *parameters: Value | None) -> list[Result]:
    require(
        x.rank >= 2 and x.shape[-1] % int(attrs["groups"]) == 0,
        f"{attrs['groups']} groups do not divide {list(x.shape)}",
    )
    for p in parameters:
        require(p is None or p.shape == x.shape[-1:], f"scale/bias {p} do not fit {x.shape[-1]} channels")
    return [(x.shape, x.dtype)]


def _affine(x: np.ndarray, scale: np.ndarray | None, bias: np.ndarray | None) -> np.ndarray:
    if scale is not None:
        x = x * widen(scale)
    return x if bias is None else x + widen(bias)


def _layer_norm(attrs: dict[str, Any], x: np.ndarray, scale: Any = None, bias: Any = None) -> np.ndarray:
    axes = tuple(range(attrs["axis"], x.ndim))
    w = widen(x).astype(np.float64)
    mean = w.mean(axis=axes, keepdims=True)
    var = np.square(w - mean).mean(axis=axes, keepdims=True)
    return _affine((w - mean) / np.sqrt(var + attrs["eps"]), scale, bias).astype(x.dtype)


def _rms_norm(attrs: dict[str, Any], x: np.ndarray, scale: Any = None) -> np.ndarray:
    axes = tuple(range(attrs["axis"], x.ndim))
    w = widen(x).astype(np.float64)
    return _affine(w / np.sqrt(np.square(w).mean(axis=axes, keepdims=True) + attrs["eps"]), scale, None).astype(x.dtype)


def _group_norm(attrs: dict[str, Any], x: np.ndarray, scale: Any = None, bias: Any = None) -> np.ndarray:
    w = widen(x).astype(np.float64).reshape(x.shape[0], -1, attrs["groups"], x.shape[-1] // attrs["groups"])
    mean = w.mean(axis=(1, 3), keepdims=True)
    var = np.square(w - mean).mean(axis=(1, 3), keepdims=True)
    return _affine(((w - mean) / np.sqrt(var + attrs["eps"])).reshape(x.shape), scale, bias).astype(x.dtype)


op("layer_norm", "normalization", _trailing, _layer_norm)
op("rms_norm", "normalization", _trailing, _rms_norm)
op("group_norm", "normalization", _group, _group_norm)


def _gradient_of_rows(attrs: dict[str, Any], x: Value, dy: Value, scale: Value | None = None) -> list[Result]:
    axis = axis_of(attrs, x.rank)
    require((dy.shape, dy.dtype) == (x.shape, x.dtype), f"the gradient {dy} does not fit {x}")
    require(scale is None or scale.shape == x.shape[axis:], f"scale {scale} does not fit axes {list(x.shape[axis:])}")
    return [(x.shape, x.dtype), *[(x.shape[axis:], wide_dtype(x.dtype))] * (int(attrs["sums"]) * int(attrs["parts"]))]


def _rows_reference(attrs: dict[str, Any], x: np.ndarray, dy: np.ndarray, scale: Any = None) -> list[np.ndarray]:
    """``dx = r * (h - mean(h) - n * mean(h * n))``, ``h = dy * scale``, ``n = (x - mean) * r``, ``r = 1 / sqrt(var +
    eps)``; RMS normalisation has no ``mean`` terms but the last."""
    axes, lead = tuple(range(attrs["axis"], x.ndim)), tuple(range(attrs["axis"]))
    centred, g = (widen(v).astype(np.float64) for v in (x, dy))
    center = attrs["parts"] == 2
    if center:
        centred = centred - centred.mean(axis=axes, keepdims=True)
    r = 1 / np.sqrt(np.square(centred).mean(axis=axes, keepdims=True) + attrs["eps"])
    n, h = centred * r, _affine(g, scale, None)
    inner = h - n * (h * n).mean(axis=axes, keepdims=True)
    if center:
        inner = inner - h.mean(axis=axes, keepdims=True)
    found = [(r * inner).astype(x.dtype)]
    if attrs["sums"]:
        found += [v.sum(axis=lead).astype(wide_dtype(x.dtype)) for v in (g * n, g)[: attrs["parts"]]]
    return found


op("layer_norm_gradient", "normalization", _gradient_of_rows, _rows_reference)
op("rms_norm_gradient", "normalization", _gradient_of_rows, _rows_reference)


@gradient("layer_norm", "rms_norm")
def _trailing_gradient(b: Backward) -> list[Tensor | None]:
    scale = b.inputs[1] if len(b.inputs) > 1 else None
    made = b.graph.multi(
        f"{b.op}_gradient", b.x().value, b.g.value, None if scale is None else scale.value, axis=b.attrs["axis"],
        eps=b.attrs["eps"], sums=any(b.wanted[1:]), parts=2 if b.op == "layer_norm" else 1,
    )  # fmt: skip
    found = [*(Tensor(b.graph, v) for v in made), None, None][: len(b.inputs)]
    return [None if f is None or v is None else f.cast(v.dtype) for f, v in zip(found, b.inputs)]


@gradient("group_norm")
def _group_gradient(b: Backward) -> list[Tensor | None]:
    """As of rows, from sums per image and channel: those of a group are combined while they are small."""
    x, g, groups, channels = b.x(), b.g, int(b.attrs["groups"]), b.x().shape[-1]
    wide = wide_dtype(x.dtype)
    images, grouped = (x.shape[0], channels), (x.shape[0], groups, channels // groups)
    mean, variance = (v.reshape(grouped) for v in channel_statistics(x, per_image=True))
    middle = mean.mean((2,), keepdims=True)
    off = mean - middle
    r = ((variance + off * off).mean((2,), keepdims=True) + float(b.attrs["eps"])).rsqrt()

    def spread(v: Tensor) -> Tensor:
        return v.expand(grouped).reshape(images)

    sums, dots = channel_sums(x, g, spread(middle), per_image=True)
    inverse = spread(r)
    scale = b.inputs[1] if len(b.inputs) > 1 else None
    weight = None if scale is None else scale.cast(wide)

    def mean_of(v: Tensor) -> Tensor:
        weighted = v if weight is None else v * weight
        return weighted.reshape(grouped).mean((2,), keepdims=True) * (1.0 / pixels(x))

    shape = (x.shape[0], *(1,) * (x.rank - 2), channels)
    factor = inverse if weight is None else inverse * weight
    slope, shift = spread(-(r * r * r) * mean_of(dots)), spread(-r * mean_of(sums))
    own = g.cast(wide) * factor.reshape(shape)
    rest = x.cast(wide).op("normalize", *(v.reshape(shape) for v in (spread(middle), slope, shift)))
    found: list[Tensor | None] = [(own + rest).cast(x.dtype), (dots * inverse).sum((0,)), sums.sum((0,))]
    return [None if f is None or v is None else f.cast(v.dtype) for f, v in zip(found, b.inputs)]
