"""Gradients of layer and RMS normalisation.

=======================  ============================================================================================
``layer_norm_gradient``  dx = EPILOGUE(r (h - mean(h) - n mean(h n))) of h = WEIGHT(g; row, col), n = (x - mean) r and
                         r = 1 / sqrt(var + eps); part[s, 0] = sum of g n, part[s, 1] = sum of g, over part s's rows
``rms_norm_gradient``    the same without the means of x and h
``sum_pairs``            a[n, c], b[n, c] = sums of part[n, s, 0, c] and part[n, s, 1, c] over s, at a_off and b_off
=======================  ============================================================================================

Rows are n contiguous elements, ``x_row`` and ``g_row`` apart; dx is contiguous ``[rows, n]``; part is ``[S, 2, n]`` of
``chunk`` rows each (:func:`split`).  Statistics are computed again from x, which is read anyway.  Sums go row by row
inside a part and part by part, whatever the device's size: the same bits every time.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from a1400 import dtypes
from a1400.backends.base import DeviceInfo, Grid
from a1400.kernels import expr
from a1400.kernels.check import slot_reference
from a1400.kernels.geometry import WIDTH, Reference, ceil_div, cpu_blocks, rows_of, runs, runs_vectors
from a1400.kernels.spec import (
    Case,
    Data,
    KernelSpec,
    Operand,
    Scalars,
    Slot,
    SlotCode,
    Tunable,
    Tunables,
    Variant,
    params,
    register,
)

MOST_ROWS = 64  # rows of a part: the general variant keeps their statistics in local memory
_WIDE = tuple(dtypes.from_short(n) for n in ("f32", "f64"))


def split(info: DeviceInfo, rows: int, dtype: np.dtype) -> tuple[int, int]:
    """(S, chunk): parts enough to keep ``info`` busy, and few enough rows in each to sum them up one by one."""
    wanted = max(16, 4 * max(info.compute_units, 1))
    most = 4 * MOST_ROWS if info.kind == "cpu" and dtype != np.float64 else MOST_ROWS
    chunk = min(most, max(4, ceil_div(rows, wanted)))
    return ceil_div(rows, chunk), chunk


def _reference(center: bool) -> Reference:
    def reference(arrays: Mapping[str, np.ndarray], s: Scalars, case: Case) -> Mapping[str, np.ndarray]:
        x, g = (np.asarray(rows_of(arrays[k], s, k), np.float64) for k in ("x", "g"))
        h = np.asarray(slot_reference(case, "WEIGHT", g), np.float64)
        d = x - x.mean(1, keepdims=True) if center else x
        r = 1 / np.sqrt(np.square(d).mean(1, keepdims=True) + s["eps"])
        inner = h - d * r * (h * d * r).mean(1, keepdims=True)
        if center:
            inner = inner - h.mean(1, keepdims=True)
        chunk = int(s["chunk"])
        parts = [slice(k * chunk, (k + 1) * chunk) for k in range(int(s["S"]))]
        part = np.stack([np.stack([(g * d * r)[p].sum(0), g[p].sum(0)]) for p in parts])
        return {"dx": slot_reference(case, "EPILOGUE", r * inner), "part": part}

    return reference


def _teams(s: Scalars, t: Tunables) -> tuple[Grid, Grid]:
    return (int(s["S"]), 1, 1), (t["LANES"] * t["TEAMS"], 1, 1)


_VARIANTS = (
    Variant(
        "cpu", "cpu", lambda s, t: cpu_blocks(int(s["S"]), int(s["rows"] * s["n"])), backends=("opencl",),
        source="cpu/norm_gradient", vector_width=WIDTH, requires=runs_vectors,
    ),
    Variant(
        "team", "any", _teams,
        (
            Tunable("LANES", 32, (16, 32, 64, 128, 256), "work-items per row, a power of two"),
            Tunable("TEAMS", 8, (1, 2, 4, 8, 16), "rows at a time"),
        ),
        requires=runs, constraint=lambda t: t["LANES"] * t["TEAMS"] <= 256, source="norm_gradient",
        supports=lambda s: s["chunk"] <= MOST_ROWS,
    ),
)  # fmt: skip


def _case(
    name: str, rows: int, n: int, chunk: int, *, t: str = "f32", gap: int = 0, slots: bool = False, eps: float = 1e-3
) -> Case:
    types = {"T": dtypes.from_short(t), "OUT": dtypes.from_short(t)}
    work = dtypes.from_short(dtypes.info(types["T"]).register_short)
    types["ACC"] = work
    parts = ceil_div(rows, chunk)
    scalars: dict[str, int | float] = dict(
        rows=rows, n=n, S=parts, chunk=chunk, x_off=3, x_row=n + gap, g_off=1, g_row=n + 2 * gap, eps=eps
    )
    filled: dict[str, Any] = {}
    if slots:
        scaled = expr.apply("mul", expr.arg(0, work), expr.arg(1, work))
        scale = np.linspace(1, 2, n + 2).astype(work)
        filled["WEIGHT"] = (SlotCode(scaled, (Operand(work, 1),)), ((scale, 2, (0, 1)),))
        added = expr.apply("add", expr.arg(0, work), expr.cast(expr.arg(1, types["T"]), work))
        other = np.linspace(-1, 1, rows * n + 1).astype(types["T"])
        filled["EPILOGUE"] = (SlotCode(added, (Operand(types["T"], 1),)), ((other, 1, (n, 1)),))
    arrays = {"x": Data((3 + rows * (n + gap),), "T", -2, 2), "g": Data((1 + rows * (n + 2 * gap),), "T")}
    outputs = {"dx": ((rows, n), "OUT"), "part": ((parts, 2, n), "ACC")}
    return Case(name, arrays, scalars, outputs, types, filled)


def _cases() -> Iterator[Case]:
    yield _case("few", 1, 3, 1)
    yield _case("vector", 5, 16, 5)
    yield _case("ragged", 11, 83, 6, gap=5)
    yield _case("slots", 7, 117, 7, slots=True)
    yield _case("f16", 6, 50, 4, t="f16", slots=True)
    yield _case("f64", 3, 50, 4, t="f64", eps=0.5)  # exact in f32, as eps is handed over in f32


def _elements(s: Scalars) -> float:
    return float(s["rows"] * s["n"])


def _spec(name: str, center: bool) -> KernelSpec:
    coords = ("row", "col")
    return KernelSpec(
        name=name,
        doc=f"what {name.removesuffix('_gradient').replace('_', ' ')} hands on of a gradient, and its parameters' sums",
        params=params(
            "in x: T\nin g: T\nout dx: OUT\nout part: ACC\nint rows\nint n\nint S\nint chunk\n"
            "int x_off\nint x_row\nint g_off\nint g_row\nfloat eps"
        ),
        variants=_VARIANTS,
        reference=_reference(center),
        cases=_cases,
        types={"T": dtypes.FLOATS, "OUT": dtypes.FLOATS, "ACC": _WIDE},
        slots=(
            Slot("WEIGHT", coords, "T", "applied to each element of the gradient: the scale", _elements),
            Slot("EPILOGUE", coords, "T", "applied to each element of dx: its value has type OUT", _elements),
        ),
        exact=False,
        # values far from zero lose bits in x - mean on any machine: measured against the result's scale
        tolerance={"f32": (1e-5, 1e-4), "f16": (2e-3, 2e-3), "bf16": (1.6e-2, 1.6e-2), "f64": (1e-12, 1e-12)},
        flops=lambda s: 20.0 * s["rows"] * s["n"],
        bytes=lambda s: 12.0 * s["rows"] * s["n"],
        defines={"NORM_CENTER": "1" if center else "0"},
    )


LAYER_NORM_GRADIENT = register(_spec("layer_norm_gradient", True))
RMS_NORM_GRADIENT = register(_spec("rms_norm_gradient", False))


def _pair_reference(arrays: Mapping[str, np.ndarray], s: Scalars, case: Case) -> Mapping[str, np.ndarray]:
    part = arrays["part"].reshape(int(s["N"]), int(s["S"]), 2, int(s["C"])).sum(1)
    return {"a": part[:, 0], "b": part[:, 1]}


def _pair_cases() -> Iterator[Case]:
    for name, (n, parts, c), t in (("one", (1, 1, 1), "f32"), ("many", (2, 70, 37), "f32"), ("f64", (1, 3, 5), "f64")):
        s: dict[str, int | float] = dict(N=n, S=parts, C=c, a_off=0, b_off=0)
        outputs = {"a": ((n, c), "T"), "b": ((n, c), "T")}
        yield Case(name, {"part": Data((n, parts, 2, c), "T")}, s, outputs, {"T": dtypes.from_short(t)})


SUM_PAIRS = register(
    KernelSpec(
        name="sum_pairs",
        doc="two sums over the parts that other kernels left",
        params=params("in part: T\nout a: T\nout b: T\nint N\nint S\nint C\nint a_off\nint b_off"),
        variants=(
            Variant(
                "thread", "any", lambda s, t: ((ceil_div(int(s["N"] * s["C"]), 64), 1, 1), (64, 1, 1)), requires=runs
            ),
        ),
        reference=_pair_reference,
        cases=_pair_cases,
        types={"T": _WIDE},
        flops=lambda s: 2.0 * s["N"] * s["S"] * s["C"],
        bytes=lambda s: 8.0 * s["N"] * (s["S"] + 1) * s["C"],
    )
)
