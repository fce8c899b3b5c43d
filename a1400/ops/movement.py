"""Ops that only move elements.

``bitcast(to)`` (the same bits in another dtype of that size); ``stop_gradient`` (x itself, as far as gradients go a
constant); ``reshape(shape)``; ``transpose(perm)``;
``expand(shape)`` (broadcast to exactly ``shape``); ``slice(starts, shape, steps)`` - one entry per axis, element ``i``
of axis ``d`` is ``starts[d] + i * steps[d]``, negative steps flip; ``pad(low, high, mode)`` with mode
constant|reflect|edge|wrap, one entry per axis, negative pads crop, optional second input is the scalar fill value;
``concat(axis)``.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from a1400.graph.graph import Value
from a1400.graph.tensor import Tensor
from a1400.ops.registry import Backward, Result, axis_of, broadcast, gradient, op, require, stepwise


def _reshape(attrs: dict[str, Any], x: Value) -> list[Result]:
    shape = tuple(int(d) for d in attrs["shape"])
    require(int(np.prod(shape, dtype=object)) == x.size, f"cannot reshape {list(x.shape)} to {list(shape)}")
    attrs["shape"] = shape
    return [(shape, x.dtype)]


def _bitcast(attrs: dict[str, Any], x: Value) -> list[Result]:
    to = attrs["to"] = np.dtype(attrs["to"])
    require(to.itemsize == x.dtype.itemsize, f"the bits of {x.dtype} cannot be read as {to}: they have other sizes")
    return [(x.shape, to)]


def _transpose(attrs: dict[str, Any], x: Value) -> list[Result]:
    perm = tuple(int(p) % max(x.rank, 1) for p in attrs["perm"])
    require(sorted(perm) == list(range(x.rank)), f"perm {list(perm)} does not fit rank {x.rank}")
    attrs["perm"] = perm
    return [(tuple(x.shape[p] for p in perm), x.dtype)]


def _expand(attrs: dict[str, Any], x: Value) -> list[Result]:
    shape = tuple(int(d) for d in attrs["shape"])
    require(broadcast(x.shape, shape) == shape, f"cannot expand {list(x.shape)} to {list(shape)}")
    attrs["shape"] = shape
    return [(shape, x.dtype)]


def _slice(attrs: dict[str, Any], x: Value) -> list[Result]:
    starts, shape, steps = (tuple(int(i) for i in attrs[k]) for k in ("starts", "shape", "steps"))
    require(len(starts) == len(shape) == len(steps) == x.rank, "slice needs one start, size and step per axis")
    for d, (start, count, step) in enumerate(zip(starts, shape, steps)):
        last = start + (count - 1) * step
        fits = count == 0 or (0 <= start < x.shape[d] and 0 <= last < x.shape[d])
        require(
            count >= 0 and fits,
            f"slice of axis {d} leaves {list(x.shape)}: start {start}, {count} elements, step {step}",
        )
    attrs.update(starts=starts, shape=shape, steps=steps)
    return [(shape, x.dtype)]


def slice_array(x: np.ndarray, starts: Any, shape: Any, steps: Any) -> np.ndarray:
    """NumPy form of ``slice``."""
    for d, (start, count, step) in enumerate(zip(starts, shape, steps)):
        if step == 1:
            x = x[(slice(None),) * d + (slice(start, start + count),)]
        else:
            x = np.take(x, start + np.arange(count) * step, axis=d)
    return x


def _pad(attrs: dict[str, Any], x: Value, fill: Value | None = None) -> list[Result]:
    low, high = (tuple(int(i) for i in attrs[k]) for k in ("low", "high"))
    require(len(low) == len(high) == x.rank, "pad needs one low and one high pad per axis")
    require(attrs["mode"] in ("constant", "reflect", "edge", "wrap"), f"unknown pad mode {attrs['mode']!r}")
    shape = tuple(d + a + b for d, a, b in zip(x.shape, low, high))
    require(min(shape, default=0) >= 0, f"pads {list(low)}, {list(high)} remove more than {list(x.shape)} has")
    if attrs["mode"] != "constant":
        require(
            all(d > 0 or s == 0 for d, s in zip(x.shape, shape)),
            f"cannot pad an empty axis of {list(x.shape)} in mode {attrs['mode']}",
        )
    attrs.update(low=low, high=high)
    return [(shape, x.dtype)]


def pad_indices(size: int, low: int, high: int, mode: str) -> np.ndarray:
    """Source index of every output position along one axis; -1 where the fill value goes."""
    i = np.arange(-low, size + high)
    if mode == "edge":
        return np.clip(i, 0, size - 1)
    if mode == "wrap":
        return i % size
    if mode == "reflect":
        if size == 1:
            return np.zeros_like(i)
        period = 2 * (size - 1)
        j = np.abs(i) % period
        return np.where(j >= size, period - j, j)
    return np.where((i < 0) | (i >= size), -1, i)


def _pad_reference(attrs: dict[str, Any], x: np.ndarray, fill: np.ndarray | None = None) -> np.ndarray:
    inside = np.ones((), bool)
    for d in range(x.ndim):
        index = pad_indices(x.shape[d], attrs["low"][d], attrs["high"][d], attrs["mode"])
        ok = (index >= 0).reshape([-1 if k == d else 1 for k in range(x.ndim)])
        inside = inside & ok
        if x.shape[d] == 0:
            x = np.zeros((*x.shape[:d], len(index), *x.shape[d + 1 :]), x.dtype)
        else:
            x = np.take(x, np.maximum(index, 0), axis=d)
    value = x.dtype.type(0) if fill is None else fill.astype(x.dtype).reshape(())
    return np.where(inside, x, value).astype(x.dtype)


def _concat(attrs: dict[str, Any], *inputs: Value) -> list[Result]:
    first = inputs[0]
    axis = axis_of(attrs, first.rank)
    for v in inputs:
        same = v.rank == first.rank and all(v.shape[d] == first.shape[d] for d in range(v.rank) if d != axis)
        require(
            same and v.dtype == first.dtype, f"cannot concatenate {[list(v.shape) for v in inputs]} along axis {axis}"
        )
    shape = list(first.shape)
    shape[axis] = sum(v.shape[axis] for v in inputs)
    return [(tuple(shape), first.dtype)]


op("bitcast", "movement", _bitcast, lambda attrs, x: np.asarray(x).view(attrs["to"]), view=True)
op("stop_gradient", "movement", lambda attrs, x: [(x.shape, x.dtype)], lambda attrs, x: x, view=True)
stepwise("stop_gradient")
op("reshape", "movement", _reshape, lambda attrs, x: x.reshape(attrs["shape"]), view=True)
op("transpose", "movement", _transpose, lambda attrs, x: np.transpose(x, attrs["perm"]), view=True)
op("expand", "movement", _expand, lambda attrs, x: np.broadcast_to(x, attrs["shape"]), view=True)
op("slice", "movement", _slice, lambda a, x: slice_array(x, a["starts"], a["shape"], a["steps"]), view=True)
op("pad", "movement", _pad, _pad_reference)
op("concat", "movement", _concat, lambda attrs, *xs: np.concatenate(xs, axis=attrs["axis"]))


@gradient("reshape")
def _reshape_gradient(b: Backward) -> tuple[Tensor]:
    return (b.g.reshape(b.x().shape),)


@gradient("transpose")
def _transpose_gradient(b: Backward) -> tuple[Tensor]:
    return (b.g.transpose([b.attrs["perm"].index(d) for d in range(b.g.rank)]),)


@gradient("expand")
def _expand_gradient(b: Backward) -> tuple[Tensor]:
    return (b.g,)


@gradient("slice")
def _slice_gradient(b: Backward) -> tuple[Tensor]:
    g = b.g
    for axis, (start, count, step) in enumerate(zip(b.attrs["starts"], b.attrs["shape"], b.attrs["steps"])):
        g = _spread(g, axis, start, count, step, b.x().shape[axis])
    return (g,)


def _spread(g: Tensor, axis: int, start: int, count: int, step: int, size: int) -> Tensor:
    """Put the ``count`` elements of ``axis`` at ``start + i * step`` of an axis of ``size``; zeros elsewhere."""
    if count == 0:
        return g.pad(_at(g, axis, 0), _at(g, axis, size))
    if step < 0:
        g, start, step = _flip(g, axis), start + (count - 1) * step, -step
    if step > 1 and count > 1:
        apart = (*g.shape[: axis + 1], 1, *g.shape[axis + 1 :])
        g = g.reshape(apart)
        g = g.pad((0,) * g.rank, _at(g, axis + 1, step - 1))
        g = g.reshape((*g.shape[:axis], count * step, *g.shape[axis + 2 :]))
    return g.pad(_at(g, axis, start), _at(g, axis, size - start - g.shape[axis]))


def _at(x: Tensor, axis: int, value: int) -> tuple[int, ...]:
    return tuple(value if d == axis else 0 for d in range(x.rank))


def _flip(x: Tensor, axis: int) -> Tensor:
    starts = _at(x, axis, x.shape[axis] - 1)
    return x.slice(starts, x.shape, tuple(-1 if d == axis else 1 for d in range(x.rank)))


@gradient("pad")
def _pad_gradient(b: Backward) -> tuple[Tensor | None, ...]:
    low, high, g = b.attrs["low"], b.attrs["high"], b.g
    if b.attrs["mode"] != "constant":
        for axis in range(g.rank):
            size = b.x().shape[axis]
            g = _unpad(g, axis, pad_indices(size, low[axis], high[axis], b.attrs["mode"]), size)
        return (g, *[None] * (len(b.inputs) - 1))
    inside = g.pad([-n for n in low], [-n for n in high])
    if len(b.inputs) == 1 or b.inputs[1] is None:
        return (inside, *[None] * (len(b.inputs) - 1))
    kept = b.x().filled(1.0).pad(low, high)  # 1 where x stands, 0 where the fill value does
    return inside, (g * (1.0 - kept)).sum().reshape(b.x(1).shape)


def _unpad(g: Tensor, axis: int, index: np.ndarray, size: int) -> Tensor:
    """Add up what each of the ``size`` elements was copied to: ``index`` is a few runs that rise, fall or stand."""
    if len(index) == size and (index == np.arange(size)).all():
        return g
    total, start = None, 0
    while start < len(index):
        step = int(index[start + 1] - index[start]) if start + 1 < len(index) else 1
        end = start + 1
        while end < len(index) and index[end] - index[end - 1] == step and step in (-1, 0, 1):
            end += 1
        shape = tuple(end - start if d == axis else n for d, n in enumerate(g.shape))
        part = g.slice(_at(g, axis, start), shape)
        if step == 0:
            part = part.sum((axis,), keepdims=True)
        part = _spread(part, axis, int(index[start]), part.shape[axis], step if abs(step) == 1 else 1, size)
        total = part if total is None else total + part
        start = end
    return g.pad((0,) * g.rank, _at(g, axis, size)) if total is None else total


@gradient("concat")
def _concat_gradient(b: Backward) -> list[Tensor]:
    parts, start, axis = [], 0, b.attrs["axis"]
    for index in range(len(b.inputs)):
        parts.append(b.g.slice(_at(b.g, axis, start), b.x(index).shape))
        start += b.x(index).shape[axis]
    return parts
