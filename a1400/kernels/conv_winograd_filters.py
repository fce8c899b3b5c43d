"""Filters of 3 x 3 convolutions to Winograd's domain on the device: for filters that change from run to run.

=====================================  ============================================================================
``conv_winograd4_pack``                in w: T, filter (output o, input c) with its taps (i, j) at ``w_off + o w_o +
``conv_winograd2_pack``                c w_c + i w_h + j w_w`` (o counts through all groups of og outputs), out packed:
``conv_winograd4_s2_pack``             f32 as :func:`~a1400.kernels.conv_winograd_pack.pack_winograd` gives it; int
                                       groups, og, cg, w_off, w_o, w_c, w_h, w_w.  Strides may be negative.
=====================================  ============================================================================
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from a1400.backends.base import Grid
from a1400.kernels.conv_shape import ints
from a1400.kernels.conv_winograd import ALGORITHMS, TYPES, Algorithm
from a1400.kernels.conv_winograd_pack import pack_winograd
from a1400.kernels.gemm_pack import PANEL
from a1400.kernels.geometry import ceil_div
from a1400.kernels.spec import Case, Data, KernelSpec, Scalars, Tunable, Tunables, Variant, params, register


def packed_shape(algorithm: Algorithm, groups: int, og: int, cg: int) -> tuple[int, ...]:
    """Shape of the packed filters."""
    return (groups, ceil_div(og, PANEL), algorithm.planes, cg, PANEL)


def pack_name(algorithm: Algorithm) -> str:
    """The kernel that packs filters for ``algorithm``."""
    return f"{algorithm.name}_pack"


def _make(algorithm: Algorithm) -> KernelSpec:
    def reference(arrays: Mapping[str, np.ndarray], s: Scalars, case: Case) -> dict[str, np.ndarray]:
        i = ints(s)
        flat, at = arrays["w"].reshape(-1), i["w_off"]
        o, c, h, w = np.ogrid[: i["groups"] * i["og"], : i["cg"], :3, :3]
        filters = flat[at + o * i["w_o"] + c * i["w_c"] + h * i["w_h"] + w * i["w_w"]]
        packed = pack_winograd(filters, algorithm.outputs, i["groups"], algorithm.stride)
        return {"packed": packed.reshape(case.outputs["packed"][0])}

    def geometry(s: Scalars, t: Tunables) -> tuple[Grid, Grid]:
        groups = (ceil_div(int(s["og"]), PANEL), ceil_div(int(s["cg"]), t["LINES"]), int(s["groups"]))
        return groups, (PANEL, t["LINES"], 1)

    def cases() -> Iterator[Case]:
        for name, groups, og, cg, turned, dtype in (
            ("one", 1, 1, 1, False, 0), ("plain", 1, 70, 20, False, 0), ("groups", 3, 33, 9, False, 0),
            ("turned", 1, 40, 35, True, 0), ("f16", 1, 33, 3, False, 1), ("bf16", 1, 33, 3, True, 2),
        ):  # fmt: skip
            strides = {"w_off": 5, "w_o": cg * 9, "w_c": 9, "w_h": 3, "w_w": 1}
            if turned:  # flipped, inputs and outputs exchanged
                strides = {"w_off": 13, "w_o": 9, "w_c": og * 9, "w_h": -3, "w_w": -1}
            shape = packed_shape(algorithm, groups, og, cg)
            yield Case(
                name, {"w": Data((5 + groups * og * cg * 9,), "T")}, {"groups": groups, "og": og, "cg": cg, **strides},
                {"packed": (shape, "f32")}, {"T": TYPES[dtype]},
            )  # fmt: skip

    return register(
        KernelSpec(
            name=pack_name(algorithm),
            doc=f"Transform 3 x 3 filters for {algorithm.name}.",
            params=params(
                """
                in w: T
                out packed: f32
                int groups
                int og
                int cg
                int w_off
                int w_o
                int w_c
                int w_h
                int w_w
                """
            ),
            types={"T": TYPES},
            variants=(
                Variant(
                    "any", "any", geometry, (Tunable("LINES", 4, (1, 4, 8), "input channels of a work-group"),),
                    source="conv_winograd_pack",
                ),
            ),
            reference=reference,
            cases=cases,
            exact=False,
            flops=lambda s: 4.0 * algorithm.planes * s["groups"] * s["og"] * s["cg"],
            bytes=lambda s: 4.0 * (9 + algorithm.planes) * s["groups"] * s["og"] * s["cg"],
            defines={"WINO_M": str(algorithm.outputs), "WINO_STRIDE": str(algorithm.stride)},
        )
    )


SPECS = {a.name: _make(a) for a in ALGORITHMS.values() if not a.raw}
