"""Conformance cases of the convolutions."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from a1400.kernels.conv_pack import pack_conv, pack_conv_spread, pack_conv_transpose, pack_depthwise
from a1400.kernels.conv_shape import conv_scalars, with_image_strides
from a1400.kernels.gemm_cases import Slots, bias_relu_add, type_variables
from a1400.kernels.spec import Case, Data


def case(
    kind: str, name: str, x: Sequence[int], oc: int, kernel: Sequence[int], *, strides: Sequence[int] = (),
    pads: Sequence[int] = (), high: Sequence[int] | None = None, dilations: Sequence[int] = (), groups: int = 1,
    types: str = "f32", x_pad: int = 0, y_pad: int = 0, offset: int = 0, slots: bool = False,
    extra: Sequence[int] = (), special: float | None = None, planar: bool = False, skip: int = 0,
) -> Case:  # fmt: skip
    """One case; ``kind`` is ``conv``, ``depthwise``, ``transpose`` or ``spread``, ``x`` the shape (N, *spatial, C).

    ``high`` pads default to ``pads``; ``extra`` is a transposed convolution's output padding.  ``planar`` channels of
    a ``conv``'s input lie apart, as in (N, C, *spatial), with ``skip`` elements between images.
    """
    rank = len(kernel)
    strides, dilations, pads = strides or (1,) * rank, dilations or (1,) * rank, pads or (0,) * rank
    high = pads if high is None else high
    extra = extra or (0,) * rank
    backward = kind in ("transpose", "spread")
    if backward:
        spatial = [(n - 1) * s + (k - 1) * d + 1 - p - q + e
                   for n, s, k, d, p, q, e in zip(x[1:-1], strides, kernel, dilations, pads, high, extra)]  # fmt: skip
    else:
        spatial = [(n + p + q - (k - 1) * d - 1) // s + 1
                   for n, s, k, d, p, q in zip(x[1:-1], strides, kernel, dilations, pads, high)]  # fmt: skip
    c = x[-1]
    y = (x[0], *spatial, oc)
    kinds = type_variables(types)
    rng = np.random.default_rng(3)
    shape = (c, oc // groups, *kernel) if backward else (oc, c // groups, *kernel)
    low = 0 if np.issubdtype(kinds["TB"], np.unsignedinteger) else -3
    raw = rng.integers(low, 4, shape).astype(kinds["TB"])
    if kind == "transpose":
        w = pack_conv_transpose(raw, groups, strides, dilations)
    elif kind == "spread":
        w = pack_conv_spread(raw)
    else:
        w = pack_depthwise(raw) if kind == "depthwise" else pack_conv(raw, groups)
    scalars = conv_scalars(
        x, y, kernel, strides, pads, dilations, groups, offset, c + x_pad if x_pad else 0, offset,
        oc + y_pad if y_pad else 0,
    )  # fmt: skip
    if kind in ("depthwise", "spread"):
        del scalars["groups"]
    pixels, rows = int(np.prod(x[:-1])), int(np.prod(y[:-1]))
    if kind == "conv":
        plane = pixels // x[0]
        step = 1 + x_pad
        scalars = with_image_strides({**scalars, "x_ld": step}, c * plane * step + skip, plane * step) if planar else (
            with_image_strides(scalars)
        )
    # the last pixel ends with its channels: reading on to the next multiple of a vector must not happen
    size = offset + (pixels * c * (1 + x_pad) + (x[0] - 1) * skip if planar else (pixels - 1) * (c + x_pad) + c)
    size -= x_pad if planar else 0
    arrays: dict[str, Any] = {"x": Data((size,), "TA"), "w": w.reshape(-1)}
    if special is not None:
        values = np.ones(size, kinds["TA"])
        values[size // 2] = special
        arrays["x"] = values
    fill: Slots = bias_relu_add((x[0], rows // x[0], oc)) if slots else {}
    return Case(name, arrays, scalars, {"y": ((offset + rows * (oc + y_pad),), "TC")}, kinds, fill)


def conv_cases() -> Iterable[Case]:
    """Cases of ``conv``."""
    yield case("conv", "one", (1, 1, 1, 1), 1, (1, 1))
    yield case("conv", "3x3", (1, 9, 9, 32), 64, (3, 3), pads=(1, 1))
    yield case("conv", "3x3 tails", (2, 7, 5, 19), 45, (3, 3), pads=(1, 1), slots=True)
    yield case("conv", "7x7 rgb stride 2", (1, 17, 19, 3), 64, (7, 7), strides=(2, 2), pads=(3, 3), slots=True)
    yield case("conv", "3x3 rgb stride 2", (2, 12, 12, 3), 32, (3, 3), strides=(2, 2), pads=(0, 0), high=(1, 1))
    yield case("conv", "gray", (3, 8, 8, 1), 16, (3, 3), pads=(1, 1))
    yield case("conv", "1x1 stride 2", (1, 8, 8, 24), 40, (1, 1), strides=(2, 2))
    yield case("conv", "2x2 patches", (1, 8, 8, 6), 33, (2, 2), strides=(2, 2))
    yield case("conv", "dilated", (1, 11, 12, 5), 17, (3, 3), pads=(2, 1), high=(2, 3), dilations=(2, 2))
    yield case("conv", "kernel larger than image", (1, 2, 2, 4), 8, (5, 5), pads=(2, 2))
    yield case("conv", "1-D", (2, 40, 16), 20, (5,), strides=(3,), pads=(4,), high=(0,), dilations=(2,))
    yield case("conv", "1-D wide", (1, 70, 80), 48, (3,), pads=(1,))
    yield case("conv", "3-D", (1, 4, 5, 6, 7), 9, (3, 2, 3), strides=(1, 2, 1), pads=(1, 0, 1), slots=True)
    yield case("conv", "groups", (1, 6, 6, 48), 48, (3, 3), pads=(1, 1), groups=2, slots=True)
    yield case("conv", "groups of 8", (1, 7, 9, 64), 64, (3, 3), strides=(2, 2), pads=(1, 1), groups=8)
    yield case("conv", "groups of 20 to 35", (1, 5, 5, 40), 70, (3, 3), pads=(1, 1), groups=2)
    yield case("conv", "few outputs", (1, 9, 9, 64), 3, (3, 3), pads=(1, 1))
    yield case("conv", "deep", (1, 4, 4, 130), 70, (3, 3), pads=(1, 1), slots=True)
    yield case("conv", "channel range", (2, 5, 6, 16), 40, (3, 3), pads=(1, 1), x_pad=7, y_pad=9, offset=3, slots=True)
    yield case("conv", "rgb range", (2, 5, 6, 3), 8, (3, 3), pads=(1, 1), x_pad=1, offset=1)
    rgb = (2, 12, 31, 3)
    yield case("conv", "planes", rgb, 32, (3, 3), strides=(2, 2), pads=(1, 1), planar=True, skip=5, slots=True)
    yield case("conv", "planes 7x7", (1, 17, 19, 3), 64, (7, 7), strides=(2, 2), pads=(3, 3), planar=True, offset=3)
    yield case("conv", "planes 1x1", (2, 5, 6, 4), 40, (1, 1), planar=True, slots=True)
    yield case("conv", "planes dilated", (1, 11, 12, 2), 17, (3, 3), pads=(2, 1), dilations=(2, 2), planar=True)
    yield case("conv", "planes 3-D", (2, 4, 5, 6, 2), 9, (3, 2, 3), strides=(1, 2, 1), pads=(1, 0, 1), planar=True)
    yield case("conv", "planes, patches", (1, 8, 12, 3), 33, (4, 4), strides=(4, 4), planar=True)
    yield case("conv", "planes, spaced", (2, 5, 6, 3), 8, (3, 3), pads=(1, 1), planar=True, x_pad=1, offset=1)
    yield case("conv", "planes, deep", (1, 6, 5, 130), 20, (3, 3), pads=(1, 1), planar=True)
    yield case("conv", "planes, groups", (1, 6, 16, 8), 12, (3, 3), pads=(1, 1), groups=2, planar=True, slots=True)
    yield case("conv", "planes, nan", (1, 6, 6, 3), 35, (3, 3), pads=(1, 1), planar=True, special=float("nan"))
    yield case("conv", "planes, f16", (1, 6, 17, 3), 16, (3, 3), pads=(1, 1), planar=True, types="f16")
    yield case("conv", "nan", (1, 6, 6, 18), 35, (3, 3), pads=(1, 1), special=float("nan"))
    yield case("conv", "infinity", (1, 6, 6, 3), 35, (3, 3), pads=(1, 1), special=float("inf"))
    for kind in ("f16", "bf16"):
        yield case("conv", kind, (1, 6, 7, 20), 40, (3, 3), pads=(1, 1), types=kind)
        yield case("conv", f"{kind} rgb", (1, 6, 7, 3), 16, (3, 3), pads=(1, 1), types=kind)
    yield case("conv", "f64", (1, 6, 7, 5), 10, (3, 3), pads=(1, 1), types="f64")
    yield case("conv", "u8 by i8", (1, 6, 7, 5), 10, (3, 3), pads=(1, 1), types="u8,i8,i32,i32")
    yield case(
        "conv", "i8 in groups", (2, 6, 7, 38), 80, (3, 2), strides=(2, 1), pads=(1, 0), groups=2, types="i8,i8,i32,i32",
        x_pad=3, y_pad=5, offset=2,
    )  # fmt: skip
    yield case("conv", "u8, deep", (1, 5, 4, 70), 34, (3, 3), pads=(1, 1), dilations=(2, 1), types="u8,u8,i32,i32")


def depthwise_cases() -> Iterable[Case]:
    """Cases of ``conv_depthwise``."""
    yield case("depthwise", "one", (1, 1, 1, 1), 1, (1, 1), groups=1)
    yield case("depthwise", "3x3", (1, 9, 10, 32), 32, (3, 3), pads=(1, 1), groups=32, slots=True)
    yield case("depthwise", "3x3 stride 2", (2, 9, 8, 24), 24, (3, 3), strides=(2, 2), pads=(1, 1), groups=24)
    yield case("depthwise", "5x5", (1, 7, 7, 40), 40, (5, 5), pads=(2, 2), groups=40, slots=True)
    yield case("depthwise", "7x7", (1, 14, 14, 17), 17, (7, 7), pads=(3, 3), groups=17)
    yield case("depthwise", "5x5 stride 2", (1, 9, 40, 16), 16, (5, 5), strides=(2, 2), pads=(2, 2), groups=16)
    yield case("depthwise", "long lines", (1, 5, 30, 84), 84, (3, 3), pads=(1, 1), groups=84, slots=True)
    yield case("depthwise", "long lines stride 2", (1, 6, 41, 33), 33, (3, 3), strides=(1, 2), pads=(0, 2), groups=33)
    yield case("depthwise", "lines dilated", (1, 9, 12, 20), 20, (7, 7), pads=(6, 3), dilations=(2, 1), groups=20)
    yield case("depthwise", "7x7 stride 2", (1, 15, 29, 24), 24, (7, 7), strides=(2, 2), pads=(3, 2), groups=24)
    yield case("depthwise", "channels left over", (1, 1, 40, 132), 132, (5, 5), pads=(2, 2), groups=132, slots=True)
    yield case("depthwise", "few channels", (1, 12, 6, 5), 5, (3, 3), pads=(1, 1), groups=5, slots=True)
    yield case("depthwise", "dilated", (1, 12, 13, 18), 18, (3, 3), pads=(2, 2), dilations=(2, 2), groups=18)
    yield case("depthwise", "kernel larger than image", (1, 2, 3, 16), 16, (5, 5), pads=(2, 2), groups=16)
    yield case("depthwise", "1-D causal", (2, 20, 48), 48, (4,), pads=(3,), high=(0,), groups=48)
    yield case("depthwise", "3-D", (1, 3, 4, 9, 20), 20, (3, 3, 3), pads=(1, 1, 1), groups=20)
    yield case("depthwise", "multiplier 2", (1, 6, 6, 20), 40, (3, 3), pads=(1, 1), groups=20, slots=True)
    yield case("depthwise", "range", (2, 5, 9, 20), 20, (3, 3), pads=(1, 1), groups=20, x_pad=3, y_pad=5, offset=2)
    yield case("depthwise", "nan", (1, 6, 6, 18), 18, (3, 3), pads=(1, 1), groups=18, special=float("nan"))
    for kind in ("f16", "bf16", "f64"):
        yield case("depthwise", kind, (1, 6, 7, 20), 20, (3, 3), pads=(1, 1), groups=20, types=kind)


def transpose_cases() -> Iterable[Case]:
    """Cases of ``conv_transpose``."""
    yield case("transpose", "one", (1, 1, 1, 1), 1, (1, 1))
    yield case("transpose", "2x2 stride 2", (1, 5, 6, 32), 40, (2, 2), strides=(2, 2), slots=True)
    yield case(
        "transpose", "3x3 stride 2", (2, 5, 4, 19), 33, (3, 3), strides=(2, 2), pads=(1, 1), extra=(1, 1), slots=True
    )
    yield case("transpose", "4x4 stride 2", (1, 6, 6, 64), 64, (4, 4), strides=(2, 2), pads=(1, 1))
    yield case("transpose", "stride 1", (1, 6, 5, 20), 8, (3, 3), pads=(1, 0), high=(0, 1))
    yield case("transpose", "stride above kernel", (1, 4, 4, 6), 5, (2, 2), strides=(3, 3), slots=True)
    yield case("transpose", "dilated", (1, 5, 5, 7), 9, (3, 3), strides=(2, 1), dilations=(3, 2), pads=(2, 1))
    yield case("transpose", "1-D", (2, 20, 16), 12, (8,), strides=(4,), pads=(2,))
    yield case("transpose", "3-D", (1, 3, 3, 4, 6), 5, (3, 2, 3), strides=(2, 2, 1), pads=(1, 0, 1))
    yield case("transpose", "groups", (1, 5, 5, 24), 36, (3, 3), strides=(2, 2), groups=3, slots=True)
    yield case("transpose", "deep", (1, 3, 3, 300), 40, (4, 4), strides=(2, 2), pads=(1, 1))
    yield case("transpose", "range", (1, 4, 4, 18), 20, (4, 4), strides=(2, 2), pads=(1, 1), x_pad=3, y_pad=5, offset=2)
    for kind in ("f16", "bf16", "f64"):
        yield case("transpose", kind, (1, 4, 5, 20), 20, (3, 3), strides=(2, 2), pads=(1, 1), types=kind)


def spread_cases() -> Iterable[Case]:
    """Cases of ``conv_spread``."""
    yield case("spread", "one", (1, 1, 1, 1), 1, (1, 1))
    two = (2, 2)
    yield case("spread", "9x9 stride 2", (1, 9, 14, 24), 1, (9, 9), strides=two, pads=(4, 4), extra=(1, 1), slots=True)
    yield case("spread", "9x9 stride 3", (2, 13, 5, 10), 1, (9, 9), strides=(3, 3), pads=(4, 4))
    yield case("spread", "many lines", (1, 120, 30, 12), 1, (5, 5), strides=two, pads=two, extra=(1, 1), slots=True)
    yield case("spread", "wide lines", (1, 3, 900, 4), 3, (5, 4), strides=(2, 2), pads=(2, 1))
    yield case("spread", "rgb", (1, 6, 7, 40), 3, (6, 6), strides=(2, 2), pads=(2, 2), slots=True)
    yield case("spread", "stride above kernel", (1, 4, 4, 6), 5, (2, 2), strides=(3, 3), slots=True)
    yield case("spread", "high pads", (1, 9, 6, 20), 2, (4, 4), pads=(1, 0), high=(3, 2))
    yield case("spread", "dilated", (1, 5, 5, 7), 2, (3, 3), strides=(2, 1), dilations=(3, 1), pads=(2, 1))
    yield case("spread", "dilated both", (1, 5, 5, 7), 2, (3, 3), strides=(2, 1), dilations=(3, 2), pads=(2, 1))
    yield case("spread", "1-D", (2, 20, 16), 1, (8,), strides=(4,), pads=(2,))
    yield case("spread", "3-D", (1, 3, 3, 4, 6), 2, (3, 2, 3), strides=(2, 2, 1), pads=(1, 0, 1))
    yield case("spread", "range", (1, 4, 4, 18), 3, (4, 4), strides=(2, 2), pads=(1, 1), x_pad=3, y_pad=5, offset=2)
    yield case("spread", "nan", (1, 6, 6, 18), 1, (3, 3), strides=(2, 2), special=float("nan"))
    yield case("spread", "infinity", (1, 6, 6, 18), 1, (3, 3), strides=(2, 2), special=float("inf"))
    for kind in ("f16", "bf16", "f64"):
        yield case("spread", kind, (1, 4, 5, 20), 1, (3, 3), strides=(2, 2), pads=(1, 1), types=kind)
