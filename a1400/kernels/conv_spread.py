"""Transposed convolution with few output channels: a column for each tap and output channel.

===============  =======================================================================================
``conv_spread``  in x: TA [N, D, H, W, C], in w: TB packed by ``conv_pack.pack_conv_spread``, out y: TC
                 [N, OD, OH, OW, OC]; scalars of ``conv_shape.PARAMS`` without groups, as in ``conv_transpose``
===============  =======================================================================================

``conv_transpose`` gives each output channel a lane of its vectors; with 1 to 3 channels most lanes idle.  Here each
input pixel is multiplied with all its taps at once - the product of im2col's transpose, col2im - and what overlaps is
summed in a few lines of private memory, never in memory that others see.  Slot ``EPILOGUE(v; b, m, n)`` as in ``conv``.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from a1400.backends.base import Grid
from a1400.kernels import conv_cases, conv_shape
from a1400.kernels.conv import SIMPLE_TUNABLES, SLOTS, TYPE_VARIABLES, simple_geometry
from a1400.kernels.gemm import floats_only, fp64_if_used
from a1400.kernels.gemm_pack import unpack_b
from a1400.kernels.spec import Case, KernelSpec, Scalars, Tunable, Tunables, Variant, params, register

_RING = 16384  # floats
_DEPTH = 512
_ITEM_FLOPS = 3e6  # about 30 microseconds: less is not worth an item
_ITEMS, _LARGE_FLOPS = 8, 18e6  # more items than these are for more work alone: each multiplies borders again


def _reference(arrays: Mapping[str, np.ndarray], s: Scalars, case: Case) -> dict[str, np.ndarray]:
    i = {**conv_shape.ints(s), "groups": 1}
    taps = conv_shape.taps(s)
    packed = arrays["w"].reshape(-(-taps * i["OC"] // 32), i["C"], 32)
    w = unpack_b(packed, taps * i["OC"]).reshape(i["C"], taps, i["OC"]).transpose(1, 0, 2)[None]
    y = conv_shape.accumulate_transposed(conv_shape.input_view(arrays["x"], i), w, i)
    return conv_shape.store_output(y, i, case)


def _widest(s: Scalars) -> int:
    """Outputs of a line that the ring holds beside each other."""
    slots = max((int(s["KH"]) - 1) * int(s["dh"]) + 1, int(s["sh"]))
    return (_RING // slots - 32) // int(s["OC"]) - 2 * int(s["KW"])


def _supports(s: Scalars) -> bool:
    flat = s["D"] == s["OD"] == s["KD"] == s["sd"] == s["dw"] == 1 and s["pd"] == 0
    return flat and s["C"] <= _DEPTH and _widest(s) >= min(int(s["OW"]), 16 * int(s["KW"]))


def _cpu_geometry(s: Scalars, t: Tunables) -> tuple[Grid, Grid]:
    lines, columns, images = int(s["OH"]), int(s["OW"]), int(s["N"])
    across = -(-columns // _widest(s))
    reach = (int(s["KH"]) - 1) * int(s["dh"]) + 1
    # a border costs about half a kernel's height of lines more
    items = max(min(_ITEMS, _flops(s) / _ITEM_FLOPS), _flops(s) / _LARGE_FLOPS)
    wanted = max(1, min(64, int(items) // (across * images)))
    down = max(1, min(wanted, lines // (2 * reach)))
    return (-(-lines // -(-lines // down)), -(-columns // -(-columns // across)), images), (1, 1, 1)


def _flops(s: Scalars) -> float:
    return conv_shape.flops({**s, "groups": 1}) / (int(s["sd"]) * int(s["sh"]) * int(s["sw"]))


conv_spread = register(
    KernelSpec(
        name="conv_spread",
        doc="Transposed convolution of channels-last images with few output channels.",
        params=tuple(p for p in params(conv_shape.PARAMS) if p.name != "groups"),
        types=TYPE_VARIABLES,
        slots=SLOTS,
        variants=(
            Variant(
                "cpu", "cpu", _cpu_geometry,
                (
                    Tunable("MR", 12, (8, 12, 14), "rows of the micro-kernel; two vectors of sums for each"),
                    Tunable("KC", _DEPTH, (_DEPTH,), "most input channels"),
                    Tunable("RING", _RING, (_RING,), "floats of the lines that are not complete yet"),
                ),
                backends=("opencl",), source="cpu/conv_spread", vector_width=16, narrow_width=8,
                requires=floats_only, supports=_supports, test_tunables=({"MR": 8},),
            ),
            Variant(
                "any", "any", simple_geometry, SIMPLE_TUNABLES, requires=fp64_if_used, test_tunables=({"ROWS": 1},)
            ),
        ),
        reference=_reference,
        cases=conv_cases.spread_cases,
        flops=_flops,
        bytes=lambda s: conv_shape.nbytes({**s, "groups": 1}),
    )
)  # fmt: skip


def pays(scalars: Scalars) -> bool:
    """Whether ``conv_spread`` is the better choice for a transposed convolution of one group: where its columns fill
    vectors better than the output channels do."""
    if int(scalars["groups"]) != 1:
        return False
    oc, taps = int(scalars["OC"]), conv_shape.taps(scalars)
    phases = int(scalars["sd"]) * int(scalars["sh"]) * int(scalars["sw"])
    # lanes of both: columns in eights for all taps; output channels in eights for the taps of each phase's outputs
    return 1.3 * (-(-taps * oc // 8)) < -(-taps // phases) * phases * -(-oc // 8)
