"""Conformance cases of ``conv`` in 16-bit types: every width of copy, tails of every tile, ranges of channels."""

from __future__ import annotations

from collections.abc import Iterable

from a1400.kernels.conv_cases import case
from a1400.kernels.spec import Case


def tensor_cases() -> Iterable[Case]:
    """Cases that tensor cores may compute; none needs more than a few million multiplications."""
    # 16 bytes of channels at once
    yield case("conv", "f16 8 to 7", (1, 6, 7, 8), 7, (3, 3), pads=(1, 1), types="f16", slots=True)
    yield case("conv", "bf16 16 to 33, uneven pads", (2, 9, 8, 16), 33, (3, 3), strides=(2, 2), pads=(0, 1),
               high=(1, 0), types="bf16", slots=True)  # fmt: skip
    yield case("conv", "f16 64 to 64", (1, 5, 5, 64), 64, (3, 3), pads=(1, 1), types="f16", slots=True)
    yield case("conv", "bf16 40 to 8, dilated", (1, 9, 10, 40), 8, (3, 2), pads=(2, 1), dilations=(2, 3), types="bf16")
    yield case("conv", "f16 96 to 1, 1x1 stride 2", (1, 9, 9, 96), 1, (1, 1), strides=(2, 2), types="f16")
    yield case("conv", "f16 many tiles", (2, 12, 13, 8), 136, (3, 3), pads=(1, 1), types="f16", slots=True)
    yield case("conv", "f16 large kernel", (1, 3, 2, 8), 40, (7, 5), pads=(3, 2), types="f16")
    yield case("conv", "bf16 1-D", (2, 40, 24), 20, (5,), strides=(3,), pads=(4,), high=(0,), dilations=(2,),
               types="bf16")  # fmt: skip
    yield case("conv", "f16 3-D", (2, 4, 5, 6, 16), 24, (3, 2, 3), strides=(1, 2, 1), pads=(1, 0, 1), types="f16",
               slots=True)  # fmt: skip
    yield case("conv", "f16 groups of 16 to 24", (1, 6, 6, 48), 72, (3, 3), pads=(1, 1), groups=3, types="f16",
               slots=True)  # fmt: skip
    yield case("conv", "bf16 groups of 8 to 5", (1, 6, 6, 16), 10, (3, 3), pads=(1, 1), groups=2, types="bf16")
    yield case("conv", "f16 range", (2, 5, 6, 16), 40, (3, 3), pads=(1, 1), x_pad=8, y_pad=16, offset=8, types="f16",
               slots=True)  # fmt: skip
    yield case("conv", "f16 to f32", (1, 6, 7, 32), 40, (3, 3), pads=(1, 1), types="f16,f16,f32,f32", slots=True)
    yield case("conv", "bf16 nan", (1, 6, 6, 16), 35, (3, 3), pads=(1, 1), types="bf16", special=float("nan"))
    # behind the last tap lie pixels that are no part of the sum
    yield case("conv", "f16 3-D nan", (1, 4, 3, 3, 8), 8, (2, 1, 1), types="f16", special=float("nan"))
    # 8, 4 and 2 bytes
    yield case("conv", "f16 12 to 16", (1, 7, 7, 12), 16, (3, 3), pads=(1, 1), types="f16", slots=True)
    yield case("conv", "bf16 groups of 4", (1, 8, 7, 16), 16, (3, 3), pads=(1, 1), groups=4, types="bf16", slots=True)
    yield case("conv", "bf16 range of 4", (2, 5, 6, 8), 16, (3, 3), pads=(1, 1), x_pad=4, offset=4, types="bf16")
    yield case("conv", "f16 pairs", (1, 8, 7, 6), 9, (3, 3), strides=(2, 1), pads=(1, 1), types="f16", slots=True)
    yield case("conv", "f16 7x7 rgb stride 2", (1, 17, 19, 3), 64, (7, 7), strides=(2, 2), pads=(3, 3), types="f16",
               slots=True)  # fmt: skip
    yield case("conv", "bf16 range, odd", (2, 5, 6, 16), 40, (3, 3), pads=(1, 1), x_pad=7, y_pad=9, offset=3,
               types="bf16", slots=True)  # fmt: skip
    yield case("conv", "f16 gray 1-D", (1, 300, 1), 12, (9,), strides=(2,), pads=(4,), types="f16")
    yield case("conv", "f16 infinity", (1, 6, 6, 3), 8, (3, 3), pads=(1, 1), types="f16", special=float("inf"))


def tensor_transpose_cases() -> Iterable[Case]:
    """The same for ``conv_transpose``."""
    yield case("transpose", "f16 2x2 stride 2", (2, 5, 6, 32), 40, (2, 2), strides=(2, 2), types="f16", slots=True)
    yield case("transpose", "bf16 4x4 stride 2", (1, 6, 7, 16), 33, (4, 4), strides=(2, 2), pads=(1, 1), types="bf16",
               slots=True)  # fmt: skip
    yield case("transpose", "f16 3x3 stride 2", (2, 5, 4, 24), 8, (3, 3), strides=(2, 2), pads=(1, 0), high=(0, 1),
               extra=(1, 1), types="f16", slots=True)  # fmt: skip
    yield case("transpose", "f16 stride above kernel", (1, 4, 5, 8), 16, (2, 2), strides=(3, 3), types="f16",
               slots=True)  # fmt: skip
    yield case("transpose", "bf16 dilated", (1, 6, 5, 40), 7, (3, 3), strides=(2, 3), dilations=(3, 2), pads=(2, 1),
               types="bf16")  # fmt: skip
    yield case("transpose", "f16 3-D", (1, 3, 3, 4, 8), 9, (3, 2, 3), strides=(2, 2, 1), pads=(1, 0, 1), types="f16",
               slots=True)  # fmt: skip
    yield case("transpose", "f16 groups, range", (1, 5, 5, 32), 48, (3, 3), strides=(2, 2), groups=2, x_pad=8, y_pad=8,
               offset=8, types="f16", slots=True)  # fmt: skip
    yield case("transpose", "f16 many tiles", (1, 24, 25, 8), 136, (4, 4), strides=(2, 2), pads=(1, 1), types="f16")
    yield case("transpose", "f16 to f32", (1, 5, 6, 6), 12, (4, 4), strides=(2, 2), types="f16,f16,f32,f32", slots=True)
    yield case("transpose", "bf16 odd", (1, 6, 7, 5), 6, (4, 4), strides=(2, 2), pads=(1, 1), types="bf16", slots=True)
    # some phases have no pixel
    yield case("transpose", "f16 one pixel", (1, 1, 1, 8), 8, (2, 2), strides=(3, 3), types="f16", slots=True)
    yield case("transpose", "f16 nan", (1, 5, 5, 8), 8, (3, 3), strides=(2, 2), types="f16", special=float("nan"))
