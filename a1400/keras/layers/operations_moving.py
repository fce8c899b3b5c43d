"""Operations of ``keras.ops`` that move, choose or make elements."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np

from a1400.graph.tensor import Tensor
from a1400.keras.registry import converts_operation
from a1400.keras.tracing import F32, Call


@converts_operation("Concatenate")
def _concatenate(c: Call) -> Tensor:
    first, *rest = c.many
    return first.op("concat", *rest, axis=c.layer.axis % first.rank) if rest else first


@converts_operation("Stack")
def _stack(c: Call) -> Tensor:
    parts = c.many
    axis = c.layer.axis % (parts[0].rank + 1)
    wide = [x.reshape((*x.shape[:axis], 1, *x.shape[axis:])) for x in parts]
    return wide[0].op("concat", *wide[1:], axis=axis) if len(wide) > 1 else wide[0]


@converts_operation("Reshape")
def _reshape(c: Call) -> Tensor:
    """A size that is not known (None) is the batch's."""
    x, shape = c.x, [x if isinstance(x, int) else -1 for x in c.layer.newshape]
    if -1 in shape:
        rest = int(np.prod([n for n in shape if n != -1]))
        shape[shape.index(-1)] = x.value.size // max(rest, 1)
    return x.reshape(shape)


@converts_operation("Transpose")
def _transpose(c: Call) -> Tensor:
    x = c.x
    return x.transpose(c.layer.axes if c.layer.axes is not None else range(x.rank)[::-1])


@converts_operation("SwapAxes", "Swapaxes")
def _swap(c: Call) -> Tensor:
    return c.x.swap(c.layer.axis1, c.layer.axis2)


@converts_operation("ExpandDims")
def _expand_dims(c: Call) -> Tensor:
    x = c.x
    axes = [c.layer.axis] if isinstance(c.layer.axis, int) else list(c.layer.axis)
    shape = list(x.shape)
    for axis in sorted(a % (x.rank + len(axes)) for a in axes):
        shape.insert(axis, 1)
    return x.reshape(shape)


@converts_operation("Squeeze")
def _squeeze(c: Call) -> Tensor:
    x, axis = c.x, c.layer.axis
    axes = [d for d, n in enumerate(x.shape) if n == 1] if axis is None else np.atleast_1d(axis) % x.rank
    return x.reshape([n for d, n in enumerate(x.shape) if d not in set(axes)])


@converts_operation("GetItem")
def _get_item(c: Call) -> Tensor:
    """Integers, slices with any step, ``None`` and ``...``."""
    x, key = c.x, c.arguments["key"]
    keys = list(key) if isinstance(key, tuple) else [key]
    if any(not isinstance(k, (int, slice, type(None), type(Ellipsis))) for k in keys):
        c.refuse("indexing with tensors is not supported")
    used = sum(isinstance(k, (int, slice)) for k in keys)
    if Ellipsis in keys:
        at = keys.index(Ellipsis)
        keys[at : at + 1] = [slice(None)] * (x.rank - used)
    else:
        keys += [slice(None)] * (x.rank - used)
    starts, sizes, steps, shape, axis = [], [], [], [], 0
    for k in keys:
        if k is None:
            shape.append(1)
            continue
        size = x.shape[axis]
        if isinstance(k, int):
            start, count, step = k % size, 1, 1
        else:
            start, stop, step = k.indices(size)
            count = len(range(start, stop, step))
            shape.append(count)
        starts.append(start if count else 0)
        sizes.append(count)
        steps.append(step)
        axis += 1
    return x.slice(starts, sizes, steps).reshape(shape)


@converts_operation("ConvertToTensor", "Copy", "SaturateCast")
def _same(c: Call) -> Tensor:
    dtype = c.option("dtype")
    x = c.lift(c.first)
    return x if dtype is None else x.cast(F32 if "float" in str(dtype) else str(dtype))


@converts_operation("BroadcastTo")
def _broadcast(c: Call) -> Tensor:
    return c.x.expand([int(n) for n in c.layer.shape])


def _like(c: Call, number: float) -> Tensor:
    x, dtype = c.x, c.option("dtype") or c.given("dtype")
    kind = x.dtype if dtype is None else F32 if "float" in str(dtype) else np.dtype(str(dtype))
    return c.constant(np.asarray(number), kind).expand(x.shape)


@converts_operation("ZerosLike", "EmptyLike")
def _zeros(c: Call) -> Tensor:
    return _like(c, 0)


@converts_operation("OnesLike")
def _ones(c: Call) -> Tensor:
    return _like(c, 1)


@converts_operation("FullLike")
def _full_like(c: Call) -> Tensor:
    value = c.given("fill_value")
    if isinstance(value, Tensor):
        return value.cast(c.x.dtype).expand(c.x.shape)
    return _like(c, value)


@converts_operation("Full")
def _full(c: Call) -> Tensor:
    x, dtype = c.lift(c.first), c.option("dtype")
    x = x if dtype is None else x.cast(F32 if "float" in str(dtype) else str(dtype))
    return x.expand([int(n) for n in c.layer.shape])


@converts_operation("Ravel")
def _ravel(c: Call) -> Tensor:
    return c.x.reshape((c.x.value.size,))


@converts_operation("Moveaxis")
def _moveaxis(c: Call) -> Tensor:
    x = c.x
    source = [a % x.rank for a in c.layer.source]
    target = [a % x.rank for a in c.layer.destination]
    order = [d for d in range(x.rank) if d not in source]
    for place, axis in sorted(zip(target, source)):
        order.insert(place, axis)
    return x.transpose(order)


def _axes(axis: Any, rank: int) -> list[int]:
    return list(range(rank)) if axis is None else [int(a) % rank for a in np.atleast_1d(axis)]


@converts_operation("Flip", "Fliplr", "Flipud")
def _flip(c: Call) -> Tensor:
    x = c.x
    axes = _axes({"Fliplr": 1, "Flipud": 0}.get(type(c.layer).__name__, c.option("axis")), x.rank)
    starts = [n - 1 if d in axes and n else 0 for d, n in enumerate(x.shape)]
    return x.slice(starts, x.shape, [-1 if d in axes else 1 for d in range(x.rank)])


@converts_operation("Roll")
def _roll(c: Call) -> Tensor:
    x, axis, shift = c.x, c.layer.axis, c.layer.shift
    if axis is None:
        shape, x = x.shape, x.reshape((x.value.size,))
        return _rolled(x, 0, int(shift)).reshape(shape)
    axes = np.atleast_1d(axis)
    for one, by in zip(axes, np.broadcast_to(shift, axes.shape)):
        x = _rolled(x, int(one) % x.rank, int(by))
    return x


def _part(x: Tensor, axis: int, start: int, stop: int) -> Tensor:
    """``start`` to ``stop`` of one axis."""
    starts, shape = [0] * x.rank, list(x.shape)
    starts[axis], shape[axis] = start, stop - start
    return x.slice(starts, shape)


def _rolled(x: Tensor, axis: int, shift: int) -> Tensor:
    size = x.shape[axis]
    cut = -shift % size if size else 0
    return _part(x, axis, cut, size).op("concat", _part(x, axis, 0, cut), axis=axis) if cut else x


@converts_operation("Repeat")
def _repeat(c: Call) -> Tensor:
    x, axis, times = c.x, c.layer.axis, c.layer.repeats
    if np.ndim(times) > 0 and np.size(times) != 1:
        c.refuse("repeats that differ from element to element are not supported")
    times = int(np.reshape(times, ()))
    if axis is None:
        x, axis = x.reshape((x.value.size,)), 0
    axis %= x.rank
    wide = x.expand_dims(axis + 1)
    wide = wide.expand((*wide.shape[: axis + 1], times, *wide.shape[axis + 2 :]))
    return wide.reshape((*x.shape[:axis], x.shape[axis] * times, *x.shape[axis + 1 :]))


@converts_operation("Tile")
def _tile(c: Call) -> Tensor:
    x, times = c.x, [int(n) for n in np.atleast_1d(c.layer.repeats)]
    rank = max(x.rank, len(times))
    shape = (*(1,) * (rank - x.rank), *x.shape)
    times = [1] * (rank - len(times)) + times
    apart = [k for n in shape for k in (1, n)]
    wide = [k for t, n in zip(times, shape) for k in (t, n)]
    return x.reshape(apart).expand(wide).reshape([t * n for t, n in zip(times, shape)])


@converts_operation("Split", "ArraySplit")
def _split(c: Call) -> list[Tensor]:
    x, axis, where = c.x, c.layer.axis, c.layer.indices_or_sections
    axis %= x.rank
    size = x.shape[axis]
    if isinstance(where, int):
        bounds = np.cumsum([0] + [len(part) for part in np.array_split(np.arange(size), where)])
    else:
        bounds = np.asarray([0, *where, size])
    return [_part(x, axis, int(a), int(b)) for a, b in pairwise(bounds)]


@converts_operation("Unstack")
def _unstack(c: Call) -> list[Tensor]:
    x, axis = c.x, c.layer.axis % c.x.rank
    return [_part(x, axis, i, i + 1).squeeze(axis) for i in range(x.shape[axis])]


@converts_operation("Hstack", "Vstack", "Dstack")
def _stacked(c: Call) -> Tensor:
    parts, name = c.many, type(c.layer).__name__
    if name == "Vstack":
        parts, axis = [x.expand_dims(0) if x.rank == 1 else x for x in parts], 0
    elif name == "Hstack":
        axis = 0 if parts[0].rank == 1 else 1
    else:
        parts = [x.reshape({1: (1, *x.shape, 1), 2: (*x.shape, 1)}.get(x.rank, x.shape)) for x in parts]
        axis = 2
    return parts[0].op("concat", *parts[1:], axis=axis) if len(parts) > 1 else parts[0]


@converts_operation("Pad")
def _pad(c: Call) -> Tensor:
    x, mode = c.x, c.layer.mode
    widths = list(c.layer.pad_width)
    widths = widths * x.rank if len(widths) == 1 else widths
    modes = {"constant": "constant", "edge": "edge", "reflect": "reflect", "wrap": "wrap"}
    if mode not in modes:
        c.refuse(f"padding by {mode!r} is not supported")
    fill = c.given("constant_values")
    extra = [] if not fill else [x.lift(np.asarray(fill, x.dtype))]
    low, high = [int(a) for a, _ in widths], [int(b) for _, b in widths]
    return x.op("pad", *extra, low=tuple(low), high=tuple(high), mode=mode) if any(low + high) else x


@converts_operation("Tril", "Triu")
def _triangle(c: Call) -> Tensor:
    x, k = c.x, int(c.layer.k)
    held = np.tril(np.ones(x.shape[-2:], bool), k)
    held = held if type(c.layer).__name__ == "Tril" else np.triu(np.ones(x.shape[-2:], bool), k)
    return c.constant(held, bool).where(x, x.filled(0, ()))


@converts_operation("Take")
def _take(c: Call) -> Tensor:
    x, index, axis = c.lift(c.given("x")), c.lift(c.given("indices")), c.layer.axis
    if axis is None:
        x, axis = x.reshape((x.value.size,)), 0
    return x.op("gather", index if index.dtype == np.int64 else index.cast(np.int32), axis=axis % x.rank)


@converts_operation("TakeAlongAxis")
def _take_along(c: Call) -> Tensor:
    x, index, axis = c.lift(c.given("x")), c.lift(c.given("indices")), c.layer.axis
    if axis is None:
        x, index, axis = x.reshape((x.value.size,)), index.reshape((index.value.size,)), 0
    axis %= x.rank
    wide = [n if d == axis else max(n, m) for d, (n, m) in enumerate(zip(index.shape, x.shape))]
    full = [n if d == axis else m for d, (n, m) in enumerate(zip(x.shape, wide))]
    index = index if index.dtype == np.int64 else index.cast(np.int32)
    return x.expand(full).op("gather_elements", index.expand(wide), axis=axis)


@converts_operation("TopK")
def _top_k(c: Call) -> tuple[Tensor, Tensor]:
    x = c.x
    graph = c.tracing.graph
    values, places = graph.multi("topk", x.value, k=int(c.layer.k), axis=x.rank - 1, largest=True, sorted=True)
    return Tensor(graph, values), Tensor(graph, places).cast(np.int32)


@converts_operation("Slice")
def _slice(c: Call) -> Tensor:
    x, starts = c.lift(c.given("inputs")), c.given("start_indices")
    if any(isinstance(s, Tensor) for s in (starts if isinstance(starts, (list, tuple)) else [starts])):
        c.refuse("slices that start at a computed place are not supported")
    first = [int(s) for s in np.asarray(starts)]
    sizes = [x.shape[d] - first[d] if int(n) == -1 else int(n) for d, n in enumerate(c.layer.shape)]
    return x.slice(first, sizes)


@converts_operation("Outer")
def _outer(c: Call) -> Tensor:
    a, b = (c.lift(v).cast(F32) for v in list(c.arguments.values())[:2])
    return a.reshape((a.value.size, 1)) * b.reshape((1, b.value.size))


@converts_operation("Dot", "Inner", "Tensordot")
def _dot(c: Call) -> Tensor:
    """Sums over the last axis of the first and, by name, one of the second's; ``tensordot`` over several."""
    a, b = (c.lift(v).cast(F32) for v in list(c.arguments.values())[:2])
    name = type(c.layer).__name__
    if name != "Tensordot" and (a.rank == 0 or b.rank == 0):
        return a * b
    if name == "Tensordot":
        axes = c.layer.axes
        if isinstance(axes, int):
            over_a, over_b = list(range(a.rank - axes, a.rank)), list(range(axes))
        else:
            over_a, over_b = ([int(n) % r for n in np.atleast_1d(x)] for x, r in zip(axes, (a.rank, b.rank)))
    else:
        over_a, over_b = [a.rank - 1], [b.rank - 1 if name == "Inner" or b.rank == 1 else b.rank - 2]
    rest_a, rest_b = ([d for d in range(x.rank) if d not in over] for x, over in ((a, over_a), (b, over_b)))
    inner = int(np.prod([a.shape[d] for d in over_a]))
    rows, columns = [a.shape[d] for d in rest_a], [b.shape[d] for d in rest_b]
    left = a.transpose([*rest_a, *over_a]).reshape((int(np.prod(rows)), inner))
    right = b.transpose([*over_b, *rest_b]).reshape((inner, int(np.prod(columns))))
    return (left @ right).reshape([*rows, *columns])
