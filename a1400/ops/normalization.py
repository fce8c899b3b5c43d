"""Normalisations that have kernels of their own.

``layer_norm(x, scale?, bias?)`` over axes ``axis..`` (scale and bias have the shape of those axes), ``eps``;
``rms_norm(x, scale?)`` likewise; ``group_norm(x[N, *spatial, C], scale[C]?, bias[C]?)`` with ``groups`` and ``eps``
(groups = C is instance normalisation).  Batch normalisation is a multiply and an add.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from a1400.graph.graph import Value
from a1400.graph.tensor import Tensor
from a1400.ops.registry import Backward, Result, axis_of, gradient, op, require, widen


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


@gradient("layer_norm", "rms_norm")
def _trailing_gradient(b: Backward) -> list[Tensor | None]:
    axes = tuple(range(b.attrs["axis"], b.x().rank))
    return _normalised_gradient(b, b.x(), b.g, axes, b.x().shape[b.attrs["axis"] :])


@gradient("group_norm")
def _group_gradient(b: Backward) -> list[Tensor | None]:
    x, groups = b.x(), int(b.attrs["groups"])
    split = (*x.shape[:-1], groups, x.shape[-1] // groups)
    axes = tuple(d for d in range(1, len(split)) if d != x.rank - 1)
    found = _normalised_gradient(b, x.reshape(split), b.g.reshape(split), axes, split[-2:])
    return [None if f is None or v is None else f.reshape(v.shape) for f, v in zip(found, b.inputs)]


def _normalised_gradient(
    b: Backward, x: Tensor, g: Tensor, axes: tuple[int, ...], parameter: tuple[int, ...]
) -> list[Tensor | None]:
    """For ``y = n * scale + bias``, ``n = (x - mean) * r``, ``r = 1 / sqrt(var + eps)``.

    ``dx = r * (h - mean(h) - n * mean(h * n))`` with ``h = g * scale``; RMS norm has no ``mean`` terms but the last.
    """
    centred = x if b.op == "rms_norm" else x - x.mean(axes, keepdims=True)
    r = ((centred * centred).mean(axes, keepdims=True) + float(b.attrs["eps"])).rsqrt()
    n = centred * r
    scale = b.inputs[1] if len(b.inputs) > 1 else None
    h = g if scale is None else g * scale.reshape(parameter)
    inner = h - n * (h * n).mean(axes, keepdims=True)
    if b.op != "rms_norm":
        inner = inner - h.mean(axes, keepdims=True)
    found: list[Tensor | None] = [r * inner, (g * n).sum_to(parameter), g.sum_to(parameter)]
    return [f if v is not None else None for f, v in zip(found, b.inputs)]
