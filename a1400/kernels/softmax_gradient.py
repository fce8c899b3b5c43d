"""Gradients of softmax and log-softmax of rows, from their results.

``softmax_gradient``: ``dx = EPILOGUE(y (g - sum(g y)))``;
``log_softmax_gradient``: ``dx = EPILOGUE(g - exp(y) sum(g))``.

Rows are n contiguous elements, ``y_row`` and ``g_row`` apart; dx is contiguous ``[rows, n]``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from a1400 import dtypes
from a1400.kernels import expr
from a1400.kernels.check import slot_reference
from a1400.kernels.geometry import WIDTH, Reference, cpu_blocks, row_teams, rows_of, runs_vectors
from a1400.kernels.spec import (
    Case,
    Data,
    KernelSpec,
    Operand,
    Scalars,
    Slot,
    SlotCode,
    Variant,
    params,
    register,
)

# TERM is what is summed up, RESULT what becomes of an element.
_DEFINES = {
    "softmax_gradient": {"TERM(y, g)": "((g) * (y))", "RESULT(y, g, sum)": "((y) * ((g) - (sum)))"},
    "log_softmax_gradient": {"TERM(y, g)": "(g)", "RESULT(y, g, sum)": "((g) - a_exp(y) * (sum))"},
}


def _reference(log: bool) -> Reference:
    def reference(arrays: Mapping[str, np.ndarray], s: Scalars, case: Case) -> Mapping[str, np.ndarray]:
        y, g = (np.asarray(rows_of(arrays[k], s, k), np.float64) for k in ("y", "g"))
        if log:
            dx = g - np.exp(y) * g.sum(1, keepdims=True)
        else:
            dx = y * (g - (g * y).sum(1, keepdims=True))
        return {"dx": slot_reference(case, "EPILOGUE", dx)}

    return reference


_VARIANTS = (
    Variant(
        "cpu", "cpu", lambda s, t: cpu_blocks(int(s["rows"]), int(2 * s["rows"] * s["n"])), backends=("opencl",),
        source="cpu/softmax_gradient", vector_width=WIDTH, requires=runs_vectors,
    ),
    *row_teams("softmax_gradient"),
)  # fmt: skip


def _case(name: str, rows: int, n: int, *, t: str = "f32", gap: int = 0, slots: bool = False) -> Case:
    types = {"T": dtypes.from_short(t), "OUT": dtypes.from_short(t)}
    scalars: dict[str, int | float] = dict(rows=rows, n=n, y_off=3, y_row=n + gap, g_off=1, g_row=n + 2 * gap)
    filled: dict[str, Any] = {}
    if slots:
        work = dtypes.from_short(dtypes.info(types["T"]).register_short)
        scaled = expr.cast(expr.apply("mul", expr.arg(0, work), expr.arg(1, work)), types["OUT"])
        factors = np.linspace(1, 2, n).astype(work)
        filled["EPILOGUE"] = (SlotCode(scaled, (Operand(work, 1),)), ((factors, 0, (0, 1)),))
    arrays = {
        "y": Data((3 + rows * (n + gap),), "T", -1.0, 0.0), "g": Data((1 + rows * (n + 2 * gap),), "T", -2.0, 2.0),
    }  # fmt: skip
    return Case(name, arrays, scalars, {"dx": ((rows, n), "OUT")}, types, filled)


def _cases() -> Iterator[Case]:
    yield _case("few", 1, 3)
    yield _case("short", 5, 7)
    yield _case("ragged", 9, 83, gap=5)
    yield _case("long", 2, 1503)
    yield _case("slots", 4, 50, slots=True)
    yield _case("f16", 3, 50, t="f16", slots=True)
    yield _case("f64", 3, 50, t="f64")


def _elements(s: Scalars) -> float:
    return float(s["rows"] * s["n"])


def _spec(name: str) -> KernelSpec:
    return KernelSpec(
        name=name,
        doc=f"what {name.removesuffix('_gradient')} of rows hands on of a gradient",
        params=params("in y: T\nin g: T\nout dx: OUT\nint rows\nint n\nint y_off\nint y_row\nint g_off\nint g_row"),
        variants=_VARIANTS,
        reference=_reference(name.startswith("log")),
        cases=_cases,
        types={"T": dtypes.FLOATS, "OUT": dtypes.FLOATS},
        slots=(
            Slot("EPILOGUE", ("row", "col"), "T", "applied to each result; its value has type OUT", _elements),
        ),
        exact=False,
        flops=lambda s: (4.0 if name.startswith("softmax") else 11.0) * s["rows"] * s["n"],
        bytes=lambda s: 12.0 * s["rows"] * s["n"],
        defines=_DEFINES[name],
    )  # fmt: skip


SOFTMAX_GRADIENT, LOG_SOFTMAX_GRADIENT = (register(_spec(name)) for name in _DEFINES)
