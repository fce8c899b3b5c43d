"""Convolution and the pooling behind it in one launch: the unpooled image is never written.

=============  ===========================================================================================
``conv_pool``  in x: TA [N, H, W, C] with any strides ``x_n x_h x_w x_c`` (an image as it comes, channels first, is
               read in place), in w: TB packed by ``conv_pack.pack_conv`` (one group), out y: TC
               [N, OH / pool_h, OW / pool_w, OC], pixels ``y_ld`` apart
=============  ===========================================================================================

OH and OW are the convolution's.  Windows are ``pool_h`` x ``pool_w``, one beside the other; outputs that fill none are
left out.  ``average`` 0: the largest value, or NaN; 1: the mean.  Arithmetic is float32.  Slots
``EPILOGUE(v; b, m, n)`` on sums - image, unpooled pixel, channel - and ``POOLED(v; b, m, n)`` on what a window gives.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from a1400 import dtypes
from a1400.backends.base import Grid
from a1400.kernels import conv_shape
from a1400.kernels.check import slot_reference
from a1400.kernels.conv_pack import pack_conv, unpack_conv
from a1400.kernels.gemm import MOST_BATCH_GROUPS, floats_only
from a1400.kernels.gemm_cases import Slots, bias_relu_add, type_variables
from a1400.kernels.gemm_pack import poison, strided
from a1400.kernels.spec import Case, Data, KernelSpec, Scalars, Slot, Tunable, Tunables, Variant, params, register

TYPES = tuple(dtypes.from_short(n) for n in ("f32", "f16", "bf16"))
STRIP, MOST_TAPS = 16384, 128
_FIXED_DEPTH = 32  # storing an output takes as long as so much depth
_ITEM_FLOPS = 1.5e6  # about fifteen microseconds
_SHARED_FLOPS = 5e5  # less is done by one core before another has begun
_MOST_ITEMS = 192

_PARAMS = """
in x: TA
in w: TB
out y: TC
int N        # images
int H        # input sizes
int W
int C
int OH       # the convolution's outputs
int OW
int OC
int KH
int KW
int sh       # strides
int sw
int ph       # pads before the first pixel; those behind the last follow from the output sizes
int pw
int dh       # dilations
int dw
int pool_h   # a window
int pool_w
int average
int x_off
int x_n
int x_h
int x_w
int x_c
int y_off
int y_ld
"""
_FLAT = {"D": 1, "OD": 1, "KD": 1, "sd": 1, "pd": 0, "dd": 1, "groups": 1}

POOLED_SLOT = Slot("POOLED", ("b", "m", "n"), "f32", "what a window gives, before it is stored",
                   lambda s: conv_shape.outputs(whole(s)) / (s["pool_h"] * s["pool_w"]))  # fmt: skip


def whole(s: Scalars) -> dict[str, int]:
    """The scalars of the convolution alone (see ``conv_shape``)."""
    return {**conv_shape.ints(s), **_FLAT}


def pooled(value: np.ndarray, s: Scalars, case: Case) -> np.ndarray:
    """Reference: ``value [N, OH, OW, OC]`` with both slots and the pooling between them, [N, pixels, OC]."""
    n, oh, ow, oc = value.shape
    h, w = int(s["pool_h"]), int(s["pool_w"])
    value = slot_reference(case, "EPILOGUE", value.reshape(n, oh * ow, oc)).reshape(n, oh, ow, oc)
    windows = value[:, : oh // h * h, : ow // w * w].reshape(n, oh // h, h, ow // w, w, oc)
    with np.errstate(all="ignore"):
        joined = windows.mean((2, 4)) if s["average"] else windows.max((2, 4))
    return slot_reference(case, "POOLED", joined.reshape(n, -1, oc))


def store_pooled(value: np.ndarray, s: Scalars, case: Case) -> dict[str, np.ndarray]:
    """What :func:`pooled` gives, placed in the output buffer of ``case``."""
    shape, _ = case.outputs["y"]
    out = poison(shape, case.types["TC"]).astype(value.dtype).reshape(-1)
    for r, row in enumerate(value.reshape(-1, value.shape[-1])):
        start = int(s["y_off"]) + r * int(s["y_ld"])
        out[start : start + len(row)] = row
    return {"y": out.reshape(shape)}


def _reference(arrays: Mapping[str, np.ndarray], s: Scalars, case: Case) -> dict[str, np.ndarray]:
    i = whole(s)
    shape = (i["N"], 1, i["H"], i["W"], i["C"])
    x = strided(arrays["x"], i["x_off"], shape, (i["x_n"], 0, i["x_h"], i["x_w"], i["x_c"]))
    packed = arrays["w"].reshape(1, -(-i["OC"] // 32), conv_shape.taps(i), i["C"], 32)
    value = conv_shape.accumulate(x, unpack_conv(packed, i["OC"]), i)[:, 0]
    return store_pooled(pooled(value, s, case), s, case)


def _lines(s: Scalars) -> int:
    return int(s["N"]) * (int(s["OH"]) // int(s["pool_h"]))


def _cpu_geometry(s: Scalars, t: Tunables) -> tuple[Grid, Grid]:
    lines, panels = _lines(s), -(-int(s["OC"]) // 32)
    depth = int(s["KH"]) * int(s["KW"]) * int(s["C"]) + _FIXED_DEPTH
    flops = 2.0 * int(s["N"]) * int(s["OH"]) * int(s["OW"]) * depth * panels * 32
    wanted = 1 if flops < _SHARED_FLOPS else max(2, min(_MOST_ITEMS, int(flops / _ITEM_FLOPS)))
    wanted += wanted > 1 and wanted % 2  # cores come in twos
    down = max(1, min(lines, wanted))
    return (down if lines else 0, max(1, min(panels, wanted // down)), 1), (1, 1, 1)


def _simple_geometry(s: Scalars, t: Tunables) -> tuple[Grid, Grid]:
    rows = _lines(s) * (int(s["OW"]) // int(s["pool_w"]))
    return (-(-rows // t["ROWS"]), min(-(-int(s["OC"]) // 32), MOST_BATCH_GROUPS), 1), (1, 32, 1)


def fits(s: Scalars, mr: int) -> bool:
    """Whether a micro-kernel of ``mr`` rows takes whole windows, and the strip their inputs."""
    i = conv_shape.ints(s)
    window = i["pool_h"] * i["pool_w"]
    if window > mr or i["KH"] * i["KW"] > MOST_TAPS:
        return False
    high = (i["pool_h"] - 1) * i["sh"] + (i["KH"] - 1) * i["dh"] + 1
    columns = min(i["OW"] // i["pool_w"], mr // window) * i["pool_w"]
    wide = (columns - 1) * i["sw"] + (i["KW"] - 1) * i["dw"] + 1
    return high * wide * i["C"] + 16 <= STRIP


def case(
    name: str, x: Sequence[int], oc: int, kernel: Sequence[int], pool: Sequence[int], *, pads: Sequence[int] = (0, 0),
    strides: Sequence[int] = (1, 1), dilations: Sequence[int] = (1, 1), average: int = 0, types: str = "f32",
    first: bool = False, x_pad: int = 0, y_pad: int = 0, offset: int = 0, slots: bool = False,
    special: float | None = None,
) -> Case:  # fmt: skip
    """One case on ``x`` (N, H, W, C); ``first``: channels first in memory."""
    n, h, w, c = x
    kinds = {k: v for k, v in type_variables(types).items() if k in ("TA", "TB", "TC")}
    oh, ow = ((size + 2 * p - (k - 1) * d - 1) // s + 1
              for size, p, k, d, s in zip((h, w), pads, kernel, dilations, strides, strict=True))  # fmt: skip
    filters = np.random.default_rng(3).integers(-3, 4, (oc, c, *kernel)).astype(kinds["TB"])
    ld = c + x_pad
    places = (c * h * w, w, 1, h * w) if first else (h * w * ld, w * ld, ld, 1)
    scalars: dict[str, int | float] = {
        "N": n, "H": h, "W": w, "C": c, "OH": oh, "OW": ow, "OC": oc, "KH": kernel[0], "KW": kernel[1],
        "sh": strides[0], "sw": strides[1], "ph": pads[0], "pw": pads[1], "dh": dilations[0], "dw": dilations[1],
        "pool_h": pool[0], "pool_w": pool[1], "average": average, "x_off": offset,
        **dict(zip(("x_n", "x_h", "x_w", "x_c"), places, strict=True)), "y_off": offset, "y_ld": oc + y_pad,
    }  # fmt: skip
    # the last pixel ends with its channels: reading on to the next multiple of a vector must not happen
    size = offset + n * c * h * w if first else offset + (n * h * w - 1) * ld + c
    arrays: dict[str, Any] = {"x": Data((size,), "TA"), "w": pack_conv(filters).reshape(-1)}
    if special is not None:
        values = np.ones(size, kinds["TA"])
        values[size // 2] = special
        arrays["x"] = values
    rows = n * (oh // pool[0]) * (ow // pool[1])
    outputs = {"y": ((offset + rows * (oc + y_pad),), "TC")}
    return Case(name, arrays, scalars, outputs, kinds, both_slots(n, oh, ow, oc, pool) if slots else {})


def both_slots(n: int, oh: int, ow: int, oc: int, pool: Sequence[int]) -> Slots:
    """EPILOGUE and POOLED, each with a bias and a residual of its own size."""
    after = bias_relu_add((n, (oh // pool[0]) * (ow // pool[1]), oc))["EPILOGUE"]
    return {**bias_relu_add((n, oh * ow, oc)), "POOLED": after}


def _cases() -> Iterable[Case]:
    yield case("one", (1, 1, 1, 1), 1, (1, 1), (1, 1))
    yield case("gray", (2, 12, 12, 1), 32, (3, 3), (2, 2), pads=(1, 1), slots=True)
    yield case("channels first", (2, 9, 14, 3), 32, (3, 3), (2, 2), pads=(1, 1), first=True, slots=True)
    yield case("tails", (2, 7, 9, 19), 45, (3, 3), (2, 2), pads=(1, 1), slots=True)
    yield case("average", (1, 8, 8, 20), 40, (3, 3), (2, 2), pads=(1, 1), average=1, slots=True)
    yield case("wide windows", (1, 9, 17, 5), 24, (2, 3), (2, 4), pads=(0, 2), slots=True)
    yield case("lines", (1, 9, 5, 6), 33, (3, 1), (3, 1), pads=(1, 0))
    yield case("five by five", (1, 20, 18, 3), 7, (5, 5), (2, 2), slots=True)
    yield case("stride and dilation", (1, 23, 26, 4), 16, (3, 3), (2, 2), pads=(2, 3), strides=(2, 2), dilations=(2, 2))
    yield case("strip in parts", (1, 4, 30, 300), 8, (3, 3), (2, 2), pads=(1, 1), slots=True)
    yield case("kernel larger than image", (1, 2, 2, 4), 8, (5, 5), (2, 2), pads=(2, 2))
    yield case("nothing pooled", (1, 3, 3, 4), 8, (3, 3), (2, 2))
    yield case("channel range", (2, 6, 8, 16), 40, (3, 3), (2, 2), pads=(1, 1), x_pad=7, y_pad=9, offset=3, slots=True)
    yield case("nan", (1, 8, 8, 18), 35, (3, 3), (2, 2), pads=(1, 1), special=float("nan"))
    for half in ("f16", "bf16"):
        yield case(half, (1, 6, 8, 20), 40, (3, 3), (2, 2), pads=(1, 1), types=half, slots=True)


conv_pool = register(
    KernelSpec(
        name="conv_pool",
        doc="Convolution of channels-last images with the pooling behind it.",
        params=params(_PARAMS),
        types=dict.fromkeys(("TA", "TB", "TC"), TYPES),
        slots=(
            Slot("EPILOGUE", ("b", "m", "n"), "f32", "each sum", lambda s: conv_shape.outputs(whole(s))),
            POOLED_SLOT,
        ),
        variants=(
            Variant(
                "cpu", "cpu", _cpu_geometry,
                (
                    Tunable("MR", 8, (8, 12), "rows of the micro-kernel: window positions of neighbouring outputs"),
                    Tunable("STRIP", STRIP, (STRIP,), "floats of input that a work-item keeps"),
                    Tunable("MOST_TAPS", MOST_TAPS, (MOST_TAPS,), "weights per pair of channels"),
                ),
                backends=("opencl",), source="cpu/conv_pool", vector_width=16, requires=floats_only,
                supports=lambda s: fits(s, 8), test_tunables=({"MR": 12},),
            ),
            Variant(
                "any", "any", _simple_geometry, (Tunable("ROWS", 2, (1, 2, 4), "pooled outputs of a thread"),),
                requires=floats_only, test_tunables=({"ROWS": 1},),
            ),
        ),
        reference=_reference,
        cases=_cases,
        flops=lambda s: conv_shape.flops(whole(s)),
        bytes=lambda s: 4.0 * (s["N"] * s["H"] * s["W"] * s["C"] + s["OC"] * s["KH"] * s["KW"] * s["C"]
                               + conv_shape.outputs(whole(s)) / (s["pool_h"] * s["pool_w"])),
    )
)  # fmt: skip
