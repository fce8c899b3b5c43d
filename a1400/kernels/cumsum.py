"""Running sums and products along one axis.

==============  ====================================================================  ===============
spec            parameters                                                            dtype variables
==============  ====================================================================  ===============
``cumsum``      in x: T, out y: T, int O, R, I, x_off, x_o, x_r, x_i,                 T
``cumprod``     int exclusive, reverse
==============  ====================================================================  ===============

Over r of ``x[x_off + o x_o + r x_r + i x_i]``; y is contiguous ``[O, R, I]``.  ``exclusive`` leaves the element
itself out (starting from 0, or 1), ``reverse`` runs from the end.  Half types accumulate in float.  No slots."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from a1400 import dtypes
from a1400.backends.base import Grid
from a1400.kernels.geometry import WIDTH, Reference, ceil_div, cpu_blocks, runs, runs_vectors
from a1400.kernels.spec import Case, Data, KernelSpec, Scalars, Tunable, Tunables, Variant, params, register


def _reference(product: bool) -> Reference:
    def reference(arrays: Mapping[str, np.ndarray], s: Scalars, case: Case) -> Mapping[str, np.ndarray]:
        flat = arrays["x"].reshape(-1)[int(s["x_off"]) :]
        shape = [int(s[k]) for k in "ORI"]
        v = np.lib.stride_tricks.as_strided(flat, shape, [int(s[k]) * flat.itemsize for k in ("x_o", "x_r", "x_i")])
        v = v.astype(np.float64 if np.issubdtype(v.dtype, np.floating) else np.int64)
        if s["reverse"]:
            v = v[:, ::-1]
        if s["exclusive"]:
            v = np.concatenate([np.full_like(v[:, :1], 1 if product else 0), v[:, :-1]], 1)
        y = np.cumprod(v, 1) if product else np.cumsum(v, 1)
        return {"y": y[:, ::-1] if s["reverse"] else y}

    return reference


def _count(s: Scalars) -> int:
    return int(s["O"] * s["R"] * s["I"])


def _teams(s: Scalars, t: Tunables) -> tuple[Grid, Grid]:
    return (ceil_div(int(s["O"] * s["I"]), t["TEAMS"]), 1, 1), (t["TEAMS"] * t["LANES"], 1, 1)


_VARIANTS = (
    Variant(
        "cpu", "cpu", lambda s, t: cpu_blocks(int(s["O"]) * ceil_div(int(s["I"]), 64), _count(s)),
        backends=("opencl",), source="cpu/cumulate", vector_width=WIDTH, requires=runs_vectors,
        supports=lambda s: s["x_i"] == 1,
    ),
    Variant(
        "group", "gpu", _teams,
        (Tunable("LANES", 256, (64, 128, 256), "work-items per row"), Tunable("TEAMS", 1, (1,), "rows per group")),
        source="cumulate", requires=runs, supports=lambda s: s["R"] >= 256 and s["O"] * s["I"] < 4096,
    ),
    Variant(
        "team", "gpu", _teams,
        (Tunable("LANES", 16, (8, 16, 32), "work-items per row"), Tunable("TEAMS", 8, (4, 8), "rows per group")),
        source="cumulate", requires=runs, supports=lambda s: s["I"] == 1 and s["R"] >= 8,
    ),
    Variant(
        "thread", "any", _teams,
        (Tunable("LANES", 1, (1,), "work-items per row"), Tunable("TEAMS", 32, (16, 32, 64), "rows per group")),
        source="cumulate", requires=runs,
    ),
)  # fmt: skip


def _case(
    name: str, shape: tuple[int, int, int], *, t: str = "f32", exclusive: int = 0, reverse: int = 0, product: bool,
    transposed: bool = False, **more: Any,
) -> Case:  # fmt: skip
    o, r, i = shape
    strides = (3, o * 3, o * r * 3) if transposed else (r * i + 2, i, 1)
    size = 4 + sum((n - 1) * st for n, st in zip(shape, strides))
    s: dict[str, int | float] = {
        "O": o, "R": r, "I": i, "x_off": 3, "x_o": strides[0], "x_r": strides[1], "x_i": strides[2],
        "exclusive": exclusive, "reverse": reverse,
    }  # fmt: skip
    x = Data((size,), "T", 0.9, 1.1) if product else Data((size,), "T")
    types = {"T": dtypes.from_short(t)}
    return Case(name, {"x": x}, s, {"y": (shape, "T")}, types, exact=not product or r <= 8)


def _cases(product: bool) -> Iterator[Case]:
    for exclusive in (0, 1):
        for reverse in (0, 1):
            end = "_exclusive" * exclusive + "_reverse" * reverse
            more: dict[str, Any] = {"exclusive": exclusive, "reverse": reverse, "product": product}
            yield _case("one" + end, (1, 1, 1), **more)
            yield _case("rows" + end, (5, 77, 1), **more)
            yield _case("long" + end, (2, 1003, 1), **more)
            yield _case("columns" + end, (3, 9, 70), **more)
            yield _case("transposed" + end, (3, 300, 5), transposed=True, **more)
    for t in ("i32", "i64", "f16", "f64"):
        if t != "f16" or not product:
            yield _case(t, (3, 45, 1), t=t, product=product)


def _spec(name: str, product: bool) -> KernelSpec:
    return KernelSpec(
        name=name,
        doc=f"running {'product' if product else 'sum'} over r of x[o, r, i]",
        params=params("""
            in x: T
            out y: T
            int O
            int R
            int I
            int x_off
            int x_o
            int x_r
            int x_i
            int exclusive
            int reverse"""),
        variants=_VARIANTS,
        reference=_reference(product),
        cases=lambda: _cases(product),
        types={"T": dtypes.FLOATS + dtypes.INTS},
        tolerance={"f32": (1e-4, 1e-5), "f16": (2e-3, 2e-3), "bf16": (1.6e-2, 1.6e-2), "f64": (1e-12, 1e-12)},
        flops=lambda s: float(_count(s)),
        bytes=lambda s: 8.0 * _count(s),
        defines={"SCAN_START": "1", "SCAN_JOIN(a, b)": "((a) * (b))"} if product
        else {"SCAN_START": "0", "SCAN_JOIN(a, b)": "((a) + (b))"},
    )  # fmt: skip


CUMSUM, CUMPROD = register(_spec("cumsum", False)), register(_spec("cumprod", True))
