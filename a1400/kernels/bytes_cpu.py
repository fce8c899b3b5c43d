"""The variants for CPUs of products and convolutions of 8-bit integers: exact, summed in int32."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from a1400 import dtypes
from a1400.backends.base import DeviceInfo, Grid
from a1400.kernels import conv_shape
from a1400.kernels.gemm_shares import shares
from a1400.kernels.gemm_split import split
from a1400.kernels.spec import Scalars, Tunable, Tunables, Variant

BYTES = tuple(dtypes.from_short(n) for n in ("i8", "u8"))
#: what sums of products of bytes may be stored as
RESULTS = (*BYTES, dtypes.from_short("i32"))
_ROWS = 12  # BYTES_MR of bytes_micro.clh, or twice that
_TUNABLES = (
    Tunable("KC", 512, (256, 512, 1024), "depth of the block of A that a work-item keeps widened"),
    Tunable("NPC", 8, (4, 8, 16), "panels whose sums a work-item keeps"),
)
_CORES = Tunable("CORES", 8, (2, 4, 8, 16, 32, 64), "cores that items are made for", compiled=False, searched=False)


def _bytes_only(info: DeviceInfo, types: Mapping[str, np.dtype]) -> bool:
    return types["TA"] in BYTES and types["TB"] in BYTES and types["ACC"] == np.int32


def _gemm_geometry(s: Scalars, t: Tunables) -> tuple[Grid, Grid]:
    batch = int(s["nb0"]) * int(s["nb1"])
    down, across = shares(
        int(s["M"]), int(s["K"]), int(s["N"]), batch, mr=_ROWS, npc=t["NPC"], blocks_held=6, cores=t["CORES"]
    )
    return (down, across, batch), (1, 1, 1)


def _conv_geometry(s: Scalars, t: Tunables) -> tuple[Grid, Grid]:
    groups = int(s["groups"])
    depth = conv_shape.taps(s) * int(s["C"]) // groups
    down, across = split(conv_shape.output_rows(s), depth, int(s["OC"]) // groups, groups, _ROWS, t["NPC"])
    return (down, across, groups), (1, 1, 1)


#: of ``gemm_packed``
GEMM = Variant(
    "cpu_bytes", "cpu", _gemm_geometry, (*_TUNABLES, _CORES), backends=("opencl",), source="cpu/gemm_bytes",
    vector_width=16, requires=_bytes_only, plain=("PROLOGUE",),
    supports=lambda s: int(s["a_k"]) == 1 or int(s["K"]) == 1, test_tunables=({"KC": 256, "NPC": 4, "CORES": 2},),
)  # fmt: skip
#: of ``conv``
CONV = Variant(
    "cpu_bytes", "cpu", _conv_geometry, _TUNABLES, backends=("opencl",), source="cpu/conv_bytes", vector_width=16,
    requires=_bytes_only, supports=lambda s: int(s["x_c"]) == 1 or int(s["C"]) == 1,
)  # fmt: skip
