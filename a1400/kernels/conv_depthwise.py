"""Depthwise convolution: each channel on its own.

==================  ====================================================================================
``conv_depthwise``  in x: TA [N, D, H, W, C], in w: TB [taps, OC] (``conv_pack.pack_depthwise``), out y: TC
                    [N, OD, OH, OW, OC]; scalars of ``conv_shape.PARAMS`` without groups; OC is a multiple of
                    C.  The vectorised CPU variants need OC equal to C.
==================  ====================================================================================

Slot ``EPILOGUE(v; b, m, n)`` as in ``conv``.  The CPU variants may compute an output twice: what the epilogue reads
must not be what it writes.  Kernels of 3, 5 and 7 columns without dilation have variants of their own (``strip``)
whose loops along lines are unrolled: up to 7 outputs side by side, 16 channels at a time.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from a1400.backends.base import Grid
from a1400.kernels import conv_cases, conv_shape
from a1400.kernels.conv import SIMPLE_TUNABLES, SLOTS, TYPE_VARIABLES, simple_geometry
from a1400.kernels.gemm import floats_only, fp64_if_used
from a1400.kernels.spec import Case, KernelSpec, Scalars, Tunables, Variant, params, register

_ITEM = 15_000  # cycles of a work-item
_ALONE = 5_000  # cycles that no second core is worth waking for


def _reference(arrays: Mapping[str, np.ndarray], s: Scalars, case: Case) -> dict[str, np.ndarray]:
    i = {**conv_shape.ints(s), "groups": int(s["C"])}
    w = arrays["w"].reshape(conv_shape.taps(s), i["C"], 1, -1).transpose(1, 0, 2, 3)
    return conv_shape.store_output(conv_shape.accumulate(conv_shape.input_view(arrays["x"], i), w, i), i, case)


def _cpu_geometry(s: Scalars, t: Tunables) -> tuple[Grid, Grid]:
    lines = int(s["N"]) * int(s["OD"]) * int(s["OH"])
    channels = -(-int(s["OC"]) // 64)
    # about 20 microseconds each: a vector takes a tap in a cycle, and as much again to load and store
    work = int(s["OW"]) * lines * int(s["OC"]) * (conv_shape.taps(s) + 6)
    wanted = max(1, min(128, work // 600_000))
    down = min(lines, wanted)
    across = min(channels, -(-wanted // down))
    return (-(-lines // -(-lines // down)), -(-channels // -(-channels // across)), 1), (1, 1, 1)


def _strip_geometry(s: Scalars, t: Tunables) -> tuple[Grid, Grid]:
    lines = int(s["N"]) * int(s["OD"]) * int(s["OH"])
    channels = (int(s["OC"]) + 48) // 64
    # cycles: a vector takes a tap in each, and as much as three more to begin and to end with
    work = int(s["OW"]) * lines * int(s["OC"]) * (conv_shape.taps(s) + 3) // 16
    wanted = 1 if work < _ALONE else 2 * min(64, max(1, round(work / (2 * _ITEM))))
    down = min(lines, wanted)
    across = min(channels, -(-wanted // down))
    return (-(-lines // -(-lines // down)), -(-channels // -(-channels // across)), 1), (1, 1, 1)


def _strip(width: int, step: int) -> Variant:
    """The CPU variant for kernels ``width`` wide that move by ``step`` along a line.

    Small kernels with strides wait for inputs rather than compute: fewer outputs at once read fewer streams (measured).
    """

    def supports(s: Scalars) -> bool:
        return int(s["C"]) == int(s["OC"]) >= 16 and (int(s["KW"]), int(s["sw"]), int(s["dw"])) == (width, step, 1)

    return Variant(
        f"strip{width}_{step}", "cpu", _strip_geometry, backends=("opencl",), source="cpu/conv_depthwise_strip",
        vector_width=16, requires=floats_only, supports=supports,
        defines={"TAPS_W": str(width), "STEP_W": str(step), "TILE": "4" if (width, step) == (3, 2) else "7"},
    )  # fmt: skip


conv_depthwise = register(
    KernelSpec(
        name="conv_depthwise",
        doc="Convolution of each channel on its own.",
        params=tuple(p for p in params(conv_shape.PARAMS) if p.name != "groups"),
        types=TYPE_VARIABLES,
        slots=SLOTS,
        variants=(
            *(_strip(width, step) for width, step in ((3, 1), (3, 2), (5, 1), (5, 2), (7, 1), (7, 2))),
            Variant(
                "cpu", "cpu", _cpu_geometry, backends=("opencl",), source="cpu/conv_depthwise", vector_width=16,
                requires=floats_only, supports=lambda s: int(s["C"]) == int(s["OC"]),
            ),
            Variant(
                "any", "any", simple_geometry, SIMPLE_TUNABLES, requires=fp64_if_used, test_tunables=({"ROWS": 1},)
            ),
        ),
        reference=_reference,
        cases=conv_cases.depthwise_cases,
        flops=lambda s: conv_shape.flops({**s, "groups": s["C"]}),
        bytes=lambda s: conv_shape.nbytes({**s, "groups": s["C"]}),
    )
)  # fmt: skip
