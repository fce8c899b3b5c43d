"""Variants of ``gemm`` on CUDA's tensor cores, fast ones first.

=================  ==========================================================================================
``hopper_t/_n``    sm_90: bulk copies, warpgroup products.  f16 or bf16, everything in units of 16 bytes
``tensor_t/_n``    sm_80 and later: asynchronous copies, warp products.  The same
``tensor_any``     sm_80 and later: any strides, with a prologue, whose values are rounded to the type of A
``tf32_t/_n/_any``  the same three ways for f32 whose factors may be rounded to tf32
=================  ==========================================================================================

``_t``: B's columns are contiguous (b_k is 1: a weight kept as [N, K]); ``_n``: its rows are (b_n is 1).  A's rows are.
Sums are f32.  ``gemm_choice`` picks variant and tile for a call.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping

import numpy as np

from a1400 import dtypes
from a1400.backends.base import DeviceInfo, Grid, TensorMap
from a1400.kernels.spec import Scalars, Tunable, Tunables, Variant

_HALVES = tuple(dtypes.from_short(n) for n in ("f16", "bf16"))
_FLOATS = tuple(dtypes.from_short(n) for n in ("f32", "f16", "bf16"))
_F32 = np.dtype(np.float32)
_MOST_BLOCKS = 2**31 - 1
# tensor cores add with fewer guard bits than a float addition has
_TOLERANCE = {"f32": (3e-5, 3e-5), "f16": (2e-3, 2e-3), "bf16": (1.6e-2, 1.6e-2)}
_ROUNDED = {**_TOLERANCE, "f32": (4e-3, 4e-3)}  # values of a prologue are rounded to the type of A
_TF32 = {**_TOLERANCE, "f32": (1e-3, 1e-3)}


def unit_elements(info: DeviceInfo, a: np.dtype, b: np.dtype, allow: Collection[str]) -> int:
    """Elements in the 16 bytes in which the tensor cores of ``info`` want operands; 0 if they do not multiply these."""
    if not _ampere(info.capability) or a != b:
        return 0
    return 16 // a.itemsize if a in _HALVES or (a == _F32 and "tf32" in allow) else 0


def _needs(capability: Callable[[int], bool], factors: tuple[np.dtype, ...]) -> Callable[..., bool]:
    def requires(info: DeviceInfo, types: Mapping[str, np.dtype]) -> bool:
        return (
            capability(info.capability)
            and types["TA"] == types["TB"]
            and types["TA"] in factors
            and types["TC"] in _FLOATS
            and types["ACC"] == _F32
        )

    return requires


def _ampere(capability: int) -> bool:
    return capability >= 80


def _batch(s: Scalars) -> int:
    return int(s["nb0"]) * int(s["nb1"])


def tiles(s: Scalars, t: Tunables) -> int:
    """Number of tiles that all products of a call have."""
    return -(-int(s["M"]) // t["BM"]) * -(-int(s["N"]) // t["BN"]) * _batch(s)


def _numbered(s: Scalars) -> bool:
    """Whether even small tiles of all products can be counted in an int."""
    return tiles(s, {"BM": 16, "BN": 16}) <= _MOST_BLOCKS


def in_units(s: Scalars, along_n: bool, unit: int) -> bool:
    """Whether both operands can be read in units of ``unit`` elements, the last of a row in part."""
    b_line, b_other = ("b_n", "b_k") if along_n else ("b_k", "b_n")
    strides = ("a_off", "a_b0", "a_b1", "a_m", "b_off", "b_b0", "b_b1", b_other)
    return int(s["a_k"]) == 1 and int(s[b_line]) == 1 and all(int(s[name]) % unit == 0 for name in strides)


def _whole_units(along_n: bool, unit: int) -> Callable[[Scalars], bool]:
    """Rows that are read must be whole units: a copy brings all of a unit or none."""

    def supports(s: Scalars) -> bool:
        whole = int(s["K"]) % unit == 0 and (not along_n or int(s["N"]) % unit == 0)
        return whole and _numbered(s) and in_units(s, along_n, unit)

    return supports


# ---- warp products: sm_80 and later ------------------------------------------------------------------------
def _warp_tunables(bm: int, bn: int, bk: int) -> tuple[Tunable, ...]:
    return (
        Tunable("BM", bm, (16, 32, 64, 128, 256), "rows of a block's tile"),
        Tunable("BN", bn, (32, 64, 128, 256), "columns of a block's tile"),
        Tunable("BK", bk, (16, 32, 64), "depth of a tile"),
        Tunable("WM", 2, (1, 2, 4), "warps along the rows"),
        Tunable("WN", 2, (1, 2, 4), "warps along the columns"),
        Tunable("BAND", 8, (1, 4, 8, 16), "rows of tiles that blocks go through together"),
    )


_STAGES = Tunable("STAGES", 4, (2, 3, 4, 5), "tiles in shared memory")


def _warps_fit(t: Tunables) -> bool:
    """Whole fragments for each warp, sums that leave registers for fragments, at most 256 threads."""
    if t["BM"] % (16 * t["WM"]) or t["BN"] % (16 * t["WN"]) or t["WM"] * t["WN"] > 8:
        return False
    rows, columns = t["BM"] // t["WM"], t["BN"] // t["WN"]
    return rows * columns <= 64 * 64 and columns in (16, 32, 64, 128)


def _warp_geometry(s: Scalars, t: Tunables) -> tuple[Grid, Grid]:
    return (tiles(s, t), 1, 1), (32 * t["WM"] * t["WN"], 1, 1)


def row_stage(columns: int) -> int:
    """Bytes through which a warp's sums pass on their way to memory (``RowStage`` of tensor_tile.cuh)."""
    return 16 * (columns + 8) * 4


def _warp_bytes(stages: Callable[[Tunables], int]) -> Callable[[Mapping[str, np.dtype], Tunables], int]:
    def dynamic_bytes(types: Mapping[str, np.dtype], t: Tunables) -> int:
        ring = stages(t) * (t["BM"] + t["BN"]) * t["BK"] * types["TA"].itemsize
        return max(ring, t["WM"] * t["WN"] * row_stage(min(64, t["BN"] // t["WN"])))

    return dynamic_bytes


def _copying(name: str, along_n: bool, factors: tuple[np.dtype, ...], unit: int, bk: int, precision: str) -> Variant:
    small = {"BM": 32, "BN": 32, "BK": bk, "WM": 2, "WN": 1, "STAGES": 3}
    return Variant(
        name, "gpu", _warp_geometry, (*_warp_tunables(128, 128, bk), _STAGES), backends=("cuda",), source="gemm_tensor",
        requires=_needs(_ampere, factors), constraint=_warps_fit, supports=_whole_units(along_n, unit),
        dynamic_bytes=_warp_bytes(lambda t: t["STAGES"]), min_blocks=1, plain=("PROLOGUE",), precision=precision,
        defines={"B_ALONG_N": str(int(along_n))}, tolerance=_TF32 if precision else _TOLERANCE,
        test_tunables=(small, {"BM": 64, "BN": 64, "BK": 2 * bk, "WM": 1, "WN": 4, "STAGES": 2, "BAND": 1}),
    )  # fmt: skip


def _any(name: str, factors: tuple[np.dtype, ...], bk: int, precision: str) -> Variant:
    return Variant(
        name, "gpu", _warp_geometry, _warp_tunables(64, 64, bk), backends=("cuda",), source="gemm_tensor_any",
        requires=_needs(_ampere, factors), constraint=_warps_fit, supports=_numbered,
        dynamic_bytes=_warp_bytes(lambda t: 2), min_blocks=2, precision=precision,
        tolerance=_TF32 if precision else _ROUNDED,
        test_tunables=({"BM": 32, "BN": 32, "WM": 1, "WN": 2, "BAND": 1}, {"BM": 64, "BN": 128, "BK": 2 * bk, "WN": 4}),
    )  # fmt: skip


# ---- warpgroup products: sm_90 -------------------------------------------------------------------------------
_GROUP_TUNABLES = (
    Tunable("BM", 128, (64, 128), "rows of a block's tile, 64 for each warpgroup"),
    Tunable("BN", 256, (64, 128, 192, 256), "columns of a block's tile"),
    Tunable("STAGES", 4, (2, 3, 4, 5, 6, 8), "tiles in shared memory"),
    Tunable("BAND", 8, (1, 4, 8, 16), "rows of tiles that blocks go through together"),
    Tunable("GROUPS", 132, (2, 78, 114, 132), "blocks that stay, one for each multiprocessor"),
)


def _group_geometry(s: Scalars, t: Tunables) -> tuple[Grid, Grid]:
    return (min(tiles(s, t), t["GROUPS"]), 1, 1), (128 * (t["BM"] // 64) + 128, 1, 1)


def _group_bytes(types: Mapping[str, np.dtype], t: Tunables) -> int:
    return t["STAGES"] * ((t["BM"] + t["BN"]) * 128 + 16) + t["BM"] // 16 * row_stage(32)


def _bulk_copies(along_n: bool) -> Callable[[Scalars], bool]:
    """A tensor map needs strides in units of 16 bytes; it cuts rows at any element."""

    def supports(s: Scalars) -> bool:
        sizes = min(int(s["M"]), int(s["N"]), int(s["K"]), _batch(s))
        forward = all(int(v) >= 0 for name, v in s.items() if name.startswith(("a_", "b_")))
        return sizes > 0 and forward and _numbered(s) and in_units(s, along_n, 8)

    return supports


def _operand_map(
    dtype: np.dtype, offset: int, sizes: tuple[int, int], line: int, batch: tuple[int, int], strides: tuple[int, int],
    box: tuple[int, int],
) -> TensorMap:  # fmt: skip
    """[batch0, batch1, lines, elements] with ``line`` elements from line to line; repeated axes have size 1."""
    bytes_ = dtype.itemsize
    counts = tuple(c if stride else 1 for c, stride in zip(reversed(batch), reversed(strides), strict=True))
    steps = tuple(max(s, 8) * bytes_ for s in (line, *reversed(strides)))
    return TensorMap(
        None, dtype, (*sizes, *counts), steps, (*box, 1, 1), swizzle=128, offset=offset * bytes_,
    )  # fmt: skip


def _a_map(types: Mapping[str, np.dtype], s: Scalars, t: Tunables) -> TensorMap:
    i = {k: int(v) for k, v in s.items()}
    return _operand_map(
        types["TA"], i["a_off"], (i["K"], i["M"]), i["a_m"], (i["nb0"], i["nb1"]), (i["a_b0"], i["a_b1"]), (64, t["BM"])
    )


def _b_map(along_n: bool) -> Callable[[Mapping[str, np.dtype], Scalars, Tunables], TensorMap]:
    def rule(types: Mapping[str, np.dtype], s: Scalars, t: Tunables) -> TensorMap:
        i = {k: int(v) for k, v in s.items()}
        sizes, line = ((i["N"], i["K"]), i["b_k"]) if along_n else ((i["K"], i["N"]), i["b_n"])
        box = (64, 64 if along_n else t["BN"])
        return _operand_map(
            types["TB"], i["b_off"], sizes, line, (i["nb0"], i["nb1"]), (i["b_b0"], i["b_b1"]), box
        )  # fmt: skip

    return rule


def _hopper(name: str, along_n: bool) -> Variant:
    return Variant(
        name, "gpu", _group_geometry, _GROUP_TUNABLES, backends=("cuda",), source="gemm_hopper",
        requires=_needs(lambda capability: capability == 90, _HALVES), supports=_bulk_copies(along_n),
        dynamic_bytes=_group_bytes, min_blocks=1, plain=("PROLOGUE",), defines={"B_ALONG_N": str(int(along_n))},
        tolerance=_TOLERANCE, tensor_maps=(("a_map", "a", _a_map), ("b_map", "b", _b_map(along_n))),
        test_tunables=({"BM": 64, "BN": 64, "STAGES": 2, "GROUPS": 2}, {"BN": 128, "STAGES": 3, "BAND": 1}),
    )  # fmt: skip


TENSOR_VARIANTS = (
    _hopper("hopper_t", False),
    _hopper("hopper_n", True),
    _copying("tensor_t", False, _HALVES, 8, 32, ""),
    _copying("tensor_n", True, _HALVES, 8, 32, ""),
    _any("tensor_any", _HALVES, 32, ""),
    _copying("tf32_t", False, (_F32,), 4, 16, "tf32"),
    _copying("tf32_n", True, (_F32,), 4, 16, "tf32"),
    _any("tf32_any", (_F32,), 16, "tf32"),
)
