"""Gradients of convolution and pooling, and the two ops that only they need.

``conv_filter_gradient(x[N, *spatial, C], g[N, *out, OC])`` with ``kernel`` (spatial sizes of the filters), strides,
dilations, low, groups -> ``[OC, C/groups, *kernel]``: what reaches the filters of ``conv(x, w)`` when ``g`` reaches its
result.  ``pool_gradient(g, x, y)`` with the attributes of ``pool`` and ``size`` (the spatial sizes of its input), y its
result -> ``[N, *size, C]``; of several equal largest elements the first in row-major order takes all.  Averages need
neither x nor y (None).
"""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np

from a1400.graph.graph import Value
from a1400.graph.tensor import Tensor
from a1400.ops.convolution import _normalise, _windows
from a1400.ops.registry import Backward, Result, gradient, op, require, widen


# ---- convolution --------------------------------------------------------------------------------------
def _filter_gradient(attrs: dict[str, Any], x: Value, g: Value) -> list[Result]:
    _normalise(attrs, x.rank - 2)
    groups = int(attrs["groups"])
    fits = x.rank == g.rank and x.shape[0] == g.shape[0] and x.dtype == g.dtype
    require(fits and x.shape[-1] % groups == g.shape[-1] % groups == 0, f"filter gradient of {x} and {g}")
    return [((g.shape[-1], x.shape[-1] // groups, *attrs["kernel"]), x.dtype)]


def _filter_gradient_reference(attrs: dict[str, Any], x: np.ndarray, g: np.ndarray) -> np.ndarray:
    groups, kernel, out = int(attrs["groups"]), attrs["kernel"], g.shape[1:-1]
    wide = np.float64
    low = attrs["low"]
    high = [
        max((o - 1) * s + (k - 1) * d + 1 - lo - n, 0)
        for o, s, k, d, lo, n in zip(out, attrs["strides"], kernel, attrs["dilations"], low, x.shape[1:-1])
    ]
    padded = np.pad(widen(x).astype(wide), [(0, 0), *zip(low, high), (0, 0)])
    gg = widen(g).astype(wide).reshape(*g.shape[:-1], groups, -1)
    result = np.zeros((groups, gg.shape[-1], x.shape[-1] // groups, *kernel))
    for tap in itertools.product(*(range(k) for k in kernel)):
        steps = (
            slice(t * d, t * d + (o - 1) * s + 1, s)
            for t, d, o, s in zip(tap, attrs["dilations"], out, attrs["strides"])
        )
        index = (slice(None), *steps)
        part = padded[index].reshape(*g.shape[:-1], groups, -1)
        place = (slice(None),) * 3 + tap
        result[place] = np.einsum("...gc,...go->goc", part, gg, optimize=True)
    return result.reshape(g.shape[-1], -1, *kernel).astype(x.dtype)


op("conv_filter_gradient", "convolution", _filter_gradient, _filter_gradient_reference)


def _geometry(b: Backward) -> dict[str, Any]:
    return {key: b.attrs[key] for key in ("strides", "dilations", "low", "groups")}


def _fit(g: Tensor, sizes: tuple[int, ...]) -> Tensor:
    """``g`` cropped at the end of its spatial axes to ``sizes``."""
    return g.slice((0,) * g.rank, (g.shape[0], *sizes, g.shape[-1]))


def _input_gradient(g: Tensor, w: Tensor, attrs: dict[str, Any], sizes: tuple[int, ...]) -> Tensor:
    """What reaches the input, ``sizes`` large, of a convolution with filters ``w`` when ``g`` reaches its result.

    Where filters move by one pixel that is a convolution again, with the filters flipped and their channels exchanged:
    the fastest kernels take it.
    """
    geometry = {key: attrs[key] for key in ("strides", "dilations", "low", "groups")}
    kernel, dilations, low = w.shape[2:], attrs["dilations"], attrs["low"]
    before = tuple((k - 1) * d - lo for k, d, lo in zip(kernel, dilations, low))
    behind = tuple(n - 1 + lo - (o - 1) for n, lo, o in zip(sizes, low, g.shape[1:-1]))
    if set(attrs["strides"]) == {1} and min(*before, *behind) >= 0:
        groups = int(attrs["groups"])
        oc, cg = w.shape[:2]
        turned = w.reshape((groups, oc // groups, cg, *kernel)).swap(1, 2).reshape((groups * cg, oc // groups, *kernel))
        starts = (0, 0, *(k - 1 for k in kernel))
        turned = turned.op("slice", starts=starts, shape=turned.shape, steps=(1, 1, *(-1 for _ in kernel)))
        return g.op("conv", turned, **{**geometry, "low": before}, high=behind)
    reach = [(o - 1) * s + (k - 1) * d + 1 - lo for o, s, k, d, lo in
             zip(g.shape[1:-1], attrs["strides"], kernel, dilations, low)]  # fmt: skip
    high = tuple(max(0, r - n) for r, n in zip(reach, sizes))
    unread = tuple(max(0, n - r) for r, n in zip(reach, sizes))  # inputs behind the last window
    return g.op("conv_transpose", w, **geometry, high=high, output_padding=unread)


@gradient("conv")
def _conv_gradient(b: Backward) -> tuple[Tensor | None, Tensor | None]:
    x, w, g = b.x(0), b.x(1), b.g
    dx = _input_gradient(g, w, b.attrs, x.shape[1:-1]) if b.wanted[0] else None
    dw = x.op("conv_filter_gradient", g, **_geometry(b), kernel=w.shape[2:]) if b.wanted[1] else None
    return dx, dw


@gradient("conv_transpose")
def _conv_transpose_gradient(b: Backward) -> tuple[Tensor, Tensor]:
    x, w, g = b.x(0), b.x(1), b.g
    high = []
    reached = []  # output padding is behind what the last input reaches
    for n, lo, hi, k, d, s, extra, size in zip(
        x.shape[1:-1], b.attrs["low"], b.attrs["high"], w.shape[2:], b.attrs["dilations"], b.attrs["strides"],
        b.attrs["output_padding"], g.shape[1:-1],
    ):  # fmt: skip
        cut = min(extra, size)
        reached.append(size - max(0, cut - hi))
        high.append(max(0, hi - cut))
        assert (reached[-1] + lo + high[-1] - (k - 1) * d - 1) // s + 1 == n
    g = _fit(g, tuple(reached))
    dx = g.op("conv", w, **_geometry(b), high=tuple(high))
    return dx, g.op("conv_filter_gradient", x, **_geometry(b), kernel=w.shape[2:])


@gradient("conv_filter_gradient")
def _filter_gradient_gradient(b: Backward) -> tuple[Tensor, Tensor]:
    """Linear in both: the convolution's own two directions with the incoming gradient for its filters."""
    x, g, w = b.x(0), b.x(1), b.g
    high = tuple(
        (o - 1) * s + (k - 1) * d + 1 - lo - n
        for o, s, k, d, lo, n in zip(
            g.shape[1:-1], b.attrs["strides"], w.shape[2:], b.attrs["dilations"], b.attrs["low"], x.shape[1:-1]
        )
    )
    read = tuple(n + min(0, hi) for n, hi in zip(x.shape[1:-1], high))  # less the inputs behind the last window
    forward = _fit(x, read).op("conv", w, **_geometry(b), high=tuple(max(0, hi) for hi in high))
    return _input_gradient(g, w, b.attrs, x.shape[1:-1]), forward


# ---- pooling ------------------------------------------------------------------------------------------
def _pool_gradient(attrs: dict[str, Any], g: Value, x: Value | None, y: Value | None) -> list[Result]:
    attrs["size"] = tuple(int(n) for n in attrs["size"])
    _normalise(attrs, g.rank - 2)
    require(g.shape[1:-1] == attrs["out"], f"pooling gives {list(attrs['out'])}, its gradient has {list(g.shape)}")
    require((x is None) == (y is None) == (attrs["kind"] == "average"), "averages have a gradient without x and y")
    shape = (g.shape[0], *attrs["size"], g.shape[-1])
    for value, wanted in ((x, shape), (y, g.shape)):
        fits = value is None or (value.shape == wanted and value.dtype == g.dtype)
        require(fits, f"pooling's gradient {g} does not fit {value}")
    return [(shape, g.dtype)]


def _pool_gradient_reference(
    attrs: dict[str, Any], g: np.ndarray, x: np.ndarray | None, y: np.ndarray | None
) -> np.ndarray:
    kind, wide = attrs["kind"], widen(g).astype(np.float64)
    shape = (g.shape[0], *attrs["size"], g.shape[-1])
    w = np.zeros(shape) if x is None else widen(x).astype(np.float64)
    values, inside, padded = _windows(attrs, w, -np.inf if kind == "max" else 0.0)
    if kind == "max":
        best = values.argmax(axis=0)
        parts = np.where(np.arange(len(values)).reshape(-1, *[1] * w.ndim) == best, wide, 0.0)
    elif kind == "average":
        counted = (padded if attrs.get("count_include_pad") else inside).sum(axis=0)
        parts = np.broadcast_to(wide / counted, values.shape)
    else:
        assert y is not None
        p, result = float(attrs.get("p", 2)), widen(y).astype(np.float64)
        ratio = np.abs(values) / np.where(result == 0, 1, result)
        parts = np.where(result == 0, 0, wide * np.sign(values) * ratio ** (p - 1))
    back = np.zeros(shape)
    taps = _windows(attrs, np.arange(w.size, dtype=np.float64).reshape(shape), -1.0)[0].astype(np.int64)
    real = np.broadcast_to(inside, taps.shape)
    np.add.at(back.reshape(-1), taps[real], np.asarray(parts)[real])
    return back.astype(g.dtype)


op("pool_gradient", "convolution", _pool_gradient, _pool_gradient_reference)


def _through_pool(b: Backward, kind: str) -> tuple[Tensor]:
    known = (None, None) if kind == "average" else (b.x(), b.y)
    attrs = {key: value for key, value in b.attrs.items() if key != "storage_order"}
    return (b.g.op("pool_gradient", *known, **{**attrs, "kind": kind, "size": b.x().shape[1:-1]}),)


@gradient("pool")
def _pool_rule(b: Backward) -> tuple[Tensor]:
    return _through_pool(b, b.attrs["kind"])


@gradient("max_pool_indices")
def _max_pool_rule(b: Backward) -> tuple[Tensor]:
    return _through_pool(b, "max")
