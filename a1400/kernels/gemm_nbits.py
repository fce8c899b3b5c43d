"""Matrix product with weights of 2, 4 or 8 bits that stay packed in memory, scaled block by block along the depth.

``C[m, n] = EPILOGUE(sum_k A[m, k] * (q[n, k] - zeros[n, k / block]) * scales[n, k / block])``

==============  ==============================================================================================
``gemm_nbits``  in a: TA, in b: u8, in scales: TS, in zeros: TZ, out c: TC; int M N K bits block blocks, a_off a_m (a_k
                is 1), z_n z_b, c_off c_m
==============  ==============================================================================================

``b`` is ``[N, blocks, block * bits / 8]`` with the first weight in the lowest bits of a byte, as ONNX Runtime's
MatMulNBits has it; ``blocks = ceil(K / block)``, and what is beyond K is not looked at.  ``zeros`` has strides (0, 0)
where all are one.  Weights are read once per 4 rows (32 on CPUs) and never written out: this is for few rows, and for
weights that would not fit into memory otherwise.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np

from a1400 import dtypes
from a1400.backends.base import Grid
from a1400.kernels.check import slot_reference
from a1400.kernels.gemm_cases import Slots, bias_relu_add
from a1400.kernels.gemm_pack import poison, strided
from a1400.kernels.spec import Case, Data, KernelSpec, Scalars, Slot, Tunable, Tunables, Variant, params, register

BITS = (2, 4, 8)
_FLOATS = tuple(dtypes.from_short(n) for n in ("f32", "f16", "bf16"))
_MOST_GROUPS = 65535


def unpacked(b: np.ndarray, bits: int) -> np.ndarray:
    """Weights [..., bytes] as u8 numbers [..., bytes * 8 / bits]."""
    each = 8 // bits
    parts = np.stack([(b >> (i * bits)) & ((1 << bits) - 1) for i in range(each)], -1)
    return parts.reshape(*b.shape[:-1], b.shape[-1] * each)


def dequantized(b: np.ndarray, scales: np.ndarray, zeros: np.ndarray, bits: int, depth: int) -> np.ndarray:
    """``b[N, blocks, blob]`` with scales and zeros [N, blocks] as the matrix [depth, N] (float64)."""
    q = unpacked(b, bits).astype(np.float64)
    w = (q - zeros[..., None].astype(np.float64)) * scales[..., None].astype(np.float64)
    return w.reshape(w.shape[0], -1)[:, :depth].T


def _reference(arrays: Mapping[str, np.ndarray], s: Scalars, case: Case) -> dict[str, np.ndarray]:
    i = {k: int(v) for k, v in s.items()}
    a = strided(arrays["a"], i["a_off"], (i["M"], i["K"]), (i["a_m"], 1))
    b = arrays["b"].reshape(i["N"], i["blocks"], i["block"] * i["bits"] // 8)
    zeros = strided(arrays["zeros"], 0, (i["N"], i["blocks"]), (i["z_n"], i["z_b"]))
    w = dequantized(b, arrays["scales"].reshape(i["N"], i["blocks"]), zeros, i["bits"], i["K"])
    c = slot_reference(case, "EPILOGUE", (a.astype(np.float64) @ w)[None])[0]
    shape, _ = case.outputs["c"]
    out = poison(shape, case.types["TC"]).astype(c.dtype).reshape(-1)
    for m in range(i["M"]):
        start = i["c_off"] + m * i["c_m"]
        out[start : start + i["N"]] = c[m]
    return {"c": out.reshape(shape)}


def _lanes_geometry(s: Scalars, t: Tunables) -> tuple[Grid, Grid]:
    rows = -(-int(s["M"]) // t["ROWS"])
    return (min(int(s["N"]), 2**30), min(rows, _MOST_GROUPS), 1), (32, 1, 1)


def _cpu_geometry(s: Scalars, t: Tunables) -> tuple[Grid, Grid]:
    return (-(-int(s["N"]) // t["COLUMNS"]), 1, 1), (1, 1, 1)


def case(
    name: str, m: int, n: int, k: int, bits: int, block: int, *, types: str = "f32", zero: bool = True, pad: int = 0,
    slots: Slots | None = None,
) -> Case:  # fmt: skip
    """One product; without ``zero`` all zero points are the middle of the range."""
    kind, rng = dtypes.from_short(types), np.random.default_rng(5)
    blocks, offset = -(-k // block), 3 if pad else 0
    b = rng.integers(0, 256, n * blocks * block * bits // 8).astype(np.uint8)
    zeros = rng.integers(0, 1 << bits, n * blocks) if zero else np.array([1 << (bits - 1)])
    arrays: dict[str, Data | np.ndarray] = {
        "a": Data((m * (k + pad) + offset,), "TA"), "b": b, "zeros": zeros.astype(np.float32),
        "scales": (2.0 ** -rng.integers(1, 4, n * blocks)).astype(kind),
    }  # fmt: skip
    scalars = {
        "M": m, "N": n, "K": k, "bits": bits, "block": block, "blocks": blocks, "a_off": offset, "a_m": k + pad,
        "z_n": blocks if zero else 0, "z_b": int(zero), "c_off": offset, "c_m": n + pad,
    }  # fmt: skip
    kinds = {"TA": kind, "TS": kind, "TZ": np.dtype(np.float32), "TC": kind}
    return Case(name, arrays, scalars, {"c": ((m * (n + pad) + offset,), "TC")}, kinds, slots or {})


def _cases() -> Iterable[Case]:
    yield case("one row", 1, 70, 128, 4, 32, zero=False)
    yield case("depth left over", 3, 21, 75, 4, 32, pad=5)
    yield case("many rows", 37, 20, 1100, 4, 16, slots=bias_relu_add((1, 37, 20)))
    yield case("2 bits", 5, 9, 50, 2, 16)
    yield case("8 bits", 2, 33, 130, 8, 64, zero=False)
    yield case("f16", 2, 18, 96, 4, 32, types="f16")


gemm_nbits = register(
    KernelSpec(
        name="gemm_nbits",
        doc="Matrix product with packed weights of 2, 4 or 8 bits.",
        params=params(
            """
            in a: TA
            in b: u8
            in scales: TS
            in zeros: TZ
            out c: TC
            int M
            int N
            int K
            int bits
            int block
            int blocks
            int a_off
            int a_m
            int z_n
            int z_b
            int c_off
            int c_m
            """
        ),
        types={"TA": _FLOATS, "TS": _FLOATS, "TZ": _FLOATS, "TC": _FLOATS},
        slots=(
            Slot("EPILOGUE", ("b", "m", "n"), "f32", "each sum before it is stored; b is 0",
                 lambda s: float(s["M"]) * float(s["N"])),
        ),
        variants=(
            Variant(
                "cpu", "cpu", _cpu_geometry,
                (
                    Tunable("COLUMNS", 16, (4, 16, 64), "columns of a work-item"),
                    Tunable("DEPTH", 1024, (512, 1024, 2048), "weights of a column that are kept as floats"),
                ),
                backends=("opencl",), source="cpu/gemm_nbits", vector_width=16,
                supports=lambda s: int(s["bits"]) in (4, 8) and int(s["block"]) % 16 == 0,
            ),
            Variant(
                "lanes", "any", _lanes_geometry,
                (Tunable("ROWS", 4, (1, 4, 8), "rows that share a reading of weights"),), test_tunables=({"ROWS": 1},),
            ),
        ),
        reference=_reference,
        cases=_cases,
        flops=lambda s: 2.0 * float(s["M"]) * float(s["N"]) * float(s["K"]),
        bytes=lambda s: 4.0 * float(s["M"]) * (float(s["K"]) + float(s["N"])) + float(s["N"]) * float(s["blocks"])
        * (float(s["block"]) * float(s["bits"]) / 8 + 4),
    )
)  # fmt: skip
