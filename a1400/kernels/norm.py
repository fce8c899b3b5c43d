"""Normalisation of rows: layer and RMS normalisation.

========================  ==========================================  ============================================
spec                      outputs                                     computes (a = PROLOGUE(x; row, col))
========================  ==========================================  ============================================
``layer_norm``            out y: OUT                                  (a - mean) * inv_std
``layer_norm_residual``   out y: OUT, out sum: T                      the same; sum = a
``layer_norm_stats``      out y: OUT, mean_out: f32, inv_std: f32     the same; statistics are ``[rows]``
``rms_norm``              out y: OUT                                  a * inv_rms
``rms_norm_residual``     out y: OUT, out sum: T                      the same; sum = a
========================  ==========================================  ============================================

Parameters: ``in x: T``, the outputs in the order above, ``int rows, n, x_off, x_row, float eps``.  Slots PROLOGUE(v;
row, col) (e.g. a residual that is added) and EPILOGUE(v; row, col), which takes scale and bias as operands with inner
stride 1 and row stride 0.  ``inv_std = 1 / sqrt(var + eps)`` with the biased variance in two passes; ``inv_rms = 1 /
sqrt(mean(a a) + eps)``. Rows are n contiguous elements, ``x_row`` apart; outputs are contiguous.  T and OUT are
floating; slots work in T's register type (EPILOGUE gives OUT)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from a1400 import dtypes
from a1400.backends.base import Grid
from a1400.kernels import expr
from a1400.kernels.check import slot_reference
from a1400.kernels.geometry import WIDTH, Reference, cpu_blocks, row_teams, runs_vectors
from a1400.kernels.spec import (
    Case,
    Data,
    KernelSpec,
    Operand,
    Scalars,
    Slot,
    SlotCode,
    Tunables,
    Variant,
    params,
    register,
)


def _reference(center: bool, extra: str) -> Reference:
    def reference(arrays: Mapping[str, np.ndarray], s: Scalars, case: Case) -> Mapping[str, np.ndarray]:
        flat = arrays["x"].reshape(-1)[int(s["x_off"]) :]
        rows, n = int(s["rows"]), int(s["n"])
        item = flat.itemsize
        a = np.lib.stride_tricks.as_strided(flat, (rows, n), (int(s["x_row"]) * item, item))
        a = np.asarray(slot_reference(case, "PROLOGUE", a), np.float64)
        mean = a.mean(1, keepdims=True) if center else np.zeros((rows, 1))
        inv_std = 1 / np.sqrt(np.square(a - mean).mean(1, keepdims=True) + s["eps"])
        out = {"y": slot_reference(case, "EPILOGUE", (a - mean) * inv_std)}
        if extra == "residual":
            out["sum"] = a
        if extra == "stats":
            out |= {"mean_out": mean[:, 0], "inv_std": inv_std[:, 0]}
        return out

    return reference


def _cpu(s: Scalars, t: Tunables) -> tuple[Grid, Grid]:
    return cpu_blocks(int(s["rows"]), int(s["rows"] * s["n"]))


_VARIANTS = (
    Variant(
        "cpu", "cpu", _cpu, backends=("opencl",), source="cpu/norm", vector_width=WIDTH, requires=runs_vectors
    ),
    *row_teams("norm"),
)  # fmt: skip


def _case(
    name: str, extra: str, rows: int, n: int, *, t: str = "f32", out: str = "", gap: int = 0, slots: bool = False,
    center: float = 0.0, eps: float = 1e-5,
) -> Case:  # fmt: skip
    types = {"T": dtypes.from_short(t), "OUT": dtypes.from_short(out or t)}
    off = 3
    scalars: dict[str, int | float] = {"rows": rows, "n": n, "x_off": off, "x_row": n + gap, "eps": eps}
    filled: dict[str, Any] = {}
    if slots:
        work = dtypes.from_short(dtypes.info(types["T"]).register_short)
        added = expr.apply("add", expr.arg(0, work), expr.cast(expr.arg(1, types["T"]), work))
        residual = np.linspace(-1, 1, rows * n + 1).astype(types["T"])
        filled["PROLOGUE"] = (SlotCode(added, (Operand(types["T"], 1),)), ((residual, 1, (n, 1)),))
        scaled = expr.apply("mul", expr.arg(0, work), expr.arg(1, work))
        last = expr.cast(expr.apply("add", scaled, expr.arg(2, work)), types["OUT"])
        scale, bias = np.linspace(1, 2, n).astype(work), np.linspace(-1, 1, n + 2).astype(work)
        code = SlotCode(last, (Operand(work, 1), Operand(work, 1)))
        filled["EPILOGUE"] = (code, ((scale, 0, (0, 1)), (bias, 2, (0, 1))))
    outputs: dict[str, tuple[tuple[int, ...], str]] = {"y": ((rows, n), "OUT")}
    if extra == "residual":
        outputs["sum"] = ((rows, n), "T")
    if extra == "stats":
        outputs |= {"mean_out": ((rows,), "f32"), "inv_std": ((rows,), "f32")}
    x = Data((off + rows * (n + gap),), "T", center - 2, center + 2)
    return Case(name, {"x": x}, scalars, outputs, types, filled)


def _cases(extra: str) -> Iterator[Case]:
    yield _case("one", extra, 1, 1)
    yield _case("short", extra, 5, 7)
    yield _case("vector", extra, 3, 16)
    yield _case("ragged", extra, 9, 83, gap=5)
    if extra:  # the same text otherwise
        yield _case("slots", extra, 4, 117, slots=True)
        yield _case("f16", extra, 3, 50, t="f16", slots=True)
        yield _case("long", extra, 2, 1503)
        return
    yield _case("kept", extra, 3, 4096)
    yield _case("long", extra, 2, 5003)
    yield _case("off_center", extra, 3, 256, center=1000.0)
    yield _case("slots", extra, 4, 117, slots=True)
    yield _case("f16", extra, 3, 50, t="f16", slots=True)
    yield _case("bf16_to_f32", extra, 3, 50, t="bf16", out="f32", slots=True)
    yield _case("f64", extra, 3, 50, t="f64", eps=0.5)  # exact in f32, as eps is handed over in f32


_OUTPUTS = {"": "", "residual": "out sum: T", "stats": "out mean_out: f32\nout inv_std: f32"}


def _elements(s: Scalars) -> float:
    return float(s["rows"] * s["n"])


def _spec(name: str, center: bool, extra: str = "") -> KernelSpec:
    defines = {"NORM_CENTER": "1" if center else "0"}
    if extra:
        defines[{"residual": "NORM_SUM", "stats": "NORM_STATS"}[extra]] = ""
    coords = ("row", "col")
    return KernelSpec(
        name=f"{name}_{extra}" if extra else name,
        doc=f"{name.replace('_', ' ')} of rows" + (f", with the {extra}" if extra else ""),
        params=params(f"in x: T\nout y: OUT\n{_OUTPUTS[extra]}\nint rows\nint n\nint x_off\nint x_row\nfloat eps"),
        variants=_VARIANTS,
        reference=_reference(center, extra),
        cases=lambda: _cases(extra),
        types={"T": dtypes.FLOATS, "OUT": dtypes.FLOATS},
        slots=(
            Slot("PROLOGUE", coords, "T", "applied to each element: a residual that is added", _elements),
            Slot("EPILOGUE", coords, "T", "applied to each result: scale, bias; its value has type OUT", _elements),
        ),
        exact=False,
        # values far from zero lose bits in x - mean on any machine: measured against the result's scale
        tolerance={"f32": (1e-5, 1e-4), "f16": (2e-3, 2e-3), "bf16": (1.6e-2, 1.6e-2), "f64": (1e-12, 1e-12)},
        flops=lambda s: 8.0 * s["rows"] * s["n"],
        bytes=lambda s: (12.0 if extra == "residual" else 8.0) * s["rows"] * s["n"],
        defines=defines,
    )


LAYER_NORM = register(_spec("layer_norm", True))
LAYER_NORM_RESIDUAL = register(_spec("layer_norm", True, "residual"))
LAYER_NORM_STATS = register(_spec("layer_norm", True, "stats"))
RMS_NORM = register(_spec("rms_norm", False))
RMS_NORM_RESIDUAL = register(_spec("rms_norm", False, "residual"))
