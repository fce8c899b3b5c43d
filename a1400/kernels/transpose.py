"""Batched matrix transposition: the copy whose two sides walk memory in different directions.

``transpose`` writes ``y[a, b, c, r] = x[a, b, r, c]`` for ``a < n0``, ``b < n1``, ``r < rows``, ``c < cols``; ``c`` is
consecutive in ``x`` and ``r`` in ``y``, the other strides are free.  Elements move as words of their size, whatever
their dtype: :func:`word` names it.  The pointwise kernel computes the same, one gathered element at a time.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from a1400 import dtypes
from a1400.backends.base import Grid
from a1400.kernels.spec import Case, KernelSpec, Scalars, Tunable, Tunables, Variant, params, register

WORDS = tuple(np.dtype(t) for t in (np.uint8, np.uint16, np.uint32, np.uint64))

_WORTH = 8  # rows and columns below which a tile is mostly edge


def word(dtype: np.dtype) -> np.dtype:
    """The unsigned type as wide as ``dtype``: the kernel's ``T`` for moving it."""
    return np.dtype(f"u{np.dtype(dtype).itemsize}")


def match(sizes: Sequence[int], out_strides: Sequence[int], in_strides: Sequence[int]) -> dict[str, int] | None:
    """The kernel's scalars, offsets at 0, if a copy over ``sizes`` is a transposition worth its tiles, else None.

    Strides are in elements, as :func:`a1400.kernels.pointwise.collapse` leaves them.
    """
    dims = [d for d, n in enumerate(sizes) if n > 1]
    row = next((d for d in dims if out_strides[d] == 1), None)
    column = next((d for d in dims if in_strides[d] == 1), None)
    if row is None or column is None or row == column or len(dims) > 4:
        return None
    if min(sizes[row], sizes[column]) < _WORTH or out_strides[column] == 0:
        return None
    outer = [d for d in dims if d not in (row, column)]
    s = {"n0": 1, "n1": 1, "x_s0": 0, "x_s1": 0, "y_s0": 0, "y_s1": 0, "x_off": 0, "y_off": 0}
    for name, d in zip(("1", "0"), reversed(outer)):
        s |= {f"n{name}": sizes[d], f"x_s{name}": in_strides[d], f"y_s{name}": out_strides[d]}
    return s | {"rows": sizes[row], "cols": sizes[column], "x_sr": in_strides[row], "y_sc": out_strides[column]}


def _tiles(s: Scalars, side: int) -> int:
    across, down = -(-int(s["cols"]) // side), -(-int(s["rows"]) // side)
    return across * down * int(s["n0"]) * int(s["n1"])


def _cpu(s: Scalars, t: Tunables) -> tuple[Grid, Grid]:
    return (_tiles(s, t["BLOCK"]), 1, 1), (1, 1, 1)


def _gpu(s: Scalars, t: Tunables) -> tuple[Grid, Grid]:
    return (_tiles(s, t["TILE"]), 1, 1), (t["TILE"] * t["LINES"], 1, 1)


def _reference(arrays: Mapping[str, np.ndarray], s: Scalars, case: Case) -> dict[str, np.ndarray]:
    (count,), _ = case.outputs["y"]
    dtype = case.types["T"]
    a, b, r, c = np.ogrid[: int(s["n0"]), : int(s["n1"]), : int(s["rows"]), : int(s["cols"])]
    y = np.frombuffer(bytearray([0xC3]) * (count * dtype.itemsize), dtype).copy()  # untouched places keep the poison
    to = s["y_off"] + a * s["y_s0"] + b * s["y_s1"] + c * s["y_sc"] + r
    y[to] = arrays["x"][s["x_off"] + a * s["x_s0"] + b * s["x_s1"] + r * s["x_sr"] + c]
    return {"y": y}


def _cases() -> Iterator[Case]:
    shapes = [
        (1, 1, 1, 1), (1, 1, 1, 40), (1, 1, 40, 1), (1, 2, 16, 16), (2, 1, 17, 33), (1, 1, 64, 64), (2, 3, 70, 35),
        (1, 1, 3, 100), (3, 1, 130, 20),
    ]  # fmt: skip
    for dtype in WORDS:
        for n0, n1, rows, cols in shapes if dtype == np.uint32 else shapes[5:7]:
            yield _case(f"{n0}x{n1}x{rows}x{cols} {dtypes.short(dtype)}", dtype, n0, n1, rows, cols, 0)
        yield _case(f"padded {dtypes.short(dtype)}", dtype, 2, 3, 37, 50, 5)


def _case(name: str, dtype: np.dtype, n0: int, n1: int, rows: int, cols: int, gap: int) -> Case:
    """``gap`` widens every stride and shifts both sides."""
    x_sr, y_sc = cols + gap, rows + gap
    size = max(rows * x_sr, cols * y_sc) + gap
    s = {
        "n0": n0, "n1": n1, "rows": rows, "cols": cols, "x_off": gap, "x_s0": n1 * size, "x_s1": size, "x_sr": x_sr,
        "y_off": 2 * gap, "y_s0": size, "y_s1": n0 * size, "y_sc": y_sc,
    }  # fmt: skip
    count = n0 * n1 * size + 2 * gap
    x = np.random.default_rng(1).integers(0, 2**63, count, np.uint64).astype(dtype)
    return Case(name, {"x": x}, s, {"y": ((count,), "T")}, {"T": dtype})


TRANSPOSE = register(
    KernelSpec(
        name="transpose",
        doc="Batched matrix transposition of words of 1, 2, 4 or 8 bytes, free outer strides.",
        params=params(
            """
            in x: T
            out y: T
            int n0
            int n1
            int rows
            int cols
            int x_off
            int x_s0
            int x_s1
            int x_sr
            int y_off
            int y_s0
            int y_s1
            int y_sc
            """
        ),
        variants=(
            Variant(
                "cpu", "cpu", _cpu, (Tunable("BLOCK", 64, (32, 64, 128), "rows and columns of a work-item"),),
                backends=("opencl",), source="cpu/transpose", test_tunables=({"BLOCK": 32},),
            ),
            Variant(
                "gpu", "gpu", _gpu,
                (Tunable("TILE", 32, (16, 32), "side of a tile"), Tunable("LINES", 8, (4, 8), "lines of threads")),
                local_bytes=lambda types, t: types["T"].itemsize * t["TILE"] * (t["TILE"] + 1),
                test_tunables=({"TILE": 16, "LINES": 8},),
            ),
        ),
        reference=_reference,
        cases=_cases,
        types={"T": WORDS},
        bytes=lambda s: 8.0 * s["n0"] * s["n1"] * s["rows"] * s["cols"],
    )
)  # fmt: skip
