"""Gradients of convolutions' filters, channels-last, 1-D to 3-D (as 3-D), any groups, strides, dilations and pads.

=============================  ====================================================================================
``conv_filter_gradient``       in x: TA [N, D, H, W, C], in dy: TB [N, OD, OH, OW, OC], out parts: ACC [splits, groups,
                               taps * C/groups, w_ld]; scalars of ``conv_shape.PARAMS`` (``y_off`` and ``y_ld`` are
                               dy's), int splits, chunk, w_ld
``conv_filter_depthwise``      the same for one input channel per group: parts [splits, taps, OC]; without groups,
                               chunk and w_ld; OC is a multiple of C.  The CPU variant needs OC equal to C.
``conv_filter_sum``            in parts: ACC, out dw: T [OC, C/groups, taps] from element dw_off on; int splits, groups,
                               taps, cg, og, w_ld, dw_off: the parts' sum in the filters' own layout
=============================  ====================================================================================

A part is what a share of the lines of outputs adds to the filters.  Shares follow from the sizes and ``splits`` alone
and are added in order, so results are the same in every run.  ``w_ld`` is OC/groups rounded up to 32; columns behind
OC/groups are zeros.  ``chunk`` is how many input channels a work-item of the CPU variant takes; it changes speed only.
:func:`plan_filter` chooses ``splits`` and ``chunk``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import product
from math import prod
from typing import Any

import numpy as np

from a1400 import dtypes
from a1400.backends.base import DeviceInfo, Grid
from a1400.kernels import conv_shape
from a1400.kernels.gemm import TILE_TUNABLES, accumulator, floats_only, fp64_if_used, tile_bytes, tile_fits
from a1400.kernels.gemm_cases import type_variables
from a1400.kernels.gemm_pack import PANEL
from a1400.kernels.geometry import ceil_div, runs
from a1400.kernels.spec import Case, Data, KernelSpec, Scalars, Tunable, Tunables, Variant, params, register

_TYPES = dtypes.FLOATS
_ACC = tuple(dtypes.from_short(n) for n in ("f32", "f64"))
_PARAMS = conv_shape.PARAMS.replace("in w: TB", "in dy: TB").replace("out y: TC", "out parts: ACC") + "int splits\n"
#: floats of inputs, and pixels, that a work-item of the CPU variant brings at a time
_BLOCK, _PIXELS = 32768, 128
_MOST_TAPS = 128  # of the depthwise CPU variant
_CHUNK = 32  # input channels of a work-item, where there is work for all cores
_ITEMS = 4  # work-items for each core
_GROUPS = 8  # work-groups for each multiprocessor
_LEAST = 64  # pixels of a share


def _parts(arrays: Mapping[str, np.ndarray], s: Scalars) -> np.ndarray:
    """``[splits, groups, taps, C/groups, OC/groups]``."""
    i = {"groups": int(s["C"]), **conv_shape.ints(s)}
    kernel, out = conv_shape.triple(i, "KD KH KW"), conv_shape.triple(i, "OD OH OW")
    stride, pad, dilation = (conv_shape.triple(i, n) for n in ("sd sh sw", "pd ph pw", "dd dh dw"))
    x = conv_shape.input_view(arrays["x"], i)
    like = {**i, "D": i["OD"], "H": i["OH"], "W": i["OW"], "C": i["OC"], "x_off": i["y_off"], "x_ld": i["y_ld"]}
    groups, lines = i["groups"], i["N"] * out[0] * out[1]
    dy = conv_shape.input_view(arrays["dy"], like).reshape(lines, out[2], groups, -1)
    high = [max(0, (o - 1) * st + (k - 1) * d + 1 - p - n)
            for o, st, k, d, p, n in zip(out, stride, kernel, dilation, pad, x.shape[1:4])]  # fmt: skip
    padded = np.pad(x.astype(np.float64), [(0, 0), *zip(pad, high), (0, 0)])
    result = np.zeros((i["splits"], groups, prod(kernel), i["C"] // groups, i["OC"] // groups))
    for t, tap in enumerate(product(*(range(k) for k in kernel))):
        where = [slice(k * d, k * d + (o - 1) * st + 1, st) for k, d, o, st in zip(tap, dilation, out, stride)]
        under = padded[tuple([slice(None), *where])].reshape(lines, out[2], groups, -1)
        for part, own in enumerate(np.array_split(np.arange(lines), i["splits"])):
            result[part, :, t] = np.einsum("lwgc,lwgo->gco", under[own], dy[own])
    return result


def _reference(arrays: Mapping[str, np.ndarray], s: Scalars, case: Case) -> dict[str, np.ndarray]:
    parts = _parts(arrays, s)
    if "w_ld" in s:
        parts = np.pad(parts, [(0, 0)] * 4 + [(0, int(s["w_ld"]) - parts.shape[-1])])
    else:
        parts = parts.transpose(0, 2, 1, 3, 4)
    return {"parts": parts.reshape(case.outputs["parts"][0])}


def _sum_reference(arrays: Mapping[str, np.ndarray], s: Scalars, case: Case) -> dict[str, np.ndarray]:
    i = conv_shape.ints(s)
    shape = (i["splits"], i["groups"], i["taps"], i["cg"], i["w_ld"])
    whole = arrays["parts"].reshape(shape)[..., : i["og"]].sum(0).transpose(0, 3, 2, 1)  # group, output, input, tap
    return {"dw": whole.reshape(case.outputs["dw"][0])}


# ---- how the work is shared out ----------------------------------------------------------------------------
def plan_filter(info: DeviceInfo, s: Scalars) -> dict[str, int]:
    """``splits``, ``chunk`` and ``w_ld`` for a convolution with scalars of ``conv_shape``, groups too."""
    groups, units = int(s["groups"]), max(1, info.compute_units)
    cg, og = int(s["C"]) // groups, int(s["OC"]) // groups
    w_ld, rows = ceil_div(og, PANEL) * PANEL, conv_shape.taps(s) * cg
    depthwise = cg == 1 and groups > 1
    chunk, lines = max(1, min(cg, _CHUNK, _room(s))), int(s["N"]) * int(s["OD"]) * int(s["OH"])
    if info.kind == "cpu":
        items = ceil_div(int(s["OC"]), 64) if depthwise else ceil_div(cg, chunk) * groups
        work = conv_shape.output_rows(s) * min(og * groups, 64) // 4096
        most, wanted = max(1, work) if depthwise else lines, _ITEMS * units
    else:
        items = ceil_div(og, 32) * conv_shape.taps(s) if depthwise else ceil_div(rows, 64) * ceil_div(w_ld, 64) * groups
        most = min(max(1, conv_shape.output_rows(s) // _LEAST), 65535 // (1 if depthwise else groups))
        wanted = _GROUPS * units
    return {"splits": max(1, min(lines, most, ceil_div(wanted, items))), "chunk": chunk, "w_ld": w_ld}


def _room(s: Scalars) -> int:
    """Input channels of which a work-item of the CPU variant can hold the inputs of 16 neighbouring outputs."""
    pixels = (min(int(s["OW"]), 16) - 1) * int(s["sw"]) + (int(s["KW"]) - 1) * int(s["dw"]) + 1
    return _BLOCK // (int(s["KD"]) * int(s["KH"]) * pixels)


def _fits(s: Scalars) -> bool:
    reach = (int(s["KW"]) - 1) * int(s["dw"]) + 1
    return int(s["KD"]) * int(s["KH"]) * reach * int(s["chunk"]) <= _BLOCK


def _cpu_geometry(s: Scalars, t: Tunables) -> tuple[Grid, Grid]:
    groups = int(s["groups"])
    return (int(s["splits"]), ceil_div(int(s["C"]) // groups, int(s["chunk"])), groups), (1, 1, 1)


def _tile_geometry(s: Scalars, t: Tunables) -> tuple[Grid, Grid]:
    groups = int(s["groups"])
    rows = conv_shape.taps(s) * (int(s["C"]) // groups)
    tiles = (ceil_div(rows, t["BM"]), ceil_div(int(s["w_ld"]), t["BN"]), groups * int(s["splits"]))
    return tiles, ((t["BM"] // t["RM"]) * (t["BN"] // t["RN"]), 1, 1)


def _simple_geometry(s: Scalars, t: Tunables) -> tuple[Grid, Grid]:
    groups = int(s["groups"])
    rows = conv_shape.taps(s) * (int(s["C"]) // groups)
    return (rows * (int(s["w_ld"]) // 32), 1, groups * int(s["splits"])), (32, 1, 1)


def _depthwise_geometry(s: Scalars, t: Tunables) -> tuple[Grid, Grid]:
    return (ceil_div(int(s["OC"]), 32), conv_shape.taps(s), int(s["splits"])), (32, 1, 1)


# ---- cases -------------------------------------------------------------------------------------------------
def _case(
    name: str, x: tuple[int, ...], oc: int, kernel: tuple[int, ...], *, strides: tuple[int, ...] = (),
    pads: tuple[int, ...] = (), dilations: tuple[int, ...] = (), groups: int = 1, chunk: int = 0, types: str = "f32",
    x_pad: int = 0, y_pad: int = 0, offset: int = 0, splits: int = 1, depthwise: bool = False,
) -> Case:  # fmt: skip
    rank = len(kernel)
    strides, dilations, pads = strides or (1,) * rank, dilations or (1,) * rank, pads or (0,) * rank
    out = [(n + 2 * p - (k - 1) * d - 1) // s + 1 for n, s, k, d, p in zip(x[1:-1], strides, kernel, dilations, pads)]
    y, c = (x[0], *out, oc), x[-1]
    s = conv_shape.conv_scalars(x, y, kernel, strides, pads, dilations, groups, offset, c + x_pad, offset, oc + y_pad)
    kinds = {k: v for k, v in type_variables(types).items() if k != "TC"}
    arrays: dict[str, Any] = {  # the last pixel ends with its channels: nothing behind it may be read
        "x": Data((offset + (prod(x[:-1]) - 1) * (c + x_pad) + c,), "TA"),
        "dy": Data((offset + (prod(y[:-1]) - 1) * (oc + y_pad) + oc,), "TB"),
    }
    s |= {"splits": splits}
    if depthwise:
        del s["groups"]
        return Case(name, arrays, s, {"parts": ((splits, prod(kernel), oc), "ACC")}, kinds)
    w_ld = ceil_div(oc // groups, PANEL) * PANEL
    s |= {"chunk": chunk or c // groups, "w_ld": w_ld}
    return Case(name, arrays, s, {"parts": ((splits, groups, prod(kernel) * (c // groups), w_ld), "ACC")}, kinds)


def _cases() -> Iterator[Case]:
    three, one = (3, 3), (1, 1)
    yield _case("one", (1, 1, 1, 1), 1, (1, 1))
    yield _case("3x3", (2, 8, 8, 16), 64, three, pads=one, splits=3)
    yield _case("rgb", (3, 9, 7, 3), 32, three, pads=one, splits=4)
    yield _case("gray", (2, 12, 12, 1), 16, three, pads=one)
    yield _case("tails", (2, 7, 5, 21), 45, three, pads=one, chunk=16, x_pad=3, y_pad=5, offset=2)
    yield _case("strides", (1, 11, 12, 5), 40, (5, 3), strides=(3, 2), pads=(2, 1))
    yield _case("dilated", (1, 12, 11, 6), 9, three, dilations=(2, 3), pads=(2, 1))
    yield _case("no pads", (1, 9, 140, 2), 8, (2, 2), strides=(2, 1))
    yield _case("groups", (1, 6, 6, 24), 36, three, pads=one, groups=3, splits=2)
    yield _case("1-D", (2, 40, 16), 20, (5,), strides=(3,), pads=(4,), dilations=(2,))
    yield _case("3-D", (1, 4, 5, 6, 7), 9, (3, 2, 3), strides=(1, 2, 1), pads=(1, 0, 1))
    yield _case("kernel larger than image", (1, 2, 2, 4), 8, (5, 5), pads=(2, 2))
    for kind in ("f16", "bf16", "f64"):
        yield _case(kind, (1, 6, 7, 20), 40, three, pads=one, types=kind)


def _depthwise_cases() -> Iterator[Case]:
    yield _case("one", (1, 1, 1, 1), 1, (1, 1), depthwise=True)
    yield _case("3x3", (2, 9, 10, 32), 32, (3, 3), pads=(1, 1), splits=4, depthwise=True)
    yield _case(
        "range", (2, 5, 9, 88), 88, (3, 3), strides=(2, 2), pads=(1, 1), x_pad=3, y_pad=5, offset=2, depthwise=True
    )
    yield _case("dilated", (1, 12, 13, 18), 18, (5, 3), dilations=(2, 2), pads=(2, 2), depthwise=True)
    yield _case("multiplier 2", (1, 6, 6, 20), 40, (3, 3), pads=(1, 1), splits=2, depthwise=True)
    yield _case("1-D", (2, 600, 17), 17, (4,), pads=(3,), depthwise=True)
    yield _case("3-D", (1, 3, 4, 9, 20), 20, (3, 3, 3), pads=(1, 1, 1), depthwise=True)
    for kind in ("f16", "f64"):
        yield _case(kind, (1, 6, 7, 20), 20, (3, 3), pads=(1, 1), types=kind, depthwise=True)


def _sum_case(name: str, splits: int, groups: int, taps: int, cg: int, og: int, w_ld: int, kind: str = "f32") -> Case:
    acc = dtypes.from_short(dtypes.info(dtypes.from_short(kind)).register_short)
    scalars = {"splits": splits, "groups": groups, "taps": taps, "cg": cg, "og": og, "w_ld": w_ld, "dw_off": 0}
    return Case(
        name, {"parts": Data((splits, groups * taps * cg, w_ld), "ACC")}, scalars,
        {"dw": ((groups * og, cg, taps), "T")}, {"T": dtypes.from_short(kind), "ACC": acc},
    )  # fmt: skip


def _sum_cases() -> Iterator[Case]:
    yield _sum_case("one", 1, 1, 1, 1, 1, 32)
    yield _sum_case("many", 5, 1, 9, 7, 45, 64)
    yield _sum_case("groups", 3, 2, 6, 5, 33, 64)
    yield _sum_case("f16", 4, 1, 9, 3, 20, 32, "f16")
    yield _sum_case("f64", 2, 1, 4, 3, 20, 32, "f64")


# ---- specs -------------------------------------------------------------------------------------------------
def _sum_size(s: Scalars) -> int:
    return int(s["groups"] * s["taps"] * s["cg"] * s["og"])


GRADIENT = register(
    KernelSpec(
        name="conv_filter_gradient",
        doc="Gradient of a convolution's filters, in parts for shares of the images.",
        params=params(_PARAMS + "int chunk\nint w_ld"),
        types={"TA": _TYPES, "TB": _TYPES, "ACC": _ACC},
        variants=(
            Variant(
                "cpu", "cpu", _cpu_geometry, backends=("opencl",), source="cpu/conv_filter_gradient", vector_width=16,
                requires=floats_only, supports=_fits, defines={"BLOCK": str(_BLOCK), "PIXELS": str(_PIXELS)},
            ),
            Variant(
                "gpu", "gpu", _tile_geometry, TILE_TUNABLES, requires=fp64_if_used, constraint=tile_fits,
                local_bytes=lambda types, t: tile_bytes(types, t) + 16 * (t["BM"] + t["BK"]), min_blocks=2,
                test_tunables=({"BM": 32, "BN": 64, "BK": 8, "RM": 2},),
            ),
            Variant("simple", "any", _simple_geometry, source="conv_filter_simple", requires=fp64_if_used),
        ),
        reference=_reference,
        cases=_cases,
        flops=conv_shape.flops,
        bytes=conv_shape.nbytes,
    )
)  # fmt: skip

DEPTHWISE = register(
    KernelSpec(
        name="conv_filter_depthwise",
        doc="Gradient of a depthwise convolution's filters, in parts for shares of the images.",
        params=tuple(p for p in params(_PARAMS) if p.name != "groups"),
        types={"TA": _TYPES, "TB": _TYPES, "ACC": _ACC},
        variants=(
            Variant(
                "cpu", "cpu", lambda s, t: ((int(s["splits"]), ceil_div(int(s["C"]), 64), 1), (1, 1, 1)),
                backends=("opencl",), source="cpu/conv_filter_depthwise", vector_width=16, requires=floats_only,
                supports=lambda s: int(s["C"]) == int(s["OC"]) >= 16 and conv_shape.taps(s) <= _MOST_TAPS,
            ),
            Variant("any", "any", _depthwise_geometry, requires=fp64_if_used),
        ),
        reference=_reference,
        cases=_depthwise_cases,
        flops=lambda s: conv_shape.flops({**s, "groups": s["C"]}),
        bytes=lambda s: conv_shape.nbytes({**s, "groups": s["C"]}),
    )
)  # fmt: skip

SUM = register(
    KernelSpec(
        name="conv_filter_sum",
        doc="Sum of the parts of a filter gradient, in the layout of the filters.",
        params=params(
            """
            in parts: ACC
            out dw: T
            int splits
            int groups
            int taps
            int cg
            int og
            int w_ld
            int dw_off
            """
        ),
        types={"T": _TYPES, "ACC": _ACC},
        variants=(
            Variant(
                "any", "any", lambda s, t: ((ceil_div(_sum_size(s), t["GROUP"]), 1, 1), (t["GROUP"], 1, 1)),
                (Tunable("GROUP", 128, (64, 128, 256), "work-items per group"),), requires=runs,
            ),
        ),
        reference=_sum_reference,
        cases=_sum_cases,
        flops=lambda s: float(s["splits"]) * _sum_size(s),
        bytes=lambda s: 4.0 * (s["splits"] + 1.0) * _sum_size(s),
    )
)  # fmt: skip


def part_types(x: np.dtype, dy: np.dtype) -> dict[str, np.dtype]:
    """dtype variables of the two gradient kernels."""
    return {"TA": x, "TB": dy, "ACC": accumulator(x)}
