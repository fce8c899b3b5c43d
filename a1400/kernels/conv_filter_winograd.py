"""Gradients of 3 x 3 filters by Winograd's way: a quarter of the multiplications.

Winograd's convolution is linear in the filters: what their gradient takes is its transpose.  The inputs are transformed
as in the forward direction, the outputs' gradient by the transpose of the last map; their products, summed over all
tiles of 4 x 4 outputs, are the gradient of the transformed filters, and one transform more gives that of the filters.

==============================  ===================================================================================
``conv_winograd_filter``        in x: TA [N, H, W, C], in dy: TB [N, OH, OW, OC], out parts: f32 [splits, groups, 36,
                                C/groups, w_ld]; scalars of :mod:`a1400.kernels.conv_winograd` (``y_off`` and ``y_ld``
                                are dy's) without block and across, int splits, w_ld
``conv_winograd_filter_sum``    in parts, out dw: T [OC, C/groups, 3, 3] from element dw_off on; int splits, groups, C,
                                OC, w_ld, dw_off
==============================  ===================================================================================

Stride 1, no dilation.  Parts, ``splits`` and ``w_ld`` are as in :mod:`a1400.kernels.conv_filter`, with shares of tiles.
Rounding errors are those of ``conv_winograd4``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from math import prod
from typing import Any

import numpy as np

from a1400 import dtypes
from a1400.backends.base import DeviceInfo, Grid
from a1400.kernels import conv_shape
from a1400.kernels.conv_winograd import TYPES, tiles
from a1400.kernels.conv_winograd_choice import applies
from a1400.kernels.conv_winograd_pack import filter_matrix
from a1400.kernels.gemm import floats_only
from a1400.kernels.gemm_pack import PANEL
from a1400.kernels.geometry import ceil_div
from a1400.kernels.spec import Case, Data, KernelSpec, Scalars, Tunable, Tunables, Variant, params, register

NAME = "conv_winograd_filter"
_PARAMS = """
in x: TA
in dy: TB
out parts: f32
int N
int H
int W
int C
int OH
int OW
int OC
int ph
int pw
int groups
int x_off
int x_ld
int y_off
int y_ld
int splits
int w_ld
"""
PLANES = 36
_TILES, _CHUNKS = 32, 2  # of a block of the CPU variant: tiles, and 16 input channels
_DEFINES = {"WINO_M": "4", "WINO_STRIDE": "1"}
_ITEMS = 2  # work-items for each core: their parts are large
#: the cycles of a core, in which it does one fused multiply-add of 16 floats: transforms of 16 channels of a tile, what
#: products take beyond their multiplications, and the gain that is worth the rounding
_INPUT, _OUTPUT, _OVERHEAD, _LEAST_GAIN = 330.0, 260.0, 1.15, 1.15

_R = 2.0**0.5
#: the maps of ``kernels_common/conv_winograd_transform.h`` in one dimension: from inputs, and from products to outputs
_IN = np.array([
    [1, 0, -2.5, 0, 1, 0], [0, -_R, -2, _R / 2, 1, 0], [0, _R, -2, -_R / 2, 1, 0], [0, -_R / 2, -0.5, _R, 1, 0],
    [0, _R / 2, -0.5, -_R, 1, 0], [0, 1, 0, -2.5, 0, 1],
])  # fmt: skip
_OUT = np.array([
    [1, -2 / 3, -2 / 3, 1 / 6, 1 / 6, 0], [0, -_R / 3, _R / 3, _R / 6, -_R / 6, 0],
    [0, -1 / 3, -1 / 3, 1 / 3, 1 / 3, 0], [0, -_R / 6, _R / 6, _R / 3, -_R / 3, 1],
])  # fmt: skip


def _whole(s: Scalars) -> dict[str, int]:
    """The scalars of the convolution that this is."""
    ones = dict.fromkeys(("D", "OD", "KD", "sd", "dd", "dh", "dw", "sh", "sw"), 1)
    return {**conv_shape.ints(s), **ones, "KH": 3, "KW": 3, "pd": 0}


def _tiles_of(image: np.ndarray, low: tuple[int, int], size: int, across: tuple[int, int]) -> np.ndarray:
    """``[tiles, size, size, channels]``, 4 pixels apart from ``-low`` on, zeros outside."""
    n, h, w, c = image.shape
    room = [4 * a + size for a in across]
    padded = np.zeros((n, room[0] + h, room[1] + w, c))
    padded[:, low[0] : low[0] + h, low[1] : low[1] + w] = image
    parts = [padded[:, 4 * i : 4 * i + size, 4 * j : 4 * j + size] for i in range(across[0]) for j in range(across[1])]
    return np.stack(parts, 1).reshape(-1, size, size, c)


def _reference(arrays: Mapping[str, np.ndarray], s: Scalars, case: Case) -> dict[str, np.ndarray]:
    i = _whole(s)
    groups = i["groups"]
    x = conv_shape.input_view(arrays["x"], i)[:, 0]
    like = {**i, "H": i["OH"], "W": i["OW"], "C": i["OC"], "x_off": i["y_off"], "x_ld": i["y_ld"]}
    dy = conv_shape.input_view(arrays["dy"], like)[:, 0]
    across = (ceil_div(i["OH"], 4), ceil_div(i["OW"], 4))
    inputs = np.einsum("pi,qj,tijc->tpqc", _IN, _IN, _tiles_of(x, (i["ph"], i["pw"]), 6, across))
    outputs = np.einsum("ip,jq,tijo->tpqo", _OUT, _OUT, _tiles_of(dy, (0, 0), 4, across))
    inputs, outputs = (a.reshape(len(a), PLANES, groups, -1) for a in (inputs, outputs))
    shares = np.array_split(np.arange(len(inputs)), i["splits"])
    parts = np.stack([np.einsum("tpgc,tpgo->gpco", inputs[own], outputs[own]) for own in shares])
    parts = np.pad(parts, [(0, 0)] * 4 + [(0, i["w_ld"] - parts.shape[-1])])
    return {"parts": parts.reshape(case.outputs["parts"][0])}


def _sum_reference(arrays: Mapping[str, np.ndarray], s: Scalars, case: Case) -> dict[str, np.ndarray]:
    i = conv_shape.ints(s)
    og, cg, g = i["OC"] // i["groups"], i["C"] // i["groups"], filter_matrix(4)
    parts = arrays["parts"].reshape(i["splits"], i["groups"], PLANES, cg, i["w_ld"]).sum(0)[..., :og]
    taps = np.einsum("pt,gpco->goct", np.kron(g, g), parts)
    return {"dw": taps.reshape(case.outputs["dw"][0])}


# ---- which way, and how the work is shared out -----------------------------------------------------------------
def choose_filter(info: DeviceInfo, s: Scalars) -> bool:
    """Whether the filters' gradient of a convolution (scalars of ``conv_shape``) is faster this way on ``info``."""
    if info.kind != "cpu" or info.backend != "opencl" or not applies(s) or int(s["sh"]) != 1:
        return False
    cg, vectors = int(s["C"]) // int(s["groups"]), ceil_div(int(s["OC"]) // int(s["groups"]), 16)
    products = PLANES * cg * vectors * _OVERHEAD
    transforms = ceil_div(cg, 16) * _INPUT + ceil_div(cg, 16 * _CHUNKS) * vectors * _OUTPUT
    direct = 9.0 * conv_shape.output_rows(s) * cg * vectors * _OVERHEAD
    return tiles(s, 4) * (products + transforms) * _LEAST_GAIN < direct


def plan_filter_winograd(info: DeviceInfo, s: Scalars) -> dict[str, int]:
    """``splits`` and ``w_ld``."""
    groups = int(s["groups"])
    items = ceil_div(int(s["C"]) // groups, 16 * _CHUNKS) * groups
    wanted = ceil_div(_ITEMS * max(1, info.compute_units), items)
    w_ld = ceil_div(int(s["OC"]) // groups, PANEL) * PANEL
    return {"splits": max(1, min(wanted, ceil_div(tiles(s, 4), _TILES))), "w_ld": w_ld}


def filter_scalars(s: Scalars) -> dict[str, int]:
    """The scalars that ``conv_winograd_filter`` takes from those of ``conv_shape``."""
    names = ("N", "H", "W", "C", "OH", "OW", "OC", "ph", "pw", "groups", "x_off", "x_ld", "y_off", "y_ld")
    return {name: int(s[name]) for name in names}


def _cpu_geometry(s: Scalars, t: Tunables) -> tuple[Grid, Grid]:
    groups = int(s["groups"])
    return (int(s["splits"]), ceil_div(int(s["C"]) // groups, 16 * _CHUNKS), groups), (1, 1, 1)


def _thread_geometry(s: Scalars, t: Tunables) -> tuple[Grid, Grid]:
    groups = int(s["groups"])
    return (int(s["w_ld"]) // 32, int(s["C"]) // groups, groups * int(s["splits"])), (32, 1, 1)


def _sum_geometry(s: Scalars, t: Tunables) -> tuple[Grid, Grid]:
    return (ceil_div(int(s["C"]) // int(s["groups"]) * int(s["OC"]), t["GROUP"]), 1, 1), (t["GROUP"], 1, 1)


# ---- cases -------------------------------------------------------------------------------------------------
def _case(
    name: str, x: tuple[int, int, int, int], oc: int, *, pad: int = 1, groups: int = 1, splits: int = 1, x_pad: int = 0,
    y_pad: int = 0, offset: int = 0, types: tuple[str, str] = ("f32", "f32"),
) -> Case:  # fmt: skip
    n, h, w, c = x
    y = (n, h + 2 * pad - 2, w + 2 * pad - 2, oc)
    three, one = (3, 3), (1, 1)
    s = conv_shape.conv_scalars(x, y, three, one, (pad, pad), one, groups, offset, c + x_pad, offset, oc + y_pad)
    w_ld = ceil_div(oc // groups, PANEL) * PANEL
    arrays: dict[str, Any] = {
        "x": Data((offset + (n * h * w - 1) * (c + x_pad) + c,), "TA"),
        "dy": Data((offset + (prod(y[:-1]) - 1) * (oc + y_pad) + oc,), "TB"),
    }
    return Case(
        name, arrays, {**filter_scalars(s), "splits": splits, "w_ld": w_ld},
        {"parts": ((splits, groups, PLANES, c // groups, w_ld), "f32")},
        {"TA": dtypes.from_short(types[0]), "TB": dtypes.from_short(types[1])},
    )  # fmt: skip


def _cases() -> Iterator[Case]:
    yield _case("one", (1, 1, 1, 1), 1)
    yield _case("even", (2, 8, 8, 32), 64, splits=2)
    yield _case("tails", (2, 7, 5, 21), 45, splits=3, x_pad=3, y_pad=5, offset=2)
    yield _case("no pads", (1, 9, 14, 50), 20, pad=0)
    yield _case("groups", (1, 6, 6, 24), 36, groups=3)
    yield _case("many tiles", (9, 9, 8, 16), 8)
    yield _case("halves", (1, 6, 7, 20), 40, types=("f16", "bf16"))


def _sum_cases() -> Iterator[Case]:
    for name, splits, groups, cg, og, kind in (
        ("one", 1, 1, 1, 1, "f32"), ("many", 3, 1, 9, 45, "f32"), ("groups", 2, 3, 8, 12, "f32"),
        ("f16", 2, 1, 5, 33, "f16"),
    ):  # fmt: skip
        w_ld = ceil_div(og, PANEL) * PANEL
        yield Case(
            name, {"parts": Data((splits, groups, PLANES, cg, w_ld), "f32")},
            {"splits": splits, "groups": groups, "C": groups * cg, "OC": groups * og, "w_ld": w_ld, "dw_off": 0},
            {"dw": ((groups * og, cg, 3, 3), "T")}, {"T": dtypes.from_short(kind)},
        )  # fmt: skip


# ---- specs -------------------------------------------------------------------------------------------------
GRADIENT = register(
    KernelSpec(
        name=NAME,
        doc="Gradient of transformed 3 x 3 filters, in parts for shares of the tiles.",
        params=params(_PARAMS),
        types={"TA": TYPES, "TB": TYPES},
        variants=(
            Variant(
                "cpu", "cpu", _cpu_geometry, backends=("opencl",), source="cpu/conv_winograd_filter", vector_width=16,
                requires=floats_only, defines={"TILES": str(_TILES), "CHUNKS": str(_CHUNKS)},
            ),
            Variant("any", "any", _thread_geometry),
        ),
        reference=_reference,
        cases=_cases,
        exact=False,
        tolerance={"f32": (1e-5, 1e-5)},
        flops=lambda s: conv_shape.flops(_whole(s)),
        bytes=lambda s: conv_shape.nbytes(_whole(s)),
        defines=_DEFINES,
    )
)  # fmt: skip

SUM = register(
    KernelSpec(
        name="conv_winograd_filter_sum",
        doc="Gradient of 3 x 3 filters from the parts of their transforms' gradient.",
        params=params(
            """
            in parts: f32
            out dw: T
            int splits
            int groups
            int C
            int OC
            int w_ld
            int dw_off
            """
        ),
        types={"T": TYPES},
        variants=(
            Variant(
                "any", "any", _sum_geometry, (Tunable("GROUP", 64, (32, 64, 128), "work-items per group"),)
            ),
        ),
        reference=_sum_reference,
        cases=_sum_cases,
        exact=False,
        flops=lambda s: PLANES * (s["splits"] + 4.0) * s["C"] * s["OC"] / s["groups"],
        bytes=lambda s: 4.0 * (PLANES * s["splits"] + 9) * s["C"] * s["OC"] / s["groups"],
        defines=_DEFINES,
    )
)  # fmt: skip
