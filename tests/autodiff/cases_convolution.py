"""Cases of convolution, pooling and grid sampling."""

from __future__ import annotations

from typing import Any

import numpy as np

from a1400.graph.tensor import Tensor
from tests.autodiff.cases import T, case, normal, via


def _first(x: Any) -> Any:  # PyTorch has channels first
    return x.movedim(-1, 1)


def _last(x: Any) -> Any:
    return x.movedim(1, -1)


def _conv(name: str, x: tuple[int, ...], w: tuple[int, ...], **given: Any) -> None:
    n = len(x) - 2
    a = {"strides": (1,) * n, "dilations": (1,) * n, "low": (0,) * n, "high": (0,) * n, "groups": 1, **given}
    pads = [p for lo, hi in reversed(list(zip(a["low"], a["high"]))) for p in (lo, hi)]
    function = f"conv{n}d"
    case(
        name, via("conv", **a), normal(*x), normal(*w),
        torch=lambda x, w: _last(getattr(T().nn.functional, function)(
            T().nn.functional.pad(_first(x), pads), w, None, a["strides"], 0, a["dilations"], a["groups"])),
    )  # fmt: skip


_conv("conv_1d", (2, 7, 3), (4, 3, 3), low=(1,), high=(1,))
_conv("conv", (2, 5, 6, 3), (4, 3, 3, 2), low=(1, 0), high=(2, 1))
_conv("conv_wide", (1, 6, 6, 17), (33, 17, 3, 3), low=(1, 1), high=(1, 1))
_conv("conv_strides", (1, 8, 7, 2), (3, 2, 3, 3), strides=(3, 2), low=(1, 1), high=(0, 1))
_conv("conv_dilations", (1, 7, 8, 2), (3, 2, 2, 3), dilations=(2, 3), high=(1, 0))
_conv("conv_groups", (1, 4, 4, 6), (4, 3, 3, 3), groups=2, low=(1, 1), high=(1, 1))
_conv("conv_depthwise", (2, 5, 5, 4), (4, 1, 3, 3), groups=4, strides=(2, 2), low=(1, 1), high=(1, 1))
_conv("conv_depthwise_wide", (1, 4, 5, 18), (18, 1, 3, 3), groups=18, low=(1, 1), high=(1, 1))
_conv("conv_all", (1, 7, 8, 4), (6, 2, 3, 2), strides=(2, 1), dilations=(1, 2), low=(2, 0), high=(0, 1), groups=2)
_conv("conv_3d", (1, 3, 4, 3, 2), (2, 2, 2, 2, 2), high=(0, 1, 0))


def _transposed(name: str, x: tuple[int, ...], w: tuple[int, ...], **given: Any) -> None:
    n = len(x) - 2
    a = {
        "strides": (1,) * n, "dilations": (1,) * n, "low": (0,) * n, "high": (0,) * n, "output_padding": (0,) * n,
        "groups": 1, **given,
    }  # fmt: skip
    function = f"conv_transpose{n}d"
    case(
        name, via("conv_transpose", **a), normal(*x), normal(*w),
        torch=None if a["low"] != a["high"] else lambda x, w: _last(getattr(T().nn.functional, function)(
            _first(x), w, None, a["strides"], a["low"], a["output_padding"], a["groups"], a["dilations"])),
    )  # fmt: skip


_transposed("conv_transpose", (2, 3, 4, 3), (3, 2, 3, 2))
_transposed("conv_transpose_strides", (1, 3, 3, 2), (2, 3, 3, 3), strides=(2, 3), low=(1, 1), high=(1, 1))
_transposed("conv_transpose_padding", (1, 3, 3, 2), (2, 2, 3, 3), strides=(2, 3), output_padding=(1, 2))
_transposed(
    "conv_transpose_uneven", (1, 4, 3, 4), (4, 1, 3, 2), strides=(2, 2), low=(0, 1), high=(2, 0), output_padding=(1, 1),
    groups=2,
)  # fmt: skip
_filters = {"strides": (2, 1), "dilations": (1, 2), "low": (1, 0), "groups": 2, "kernel": (3, 2)}
case("conv_filter_gradient", via("conv_filter_gradient", **_filters), normal(2, 6, 5, 4), normal(2, 3, 3, 6))

_pooling = {"kernel": (2, 2), "strides": (2, 2), "dilations": (1, 1), "low": (0, 0), "high": (0, 0)}
_overlapping = {"kernel": (3, 3), "strides": (2, 2), "dilations": (1, 1), "low": (1, 1), "high": (1, 1)}
case("pool_max", via("pool", kind="max", out=(2, 3), **_pooling), normal(2, 4, 6, 18),
     torch=lambda x: _last(T().nn.functional.max_pool2d(_first(x), 2)))  # fmt: skip
case("pool_max_overlapping", via("pool", kind="max", out=(3, 4), **_overlapping), normal(1, 5, 7, 2),
     torch=lambda x: _last(T().nn.functional.max_pool2d(_first(x), 3, 2, 1)))  # fmt: skip
case("pool_max_ties", via("pool", kind="max", out=(3, 3), **_overlapping), np.ones((1, 6, 6, 2)),
     torch=lambda x: _last(T().nn.functional.max_pool2d(_first(x), 3, 2, 1)), smooth=False)  # fmt: skip
_ragged = {**_pooling, "out": (3, 4)}  # windows that reach over the end: "ceil mode"
case("pool_max_ceil", via("pool", kind="max", **_ragged), normal(1, 5, 7, 2),
     torch=lambda x: _last(T().nn.functional.max_pool2d(_first(x), 2, ceil_mode=True)))  # fmt: skip
case("pool_average_ceil", via("pool", kind="average", count_include_pad=True, **_ragged), normal(1, 5, 7, 2),
     torch=lambda x: _last(T().nn.functional.avg_pool2d(_first(x), 2, ceil_mode=True)))  # fmt: skip
_uneven = {"kernel": (3, 2), "strides": (1, 2), "dilations": (2, 1), "low": (0, 1), "high": (2, 0), "out": (4, 3)}
case("pool_max_uneven", via("pool", kind="max", **_uneven), normal(1, 6, 5, 2))
case("pool_average_uneven", via("pool", kind="average", **_uneven), normal(1, 6, 5, 2))
case("pool_max_of_positive", lambda x: x.op("max", x.filled(0)).op("pool", kind="max", out=(2, 3), **_pooling),
     normal(1, 5, 6, 17), torch=lambda x: _last(T().nn.functional.max_pool2d(_first(x.relu()), 2)))  # fmt: skip
case("pool_average", via("pool", kind="average", out=(3, 4), **_overlapping), normal(1, 5, 7, 2),
     torch=lambda x: _last(T().nn.functional.avg_pool2d(_first(x), 3, 2, 1, count_include_pad=False)))  # fmt: skip
case("pool_average_pads", via("pool", kind="average", out=(3, 4), count_include_pad=True, **_overlapping),
     normal(1, 5, 7, 2), torch=lambda x: _last(T().nn.functional.avg_pool2d(_first(x), 3, 2, 1)))  # fmt: skip
case("pool_lp", via("pool", kind="lp", out=(2, 3), p=3, **_pooling), normal(1, 4, 6, 2))
case(
    "max_pool_indices", via("max_pool_indices", kind="max", out=(3, 4), storage_order=0, **_overlapping),
    normal(1, 5, 7, 2), torch=lambda x: _last(T().nn.functional.max_pool2d(_first(x), 3, 2, 1)),
)  # fmt: skip


def _sampled(mode: str, padding: str, corners: bool) -> None:
    theirs = {"linear": "bilinear", "cubic": "bicubic"}.get(mode, mode)
    case(
        f"grid_sample_{mode}_{padding}", via("grid_sample", mode=mode, padding=padding, align_corners=corners),
        normal(2, 4, 5, 3), normal(2, 3, 4, 2, low=-1.5, high=1.5),
        torch=lambda x, grid: _last(T().nn.functional.grid_sample(_first(x), grid, theirs, padding, corners)),
    )  # fmt: skip


for _mode, _padding, _corners in (
    ("linear", "zeros", False), ("linear", "border", True), ("linear", "reflection", False), ("nearest", "zeros", True),
    ("cubic", "zeros", True), ("cubic", "reflection", True), ("cubic", "border", False),
):  # fmt: skip
    _sampled(_mode, _padding, _corners)


def _regions(kind: str, largest: int, samples: int) -> None:
    boxes = np.array([[0.3, 1.2, 4.1, 3.9], [-2.0, 0.5, 2.2, 6.5], [3.1, 2.2, 3.3, 2.4]])

    def build(x: Tensor) -> Tensor:
        rois, image = x.graph.constant(boxes, x.dtype), x.graph.constant(np.array([1, 0, 1], np.int32))
        return x.op(
            "roi_align", Tensor(x.graph, rois), Tensor(x.graph, image), height=2, width=3, scale=0.9, samples=samples,
            largest=largest, half_pixel=largest < 2,
        )  # fmt: skip

    case(f"roi_align_{kind}", build, normal(2, 5, 4, 3))


_regions("mean", 0, 0)
_regions("largest_point", 1, 2)
_regions("largest_pixel", 2, 0)
