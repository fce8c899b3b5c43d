"""Scatters: the engine first copies the data to ``y``, the kernel applies the updates in place.

Results do not depend on scheduling: every element of ``y`` has one owner, which meets its updates in index order (of
duplicates the last wins, sums are made in order).  Negative indices count from the end; updates whose index is out of
range are *dropped*, or with ``clamp_outside`` go where the gathers, which clamp, read.  ``reduction``: 0 none, 1 add, 2
mul, 3 max, 4 min.

===================  ===============================================================================================
scatter_elements     ``y[c with its axis coordinate replaced by idx[c]] op= updates[c]``; idx and updates contiguous
                     of shape n0..n5, ``axis`` the position of the axis among those six; y's element at
                     ``y_off + sum(c_d * y0..y5) + index * y_axis``, y_d of the axis itself 0, N its size
                     (:func:`elements_scalars`).  One work-item per line along the axis
scatter_nd           ``y[y_off + (idx[p,0], .., idx[p,K-1]), :] op= updates[p, :]``; contiguous; P tuples, K <= 6
                     indices, I inner elements, indexed dims of sizes n0.. (:func:`nd_scalars`).  ROWS = their product.
                     Sums of rows by one index, which is an embedding's gradient, have variants of their own
===================  ===============================================================================================
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from a1400 import dtypes
from a1400.backends.base import Grid
from a1400.kernels import gather
from a1400.kernels.gather import GROUP, INDEX_TYPES, RANK, per_element
from a1400.kernels.geometry import WIDTH, runs_vectors
from a1400.kernels.spec import Case, Data, KernelSpec, Scalars, Tunable, Tunables, Variant, params, register
from a1400.kernels.strided import ceil_div

REDUCTIONS = ("none", "add", "mul", "max", "min")
PARTS = 64  # owners of rows per inner element, where rows are short
F32, I64, I32 = np.dtype(np.float32), np.dtype(np.int64), np.dtype(np.int32)
_OPS = (lambda old, new: new, np.add, np.multiply, np.maximum, np.minimum)


def elements_scalars(
    y_shape: Sequence[int], idx_shape: Sequence[int], axis: int, reduction: str = "none", clamp: bool = False
) -> dict[str, int]:
    """Scalars of ``scatter_elements`` for dense tensors."""
    s = gather.elements_scalars(y_shape, idx_shape, axis)
    result = {("y" + k[1:] if k.startswith("x") else k): v for k, v in s.items()}
    merged, _, axis = gather.merged_axes(y_shape, idx_shape, axis % max(len(y_shape), 1))
    place = axis + RANK - len(merged)
    return result | {"axis": place, "reduction": REDUCTIONS.index(reduction), "clamp_outside": int(clamp)}


def nd_scalars(
    y_shape: Sequence[int], idx_shape: Sequence[int], reduction: str = "none", clamp: bool = False
) -> dict[str, int]:
    """Scalars of ``scatter_nd`` for dense tensors."""
    s = gather.nd_scalars(y_shape, idx_shape)
    del s["BATCH"]
    rows = int(np.prod(y_shape[: idx_shape[-1]], dtype=np.int64))
    return s | {"ROWS": rows, "reduction": REDUCTIONS.index(reduction), "clamp_outside": int(clamp), "y_off": 0}


def _update(y: np.ndarray, at: int | slice, value: np.ndarray, reduction: int) -> None:
    y[at] = _OPS[reduction](y[at], value)


def _elements_reference(arrays: Mapping[str, np.ndarray], s: Scalars, case: Case) -> dict[str, np.ndarray]:
    n = {k: int(v) for k, v in s.items()}
    shape = tuple(n[f"n{d}"] for d in range(RANK))
    at = np.indices(shape)
    base = (n["y_off"] + sum(at[d] * n[f"y{d}"] for d in range(RANK))).reshape(-1)
    idx = arrays["idx"].reshape(-1).astype(np.int64)
    idx = np.where(idx < 0, idx + n["N"], idx)
    if n["clamp_outside"]:
        idx = np.clip(idx, 0, n["N"] - 1)
    y = np.array(arrays["y"]).reshape(-1)
    updates = arrays["updates"].reshape(-1)
    for p in np.flatnonzero((idx >= 0) & (idx < n["N"])):  # C order meets each line in index order
        _update(y, base[p] + idx[p] * n["y_axis"], updates[p], n["reduction"])
    return {"y": y.reshape(arrays["y"].shape)}


def _nd_reference(arrays: Mapping[str, np.ndarray], s: Scalars, case: Case) -> dict[str, np.ndarray]:
    n = {k: int(v) for k, v in s.items()}
    y = np.array(arrays["y"]).reshape(n["ROWS"], n["I"])
    idx, updates = arrays["idx"].reshape(n["P"], n["K"]), arrays["updates"].reshape(n["P"], n["I"])
    for p in range(n["P"]):
        row, good = 0, True
        for d in range(n["K"]):
            size = n[f"n{d}"]
            i = int(idx[p, d]) + (size if idx[p, d] < 0 else 0)
            i = min(max(i, 0), size - 1) if n["clamp_outside"] else i
            good &= 0 <= i < size
            row = row * size + i
        if good:
            y[row] = _OPS[n["reduction"]](y[row], updates[p])
    return {"y": y.reshape(arrays["y"].shape)}


def _lines(s: Scalars, t: Tunables) -> tuple[Grid, Grid]:
    total = int(np.prod([int(s[f"n{d}"]) for d in range(RANK) if d != s["axis"]]))
    return (ceil_div(total, 64), 1, 1), (64, 1, 1)


def _elements_case(
    name: str, y_shape: tuple[int, ...], idx_shape: tuple[int, ...], axis: int, reduction: str = "none",
    types: tuple[np.dtype, np.dtype] = (F32, I64), wild: int = 0, clamp: bool = False,
) -> Case:  # fmt: skip
    n = y_shape[axis]
    index = np.random.default_rng(5).integers(-n - wild, n + wild, idx_shape).astype(types[1])
    arrays: dict[str, Data | np.ndarray] = {
        "idx": index, "updates": Data(idx_shape, "T", -2, 3), "y": Data(y_shape, "T", -2, 3),
    }  # fmt: skip
    values = elements_scalars(y_shape, idx_shape, axis, reduction, clamp)
    return Case(name, arrays, values, {}, {"T": types[0], "TI": types[1]})


def _elements_cases() -> Iterator[Case]:
    yield _elements_case("one", (1,), (1,), 0)
    yield _elements_case("flat", (20,), (50,), 0)
    yield _elements_case("rows", (5, 7), (3, 6), 1, "add")
    yield _elements_case("wild", (5, 7), (3, 6), 1, wild=4)
    yield _elements_case("clamped", (5, 7), (3, 6), 1, "add", wild=4, clamp=True)
    yield _elements_case("six", (2, 3, 2, 3, 2, 3), (2, 2, 2, 2, 2, 3), 3, "add")
    for reduction in REDUCTIONS:
        yield _elements_case(reduction, (4, 6, 3), (4, 5, 2), 1, reduction)
        yield _elements_case(f"{reduction}_i64", (4, 6), (3, 5), 0, reduction, (I64, I32))
    for dtype in dtypes.ALL:
        yield _elements_case(f"type_{dtypes.short(dtype)}", (4, 6), (3, 5), 0, "none", (dtype, I64))


def _nd_case(
    name: str, y_shape: tuple[int, ...], idx_shape: tuple[int, ...], reduction: str = "none",
    types: tuple[np.dtype, np.dtype] = (F32, I64), wild: int = 0, clamp: bool = False,
) -> Case:  # fmt: skip
    sizes = np.array(y_shape[: idx_shape[-1]])
    index = np.random.default_rng(5).integers(-sizes - wild, sizes + wild, idx_shape).astype(types[1])
    shape = idx_shape[:-1] + y_shape[idx_shape[-1] :]
    arrays: dict[str, Data | np.ndarray] = {
        "idx": index, "updates": Data(shape, "T", -2, 3), "y": Data(y_shape, "T", -2, 3),
    }  # fmt: skip
    return Case(name, arrays, nd_scalars(y_shape, idx_shape, reduction, clamp), {}, {"T": types[0], "TI": types[1]})


def _nd_cases() -> Iterator[Case]:
    yield _nd_case("one", (1,), (1, 1))
    yield _nd_case("rows", (9, 37), (5, 1))
    yield _nd_case("long_rows", (3, 700), (4, 1), "add")
    yield _nd_case("elements", (4, 5, 6), (90, 3), "add")
    yield _nd_case("duplicates", (3, 2), (20, 1))
    yield _nd_case("wild", (4, 5), (30, 2), wild=3)
    yield _nd_case("clamped", (4, 5), (30, 2), "add", wild=3, clamp=True)
    yield _nd_case("embedding", (9, 70), (70, 1), "add", wild=1)
    yield _nd_case("embedding_clamped", (5, 16), (9, 1), "add", (F32, I32), wild=2, clamp=True)
    yield _nd_case("deep", (2, 3, 2, 3, 2, 3), (2, 5, 6))
    for reduction in REDUCTIONS:
        yield _nd_case(reduction, (6, 3, 5), (4, 2), reduction)
        yield _nd_case(f"{reduction}_i32", (6, 5), (7, 1), reduction, (I32, I32))
    for dtype in dtypes.ALL:
        yield _nd_case(f"type_{dtypes.short(dtype)}", (6, 5), (4, 1), "none", (dtype, I64))


def _adds_rows(s: Scalars) -> bool:
    return s["K"] == 1 and s["reduction"] == REDUCTIONS.index("add")


def _columns(s: Scalars, t: Tunables) -> tuple[Grid, Grid]:
    """Blocks of columns; where those are few and there is much to do, each for several classes of rows."""
    blocks = ceil_div(int(s["I"]), t["COLUMNS"])
    parts = max(1, _PIECES // max(blocks, 1)) if s["P"] * s["I"] > _WORTH else 1
    return (blocks * parts if s["P"] else 0, 1, 1), (1, 1, 1)


_PIECES = 16  # work-items that keep a CPU's cores evenly busy
_WORTH = 4096  # updates that are worth reading the indices several times
_TYPES = {"T": dtypes.ALL, "TI": INDEX_TYPES}
_SIZES = "\n".join(f"int n{d}" for d in range(RANK))

SCATTER_ELEMENTS = register(
    KernelSpec(
        name="scatter_elements",
        doc="updates by index along one axis (ONNX ScatterElements), in place, deterministic",
        params=params(
            "in idx: TI\nin updates: T\ninout y: T\n" + _SIZES + "\n" + "\n".join(f"int y{d}" for d in range(RANK))
            + "\nint y_axis\nint N\nint y_off\nint axis\nint reduction\nint clamp_outside"
        ),
        variants=(Variant("any", "any", _lines, requires=lambda i, t: i.fp64 or t["T"] != np.float64),),
        reference=_elements_reference,
        cases=_elements_cases,
        types=_TYPES,
        bytes=lambda s: 12.0 * float(np.prod([s[f"n{d}"] for d in range(RANK)])),
    )
)  # fmt: skip

SCATTER_ND = register(
    KernelSpec(
        name="scatter_nd",
        doc="updates by index tuples (ONNX ScatterND), in place, deterministic",
        params=params(
            "in idx: TI\nin updates: T\ninout y: T\nint P\nint K\nint I\n" + _SIZES + "\nint ROWS\nint reduction"
            "\nint clamp_outside\nint y_off"
        ),
        variants=(
            Variant(
                "cpu", "cpu", _columns, (Tunable("COLUMNS", 64, (32, 64, 128), "columns of a work-item"),),
                ("opencl",), "cpu/scatter_rows", WIDTH,
                requires=lambda i, t: dtypes.is_float(t["T"]) and runs_vectors(i, {"T": t["T"]}),
                supports=lambda s: _adds_rows(s) and s["I"] >= WIDTH,
            ),
            Variant(
                "rows", "gpu", lambda s, t: ((int(s["P"]) if s["I"] else 0, 1, 1), (t["LANES"], 1, 1)),
                (
                    Tunable("LANES", 128, (32, 64, 128, 256), "work-items per index, a power of two"),
                    Tunable("EACH", 16, (2, 4, 8, 16, 32), "indices that each of them compares at a time"),
                ),
                source="scatter_rows", requires=lambda i, t: i.fp64 or t["T"] != np.float64, supports=_adds_rows,
                test_tunables=({"LANES": 32, "EACH": 2},),
            ),
            Variant("any", "any", lambda s, t: per_element(int(s["I"]) * PARTS, t), GROUP,
                    requires=lambda i, t: i.fp64 or t["T"] != np.float64),
        ),
        reference=_nd_reference,
        cases=_nd_cases,
        types=_TYPES,
        bytes=lambda s: 12.0 * s["P"] * s["I"],
    )
)  # fmt: skip
