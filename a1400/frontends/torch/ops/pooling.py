"""Pooling and its gradients."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from a1400.frontends.torch.context import Ctx
from a1400.frontends.torch.ops.convolution import channels_first, channels_last, spread
from a1400.frontends.torch.registry import translates
from a1400.graph.tensor import Tensor


def _windows(x: Tensor, n: int, kernel: Any, stride: Any, padding: Any, dilation: Any, ceil: bool) -> dict[str, Any]:
    k, p, d = spread(kernel, n), spread(padding, n), spread(dilation, n)
    s = spread(stride, n) if stride not in ((), [], None) else k
    out = []
    for size, kk, ss, pp, dd in zip(x.shape[-n:], k, s, p, d):
        room = size + 2 * pp - (kk - 1) * dd - 1
        count = (-(-room // ss) if ceil else room // ss) + 1
        if ceil and (count - 1) * ss >= size + pp:
            count -= 1
        out.append(count)
    return {"kernel": k, "strides": s, "dilations": d, "low": p, "high": p, "out": tuple(out)}


def _batched(function: Callable[[Tensor], Tensor], n: int) -> Callable[[Tensor], Tensor]:
    """``function`` of channels-last batches, for tensors with channels first and perhaps no batch."""

    def apply(x: Tensor) -> Tensor:
        if x.rank == n + 2:
            return channels_first(function(channels_last(x)))
        y = channels_first(function(channels_last(x.reshape((1, *x.shape)))))
        return y.reshape(y.shape[1:])

    return apply


def _max_pools(n: int) -> None:
    @translates(f"max_pool{n}d_with_indices")
    def forward(
        c: Ctx, x: Tensor, kernel: Any, stride: Any = (), padding: Any = 0, dilation: Any = 1, ceil: bool = False
    ) -> tuple[Tensor, Tensor]:
        attrs = _windows(x, n, kernel, stride, padding, dilation, ceil)
        if not c.wants(1):
            y = _batched(lambda t: t.op("pool", kind="max", **attrs), n)(x)
            return y, c.full(y.shape, 0, np.int64)
        whole = x if x.rank == n + 2 else x.reshape((1, *x.shape))
        found = c.multi("max_pool_indices", channels_last(whole), kind="max", storage_order=0, **attrs)
        y, places = (channels_first(t) for t in found)
        places = places.op("mod", math.prod(x.shape[-n:]))
        return (y, places) if whole is x else (y.reshape(y.shape[1:]), places.reshape(y.shape[1:]))

    @translates(f"max_pool{n}d_with_indices_backward")
    def backward(
        c: Ctx, coming: Tensor, x: Tensor, kernel: Any, stride: Any, padding: Any, dilation: Any, ceil: bool,
        indices: Tensor | None,
    ) -> Tensor:  # fmt: skip
        attrs = _windows(x, n, kernel, stride, padding, dilation, ceil)
        return c.back(_batched(lambda t: t.op("pool", kind="max", **attrs), n), x, coming)


def _average_pools(n: int) -> None:
    def pooled(
        x: Tensor, kernel: Any, stride: Any, padding: Any, ceil: bool, counted: bool, divisor: Any
    ) -> Tensor:
        attrs = _windows(x, n, kernel, stride, padding, 1, ceil)
        if divisor is None:
            return _batched(lambda t: t.op("pool", kind="average", count_include_pad=counted, **attrs), n)(x)
        # with everything padded counting alike, the mean times the window is the sum
        behind = [
            max(p, (o - 1) * s + k - p - size)
            for p, o, s, k, size in zip(attrs["low"], attrs["out"], attrs["strides"], attrs["kernel"], x.shape[-n:])
        ]
        attrs["high"] = tuple(behind)
        y = _batched(lambda t: t.op("pool", kind="average", count_include_pad=True, **attrs), n)(x)
        return y * (math.prod(attrs["kernel"]) / divisor)

    @translates(f"avg_pool{n}d")
    def forward(
        c: Ctx, x: Tensor, kernel: Any, stride: Any = (), padding: Any = 0, ceil: bool = False, counted: bool = True,
        divisor: Any = None,
    ) -> Tensor:  # fmt: skip
        return pooled(x, kernel, stride, padding, ceil, counted, divisor)

    @translates(f"avg_pool{n}d_backward")
    def backward(
        c: Ctx, coming: Tensor, x: Tensor, kernel: Any, stride: Any, padding: Any, ceil: bool, counted: bool,
        divisor: Any,
    ) -> Tensor:  # fmt: skip
        return c.back(lambda t: pooled(t, kernel, stride, padding, ceil, counted, divisor), x, coming)


def _bins(size: int, out: int) -> tuple[np.ndarray, np.ndarray] | None:
    """The table (see op ``resize``) of means over the ``out`` parts of an axis that adaptive pooling takes."""
    if size == out:
        return None
    first = [i * size // out for i in range(out)]
    last = [-(-(i + 1) * size // out) for i in range(out)]
    taps = max(b - a for a, b in zip(first, last))
    index, weight = np.zeros((out, taps), np.int32), np.zeros((out, taps), np.float32)
    for i, (a, b) in enumerate(zip(first, last)):
        index[i] = np.minimum(np.arange(a, a + taps), size - 1)
        weight[i, : b - a] = 1 / (b - a)
    return index, weight


def _adaptive_pools(n: int) -> None:
    def pooled(x: Tensor, out: Sequence[int]) -> Tensor:
        sizes = x.shape[-n:]
        if all(o == 1 for o in out):
            return x.mean(tuple(range(x.rank - n, x.rank)), keepdims=True)
        if all(size % o == 0 for size, o in zip(sizes, out)):
            kernel = tuple(size // o for size, o in zip(sizes, out))
            attrs = _windows(x, n, kernel, kernel, 0, 1, False)
            return _batched(lambda t: t.op("pool", kind="average", count_include_pad=True, **attrs), n)(x)
        return _batched(lambda t: t.op("resize", tables=[_bins(s, o) for s, o in zip(sizes, out)]), n)(x)

    @translates(f"_adaptive_avg_pool{n}d")
    def forward(c: Ctx, x: Tensor, out: Sequence[int]) -> Tensor:
        return pooled(x, out)

    @translates(f"_adaptive_avg_pool{n}d_backward")
    def backward(c: Ctx, coming: Tensor, x: Tensor) -> Tensor:
        return c.back(lambda t: pooled(t, coming.shape[-n:]), x, coming)


def _adaptive_max_pools(n: int) -> None:
    @translates(f"adaptive_max_pool{n}d")
    def forward(c: Ctx, x: Tensor, out: Sequence[int]) -> tuple[Tensor, Tensor]:
        """By gathering each axis' windows, filled up with a copy of their last element."""
        sizes, first = x.shape[-n:], x.rank - n
        places = np.arange(math.prod(sizes), dtype=np.int64).reshape(sizes)
        windows = x
        for d, (size, o) in enumerate(zip(sizes, out)):
            starts = [i * size // o for i in range(o)]
            ends = [-(-(i + 1) * size // o) for i in range(o)]
            taps = max(b - a for a, b in zip(starts, ends))
            index = np.minimum(np.asarray(starts)[:, None] + np.arange(taps), np.asarray(ends)[:, None] - 1)
            windows = c.op("gather", windows, c.constant(index.astype(np.int64)), axis=first + 2 * d)
            places = np.take(places, index, axis=2 * d)
        order = [*range(0, 2 * n, 2), *range(1, 2 * n, 2)]  # all windows' numbers, then all their taps
        count = math.prod(places.shape[1::2])
        flat = windows.transpose([*range(first), *(first + d for d in order)]).reshape((*x.shape[:first], *out, count))
        table = np.ascontiguousarray(places.transpose(order)).reshape((math.prod(out), count))
        best = flat.argmax(-1)
        rows = np.arange(math.prod(out), dtype=np.int64).reshape(tuple(out)) * count
        found = c.constant(table.reshape(-1)).op("gather", best + c.constant(rows), axis=0)
        return flat.max((flat.rank - 1,)), found

    @translates(f"adaptive_max_pool{n}d_backward")
    def backward(c: Ctx, coming: Tensor, x: Tensor, indices: Tensor) -> Tensor:
        lead, size = math.prod(x.shape[:-n]), math.prod(x.shape[-n:])
        rows = (lead, math.prod(coming.shape[-n:]))
        zeros = c.full((lead, size), 0, coming.dtype)
        places, values = indices.reshape(rows), coming.reshape(rows)
        return zeros.op("scatter_elements", places, values, axis=1, reduction="add").reshape(x.shape)


for _n in (2, 3):
    _adaptive_max_pools(_n)
    _max_pools(_n)
    _average_pools(_n)
    _adaptive_pools(_n)
