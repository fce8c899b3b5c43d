"""Ops that only move elements."""

from __future__ import annotations

import numpy as np

from a1400.errors import GraphError
from a1400.frontends.onnx.context import Ctx
from a1400.frontends.onnx.ops.logic import select
from a1400.frontends.onnx.ops.registry import AS_VIEW, translates
from a1400.frontends.onnx.tensors import dtype_of
from a1400.graph.graph import Value


@translates("Transpose", runs=AS_VIEW)
def transpose(c: Ctx) -> Value:
    """Axes permuted; reversed when no ``perm`` is given."""
    x = c[0]
    perm = c.ints("perm")
    perm = tuple(range(x.rank))[::-1] if perm is None else perm
    if sorted(perm) != list(range(x.rank)):
        raise GraphError(f"perm {list(perm)} does not fit rank {x.rank}")
    return c.transpose(x, perm)


@translates("BitCast", runs=AS_VIEW)
def bit_cast(c: Ctx) -> Value:
    """The same bits as another type of that size."""
    return c.op("bitcast", c[0], to=dtype_of(c.integer("to"), "the result"))


_Ints = tuple[int, ...]


def _sliced(c: Ctx, x: Value, starts: _Ints, ends: _Ints, axes: _Ints | None, steps: _Ints | None) -> Value:
    axes = tuple(range(len(starts))) if axes is None else axes
    steps = (1,) * len(starts) if steps is None else steps
    if not len(starts) == len(ends) == len(axes) == len(steps) or 0 in steps:
        raise GraphError(f"slice with starts {list(starts)}, ends {list(ends)}, axes {list(axes)}, steps {list(steps)}")
    first, count, stride = [0] * x.rank, list(x.shape), [1] * x.rank
    for start, end, axis, step in zip(starts, ends, axes, steps):
        d = c.axis(axis, x.rank)
        if step < 0:  # a start in front of everything is the first element here, and nothing in Python
            start = max(start, -x.shape[d])
        begin, _, step = slice(start, end, step).indices(x.shape[d])
        count[d] = len(range(*slice(start, end, step).indices(x.shape[d])))
        first[d], stride[d] = (begin, step) if count[d] else (0, 1)
        if count[d] == 1:
            stride[d] = 1
    if tuple(count) == x.shape and all(s == 1 for s in stride):
        return x
    return c.op("slice", x, starts=tuple(first), shape=tuple(count), steps=tuple(stride))


@translates("Slice", runs=AS_VIEW)
def slice_attributes(c: Ctx) -> Value:
    """Before opset 10: everything as attributes."""
    starts, ends = c.ints("starts"), c.ints("ends")
    if starts is None or ends is None:
        raise GraphError("attributes 'starts' and 'ends' are needed")
    return _sliced(c, c[0], starts, ends, c.ints("axes"), None)


@translates("Slice", since=10, runs=AS_VIEW)
def slice_inputs(c: Ctx) -> Value:
    """Python's slices, along some axes."""
    axes = None if c.opt(3) is None else c.need_ints(3, "the axes")
    steps = None if c.opt(4) is None else c.need_ints(4, "the steps")
    return _sliced(c, c[0], c.need_ints(1, "the starts"), c.need_ints(2, "the ends"), axes, steps)


def split_parts(c: Ctx, x: Value, axis: int, sizes: tuple[int, ...]) -> tuple[Value, ...]:
    """``x`` cut along ``axis`` into pieces of ``sizes``."""
    if sum(sizes) != x.shape[axis] or any(n < 0 for n in sizes):
        raise GraphError(f"split {list(sizes)} does not fit {x.shape[axis]} elements")
    parts, at = [], 0
    for n in sizes:
        parts.append(c.slice(x, axis, at if n else 0, n))
        at += n
    return tuple(parts)


def even_sizes(total: int, parts: int) -> tuple[int, ...]:
    """Equal pieces, the last one smaller where it does not divide."""
    if parts < 1:
        raise GraphError(f"cannot split into {parts} parts")
    each = -(-total // parts)
    return tuple(max(min(each, total - i * each), 0) for i in range(parts))


@translates("Split", runs=AS_VIEW)
def split_attribute(c: Ctx) -> object:
    """Before opset 13: sizes as attribute."""
    axis = c.axis(c.integer("axis", 0), c[0].rank)
    return split_parts(c, c[0], axis, c.ints("split") or even_sizes(c[0].shape[axis], len(c.node.outputs)))


@translates("Split", since=13, runs=AS_VIEW)
def split(c: Ctx) -> object:
    """Sizes as input, or ``num_outputs``."""
    axis = c.axis(c.integer("axis", 0), c[0].rank)
    if c.opt(1) is not None:
        return split_parts(c, c[0], axis, c.need_ints(1, "the split sizes"))
    return split_parts(c, c[0], axis, even_sizes(c[0].shape[axis], c.integer("num_outputs", len(c.node.outputs))))


@translates("Concat")
def concat(c: Ctx) -> Value:
    """Joined along an axis; empty parts left out."""
    parts = c.tensors()
    axis = c.axis(c.integer("axis", 1 if c.opset < 4 else -1), parts[0].rank)
    full = [p for p in parts if p.rank == parts[0].rank and p.shape[axis] != 0]
    same = all(p.rank == parts[0].rank for p in parts)
    return c.concat(full if same and full and len(full) < len(parts) else parts, axis)


def _padded(c: Ctx, x: Value, pads: tuple[int, ...], fill: Value | None) -> Value:
    mode = c.text("mode", "constant")
    if len(pads) != 2 * x.rank:
        raise GraphError(f"pads {list(pads)} do not fit rank {x.rank}")
    if not any(pads):
        return x
    if mode != "constant" and min(pads) < 0:  # what is cut off is gone before anything is repeated
        for axis in range(x.rank):
            low, high = (min(n, 0) for n in (pads[axis], pads[axis + x.rank]))
            if -low - high > x.shape[axis]:
                raise GraphError(f"pads {list(pads)} cut more from {list(x.shape)} than there is")
            x = c.slice(x, axis, -low, x.shape[axis] + low + high)
        pads = tuple(max(n, 0) for n in pads)
        if not any(pads):
            return x
    if fill is not None and mode == "constant":
        fill = c.reshape(c.cast(fill, x.dtype), ())
    extra = (fill,) if fill is not None and mode == "constant" else ()
    return c.op("pad", x, *extra, low=pads[: x.rank], high=pads[x.rank :], mode=mode)


@translates("Pad")
def pad_attributes(c: Ctx) -> Value:
    """Before opset 11: everything as attributes."""
    pads = c.ints("pads") or c.ints("paddings") or ()
    return _padded(c, c[0], pads, c.scalar(c.number("value", 0.0), c[0]))


@translates("Pad", since=11)
def pad(c: Ctx) -> Value:
    """Constant, reflected, edge or wrapped padding; negative pads crop."""
    x = c[0]
    pads = c.need_ints(1, "the pads")
    if c.opt(3) is not None:
        axes = [c.axis(a, x.rank) for a in c.need_ints(3, "the axes")]
        if len(pads) != 2 * len(axes):
            raise GraphError(f"pads {list(pads)} do not fit axes {axes}")
        whole = [0] * (2 * x.rank)
        for i, a in enumerate(axes):
            whole[a], whole[a + x.rank] = pads[i], pads[i + len(axes)]
        pads = tuple(whole)
    return _padded(c, x, pads, c.opt(2))


@translates("CenterCropPad")
def center_crop_pad(c: Ctx) -> Value:
    """Axes cut or filled with zeros to the sizes of a shape; of an odd number, the smaller half goes in front."""
    x, sizes, axes = c[0], c.need_ints(1, "the shape"), c.ints("axes")
    axes = tuple(range(x.rank)) if axes is None else tuple(c.axis(a, x.rank) for a in axes)
    if len(sizes) != len(axes) or len(set(axes)) != len(axes) or min(sizes, default=0) < 0:
        raise GraphError(f"the sizes {list(sizes)} do not fit axes {list(axes)} of {list(x.shape)}")
    low, high = [0] * x.rank, [0] * x.rank
    for axis, size in zip(axes, sizes):
        more = size - x.shape[axis]
        if more < 0:
            x = c.slice(x, axis, -more // 2, size)
        else:
            low[axis], high[axis] = more // 2, more - more // 2
    return c.op("pad", x, low=tuple(low), high=tuple(high), mode="constant") if any(high) else x


@translates("DepthToSpace")
def depth_to_space(c: Ctx) -> Value:
    """Channels to a block of pixels (pixel shuffle)."""
    x, b = c.channels_last(c[0]), c.integer("blocksize")
    n, h, w, channels = _image(x)
    if b < 1 or channels % (b * b):
        raise GraphError(f"{channels} channels do not make blocks of {b} x {b}")
    rest = channels // (b * b)
    if c.text("mode", "DCR") == "DCR":
        y = c.transpose(c.reshape(x, (n, h, w, b, b, rest)), (0, 1, 3, 2, 4, 5))
    else:
        y = c.transpose(c.reshape(x, (n, h, w, rest, b, b)), (0, 1, 4, 2, 5, 3))
    return c.channels_first(c.reshape(y, (n, h * b, w * b, rest)))


@translates("SpaceToDepth")
def space_to_depth(c: Ctx) -> Value:
    """A block of pixels to channels."""
    x, b = c.channels_last(c[0]), c.integer("blocksize")
    n, h, w, channels = _image(x)
    if b < 1 or h % b or w % b:
        raise GraphError(f"an image of {h} x {w} does not make blocks of {b} x {b}")
    # crd (opset 28) has the channel as the slowest of the new channels, dcr as the fastest
    perm = (0, 1, 3, 5, 2, 4) if c.text("mode", "DCR") == "CRD" else (0, 1, 3, 2, 4, 5)
    y = c.transpose(c.reshape(x, (n, h // b, b, w // b, b, channels)), perm)
    return c.channels_first(c.reshape(y, (n, h // b, w // b, b * b * channels)))


def _image(x: Value) -> tuple[int, ...]:
    if x.rank != 4:
        raise GraphError(f"an image batch of rank 4 is needed, not {list(x.shape)}")
    return x.shape


@translates("Trilu")
def trilu(c: Ctx) -> Value:
    """Upper or lower triangle of the last two axes; zero elsewhere."""
    x, upper = c[0], c.flag("upper", True)
    k = 0 if c.opt(1) is None else int(c.need_scalar(1, "the diagonal k"))
    if x.rank < 2:
        raise GraphError(f"a matrix is needed, not {list(x.shape)}")
    rows, columns = x.shape[-2:]
    k = max(min(k, columns + 1), -rows - 1)

    def make() -> np.ndarray:
        ones = np.ones((rows, columns), np.bool_)
        return np.triu(ones, k) if upper else np.tril(ones, k)

    c.claim(rows * columns)
    return select(c, c.table(("trilu", rows, columns, k, upper), make), x, c.scalar(0, x))


@translates("ReverseSequence")
def reverse_sequence(c: Ctx) -> Value:
    """The first ``sequence_lens[b]`` steps of each batch entry, backwards."""
    x, lengths = c[0], c.cast(c[1], np.int64)
    time, batch = c.integer("time_axis", 0), c.integer("batch_axis", 1)
    steps = x.shape[time]
    # index[t] = length - 1 - t within the sequence, t after it
    ramp_shape = [steps if d == time else 1 for d in range(x.rank)]
    c.claim(steps)
    ramp = c.table(("ramp", tuple(ramp_shape)), lambda: np.arange(steps, dtype=np.int64).reshape(ramp_shape))
    length = c.reshape(lengths, [x.shape[batch] if d == batch else 1 for d in range(x.rank)])
    back = c.op("sub", c.op("sub", length, c.scalar(1, np.int64)), ramp)
    index = c.op("where", c.op("lt", ramp, length), back, ramp)
    return c.op("gather_elements", x, c.expand(index, x.shape), axis=time)
