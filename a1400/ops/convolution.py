"""Convolution and pooling over channels-last activations ``x[N, *spatial, C]`` (1 to 3 spatial axes).

``conv(x, w[OC, C/groups, *K])`` with strides, dilations, low, high, groups -> ``[N, *out, OC]``; a bias is an ``add``.
8-bit integers, of either sign each, give int32.
``conv_transpose(x, w[C, OC/groups, *K])`` with strides, dilations, low, high, output_padding, groups.
``pool(kind=max|average|lp, kernel, strides, dilations, low, high, out, count_include_pad, p)``: ``out`` gives the
spatial output sizes (ceil mode is a larger ``out``); padding never counts but with ``count_include_pad``, and then only
within ``[-low, size + high)``.  ``max_pool_indices`` has a second output: ONNX's i64 index into the flattened
channels-first tensor (attr ``storage_order``).
"""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np

from a1400.graph.graph import Value
from a1400.ops.registry import Result, op, product_dtype, require, widen

_LISTS = ("strides", "dilations", "low", "high", "output_padding", "kernel", "out")


def _normalise(attrs: dict[str, Any], spatial: int) -> None:
    for key in _LISTS:
        if key in attrs:
            attrs[key] = tuple(int(i) for i in attrs[key])
            require(len(attrs[key]) == spatial, f"{key} {list(attrs[key])} needs {spatial} entries")
    for key in ("strides", "dilations", "kernel"):
        require(min(attrs.get(key, (1,)), default=1) >= 1, f"{key} {list(attrs.get(key, ()))} must be positive")


def _conv(attrs: dict[str, Any], x: Value, w: Value) -> list[Result]:
    spatial = x.rank - 2
    dtype = product_dtype(x.dtype, w.dtype)
    require(spatial >= 1 and w.rank == x.rank and dtype is not None, f"convolution of {x} with weights {w}")
    assert dtype is not None
    _normalise(attrs, spatial)
    groups = int(attrs["groups"])
    oc, cg = w.shape[:2]
    require(
        groups > 0 and cg * groups == x.shape[-1] and oc % groups == 0,
        f"convolution weights {list(w.shape)} with {groups} groups do not fit {x.shape[-1]} input channels",
    )
    out = []
    for d in range(spatial):
        extent = (w.shape[2 + d] - 1) * attrs["dilations"][d] + 1
        size = x.shape[1 + d] + attrs["low"][d] + attrs["high"][d]
        require(size >= extent, f"convolution window {extent} is larger than the padded input {size}")
        out.append((size - extent) // attrs["strides"][d] + 1)
    return [((x.shape[0], *out, oc), dtype)]


def _conv_reference(attrs: dict[str, Any], x: np.ndarray, w: np.ndarray) -> np.ndarray:
    (shape, dtype), *_ = _conv(dict(attrs), Value(x.shape, x.dtype), Value(w.shape, w.dtype))
    groups, spatial = attrs["groups"], x.ndim - 2
    wide = np.float64 if x.dtype.kind not in "iub" else dtype
    sizes = [max(n + lo + hi, 0) for n, lo, hi in zip(x.shape[1:-1], attrs["low"], attrs["high"])]
    padded = np.zeros((x.shape[0], *sizes, x.shape[-1]), wide)
    inside = (slice(max(lo, 0), max(lo, 0) + n) for n, lo in zip(x.shape[1:-1], attrs["low"]))
    target = (slice(None), *inside)
    padded[target] = widen(x)
    wg = widen(w).astype(wide).reshape(groups, w.shape[0] // groups, *w.shape[1:])
    result = np.zeros((*shape[:-1], groups, w.shape[0] // groups), wide)
    for tap in itertools.product(*(range(k) for k in w.shape[2:])):
        steps = (
            slice(t * d, t * d + (o - 1) * s + 1, s)
            for t, d, o, s in zip(tap, attrs["dilations"], shape[1:-1], attrs["strides"])
        )
        index = (slice(None), *steps)
        part = padded[index].reshape(*shape[: spatial + 1], groups, w.shape[1])
        result += np.einsum("...gc,goc->...go", part, wg[(slice(None),) * 3 + tap], optimize=True)
    return result.reshape(shape).astype(dtype)


def _conv_transpose(attrs: dict[str, Any], x: Value, w: Value) -> list[Result]:
    spatial = x.rank - 2
    require(spatial >= 1 and w.rank == x.rank and x.dtype == w.dtype, f"transposed convolution of {x} with weights {w}")
    _normalise(attrs, spatial)
    groups = int(attrs["groups"])
    require(
        groups > 0 and w.shape[0] == x.shape[-1] and x.shape[-1] % groups == 0,
        f"transposed convolution weights {list(w.shape)} with {groups} groups do not fit {x.shape[-1]} channels",
    )
    out = []
    for d in range(spatial):
        extent = (w.shape[2 + d] - 1) * attrs["dilations"][d] + 1
        size = (x.shape[1 + d] - 1) * attrs["strides"][d] + extent + attrs["output_padding"][d]
        out.append(size - attrs["low"][d] - attrs["high"][d])
    require(min(out) > 0, f"transposed convolution gives the impossible size {out}")
    return [((x.shape[0], *out, w.shape[1] * groups), x.dtype)]


def _conv_transpose_reference(attrs: dict[str, Any], x: np.ndarray, w: np.ndarray) -> np.ndarray:
    (shape, dtype), *_ = _conv_transpose(dict(attrs), Value(x.shape, x.dtype), Value(w.shape, w.dtype))
    groups = attrs["groups"]
    wide = np.float64 if x.dtype.kind not in "iub" else x.dtype
    full = [
        o + lo + max(hi, 0) + st for o, lo, hi, st in zip(shape[1:-1], attrs["low"], attrs["high"], attrs["strides"])
    ]
    full = [
        max(f, (n - 1) * s + (k - 1) * d + 1)
        for f, n, s, k, d in zip(full, x.shape[1:-1], attrs["strides"], w.shape[2:], attrs["dilations"])
    ]
    result = np.zeros((x.shape[0], *full, groups, w.shape[1]), wide)
    xg = widen(x).astype(wide).reshape(*x.shape[:-1], groups, x.shape[-1] // groups)
    wg = widen(w).astype(wide).reshape(groups, w.shape[0] // groups, *w.shape[1:])
    for tap in itertools.product(*(range(k) for k in w.shape[2:])):
        steps = (
            slice(t * d, t * d + (n - 1) * s + 1, s)
            for t, d, n, s in zip(tap, attrs["dilations"], x.shape[1:-1], attrs["strides"])
        )
        index = (slice(None), *steps)
        result[index] += np.einsum("...gc,gco->...go", xg, wg[(slice(None),) * 3 + tap], optimize=True)
    crop = (slice(None), *(slice(lo, lo + o) for lo, o in zip(attrs["low"], shape[1:-1])))
    return result[crop].reshape(shape).astype(dtype)


def _pool(attrs: dict[str, Any], x: Value) -> list[Result]:
    _normalise(attrs, x.rank - 2)
    require(x.rank >= 3, f"pooling needs [N, spatial..., C], got {list(x.shape)}")
    require(all(n > 0 for n in attrs["out"]), f"pooling gives the impossible size {list(attrs['out'])}")
    return [((x.shape[0], *attrs["out"], x.shape[-1]), x.dtype)]


def _windows(attrs: dict[str, Any], x: np.ndarray, fill: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Taps stacked on axis 0: values, inside-the-input mask, inside-the-padded-input mask."""
    spatial = x.ndim - 2
    values, inside, padded = [], [], []
    for tap in itertools.product(*(range(k) for k in attrs["kernel"])):
        positions = [
            np.arange(o) * s - lo + t * d
            for o, s, lo, t, d in zip(attrs["out"], attrs["strides"], attrs["low"], tap, attrs["dilations"])
        ]
        taken, ok, near = x, np.ones((), bool), np.ones((), bool)
        for d, p in enumerate(positions):
            shape = [-1 if k == d + 1 else 1 for k in range(x.ndim)]
            n = x.shape[1 + d]
            ok = ok & ((p >= 0) & (p < n)).reshape(shape)
            near = near & (p < n + attrs["high"][d]).reshape(shape)
            taken = np.take(taken, np.clip(p, 0, n - 1), axis=1 + d)
        values.append(np.where(ok, taken, fill))
        inside.append(np.broadcast_to(ok, taken.shape))
        padded.append(np.broadcast_to(near, taken.shape))
    assert spatial >= 1
    return np.stack(values), np.stack(inside), np.stack(padded)


def _pool_reference(attrs: dict[str, Any], x: np.ndarray) -> np.ndarray:
    w = widen(x)
    kind = attrs["kind"]
    if kind == "max":
        lowest = -np.inf if w.dtype.kind == "f" else np.iinfo(w.dtype).min
        return _windows(attrs, w, w.dtype.type(lowest))[0].max(axis=0).astype(x.dtype)
    values, inside, padded = _windows(attrs, w.astype(np.float64), 0.0)
    if kind == "average":
        count = (padded if attrs.get("count_include_pad") else inside).sum(axis=0)
        return (values.sum(axis=0) / count).astype(x.dtype)
    p = float(attrs.get("p", 2))
    return ((np.abs(values) ** p).sum(axis=0) ** (1 / p)).astype(x.dtype)


def _max_pool_indices_reference(attrs: dict[str, Any], x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    w = widen(x)
    lowest = w.dtype.type(-np.inf if w.dtype.kind == "f" else np.iinfo(w.dtype).min)
    values = _windows(attrs, w, lowest)[0]
    flat = np.arange(int(np.prod((x.shape[0], x.shape[-1], *x.shape[1:-1]))))
    if attrs.get("storage_order"):
        # column-major within each image plane
        spatial = tuple(x.shape[1:-1])
        plane = np.arange(int(np.prod(spatial))).reshape(spatial[::-1]).T
        base = np.arange(x.shape[0] * x.shape[-1]).reshape(x.shape[0], x.shape[-1], *[1] * len(spatial)) * plane.size
        index = base + plane
    else:
        index = flat.reshape(x.shape[0], x.shape[-1], *x.shape[1:-1])
    index = np.moveaxis(index, 1, -1)
    taps = _windows(attrs, index, -1)[0]
    best = values.argmax(axis=0)
    return (
        np.take_along_axis(values, best[None], 0)[0].astype(x.dtype),
        np.take_along_axis(taps, best[None], 0)[0].astype(np.int64),
    )


op("conv", "convolution", _conv, _conv_reference)
op("conv_transpose", "convolution", _conv_transpose, _conv_transpose_reference)
op("pool", "convolution", _pool, _pool_reference)
op(
    "max_pool_indices", "convolution",
    lambda attrs, x: [*_pool(attrs, x), ((x.shape[0], *attrs["out"], x.shape[-1]), np.dtype(np.int64))],
    _max_pool_indices_reference,
)  # fmt: skip
