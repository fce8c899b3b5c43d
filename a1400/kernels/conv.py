"""Convolution on channels-last images, 1-D to 3-D (as 3-D), any groups, strides, dilations and pads.

========  ================================================================================================
``conv``  in x: TA [N, D, H, W, C], in w: TB packed by ``conv_pack.pack_conv``, out y: TC [N, OD, OH, OW, OC];
          scalars of ``conv_shape.PARAMS`` and ``IMAGE_STRIDES`` (``conv_scalars`` and ``with_image_strides`` make them
          from shapes); types TA TB TC ACC
========  ================================================================================================

Slot ``EPILOGUE(v; b, m, n)`` on sums of type ACC: image, output pixel within the image, output channel.  Pixels
may be further apart than their channels (``x_ld``, ``y_ld``), so that inputs and outputs can be channel ranges of
wider images.  An input's channels may lie apart (``x_n``, ``x_c``): the first layer reads a picture [N, C, H, W] in
place.  The variant ``cpu`` is fast at that where channels are few; tensor cores need them side by side.  1 x 1
convolutions of stride 1 are matrix products: use ``gemm_packed``.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from a1400 import dtypes
from a1400.backends.base import DeviceInfo, Grid
from a1400.kernels import bytes_cpu, conv_cases, conv_hopper, conv_shape, conv_tensor, conv_tensor_cases
from a1400.kernels.conv_pack import unpack_conv
from a1400.kernels.gemm import (
    MOST_BATCH_GROUPS,
    TILE_TUNABLES,
    floats_only,
    fp64_if_used,
    tile_bytes,
    tile_fits,
)
from a1400.kernels.gemm_split import split_groups
from a1400.kernels.spec import Case, KernelSpec, Scalars, Slot, Tunable, Tunables, Variant, params, register

_FIXED_DEPTH = 64
TYPES = tuple(dtypes.from_short(n) for n in ("f32", "f16", "bf16", "f64", "i32", "i8", "u8"))
ACC = tuple(dtypes.from_short(n) for n in ("f32", "f64", "i32"))
TYPE_VARIABLES = {"TA": TYPES, "TB": TYPES, "TC": TYPES, "ACC": ACC}
SLOTS = (Slot("EPILOGUE", ("b", "m", "n"), "ACC", "each sum before it is stored", conv_shape.outputs),)


def choose_tunables(info: DeviceInfo, scalars: Scalars) -> Mapping[str, int]:
    """Tunables for ``conv`` on ``info``; empty: the defaults (see ``gemm.choose_tunables``)."""
    return {}


def _reference(arrays: Mapping[str, np.ndarray], s: Scalars, case: Case) -> dict[str, np.ndarray]:
    i = conv_shape.ints(s)
    groups, og, cg = i["groups"], i["OC"] // i["groups"], i["C"] // i["groups"]
    packed = arrays["w"].reshape(groups, -(-og // 32), conv_shape.taps(s), cg, 32)
    y = conv_shape.accumulate(conv_shape.input_view(arrays["x"], i), unpack_conv(packed, og), i)
    return conv_shape.store_output(y, i, case)


def _cpu_geometry(s: Scalars, t: Tunables) -> tuple[Grid, Grid]:
    groups = int(s["groups"])
    # bringing an output's inputs and storing it costs as much as some depth: so are first layers shared out well
    depth = conv_shape.taps(s) * int(s["C"]) // groups + _FIXED_DEPTH
    return split_groups(conv_shape.output_rows(s), depth, int(s["OC"]) // groups, groups, t["MR"], t["NPC"]), (1, 1, 1)


def _tile_geometry(s: Scalars, t: Tunables) -> tuple[Grid, Grid]:
    groups = int(s["groups"])
    tiles = (-(-conv_shape.output_rows(s) // t["BM"]), -(-(int(s["OC"]) // groups) // t["BN"]), groups)
    return tiles, ((t["BM"] // t["RM"]) * (t["BN"] // t["RN"]), 1, 1)


def simple_geometry(s: Scalars, t: Tunables) -> tuple[Grid, Grid]:
    """One thread per output channel and ``ROWS`` output pixels."""
    rows = -(-conv_shape.output_rows(s) // t["ROWS"])
    return (rows, min(-(-int(s["OC"]) // 32), MOST_BATCH_GROUPS), 1), (1, 32, 1)


# 14 rows: pictures of 224 pixels and what they are halved to are multiples of 7, so a micro-kernel's rows are of one
# line, or of two.  Blocks deep enough for a whole pixel of the 512 channels that networks end with.
CPU_TUNABLES = (
    Tunable("MR", 14, (8, 12, 14), "rows of the micro-kernel; two vectors of sums for each"),
    Tunable("KC", 512, (256, 384, 512), "inputs of a row that a work-item keeps as floats"),
    Tunable("NPC", 8, (4, 8, 16), "panels whose sums a work-item keeps between steps of depth"),
)
SIMPLE_TUNABLES = (Tunable("ROWS", 2, (1, 2, 4), "output pixels of a thread"),)

conv = register(
    KernelSpec(
        name="conv",
        doc="Convolution of channels-last images.",
        params=params(conv_shape.PARAMS + conv_shape.IMAGE_STRIDES),
        types=TYPE_VARIABLES,
        slots=SLOTS,
        variants=(
            Variant(
                "cpu", "cpu", _cpu_geometry, CPU_TUNABLES, backends=("opencl",), source="cpu/conv",
                vector_width=16, narrow_width=8, requires=floats_only,
                test_tunables=({"MR": 12}, {"MR": 8, "KC": 256, "NPC": 4}),
            ),
            bytes_cpu.CONV,
            conv_hopper.VARIANT,
            *conv_tensor.VARIANTS,
            Variant(
                "gpu", "gpu", _tile_geometry, TILE_TUNABLES, requires=fp64_if_used, constraint=tile_fits,
                local_bytes=lambda types, t: tile_bytes(types, t) + 16 * t["BM"], min_blocks=2,
                test_tunables=({"BM": 32, "BN": 64, "BK": 8, "RM": 2},),
            ),
            Variant(
                "simple", "any", simple_geometry, SIMPLE_TUNABLES, source="conv_simple", requires=fp64_if_used,
                test_tunables=({"ROWS": 1},),
            ),
        ),
        reference=_reference,
        cases=lambda: (*conv_cases.conv_cases(), *conv_tensor_cases.tensor_cases()),
        flops=conv_shape.flops,
        bytes=conv_shape.nbytes,
    )
)  # fmt: skip
