"""How channels-last images lie in memory, for the kernels that walk pixels."""

from __future__ import annotations

from a1400.engine.lowering import Lowering
from a1400.graph.graph import Value
from a1400.memory.storage import View, dense_strides


def three(sizes: tuple[int, ...], fill: int = 1) -> tuple[int, int, int]:
    """Spatial sizes padded in front to three."""
    padded = (fill,) * (3 - len(sizes)) + tuple(sizes)
    return (padded[0], padded[1], padded[2])


def pixel_step(view: View) -> int | None:
    """Elements from one pixel of a channels-last image to the next, or None where they are not evenly spaced."""
    if view.strides[-1] != 1 and view.shape[-1] != 1:
        return None
    lead, strides = view.shape[:-1], view.strides[:-1]
    step = next((s for n, s in zip(reversed(lead), reversed(strides), strict=True) if n != 1), view.shape[-1])
    even = all(n == 1 or s == d * step for n, s, d in zip(lead, strides, dense_strides(lead), strict=True))
    return step if even and step >= view.shape[-1] else None


def pixel_view(lw: Lowering, value: Value) -> tuple[View, int]:
    """A channels-last image with evenly spaced pixels, and that spacing: a range of a wider image's channels is read in
    place, anything else copied."""
    view = lw.view(value)
    step = pixel_step(view)
    if step is None:
        view = lw.dense_view(view)
        step = view.shape[-1]
    return view, step


def pixel_result(lw: Lowering, value: Value) -> tuple[View, int]:
    """Memory for a channels-last result, perhaps a range of a wider image's channels, and the spacing of its pixels."""
    view = lw.result(value, lambda v: pixel_step(v) is not None)
    step = pixel_step(view)
    assert step is not None or view.size == 0
    return view, step or value.shape[-1]


def image_groups(rank: int) -> list[list[int]]:
    """Axes of (image, pixel, channel) for slots over a channels-last tensor."""
    return [[0], list(range(1, rank - 1)), [rank - 1]]
