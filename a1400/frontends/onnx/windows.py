"""Where sliding windows go: strides, dilations and pads of convolutions and pooling."""

from __future__ import annotations

from dataclasses import dataclass

from a1400.errors import GraphError
from a1400.frontends.onnx.context import Ctx


@dataclass(frozen=True)
class Windows:
    """One entry per spatial axis in each field; ``out`` are the output sizes."""

    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    dilations: tuple[int, ...]
    low: tuple[int, ...]
    high: tuple[int, ...]
    out: tuple[int, ...]


def spatial_list(c: Ctx, name: str, count: int, default: int) -> tuple[int, ...]:
    """Attribute ``name`` with one entry per spatial axis."""
    values: tuple[int, ...] = c.ints(name) or (default,) * count
    if len(values) != count:
        raise GraphError(f"attribute {name!r} has {len(values)} entries for {count} spatial axes")
    return values


def read_pads(c: Ctx, rank: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Attribute ``pads`` as those before and those behind each of ``rank`` spatial axes."""
    pads = c.ints("pads") or (0,) * (2 * rank)
    if len(pads) != 2 * rank or min(pads, default=0) < 0:
        raise GraphError(f"pads {list(pads)} for {rank} spatial axes: two each are needed, none of them negative")
    return tuple(pads[:rank]), tuple(pads[rank:])


def read_windows(c: Ctx, sizes: tuple[int, ...], kernel: tuple[int, ...]) -> Windows:
    """Windows of a node over an input with spatial ``sizes``."""
    rank = len(sizes)
    if len(kernel) != rank:
        raise GraphError(f"a kernel of {len(kernel)} axes over {rank} spatial axes")
    strides, dilations = spatial_list(c, "strides", rank, 1), spatial_list(c, "dilations", rank, 1)
    if min((*strides, *dilations, *kernel), default=1) < 1:
        raise GraphError(
            f"kernel {list(kernel)}, strides {list(strides)}, dilations {list(dilations)} must be positive"
        )
    extents = [(k - 1) * d + 1 for k, d in zip(kernel, dilations)]
    ceil = c.flag("ceil_mode")
    auto = c.text("auto_pad", "NOTSET") or "NOTSET"
    if auto in ("SAME_UPPER", "SAME_LOWER"):
        out = [-(-n // s) for n, s in zip(sizes, strides)]
        total = [max((o - 1) * s + e - n, 0) for o, s, e, n in zip(out, strides, extents, sizes)]
        small, large = [t // 2 for t in total], [t - t // 2 for t in total]
        low, high = (small, large) if auto == "SAME_UPPER" else (large, small)
    elif auto in ("NOTSET", "VALID"):
        before, behind = read_pads(c, rank)
        low, high = ([0] * rank, [0] * rank) if auto == "VALID" else (list(before), list(behind))
        out = []
        for n, lo, hi, s, e in zip(sizes, low, high, strides, extents):
            room = n + lo + hi - e
            count = (-(-room // s) if ceil else room // s) + 1
            if ceil and (count - 1) * s >= n + lo:
                count -= 1  # a window must not start in the padding on the far side
            out.append(count)
    else:
        raise GraphError(f"unknown auto_pad {auto!r}")
    return Windows(kernel, strides, dilations, tuple(low), tuple(high), tuple(out))
