"""Matrix products with a prologue on A and an epilogue on C.

``C[b, m, n] = EPILOGUE(sum_k PROLOGUE(A[b, m, k]) * B[b, k, n])`` with ``b = i0 * nb1 + i1``, i0 < nb0, i1 < nb1.

===============  =============================================================================================
``gemm``         in a: TA, in b: TB, out c: TC; int M N K nb0 nb1, a_off a_b0 a_b1 a_m a_k, b_off b_b0 b_b1 b_k
                 b_n, c_off c_b0 c_b1 c_m (c_n is 1); types TA TB TC ACC.  Any strides, any type.
``gemm_packed``  the same without b_k and b_n: B lies packed as ``[ceil(N/32)][K][32]`` (see ``gemm_pack``), b_off,
                 b_b0, b_b1 count elements of packed B.  f32, f16, bf16 with ACC f32; i8 and u8 with ACC i32.
===============  =============================================================================================

The CPU variants (f32, f16, bf16) read A by rows (a_k is 1) or by columns (a_m is 1: a transposed matrix); those of
``gemm`` read B by rows (b_n is 1) whose length is a multiple of 8.

Slots: ``PROLOGUE(v; b, m, k)`` on values of TA, ``EPILOGUE(v; b, m, n)`` on sums of type ACC; the epilogue's expression
must have the register type of TC.  All strides and offsets are in elements.  ``choose_tunables(info, scalars)`` gives
the tunables to pass to ``spec.call`` for them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np

from a1400 import dtypes
from a1400.backends.base import DeviceInfo, Grid
from a1400.kernels import gemm_cases, gemm_tensor_cases
from a1400.kernels.bytes_cpu import BYTES, RESULTS
from a1400.kernels.bytes_cpu import GEMM as BYTES_VARIANT
from a1400.kernels.check import slot_reference
from a1400.kernels.gemm_few import FEW_ROWS
from a1400.kernels.gemm_pack import PANEL, poison, strided, unpack_b
from a1400.kernels.gemm_shares import shares
from a1400.kernels.gemm_tensor import TENSOR_VARIANTS
from a1400.kernels.spec import Case, KernelSpec, Scalars, Slot, Tunable, Tunables, Variant, params, register

SHORT = ("f32", "f16", "bf16")
_ALL = tuple(dtypes.from_short(n) for n in (*SHORT, "f64", "i32", "i64", "u32", "u64", "i16", "u16", "i8", "u8"))
_SMALL_FLOATS = tuple(dtypes.from_short(n) for n in SHORT)
_ACC = tuple(dtypes.from_short(n) for n in ("f32", "f64", "i32", "i64", "u32", "u64"))
_SLOTS = (
    Slot("PROLOGUE", ("b", "m", "k"), "TA", "each element of A before it is multiplied",
         lambda s: float(_batch(s) * s["M"] * s["K"])),
    Slot("EPILOGUE", ("b", "m", "n"), "ACC", "each sum before it is stored",
         lambda s: float(_batch(s) * s["M"] * s["N"])),
)
MOST_BATCH_GROUPS = 65535  # CUDA's limit in dimensions 1 and 2; kernels loop over the rest


def choose_tunables(info: DeviceInfo, scalars: Scalars) -> Mapping[str, int]:
    """Tunables on ``info`` for ``gemm_packed``, and for ``gemm`` where :func:`reads_in_place`.

    One program for all shapes: rows of 12 and 14 are within 3 % of each other even where only one divides M, blocks of
    depth from 256 to 512 within 2 %, and each setting in use is one more program to compile for every epilogue.  What
    follows the shape is how the work is cut up, see :mod:`a1400.kernels.gemm_shares`.
    """
    return {"CORES": max(1, info.compute_units)} if info.kind == "cpu" else {}


def accumulator(dtype: np.dtype) -> np.dtype:
    """The type in which products of ``dtype`` are summed when nothing else is asked for; int32 for 8-bit integers."""
    if np.dtype(dtype) in BYTES:
        return np.dtype(np.int32)
    return dtypes.from_short(dtypes.info(dtype).register_short)


def _reference(arrays: Mapping[str, np.ndarray], s: Scalars, case: Case) -> dict[str, np.ndarray]:
    i = {k: int(v) for k, v in s.items()}
    batch = (i["nb0"], i["nb1"])
    a = strided(arrays["a"], i["a_off"], (*batch, i["M"], i["K"]), (i["a_b0"], i["a_b1"], i["a_m"], i["a_k"]))
    if "b_k" in i:
        b = strided(arrays["b"], i["b_off"], (*batch, i["K"], i["N"]), (i["b_b0"], i["b_b1"], i["b_k"], i["b_n"]))
    else:
        panels = -(-i["N"] // PANEL)
        packed = strided(
            arrays["b"], i["b_off"], (*batch, panels, i["K"], PANEL),
            (i["b_b0"], i["b_b1"], i["K"] * PANEL, PANEL, 1),
        )  # fmt: skip
        b = unpack_b(packed, i["N"])
    flat = i["nb0"] * i["nb1"]
    wide = np.float64 if dtypes.is_float(case.types["ACC"]) else case.types["ACC"]
    left = slot_reference(case, "PROLOGUE", a.reshape(flat, i["M"], i["K"])).astype(wide)
    with np.errstate(all="ignore"):
        c = left @ b.reshape(flat, i["K"], i["N"]).astype(wide)
    c = slot_reference(case, "EPILOGUE", c)
    shape, _ = case.outputs["c"]
    dtype = case.types["TC"]
    out = poison(shape, dtype).astype(c.dtype).reshape(-1)
    for b0 in range(i["nb0"]):
        for b1 in range(i["nb1"]):
            start = i["c_off"] + b0 * i["c_b0"] + b1 * i["c_b1"]
            for m in range(i["M"]):
                out[start + m * i["c_m"] : start + m * i["c_m"] + i["N"]] = c[b0 * i["nb1"] + b1, m]
    return {"c": out.reshape(shape)}


def _batch(s: Scalars) -> int:
    return int(s["nb0"]) * int(s["nb1"])


def _tile_geometry(s: Scalars, t: Tunables) -> tuple[Grid, Grid]:
    groups = (-(-int(s["M"]) // t["BM"]), -(-int(s["N"]) // t["BN"]), min(_batch(s), MOST_BATCH_GROUPS))
    return groups, ((t["BM"] // t["RM"]) * (t["BN"] // t["RN"]), 1, 1)


def _simple_geometry(s: Scalars, t: Tunables) -> tuple[Grid, Grid]:
    rows = min(-(-int(s["M"]) // t["ROWS"]), MOST_BATCH_GROUPS)
    return (-(-int(s["N"]) // 32), rows, min(_batch(s), MOST_BATCH_GROUPS)), (32, 1, 1)


def _cpu_geometry(s: Scalars, t: Tunables) -> tuple[Grid, Grid]:
    down, across = shares(
        int(s["M"]), int(s["K"]), int(s["N"]), _batch(s),
        mr=t["MR"], npc=t["NPC"], blocks_held=t["BLOCKS"], cores=t["CORES"],
    )  # fmt: skip
    return (down, across, _batch(s)), (1, 1, 1)


def tile_fits(t: Tunables) -> bool:
    """Whether a tile's threads number 16 to 256, divide the loads evenly, and its local memory stays within 32 KiB."""
    if t["BM"] % t["RM"] or t["BN"] % t["RN"]:
        return False
    threads = (t["BM"] // t["RM"]) * (t["BN"] // t["RN"])
    return 16 <= threads <= 256 and threads % t["BK"] == 0 and 8 * t["BK"] * (t["BM"] + t["BN"] + 2) <= 32768


def tile_bytes(types: Mapping[str, np.dtype], t: Tunables) -> int:
    """Local memory of a tile."""
    return accumulator(types["ACC"]).itemsize * t["BK"] * (t["BM"] + t["BN"] + 2)


TILE_TUNABLES = (
    Tunable("BM", 64, (32, 64, 128), "rows of a group's tile"),
    Tunable("BN", 64, (32, 64, 128), "columns of a group's tile"),
    Tunable("BK", 16, (8, 16, 32), "depth of a tile in local memory"),
    Tunable("RM", 4, (2, 4, 8), "rows of a thread"),
    Tunable("RN", 4, (2, 4, 8), "columns of a thread"),
)
_SIMPLE_TUNABLES = (Tunable("ROWS", 4, (1, 4, 8), "rows of a thread"),)


def cpu_tunables(depth: int) -> tuple[Tunable, ...]:
    """Tunables of the kernels around ``gemm_micro.clh``, with the default ``depth`` of a block."""
    return (
        Tunable("MR", 12, (8, 12, 14), "rows of the micro-kernel; two vectors of sums for each"),
        Tunable("KC", depth, (256, 384, 512), "depth of the block of A that a work-item keeps as floats"),
        Tunable("NPC", 8, (4, 8, 16), "panels whose sums a work-item keeps between blocks of depth"),
    )


def _product_tunables(depth: int) -> tuple[Tunable, ...]:
    return (
        *cpu_tunables(depth),
        Tunable("BLOCKS", 6, (3, 6, 12), "row blocks whose sums a work-item keeps between blocks of depth"),
        Tunable("CORES", 8, (2, 4, 8, 16, 32, 64), "cores that items are made for", compiled=False, searched=False),
    )


_PACKED_TUNABLES = _product_tunables(384)
_IN_PLACE_TUNABLES = _product_tunables(256)


def _by_rows(s: Scalars) -> bool:
    return int(s["a_k"]) == 1 or int(s["K"]) == 1


def _by_columns(s: Scalars) -> bool:
    return int(s["a_m"]) == 1 or int(s["M"]) == 1


def reads_in_place(s: Scalars) -> bool:
    """Whether the CPU variants of ``gemm`` can read B where it lies: by rows, whole vectors of 8."""
    return int(s["b_n"]) == 1 and int(s["N"]) % 8 == 0


def _cpu_variants(in_place: bool) -> tuple[Variant, ...]:
    """The blocked kernel for CPUs: A by rows or by columns, B packed or ``in_place``."""

    def variant(name: str, reads_a: Callable[[Scalars], bool], defines: Mapping[str, str]) -> Variant:
        other = {"MR": 8, "KC": 256, "NPC": 4, "BLOCKS": 3, "CORES": 1}
        return Variant(
            name, "cpu", _cpu_geometry, _IN_PLACE_TUNABLES if in_place else _PACKED_TUNABLES, backends=("opencl",),
            source="cpu/gemm", vector_width=16, narrow_width=8, requires=_small_floats,
            supports=lambda s: reads_a(s) and (not in_place or reads_in_place(s)),
            test_tunables=() if in_place else ({"MR": 14, "CORES": 1}, other) if reads_a is _by_rows else (other,),
            defines={**defines, **({"GEMM_B_ROWS": ""} if in_place else {})},
        )  # fmt: skip

    return variant("cpu", _by_rows, {}), variant("cpu_columns", _by_columns, {"GEMM_A_COLUMNS": ""})


def _small_floats(info: DeviceInfo, types: Mapping[str, np.dtype]) -> bool:
    return types["ACC"] == np.float32 and floats_only(info, types)


def fp64_if_used(info: DeviceInfo, types: Mapping[str, np.dtype]) -> bool:
    """Double needs a device that has it."""
    return info.fp64 or np.dtype(np.float64) not in types.values()


def floats_only(info: DeviceInfo, types: Mapping[str, np.dtype]) -> bool:
    """Requirement of kernels that keep everything in floats."""
    return all(np.dtype(t) in _SMALL_FLOATS for t in types.values())


def _flops(s: Scalars) -> float:
    return 2.0 * _batch(s) * float(s["M"]) * float(s["N"]) * float(s["K"])


def _bytes(s: Scalars) -> float:
    m, n, k = float(s["M"]), float(s["N"]), float(s["K"])
    shared = s["b_b0"] == 0 and s["b_b1"] == 0
    return 4.0 * (_batch(s) * (m * k + m * n) + (1 if shared else _batch(s)) * n * k)


gemm = register(
    KernelSpec(
        name="gemm",
        doc="Batched matrix product of strided operands.",
        params=params(
            """
            in a: TA
            in b: TB
            out c: TC
            int M
            int N
            int K
            int nb0
            int nb1
            int a_off
            int a_b0
            int a_b1
            int a_m
            int a_k
            int b_off
            int b_b0
            int b_b1
            int b_k
            int b_n
            int c_off
            int c_b0
            int c_b1
            int c_m
            """
        ),
        types={"TA": _ALL, "TB": _ALL, "TC": _ALL, "ACC": _ACC},
        slots=_SLOTS,
        variants=(
            *_cpu_variants(in_place=True),
            *TENSOR_VARIANTS,
            Variant(
                "gpu", "gpu", _tile_geometry, TILE_TUNABLES, requires=fp64_if_used, constraint=tile_fits,
                local_bytes=tile_bytes, min_blocks=2,
                test_tunables=(
                    {"BM": 32, "BN": 64, "BK": 8, "RM": 2}, {"BM": 128, "BN": 128, "BK": 8, "RM": 8, "RN": 8},
                ),
            ),
            Variant(
                "simple", "any", _simple_geometry, _SIMPLE_TUNABLES, source="gemm_simple", requires=fp64_if_used,
                test_tunables=({"ROWS": 1},),
            ),
        ),
        reference=_reference,
        cases=lambda: (*gemm_cases.strided_cases(), *gemm_tensor_cases.tensor_cases()),
        flops=_flops,
        bytes=_bytes,
    )
)  # fmt: skip

gemm_packed = register(
    KernelSpec(
        name="gemm_packed",
        doc="Batched matrix product with B packed in panels of 32 columns.",
        params=params(
            """
            in a: TA
            in b: TB
            out c: TC
            int M
            int N
            int K
            int nb0
            int nb1
            int a_off
            int a_b0
            int a_b1
            int a_m
            int a_k
            int b_off
            int b_b0
            int b_b1
            int c_off
            int c_b0
            int c_b1
            int c_m
            """
        ),
        types={
            "TA": _SMALL_FLOATS + BYTES, "TB": _SMALL_FLOATS + BYTES, "TC": _SMALL_FLOATS + RESULTS,
            "ACC": tuple(dtypes.from_short(n) for n in ("f32", "i32")),
        },
        slots=_SLOTS,
        variants=(
            replace(FEW_ROWS, requires=_small_floats),
            BYTES_VARIANT,
            *_cpu_variants(in_place=False),
            Variant(
                "any", "any", _simple_geometry, _SIMPLE_TUNABLES, source="gemm_packed", test_tunables=({"ROWS": 1},)
            ),
        ),
        reference=_reference,
        cases=gemm_cases.packed_cases,
        flops=_flops,
        bytes=_bytes,
    )
)  # fmt: skip
