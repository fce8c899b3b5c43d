"""Packed matrices for CPU GEMM: ``[ceil(N/32) panels][K][32]``, zero padded, one after the other per batch item.

=============  ======================================================================================
``gemm_pack``  in b: T, out packed: T; int K N nb0 nb1 b_off b_b0 b_b1 b_k b_n p_off p_b0 p_b1
=============  ======================================================================================

``pack_b`` does the same on the host for constants.  ``p_b0``/``p_b1`` are the strides between packed
matrices; a tightly packed batch has ``p_b1 = packed_size(K, N)`` and ``p_b0 = nb1 * p_b1``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np

from a1400 import dtypes
from a1400.backends.base import Grid
from a1400.kernels.geometry import runs
from a1400.kernels.spec import Case, Data, KernelSpec, Scalars, Tunable, Tunables, Variant, params, register

PANEL = 32
_TYPES = tuple(dtypes.from_short(n) for n in ("f32", "f16", "bf16", "f64", "i8", "u8"))


def packed_size(k: int, n: int) -> int:
    """Elements of a packed ``[k, n]`` matrix."""
    return -(-n // PANEL) * k * PANEL


def pack_b(w: np.ndarray) -> np.ndarray:
    """``[..., K, N]`` packed to ``[..., ceil(N/32), K, 32]`` of the same dtype, zero padded, C-contiguous."""
    *batch, k, n = w.shape
    panels = -(-n // PANEL)
    out = np.zeros((*batch, panels, k, PANEL), w.dtype)
    full = n // PANEL
    moved = w[..., : full * PANEL].reshape(*batch, k, full, PANEL)
    out[..., :full, :, :] = np.swapaxes(moved, -3, -2)
    if n % PANEL:
        out[..., full, :, : n % PANEL] = w[..., full * PANEL :]
    return out


def unpack_b(packed: np.ndarray, n: int) -> np.ndarray:
    """Inverse of :func:`pack_b`: ``[..., panels, K, 32]`` back to ``[..., K, n]``."""
    *batch, panels, k, _ = packed.shape
    return np.swapaxes(packed, -3, -2).reshape(*batch, k, panels * PANEL)[..., :n]


def strided(flat: np.ndarray, offset: int, shape: tuple[int, ...], strides: tuple[int, ...]) -> np.ndarray:
    """A read-only view of ``flat`` (any shape, taken as 1-D) from ``offset`` with strides in elements."""
    flat = flat.reshape(-1)[offset:]
    return np.lib.stride_tricks.as_strided(flat, shape, tuple(s * flat.itemsize for s in strides), writeable=False)


def poison(shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    """What an output that nobody writes looks like in a conformance run, so that references can have gaps."""
    count = int(np.prod(shape))
    return np.frombuffer(bytearray([0xC3]) * (count * dtype.itemsize), dtype).reshape(shape).copy()


def _reference(arrays: Mapping[str, np.ndarray], s: Scalars, case: Case) -> dict[str, np.ndarray]:
    i = {k: int(v) for k, v in s.items()}
    view = strided(arrays["b"], i["b_off"], (i["nb0"], i["nb1"], i["K"], i["N"]),
                   (i["b_b0"], i["b_b1"], i["b_k"], i["b_n"]))  # fmt: skip
    shape, _ = case.outputs["packed"]
    out = poison(shape, case.types["T"]).astype(view.dtype).reshape(-1)
    size = packed_size(i["K"], i["N"])
    for b0 in range(i["nb0"]):
        for b1 in range(i["nb1"]):
            start = i["p_off"] + b0 * i["p_b0"] + b1 * i["p_b1"]
            out[start : start + size] = pack_b(view[b0, b1]).reshape(-1)
    return {"packed": out.reshape(shape)}


def _geometry(s: Scalars, t: Tunables) -> tuple[Grid, Grid]:
    panels, k = -(-int(s["N"]) // PANEL), int(s["K"])
    return (panels, -(-k // (t["LINES"] * t["KB"])), int(s["nb0"]) * int(s["nb1"])), (PANEL, t["LINES"], 1)


def _cpu_geometry(s: Scalars, t: Tunables) -> tuple[Grid, Grid]:
    return (-(-int(s["N"]) // PANEL), -(-int(s["K"]) // t["KB"]), int(s["nb0"]) * int(s["nb1"])), (1, 1, 1)


def _case(name: str, k: int, n: int, nb: tuple[int, int], transposed: bool, dtype: str = "f32",
          pad: int = 0, offset: int = 0) -> Case:  # fmt: skip
    inner = (k if transposed else n) + pad
    size = inner * (n if transposed else k)
    total = nb[0] * nb[1] * size + offset
    packed = packed_size(k, n)
    scalars = {
        "K": k, "N": n, "nb0": nb[0], "nb1": nb[1], "b_off": offset, "b_b0": nb[1] * size, "b_b1": size,
        "b_k": 1 if transposed else inner, "b_n": inner if transposed else 1,
        "p_off": offset, "p_b0": nb[1] * packed, "p_b1": packed,
    }  # fmt: skip
    return Case(
        name, {"b": Data((total,), "T")}, scalars, {"packed": ((nb[0] * nb[1] * packed + offset,), "T")},
        {"T": dtypes.from_short(dtype)},
    )  # fmt: skip


def _cases() -> Iterable[Case]:
    yield _case("one", 1, 1, (1, 1), False)
    yield _case("row", 1, 70, (1, 1), False)
    yield _case("column", 70, 1, (1, 1), False)
    yield _case("tail", 37, 45, (1, 1), False, pad=3, offset=5)
    yield _case("transposed", 37, 45, (1, 1), True, pad=3)
    yield _case("full", 64, 64, (2, 3), False)
    yield _case("full transposed", 64, 64, (2, 3), True)
    yield _case("long", 600, 33, (1, 1), True)
    yield _case("f64", 9, 40, (1, 1), False, "f64")
    for dtype in ("i8", "u8"):
        yield _case(dtype, 19, 50, (1, 2), False, dtype)
        yield _case(f"{dtype} transposed", 35, 50, (1, 2), True, dtype)
    for dtype in ("f16", "bf16"):
        yield _case(f"{dtype}", 19, 50, (1, 2), False, dtype)
        yield _case(f"{dtype} transposed", 35, 50, (1, 2), True, dtype)
    # both strides above one
    wide = _case("every third", 9, 40, (1, 1), False, pad=80)
    yield Case(wide.name, wide.arrays, {**wide.scalars, "b_n": 3}, wide.outputs, wide.types)


gemm_pack = register(
    KernelSpec(
        name="gemm_pack",
        doc="Pack strided [K, N] matrices into [ceil(N/32)][K][32] for gemm_packed.",
        params=params(
            """
            in b: T
            out packed: T
            int K
            int N
            int nb0
            int nb1
            int b_off
            int b_b0
            int b_b1
            int b_k
            int b_n
            int p_off
            int p_b0
            int p_b1
            """
        ),
        types={"T": _TYPES},
        variants=(
            Variant(
                "cpu", "cpu", _cpu_geometry, (Tunable("KB", 256, (128, 256, 512), "rows of B per work-item"),),
                backends=("opencl",), source="cpu/gemm_pack", vector_width=16, test_tunables=({"KB": 128},),
                requires=lambda info, types: types["T"] != np.float64,
            ),
            Variant(
                "any", "any", _geometry,
                (
                    Tunable("KB", 4, (1, 4, 16), "rows of B per thread"),
                    Tunable("LINES", 8, (2, 4, 8), "lines of threads"),
                ),
                requires=runs,
            ),
        ),
        reference=_reference,
        cases=_cases,
        bytes=lambda s: 8.0 * float(s["K"]) * float(s["N"]) * float(s["nb0"]) * float(s["nb1"]),
    )
)  # fmt: skip
