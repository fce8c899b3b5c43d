"""Gathers: rows by index (ONNX Gather, embedding), elements along an axis, elements by index tuples.

Elements are moved, not computed with: ``T`` is an unsigned word of the element's size (:func:`word`).  Indices
are i32 or i64 (``TI``); negative ones count from the end; those out of range are *clamped* into it, so a kernel never
reads outside its input (the engine checks indices that it knows at load time).

===================  ===============================================================================================
gather               ``y[o, j, i] = x[o, idx[j], i]``: O outer, N size of the axis, J indices, I inner elements
                     (contiguous on both sides); x at ``x_off + o*x_o + n*x_n + i``, y at ``y_off + o*y_o + j*y_j + i``,
                     idx at ``idx_off + j``
gather_elements      ``y[c] = x[c with its axis coordinate replaced by idx[c]]``; idx and y are contiguous of shape
                     n0..n5; x element at ``x_off + sum(c_d * x0..x5) + index * x_axis`` where the stride x_d of the
                     axis itself is 0 (:func:`elements_scalars` makes all of them from shapes)
gather_nd            ``y[b, p, :] = x[b, idx[b,p,0], .., idx[b,p,K-1], :]``; all contiguous; BATCH, P tuples, K <= 6
                     indices each, I inner elements; indexed dims of sizes n0.. (:func:`nd_scalars`)
===================  ===============================================================================================
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from a1400.backends.base import Grid
from a1400.kernels.spec import Case, Data, KernelSpec, Scalars, Tunable, Tunables, Variant, params, register
from a1400.kernels.strided import ceil_div, dense, strided

WORDS = tuple(np.dtype(t) for t in (np.uint8, np.uint16, np.uint32, np.uint64))
INDEX_TYPES = (np.dtype(np.int32), np.dtype(np.int64))
RANK = 6
U32, I64, I32 = np.dtype(np.uint32), np.dtype(np.int64), np.dtype(np.int32)


def word(dtype: np.dtype) -> np.dtype:
    """The unsigned type that carries elements of ``dtype`` through a moving kernel."""
    return np.dtype(f"u{np.dtype(dtype).itemsize}")


def merged_axes(
    x_shape: Sequence[int], idx_shape: Sequence[int], axis: int
) -> tuple[list[int], list[int], int]:
    """The two shapes with neighbouring axes made one where both run through them alike, down to :data:`RANK` axes."""
    x, idx = list(x_shape), list(idx_shape)
    d = len(x) - 1
    while d > 0 and len(x) > RANK:
        if axis not in (d - 1, d) and x[d] == idx[d]:
            x[d - 1 : d + 1] = [x[d - 1] * x[d]]
            idx[d - 1 : d + 1] = [idx[d - 1] * idx[d]]
            axis -= axis > d
        d -= 1
    return x, idx, axis


def elements_scalars(x_shape: Sequence[int], idx_shape: Sequence[int], axis: int) -> dict[str, int]:
    """Scalars of ``gather_elements`` (and, with y for x, of ``scatter_elements``) for dense tensors."""
    x_shape, idx_shape, axis = merged_axes(x_shape, idx_shape, axis % max(len(x_shape), 1))
    rank = len(x_shape)
    if rank > RANK:
        raise ValueError(f"rank {rank} is above {RANK}")
    strides = dense(x_shape)
    pad = RANK - rank
    result = {f"n{d}": ([1] * pad + list(idx_shape))[d] for d in range(RANK)}
    moved = [0] * pad + [0 if d == axis else st for d, st in enumerate(strides)]
    return result | {f"x{d}": moved[d] for d in range(RANK)} | {"x_axis": strides[axis], "N": x_shape[axis], "x_off": 0}


def nd_scalars(x_shape: Sequence[int], idx_shape: Sequence[int], batch_dims: int = 0) -> dict[str, int]:
    """Scalars of ``gather_nd`` for dense tensors."""
    depth = idx_shape[-1]
    if depth > RANK:
        raise ValueError(f"index depth {depth} is above {RANK}")
    sizes = list(x_shape[batch_dims : batch_dims + depth])
    count = lambda dims: int(np.prod(dims, dtype=np.int64))  # noqa: E731
    result = {
        "BATCH": count(x_shape[:batch_dims]), "P": count(idx_shape[batch_dims:-1]), "K": depth,
        "I": count(x_shape[batch_dims + depth :]),
    }  # fmt: skip
    return result | {f"n{d}": (sizes + [1] * RANK)[d] for d in range(RANK)}


def _indices(idx: np.ndarray, size: int) -> np.ndarray:
    idx = idx.astype(np.int64)
    return np.clip(np.where(idx < 0, idx + size, idx), 0, max(size - 1, 0))


def _gather_reference(arrays: Mapping[str, np.ndarray], s: Scalars, case: Case) -> dict[str, np.ndarray]:
    n = {k: int(v) for k, v in s.items()}
    idx = _indices(arrays["idx"].reshape(-1)[n["idx_off"] : n["idx_off"] + n["J"]], n["N"])
    x = strided(arrays["x"], n["x_off"], (n["O"], n["N"], n["I"]), (n["x_o"], n["x_n"], 1))
    shape, _ = case.outputs["y"]
    result = np.zeros(int(np.prod(shape)), arrays["x"].dtype)
    strided(result, n["y_off"], (n["O"], n["J"], n["I"]), (n["y_o"], n["y_j"], 1))[...] = x[:, idx]
    return {"y": result.reshape(shape)}


def _elements_reference(arrays: Mapping[str, np.ndarray], s: Scalars, case: Case) -> dict[str, np.ndarray]:
    n = {k: int(v) for k, v in s.items()}
    shape = tuple(n[f"n{d}"] for d in range(RANK))
    at = np.indices(shape)
    where = n["x_off"] + sum(at[d] * n[f"x{d}"] for d in range(RANK))
    where = where + _indices(arrays["idx"].reshape(shape), n["N"]) * n["x_axis"]
    return {"y": arrays["x"].reshape(-1)[where].reshape(case.outputs["y"][0])}


def _nd_reference(arrays: Mapping[str, np.ndarray], s: Scalars, case: Case) -> dict[str, np.ndarray]:
    n = {k: int(v) for k, v in s.items()}
    sizes = [n[f"n{d}"] for d in range(n["K"])]
    x = arrays["x"].reshape(n["BATCH"], int(np.prod(sizes)), n["I"])
    idx = arrays["idx"].reshape(n["BATCH"], n["P"], n["K"])
    row = np.zeros((n["BATCH"], n["P"]), np.int64)
    for d, size in enumerate(sizes):
        row = row * size + _indices(idx[..., d], size)
    return {"y": np.take_along_axis(x, row[..., None], axis=1).reshape(case.outputs["y"][0])}


#: work-items of a group, where each has an element of its own
GROUP = (Tunable("GROUP", 256, (64, 128, 256), "work-items per group"),)


def per_element(total: int, t: Tunables) -> tuple[Grid, Grid]:
    """Geometry of one work-item per element, with the tunables :data:`GROUP`."""
    return (ceil_div(total, t["GROUP"]), 1, 1), (t["GROUP"], 1, 1)


def _cpu_rows(s: Scalars, t: Tunables) -> tuple[Grid, Grid]:
    return (ceil_div(s["O"] * s["J"], max(1, t["CHUNK"] // max(1, int(s["I"])))), 1, 1), (1, 1, 1)


def _gather_case(
    name: str, o: int, n: int, j: int, i: int, types: tuple[np.dtype, np.dtype] = (U32, I64), gap: int = 0
) -> Case:
    index = np.random.default_rng(5).integers(-n, n, (j + gap,)).astype(types[1])
    values = {
        "O": o, "N": n, "J": j, "I": i, "x_off": gap, "x_o": n * (i + gap), "x_n": i + gap, "idx_off": gap, "y_off": 0,
        "y_o": j * i, "y_j": i,
    }  # fmt: skip
    arrays: dict[str, Data | np.ndarray] = {"x": Data((gap + o * n * (i + gap),), "T", 0, 200), "idx": index}
    return Case(name, arrays, values, {"y": ((o, j, i), "T")}, {"T": types[0], "TI": types[1]})


def _gather_cases() -> Iterator[Case]:
    yield _gather_case("one", 1, 1, 1, 1)
    yield _gather_case("embedding", 1, 19, 7, 48)
    yield _gather_case("odd", 3, 5, 4, 37, gap=3)
    yield _gather_case("last_axis", 9, 70, 33, 1)
    yield _gather_case("long_rows", 1, 3, 2, 5000)
    yield _gather_case("many", 40, 3, 50, 5)
    for dtype in WORDS:
        for index in INDEX_TYPES:
            yield _gather_case(f"{dtype}_{index}", 2, 6, 5, 21, (dtype, index))
    wild = _gather_case("out_of_range", 1, 4, 6, 18)
    far = np.array([4, -5, 2**40, -(2**40), 3, -4])
    yield Case("out_of_range", {**wild.arrays, "idx": far}, wild.scalars, wild.outputs, wild.types)


def _elements_case(
    name: str, x_shape: tuple[int, ...], idx_shape: tuple[int, ...], axis: int, types: tuple[np.dtype, np.dtype]
) -> Case:
    n = x_shape[axis]
    index = np.random.default_rng(5).integers(-n, n, idx_shape).astype(types[1])
    values = elements_scalars(x_shape, idx_shape, axis)
    return Case(
        name, {"x": Data(x_shape, "T", 0, 200), "idx": index}, values, {"y": (idx_shape, "T")},
        {"T": types[0], "TI": types[1]},
    )  # fmt: skip


def _elements_cases() -> Iterator[Case]:
    yield _elements_case("one", (1,), (1,), 0, (U32, I64))
    yield _elements_case("flat", (70,), (300,), 0, (U32, I32))
    yield _elements_case("rows", (5, 7), (3, 9), 1, (U32, I64))
    yield _elements_case("columns", (5, 7), (9, 3), 0, (U32, I64))
    yield _elements_case("six", (2, 3, 2, 3, 2, 3), (2, 2, 2, 4, 2, 3), 3, (U32, I64))
    for dtype in WORDS:
        yield _elements_case(f"{dtype}", (4, 5, 6), (4, 2, 6), 1, (dtype, I64))


def _nd_case(
    name: str, x_shape: tuple[int, ...], idx_shape: tuple[int, ...], batch: int, types: tuple[np.dtype, np.dtype]
) -> Case:
    rng = np.random.default_rng(5)
    sizes = np.array(x_shape[batch : batch + idx_shape[-1]])
    index = rng.integers(-sizes, sizes, idx_shape).astype(types[1])
    shape = idx_shape[:-1] + x_shape[batch + idx_shape[-1] :]
    return Case(
        name, {"x": Data(x_shape, "T", 0, 200), "idx": index}, nd_scalars(x_shape, idx_shape, batch),
        {"y": (shape, "T")}, {"T": types[0], "TI": types[1]},
    )  # fmt: skip


def _nd_cases() -> Iterator[Case]:
    yield _nd_case("one", (1,), (1, 1), 0, (U32, I64))
    yield _nd_case("rows", (9, 37), (5, 1), 0, (U32, I64))
    yield _nd_case("elements", (4, 5, 6), (300, 3), 0, (U32, I32))
    yield _nd_case("batched", (3, 4, 5, 7), (3, 6, 2), 1, (U32, I64))
    yield _nd_case("deep", (2, 3, 2, 3, 2, 3), (2, 5, 6), 0, (U32, I64))
    for dtype in WORDS:
        yield _nd_case(f"{dtype}", (2, 4, 5, 3), (2, 7, 1), 1, (dtype, I64))


_TYPES = {"T": WORDS, "TI": INDEX_TYPES}
_SIZES = "\n".join(f"int n{d}" for d in range(RANK))

GATHER = register(
    KernelSpec(
        name="gather",
        doc="rows of a tensor by index along one axis (ONNX Gather, embedding)",
        params=params("""
            in x: T
            in idx: TI
            out y: T
            int O
            int N
            int J
            int I
            int x_off
            int x_o
            int x_n
            int idx_off
            int y_off
            int y_o
            int y_j
        """),
        variants=(
            Variant("cpu", "cpu", _cpu_rows,
                    (Tunable("CHUNK", 16384, (4096, 16384, 65536), "elements that one work-item moves"),),
                    ("opencl",), "cpu/gather", test_tunables=({"CHUNK": 64},)),
            Variant("gpu", "gpu", lambda s, t: per_element(int(s["O"] * s["J"] * s["I"]), t), GROUP),
        ),
        reference=_gather_reference,
        cases=_gather_cases,
        types=_TYPES,
        bytes=lambda s: 8.0 * s["O"] * s["J"] * s["I"],
    )
)  # fmt: skip

GATHER_ELEMENTS = register(
    KernelSpec(
        name="gather_elements",
        doc="elements by index along one axis (ONNX GatherElements)",
        params=params(
            "in x: T\nin idx: TI\nout y: T\n" + _SIZES + "\n" + "\n".join(f"int x{d}" for d in range(RANK))
            + "\nint x_axis\nint N\nint x_off"
        ),
        variants=(
            Variant(
                "any", "any", lambda s, t: per_element(int(np.prod([int(s[f"n{d}"]) for d in range(RANK)])), t), GROUP
            ),
        ),
        reference=_elements_reference,
        cases=_elements_cases,
        types=_TYPES,
        bytes=lambda s: 12.0 * float(np.prod([s[f"n{d}"] for d in range(RANK)])),
    )
)  # fmt: skip

GATHER_ND = register(
    KernelSpec(
        name="gather_nd",
        doc="slices by index tuples (ONNX GatherND)",
        params=params("in x: T\nin idx: TI\nout y: T\nint BATCH\nint P\nint K\nint I\n" + _SIZES),
        variants=(Variant("any", "any", lambda s, t: per_element(int(s["BATCH"] * s["P"] * s["I"]), t), GROUP),),
        reference=_nd_reference,
        cases=_nd_cases,
        types=_TYPES,
        bytes=lambda s: 8.0 * s["BATCH"] * s["P"] * s["I"],
    )
)
