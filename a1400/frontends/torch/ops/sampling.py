"""Resampling of images, and windows laid out as columns."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from a1400.frontends.torch.context import Ctx
from a1400.frontends.torch.ops.convolution import channels_first, channels_last, spread
from a1400.frontends.torch.registry import translates
from a1400.graph.tensor import Tensor

_MODES = ("linear", "nearest", "cubic")
_PADDINGS = ("zeros", "border", "reflection")


# ---- resizing -----------------------------------------------------------------------------------------
def _nearest(size: int, out: int, scale: float | None, exact: bool) -> tuple[np.ndarray, np.ndarray]:
    step = np.float32(1 / scale) if scale else np.float32(size) / np.float32(out)
    at = (np.arange(out, dtype=np.float32) + np.float32(0.5 if exact else 0)) * step
    index = np.minimum(np.floor(at).astype(np.int32), size - 1)
    return index[:, None], np.ones((out, 1), np.float32)


def _smooth(size: int, out: int, scale: float | None, align: bool, cubic: bool) -> tuple[np.ndarray, np.ndarray]:
    o = np.arange(out, dtype=np.float64)
    if align:
        at = o * ((size - 1) / (out - 1)) if out > 1 else o * 0
    else:
        at = (o + 0.5) * (1 / scale if scale else size / out) - 0.5
        at = at if cubic else np.maximum(at, 0)
    base = np.floor(at)
    f = (at - base)[:, None]
    if not cubic:
        taps, weight = np.arange(2), np.concatenate([1 - f, f], 1)
    else:
        a, taps = -0.75, np.arange(-1, 3)
        far = [((a * t - 5 * a) * t + 8 * a) * t - 4 * a for t in (f + 1, 2 - f)]
        near = [((a + 2) * t - (a + 3)) * t * t + 1 for t in (f, 1 - f)]
        weight = np.concatenate([far[0], near[0], near[1], far[1]], 1)
    index = np.clip(base[:, None] + taps, 0, size - 1)
    return index.astype(np.int32), weight.astype(np.float32)


def _resized(x: Tensor, tables: Sequence[Any]) -> Tensor:
    return channels_first(channels_last(x).op("resize", tables=list(tables)))


def _sizes(x_shape: Sequence[int], out: Any, scales: Any) -> tuple[list[int], list[float | None]]:
    n = len(x_shape) - 2
    if out is not None:
        return list(out), [None] * n
    return [int(size * s) for size, s in zip(x_shape[2:], scales)], list(scales)


def _resamplers(name: str, kind: str, n: int) -> None:
    """The operator called ``name`` by sizes and by factors, and its gradient."""

    def tables(x_shape: Sequence[int], out: Sequence[int], align: bool, scales: Sequence[float | None]) -> list[Any]:
        made = []
        for size, o, s in zip(x_shape[2:], out, scales):
            if kind in ("nearest", "exact"):
                made.append(_nearest(size, o, s, kind == "exact"))
            else:
                made.append(_smooth(size, o, s, align, kind == "cubic"))
        return made

    def read(rest: Sequence[Any]) -> tuple[bool, list[float | None]]:
        aligned = kind in ("linear", "cubic")
        align = bool(rest[0]) if aligned else False
        scales = list(rest[1:] if aligned else rest)
        return align, [*scales, *[None] * (n - len(scales))]

    @translates(name)
    def by_size(c: Ctx, x: Tensor, out: Sequence[int], *rest: Any) -> Tensor:
        align, scales = read(rest)
        return _resized(x, tables(x.shape, out, align, scales))

    @translates(f"{name}.vec")
    def by_either(c: Ctx, x: Tensor, out: Any, *rest: Any) -> Tensor:
        align = bool(rest[0]) if kind in ("linear", "cubic") else False
        sizes, scales = _sizes(x.shape, out, rest[-1])
        return _resized(x, tables(x.shape, sizes, align, scales))

    @translates(f"{name}_backward")
    def backward(c: Ctx, coming: Tensor, out: Sequence[int], shape: Sequence[int], *rest: Any) -> Tensor:
        align, scales = read(rest)
        zeros = c.full(shape, 0, coming.dtype)
        return c.back(lambda t: _resized(t, tables(shape, out, align, scales)), zeros, coming)


for _n in (1, 2, 3):
    _resamplers(f"upsample_nearest{_n}d", "nearest", _n)
    _resamplers(f"_upsample_nearest_exact{_n}d", "exact", _n)
_resamplers("upsample_linear1d", "linear", 1)
_resamplers("upsample_bilinear2d", "linear", 2)
_resamplers("upsample_trilinear3d", "linear", 3)
_resamplers("upsample_bicubic2d", "cubic", 2)


# ---- sampling by a grid -------------------------------------------------------------------------------
def _sampled(x: Tensor, grid: Tensor, mode: int, padding: int, align: bool) -> Tensor:
    attrs = {"mode": _MODES[mode], "padding": _PADDINGS[padding], "align_corners": align}
    return channels_first(channels_last(x).op("grid_sample", grid, **attrs))


def _grids(name: str) -> None:
    @translates(name)
    def forward(c: Ctx, x: Tensor, grid: Tensor, mode: int, padding: int, align: bool) -> Tensor:
        return _sampled(x, grid, mode, padding, align)

    @translates(f"{name}_backward")
    def backward(
        c: Ctx, coming: Tensor, x: Tensor, grid: Tensor, mode: int, padding: int, align: bool, mask: Sequence[bool]
    ) -> tuple[Tensor | None, ...]:
        dx, dgrid = c.through(lambda a, b: _sampled(a, b, mode, padding, align), [x, grid], coming)
        return dx if mask[0] else None, dgrid if mask[1] else None


_grids("grid_sampler_2d")
_grids("grid_sampler_3d")


# ---- windows as columns -------------------------------------------------------------------------------
def _columns(c: Ctx, x: Tensor, kernel: Any, dilation: Any, padding: Any, stride: Any) -> Tensor:
    """[N, C, H, W] to [N, C * kernel, windows]."""
    k, d, p, s = (spread(v, 2) for v in (kernel, dilation, padding, stride))
    pads = (0, 0, *p)
    padded = x.op("pad", low=pads, high=pads, mode="constant") if any(p) else x
    out = [(n - dd * (kk - 1) - 1) // ss + 1 for n, kk, dd, ss in zip(padded.shape[2:], k, d, s)]
    rows, columns = (
        np.arange(kk, dtype=np.int64)[:, None] * dd + np.arange(o, dtype=np.int64) * ss
        for kk, dd, ss, o in zip(k, d, s, out)
    )
    taken = padded.op("gather", c.constant(rows), axis=2)  # N C kh oh W
    taken = taken.op("gather", c.constant(columns), axis=4)  # N C kh oh kw ow
    n, channels = x.shape[:2]
    return taken.transpose((0, 1, 2, 4, 3, 5)).reshape((n, channels * k[0] * k[1], out[0] * out[1]))


@translates("im2col")
def im2col(c: Ctx, x: Tensor, kernel: Any, dilation: Any, padding: Any, stride: Any) -> Tensor:
    """Windows as columns."""
    if x.rank == 3:
        return _columns(c, x.expand_dims(0), kernel, dilation, padding, stride).squeeze(0)
    return _columns(c, x, kernel, dilation, padding, stride)


@translates("col2im")
def col2im(
    c: Ctx, x: Tensor, out: Sequence[int], kernel: Any, dilation: Any, padding: Any, stride: Any
) -> Tensor:
    """Columns added up where :func:`im2col` takes them from."""
    coming = x if x.rank == 3 else x.expand_dims(0)
    k = spread(kernel, 2)
    zeros = c.full((coming.shape[0], coming.shape[1] // (k[0] * k[1]), *out), 0, x.dtype)
    made = c.back(lambda t: _columns(c, t, kernel, dilation, padding, stride), zeros, coming)
    return made if x.rank == 3 else made.squeeze(0)
