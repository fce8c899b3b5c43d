"""Windows put back where they were cut out, and convolutions whose windows bend."""

from __future__ import annotations

import math
from itertools import product

import numpy as np

from a1400.errors import GraphError
from a1400.frontends.onnx.context import Ctx
from a1400.frontends.onnx.ops.registry import translates
from a1400.frontends.onnx.windows import read_pads, spatial_list
from a1400.graph.graph import Value
from a1400.graph.tensor import Tensor


@translates("Col2Im")
def col2im(c: Ctx) -> Value:
    """Columns [N, C * block, L] summed into images [N, C, *image]: each pixel gathers those that lie over it."""
    x = c[0]
    image, block = c.need_ints(1, "the image's shape"), c.need_ints(2, "the block's shape")
    rank = len(image)
    strides, dilations = spatial_list(c, "strides", rank, 1), spatial_list(c, "dilations", rank, 1)
    low, high = read_pads(c, rank)
    many = [
        (n + a + b - d * (k - 1) - 1) // s + 1 for n, a, b, d, k, s in zip(image, low, high, dilations, block, strides)
    ]
    taps = math.prod(block)
    fits = len(block) == rank and min((*image, *block), default=0) > 0 and x.rank == 3
    if not fits or x.shape[1] % taps or x.shape[2] != math.prod(many):
        raise GraphError(f"columns {list(x.shape)} are not blocks {list(block)} of images {list(image)}")
    batch, channels, length = x.shape[0], x.shape[1] // taps, x.shape[2]

    def make() -> np.ndarray:
        """[pixels, most readers] places in block * L; those that are none read a zero behind the end."""
        pixels = math.prod(image)
        first = np.indices(many).reshape(rank, -1) * np.reshape(strides, (rank, 1)) - np.reshape(low, (rank, 1))
        over = np.full((taps, length), pixels, np.int64)  # the pixel that each place lies over, or none
        for row, tap in zip(over, product(*map(range, block))):
            at = first + np.reshape(np.multiply(tap, dilations), (rank, 1))
            inside = ((at >= 0) & (at < np.reshape(image, (rank, 1)))).all(0)
            row[inside] = np.ravel_multi_index(tuple(at[:, inside]), image)
        order = np.argsort(over.reshape(-1), kind="stable")
        counts = np.bincount(over.reshape(-1), minlength=pixels + 1)[:pixels]
        order = order[: counts.sum()]
        table = np.full((pixels, max(int(counts.max()), 1)), taps * length, np.int32)
        within = np.arange(order.size) - np.repeat(np.cumsum(counts) - counts, counts)
        table[np.repeat(np.arange(pixels), counts), within] = order
        return table

    c.claim((math.prod(image) + length) * taps)

    places = c.table(("col2im", image, block, tuple(strides), tuple(dilations), low, tuple(many)), make)
    flat = c.reshape(x, (batch * channels, taps * length))
    ended = c.op("pad", flat, low=(0, 0), high=(0, 1), mode="constant")
    read = c.op("gather", ended, c.reshape(places, (places.size,)), axis=1)
    summed = c.reduce("sum", c.reshape(read, (batch * channels, *places.shape)), (2,), keepdims=False)
    return c.reshape(summed, (batch, channels, *image))


@translates("DeformConv")
def deform_conv(c: Ctx) -> Value:
    """Convolution that reads each tap at an offset of its own, bilinearly, and zeros outside the image."""
    x, w, offset, bias, mask = c[0], c[1], c[2], c.opt(3), c.opt(4)
    if x.rank != 4 or w.rank != 4:
        raise c.unsupported(f"deformable convolution over {x.rank - 2} spatial axes is not supported; 2 are")
    batch, channels, height, width = x.shape
    groups, bends = c.integer("group", 1), c.integer("offset_group", 1)
    kernel, (rows, columns) = w.shape[2:], offset.shape[2:]
    taps = math.prod(kernel)
    strides, dilations = spatial_list(c, "strides", 2, 1), spatial_list(c, "dilations", 2, 1)
    low, _ = read_pads(c, 2)
    if offset.shape[1] != 2 * bends * taps or channels % bends or channels != w.shape[1] * groups:
        raise GraphError(f"offsets {list(offset.shape)} or weights {list(w.shape)} do not fit {list(x.shape)}")

    def make() -> np.ndarray:
        """[taps, 2, rows, columns]: where each tap would read without an offset (y, x)."""
        base = np.zeros((taps, 2, rows, columns), np.float32)
        for number, tap in enumerate(product(*map(range, kernel))):
            for d, n in enumerate((rows, columns)):
                line = np.arange(n) * strides[d] - low[d] + tap[d] * dilations[d]
                base[number, d] = line.reshape((n, 1) if d == 0 else (1, n))
        return base.astype(wide)

    c.claim(2 * taps * rows * columns)
    wide = np.promote_types(x.dtype, np.float32)  # a place in an image has more digits than 16-bit floats
    offset = c.cast(offset, wide)
    key = ("deform", kernel, tuple(strides), tuple(dilations), tuple(low), rows, columns, str(wide))
    bent = Tensor(c.graph, c.reshape(offset, (batch * bends, taps, 2, rows, columns))) + c.table(key, make)
    # the sampler's coordinates run from -1 at the first pixel's outer edge to 1 at the last one's
    scale = c.const(np.array([2 / height, 2 / width]).reshape(2, 1, 1), wide)
    shift = c.const(np.array([1 / height - 1, 1 / width - 1]).reshape(2, 1, 1), wide)
    y, across = (
        (bent * scale + shift).slice((0, 0, d, 0, 0), (batch * bends, taps, 1, rows, columns)) for d in range(2)
    )
    grid = c.concat([v.reshape((batch * bends, taps * rows, columns, 1)).value for v in (across, y)], 3)
    image = c.channels_last(c.reshape(x, (batch * bends, channels // bends, height, width)))
    read = c.op("grid_sample", image, grid, mode="linear", padding="zeros", align_corners=False)
    if mask is not None:
        read = c.op("mul", read, c.reshape(mask, (batch * bends, taps * rows, columns, 1)))
    # [N, bends, taps, pixels, C/bends] -> [N, groups, C/groups * taps, pixels]
    read = c.reshape(read, (batch, bends, taps, rows * columns, channels // bends))
    read = c.reshape(c.transpose(read, (0, 1, 4, 2, 3)), (batch, groups, w.shape[1] * taps, rows * columns))
    weights = c.reshape(w, (groups, w.shape[0] // groups, w.shape[1] * taps))
    made = c.reshape(c.op("matmul", weights, read), (batch, w.shape[0], rows, columns))
    return made if bias is None else c.op("add", made, c.reshape(bias, (bias.size, 1, 1)))
