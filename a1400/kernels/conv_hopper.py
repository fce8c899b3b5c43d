"""The variant of ``conv`` for Hopper: warpgroup products of pixels that threads gather and weights that the copy engine
brings.

The limit, from the hardware's published figures: 64 of depth of a 128 x 256 tile are 4.2 million operations, 1024
cycles of an H100's tensor cores (989 TFLOP/s, 132 processors, 1.83 GHz).  Shared memory delivers 128 KiB in that time;
wgmma reads 80 KiB and 48 KiB are copied in: all there is.  A tile of 128 x 128 needs 80 KiB of the 64 KiB of its 512
cycles, and would be bound by shared memory at 80 %.  From L2 come 48 bytes a cycle.  128 threads start 1024 copies of
16 bytes for the pixels of such a tile, 8 each of some 15 instructions: about 130 cycles of four schedulers.  Four
stages and the rows of sums take 212 KiB, so a processor holds one block.  Sums of 64 x 256 are 128 registers of a
thread, which may have 216 where the copying threads keep 72.  None of it has been measured yet.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from a1400.backends.base import DeviceInfo, Grid, TensorMap
from a1400.kernels import conv_shape, conv_tensor
from a1400.kernels.gemm_tensor import row_stage
from a1400.kernels.spec import Scalars, Tunable, Tunables, Variant

_DEPTH = 64  # of a stage: rows of 128 bytes

TUNABLES = (
    Tunable("BM", 128, (64, 128, 192), "output pixels of a tile, 64 for each multiplying warpgroup"),
    Tunable("BN", 128, (32, 64, 128, 256), "output channels of a tile"),
    Tunable("STAGES", 4, (2, 3, 4, 5, 6), "tiles in shared memory at once"),
    Tunable("BAND", 8, (1, 4, 8, 16), "tiles of pixels that blocks go through together"),
    Tunable("GROUPS", 132, (2, 78, 114, 132), "blocks that stay, one for each multiprocessor"),
)


def _geometry(s: Scalars, t: Tunables) -> tuple[Grid, Grid]:
    return (min(conv_tensor.tiles(s, t) * int(s["groups"]), t["GROUPS"]), 1, 1), (2 * t["BM"] + 128, 1, 1)


def _dynamic_bytes(types: Mapping[str, np.dtype], t: Tunables) -> int:
    stage = (t["BM"] + t["BN"]) * _DEPTH * types["TA"].itemsize
    return t["STAGES"] * (stage + 16) + t["BM"] // 16 * row_stage(32)


def _requires(info: DeviceInfo, types: Mapping[str, np.dtype]) -> bool:
    return info.capability == 90 and conv_tensor.tensor_types(info, types)


def _weights(types: Mapping[str, np.dtype], s: Scalars, t: Tunables) -> TensorMap:
    """Packed weights as [group and panel, depth, 32]; what lies beyond the depth reads as zeros."""
    groups = int(s["groups"])
    depth = conv_shape.taps(s) * int(s["C"]) // groups
    panels = -(-int(s["OC"]) // groups // 32)
    row = 32 * types["TB"].itemsize
    dims = (32, depth, groups * panels)
    return TensorMap(None, types["TB"], dims, (row, depth * row), (32, _DEPTH, t["BN"] // 32), swizzle=64)


VARIANT = Variant(
    "hopper", "gpu", _geometry, TUNABLES, backends=("cuda",), source="conv_hopper", requires=_requires,
    supports=conv_tensor.supports(8), dynamic_bytes=_dynamic_bytes, min_blocks=1,
    tensor_maps=(("w_map", "w", _weights),), tolerance=conv_tensor.TOLERANCE,
    constraint=lambda t: t["BM"] * t["BN"] <= 128 * 256 and (t["BN"] < 256 or t["BM"] <= 128),
    test_tunables=(
        {"BM": 64, "BN": 32, "STAGES": 3, "GROUPS": 2}, {"BM": 64, "BN": 64, "STAGES": 2, "BAND": 1},
        {"BN": 256, "GROUPS": 2},
    ),
)  # fmt: skip


#: pixels and channels of tiles worth trying for some shape
TILES = ((128, 256), (128, 128), (128, 64), (64, 64), (128, 32))


def choose_tunables(info: DeviceInfo, s: Scalars) -> Mapping[str, int]:
    """The tile with the least work for the busiest processor of ``info``, by tensor cores or shared memory."""

    def cost(tile: tuple[int, int]) -> float:
        bm, bn = tile
        blocks = conv_tensor.tiles(s, {"BM": bm, "BN": bn}) * int(s["groups"])
        fragments = 128 * (bm + bn * bm // 64)
        return -(-blocks // max(info.compute_units, 1)) * max(bm * bn / 32, (fragments + 128 * (bm + bn)) / 128)

    bm, bn = min(TILES, key=cost)
    return {"BM": bm, "BN": bn, "GROUPS": max(info.compute_units, 1)}
