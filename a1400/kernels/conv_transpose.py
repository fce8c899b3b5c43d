"""Transposed convolution, each output summed from the taps that reach it: no atomics, no scatter.

==================  ====================================================================================
``conv_transpose``  in x: TA [N, D, H, W, C], in w: TB packed by ``conv_pack.pack_conv_transpose``, out y: TC
                    [N, OD, OH, OW, OC]; scalars of ``conv_shape.PARAMS``: strides, pads and dilations as in ONNX,
                    output padding and high pads follow from the output sizes; types TA TB TC ACC
==================  ====================================================================================

Outputs whose coordinates agree modulo the stride are reached by the same taps, one per phase: each phase is
a dense convolution with a part of the kernel.  Slot ``EPILOGUE(v; b, m, n)`` as in ``conv``.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from a1400.backends.base import Grid
from a1400.kernels import conv_cases, conv_shape, conv_tensor, conv_tensor_cases
from a1400.kernels.conv import CPU_TUNABLES, SIMPLE_TUNABLES, SLOTS, TYPE_VARIABLES, simple_geometry
from a1400.kernels.conv_pack import transpose_tap_order, unpack_conv
from a1400.kernels.gemm import floats_only, fp64_if_used
from a1400.kernels.gemm_split import split
from a1400.kernels.spec import Case, KernelSpec, Scalars, Tunables, Variant, params, register


def _reference(arrays: Mapping[str, np.ndarray], s: Scalars, case: Case) -> dict[str, np.ndarray]:
    i = conv_shape.ints(s)
    groups, og, cg = i["groups"], i["OC"] // i["groups"], i["C"] // i["groups"]
    sorted_w = unpack_conv(arrays["w"].reshape(groups, -(-og // 32), conv_shape.taps(s), cg, 32), og)
    order = transpose_tap_order(
        conv_shape.triple(i, "KD KH KW"), conv_shape.triple(i, "sd sh sw"), conv_shape.triple(i, "dd dh dw")
    )
    w = np.empty_like(sorted_w)
    w[:, order] = sorted_w
    y = conv_shape.accumulate_transposed(conv_shape.input_view(arrays["x"], i), w, i)
    return conv_shape.store_output(y, i, case)


def _phases(s: Scalars) -> int:
    return int(s["sd"]) * int(s["sh"]) * int(s["sw"])


def _cpu_geometry(s: Scalars, t: Tunables) -> tuple[Grid, Grid]:
    groups, phases = int(s["groups"]), _phases(s)
    rows = int(s["N"])
    taps = 1
    for out, stride, kernel in (("OD", "sd", "KD"), ("OH", "sh", "KH"), ("OW", "sw", "KW")):
        rows *= -(-int(s[out]) // int(s[stride]))
        taps *= -(-int(s[kernel]) // int(s[stride]))
    depth = taps * int(s["C"]) // groups
    down, across = split(rows, depth, int(s["OC"]) // groups, groups * phases, t["MR"], t["NPC"])
    return (down, across, groups * phases), (1, 1, 1)


def _flops(s: Scalars) -> float:
    return conv_shape.flops(s) / _phases(s)


conv_transpose = register(
    KernelSpec(
        name="conv_transpose",
        doc="Transposed convolution of channels-last images.",
        params=params(conv_shape.PARAMS),
        types=TYPE_VARIABLES,
        slots=SLOTS,
        variants=(
            Variant(
                "cpu", "cpu", _cpu_geometry, CPU_TUNABLES, backends=("opencl",), source="cpu/conv_transpose",
                vector_width=16, narrow_width=8, requires=floats_only,
                test_tunables=({"MR": 8, "KC": 256, "NPC": 4},),
            ),
            *conv_tensor.TRANSPOSED,
            Variant(
                "any", "any", simple_geometry, SIMPLE_TUNABLES, requires=fp64_if_used, test_tunables=({"ROWS": 1},)
            ),
        ),
        reference=_reference,
        cases=lambda: (*conv_cases.transpose_cases(), *conv_tensor_cases.tensor_transpose_cases()),
        flops=_flops,
        bytes=conv_shape.nbytes,
    )
)  # fmt: skip
