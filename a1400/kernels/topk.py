"""The k largest or smallest elements of each row, sorted; with k = n this sorts.

===========  ===================================================================================  =====================
spec         parameters                                                                           T
===========  ===================================================================================  =====================
``topk``     in x: T, out values: T, out indices: i64, int rows, n, k, largest, x_off, x_row,     up to 32 bits, bool
             int x_col
``topk_64``  the same                                                                             f64, i64, u64
===========  ===================================================================================  =====================

Element j of row r is ``x[x_off + r x_row + j x_col]``; ``values`` and ``indices`` are contiguous ``[rows, k]``, best
first. Equal elements come in index order.  NaN counts as larger than every number (NumPy, PyTorch), the two zeros as
equal. 1 <= k <= n.  No slots and no scratch buffer: ``indices`` holds the work in progress.

On GPUs rows with ``MERGE_K`` < k < n rank every element against the whole row, O(n^2); for rows of more than some ten
thousand elements :func:`padded_k` says to sort (k = n) and slice instead.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from a1400 import dtypes
from a1400.backends.base import DeviceInfo, Grid
from a1400.kernels.geometry import ceil_div, cpu_blocks, runs
from a1400.kernels.spec import Case, Data, KernelSpec, Scalars, Tunable, Tunables, Variant, params, register

MERGE_K = 512  # longest list that the merging variant keeps in local memory
_WIDE = tuple(dtypes.from_short(n) for n in ("f64", "i64", "u64"))
_NARROW = tuple(t for t in dtypes.ALL if t not in _WIDE)


def spec_name(dtype: np.dtype) -> str:
    """The spec that orders elements of ``dtype``."""
    return "topk_64" if np.dtype(dtype) in _WIDE else "topk"


def padded_k(info: DeviceInfo, n: int, k: int) -> int:
    """The k to call with on ``info``: k itself, or n where sorting all and taking the first k is quicker."""
    return n if info.kind == "gpu" and MERGE_K < k < n and n > 32768 else k


def _reference(arrays: Mapping[str, np.ndarray], s: Scalars, case: Case) -> Mapping[str, np.ndarray]:
    flat = arrays["x"].reshape(-1)[int(s["x_off"]) :]
    rows, n, k = (int(s[name]) for name in ("rows", "n", "k"))
    v = np.lib.stride_tricks.as_strided(flat, (rows, n), [int(s[c]) * flat.itemsize for c in ("x_row", "x_col")])
    # a stable sort puts NaN last; the largest first and still stable: sort the reversed row, then reverse
    if s["largest"]:
        order = n - 1 - np.argsort(v[:, ::-1], axis=1, kind="stable")[:, ::-1]
    else:
        order = np.argsort(v, axis=1, kind="stable")
    order = order[:, :k]
    return {"values": np.take_along_axis(v, order, 1), "indices": order}


def _cpu(s: Scalars, t: Tunables) -> tuple[Grid, Grid]:
    return cpu_blocks(int(s["rows"]), 16 * int(s["rows"] * s["n"]))


def _rank(s: Scalars, t: Tunables) -> tuple[Grid, Grid]:
    return (ceil_div(int(s["n"]), t["GROUP"]) * int(s["rows"]), 1, 1), (t["GROUP"], 1, 1)


def _row_groups(s: Scalars, t: Tunables) -> tuple[Grid, Grid]:
    return (int(s["rows"]), 1, 1), (t["GROUP"], 1, 1)


_GROUP = Tunable("GROUP", 256, (64, 128, 256), "work-items per group")
_VARIANTS = (
    Variant("cpu", "cpu", _cpu, backends=("opencl",), source="cpu/topk", requires=runs),
    Variant(
        "merge_short", "gpu", _row_groups,
        (Tunable("GROUP", 64, (32, 64), "work-items per group"), Tunable("HALF", 64, (64,), "list kept, at least k")),
        source="topk", requires=runs, supports=lambda s: s["k"] <= 64,
    ),
    Variant(
        "merge", "gpu", _row_groups, (_GROUP, Tunable("HALF", MERGE_K, (MERGE_K,), "list kept, at least k")),
        source="topk", requires=runs, supports=lambda s: s["k"] <= MERGE_K,
        local_bytes=lambda types, t: 16 * t["HALF"],
    ),
    Variant(
        "sort", "gpu", _row_groups, (_GROUP,), source="topk_sort", requires=runs, supports=lambda s: s["k"] == s["n"]
    ),
    Variant("rank", "any", _rank, (_GROUP,), source="topk_rank", requires=runs),
)  # fmt: skip


def _case(
    name: str, rows: int, n: int, k: int, *, largest: int = 1, t: str = "f32", x: np.ndarray | None = None,
    transposed: bool = False,
) -> Case:  # fmt: skip
    step = (1, rows) if transposed else (n + 2, 1)
    size = 4 + (rows - 1) * step[0] + (n - 1) * step[1]
    types = {"T": dtypes.from_short(t)}
    data: Any = Data((size,), "T", -50.0, 50.0) if x is None else np.resize(x, size).astype(types["T"])
    s: dict[str, int | float] = {
        "rows": rows, "n": n, "k": k, "largest": largest, "x_off": 3, "x_row": step[0], "x_col": step[1]
    }  # fmt: skip
    return Case(name, {"x": data}, s, {"values": ((rows, k), "T"), "indices": ((rows, k), "i64")}, types)


def _cases(wide: bool) -> Iterator[Case]:
    names = ("f64", "i64", "u64") if wide else ("f32", "f16", "bf16", "i32", "u8", "i8", "bool")
    first = names[0]
    special = np.array([0.5, -np.inf, 3.0, np.nan, -0.0, np.inf, 0.0, -2.0, -np.nan, 3.0, 0.0, -0.0, 1e-40])
    for largest in (0, 1):
        end = "" if largest else "_smallest"
        yield _case("one" + end, 1, 1, 1, largest=largest, t=first)
        yield _case("few" + end, 2, 7, 3, largest=largest, t=first)
        yield _case("best" + end, 2, 300, 1, largest=largest, t=first)
        yield _case("all" + end, 1, 333, 333, largest=largest, t=first)
        yield _case("special" + end, 1, 45, 45, largest=largest, t=first, x=special)
        yield _case("long" + end, 1, 700, 77, largest=largest, t=first)
    yield _case("powers", 1, 512, 512, t=first)
    yield _case("long_all", 1, 700, 700, t=first)
    yield _case("long_many", 1, 700, 600, t=first)
    yield _case("transposed", 2, 50, 9, transposed=True, t=first)
    for t in names[1:]:
        yield _case(t, 1, 90, 40, t=t)
        yield _case(t + "_smallest", 1, 90, 90, largest=0, t=t)


def _spec(name: str, wide: bool) -> KernelSpec:
    return KernelSpec(
        name=name,
        doc=f"the k best of each row, sorted, with their places ({'64-bit elements' if wide else 'up to 32 bits'})",
        params=params("""
            in x: T
            out values: T
            out indices: i64
            int rows
            int n
            int k
            int largest
            int x_off
            int x_row
            int x_col"""),
        variants=_VARIANTS,
        reference=_reference,
        cases=lambda: _cases(wide),
        types={"T": _WIDE if wide else _NARROW},
        flops=lambda s: float(s["rows"] * s["n"]),
        bytes=lambda s: 4.0 * s["rows"] * s["n"] + 12.0 * s["rows"] * s["k"],
        defines={"TOPK_WIDE": "1" if wide else "0"},
    )


TOPK, TOPK_64 = register(_spec("topk", False)), register(_spec("topk_64", True))
