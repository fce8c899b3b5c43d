"""Softmax and log-softmax.

==========================================  ===============================================  ======================
spec                                        parameters                                       slots
==========================================  ===============================================  ======================
``softmax``, ``log_softmax``                in x: T, out y: OUT, int rows, n, x_off, x_row   PROLOGUE(v; row, col)
                                                                                             EPILOGUE(v; row, col)
``softmax_strided``,                        in x: T, out y: OUT, int O, R, I, x_off, x_o,    PROLOGUE(v; o, r, i)
``log_softmax_strided``                     x_r, x_i                                         EPILOGUE(v; o, r, i)
==========================================  ===============================================  ======================

``softmax``: rows of n contiguous elements, ``x_row`` apart; y is contiguous ``[rows, n]``.  ``softmax_strided``: over
r of ``x[x_off + o x_o + r x_r + i x_i]``; y is contiguous ``[O, R, I]``; fast when ``x_i`` is 1.  T and OUT are
floating; PROLOGUE's value and EPILOGUE's input have T's register type, EPILOGUE gives OUT.  A row that is all
``-inf``, or holds a NaN or ``+inf``, gives NaN, as ONNX Runtime and PyTorch do."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from a1400 import dtypes
from a1400.backends.base import Grid
from a1400.kernels import expr
from a1400.kernels.check import slot_reference
from a1400.kernels.geometry import WIDTH, Reference, ceil_div, cpu_blocks, row_teams, runs_vectors, team
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

# Text of the last step from v = a - max, e = exp(v) and the scale made from the sum of e.  KEEP is what a kernel
# that holds one value per element holds; it is handed to RESULT as both v and e.
_DEFINES = {
    "softmax": {
        "SOFTMAX_SCALE(sum)": "(1 / (sum))",
        "SOFTMAX_KEEP(v, e)": "(e)",
        "SOFTMAX_RESULT(v, e, scale)": "((e) * (scale))",
    },
    "log_softmax": {
        "SOFTMAX_SCALE(sum)": "a_log(sum)",
        "SOFTMAX_KEEP(v, e)": "(v)",
        "SOFTMAX_RESULT(v, e, scale)": "((v) - (scale))",
    },
}
_ROWS_DEFINES = {
    "SOFTMAX_ROWS": "",
    "SOFTMAX_PROLOGUE(v, o, r, i)": "PROLOGUE(v, o, r)",
    "SOFTMAX_EPILOGUE(v, o, r, i)": "EPILOGUE(v, o, r)",
    "O": "rows", "R": "n", "I": "1", "x_o": "x_row", "x_r": "1", "x_i": "0",
}  # fmt: skip
_STRIDED_DEFINES = {
    "SOFTMAX_PROLOGUE(v, o, r, i)": "PROLOGUE(v, o, r, i)",
    "SOFTMAX_EPILOGUE(v, o, r, i)": "EPILOGUE(v, o, r, i)",
}


def _softmax(v: np.ndarray, axis: int, log: bool) -> np.ndarray:
    with np.errstate(all="ignore"):
        v = v.astype(np.float64)
        shifted = v - v.max(axis, keepdims=True)
        total = np.exp(shifted).sum(axis, keepdims=True)
        return shifted - np.log(total) if log else np.exp(shifted) / total


def _reference(log: bool, rows: bool) -> Reference:
    def reference(arrays: Mapping[str, np.ndarray], s: Scalars, case: Case) -> Mapping[str, np.ndarray]:
        flat = arrays["x"].reshape(-1)[int(s["x_off"]) :]
        names = (("rows", "n"), ("x_row",)) if rows else (("O", "R", "I"), ("x_o", "x_r", "x_i"))
        strides = [int(s[k]) for k in names[1]] + ([1] if rows else [])
        shape = [int(s[k]) for k in names[0]]
        v = np.lib.stride_tricks.as_strided(flat, shape, [st * flat.itemsize for st in strides])
        y = _softmax(slot_reference(case, "PROLOGUE", v), 1, log)
        return {"y": slot_reference(case, "EPILOGUE", y)}

    return reference


def _count(s: Scalars) -> int:
    return int(s["rows"] * s["n"]) if "rows" in s else int(s["O"] * s["R"] * s["I"])


def _cpu(s: Scalars, t: Tunables) -> tuple[Grid, Grid]:
    units = int(s["rows"]) if "rows" in s else int(s["O"]) * ceil_div(int(s["I"]), 64)
    return cpu_blocks(units, 4 * _count(s))  # an exponential is worth several elements


def _variants(rows: bool) -> tuple[Variant, ...]:
    cpu = Variant(
        "cpu", "cpu", _cpu, backends=("opencl",), source="cpu/softmax" if rows else "cpu/softmax_strided",
        vector_width=WIDTH, requires=runs_vectors,
    )  # fmt: skip
    if rows:
        return (cpu, *row_teams("softmax"))
    return (cpu, team("team", "any", 8, 32, "softmax", lambda s: int(s["O"] * s["I"])))


_FLOAT_TYPES = {name: dtypes.from_short(name) for name in ("f32", "f16", "bf16", "f64")}


def _case(
    name: str, shape: tuple[int, ...], *, t: str = "f32", out: str = "", gap: int = 0, slots: bool = False,
    x: np.ndarray | None = None, transposed: bool = False, spread: float = 4.0,
) -> Case:  # fmt: skip
    types = {"T": _FLOAT_TYPES[t], "OUT": _FLOAT_TYPES[out or t]}
    strides = [1] * len(shape)
    for d in reversed(range(len(shape) - 1)):
        strides[d] = strides[d + 1] * shape[d + 1] + gap
    if transposed:
        strides[1], strides[2] = 1, shape[1]
    off = 3
    size = off + 1 + sum((n - 1) * st for n, st in zip(shape, strides))
    names = (("rows", "n"), ("x_row",)) if len(shape) == 2 else (("O", "R", "I"), ("x_o", "x_r", "x_i"))
    scalars: dict[str, int | float] = {"x_off": off, **dict(zip(names[0], shape)), **dict(zip(names[1], strides))}
    data: Any = Data((size,), "T", -spread, spread) if x is None else np.resize(x, size).astype(types["T"])
    filled: dict[str, Any] = {}
    if slots:
        work = dtypes.from_short(dtypes.info(types["T"]).register_short)
        scaled = expr.apply("mul", expr.arg(0, work), expr.const(0.5, work))
        added = expr.apply("add", scaled, expr.cast(expr.arg(1, types["T"]), work))
        mask = np.linspace(-1, 1, shape[-1] + 4).astype(types["T"])
        filled["PROLOGUE"] = (SlotCode(added, (Operand(types["T"], 1),)), ((mask, 2, (*(0 for _ in shape[1:]), 1)),))
        last = expr.cast(expr.apply("mul", expr.arg(0, work), expr.arg(1, work)), types["OUT"])
        factors = np.linspace(1, 2, shape[0]).astype(work)
        filled["EPILOGUE"] = (SlotCode(last, (Operand(work, 0),)), ((factors, 0, (1, *(0 for _ in shape[1:]))),))
    return Case(name, {"x": data}, scalars, {"y": (shape, "OUT")}, types, filled)


_SPECIAL = np.array([0.5, -np.inf, 3.0, -2.0, -np.inf, 88.0, -100.0])


def _row_cases() -> Iterator[Case]:
    yield _case("one", (1, 1))
    yield _case("short", (5, 7))
    yield _case("vector", (3, 16))
    yield _case("ragged", (9, 77), gap=5)
    yield _case("kept", (3, 2048))
    yield _case("long", (2, 5003))
    yield _case("slots", (4, 50), slots=True)
    yield _case("slots_long", (2, 2100), slots=True)
    yield _case("f16", (3, 50), t="f16", slots=True)
    yield _case("bf16_to_f32", (3, 50), t="bf16", out="f32", slots=True)
    yield _case("f64", (3, 50), t="f64")
    yield _case("minus_inf", (4, 45), x=_SPECIAL)
    yield _case("all_minus_inf", (2, 45), x=np.array([-np.inf]))
    yield _case("nan", (4, 45), x=np.concatenate([np.arange(50.0), [np.nan]]))
    yield _case("plus_inf", (4, 45), x=np.concatenate([np.arange(50.0), [np.inf]]))
    yield _case("far", (4, 45), x=np.array([1e4, -1e4, 9999.0, 3e38]))


def _strided_cases() -> Iterator[Case]:
    yield _case("one", (1, 1, 1))
    yield _case("narrow", (3, 5, 7))
    yield _case("vector", (2, 3, 16))
    yield _case("ragged", (3, 21, 83), gap=5)
    yield _case("transposed", (2, 9, 19), transposed=True)
    yield _case("slots", (2, 9, 37), slots=True)
    yield _case("f16", (2, 9, 37), t="f16", slots=True)
    yield _case("minus_inf", (3, 6, 21), x=_SPECIAL)


def _spec(name: str, rows: bool) -> KernelSpec:
    coords = ("row", "col") if rows else ("o", "r", "i")
    sizes = "int rows\nint n\nint x_off\nint x_row"
    if not rows:
        sizes = "int O\nint R\nint I\nint x_off\nint x_o\nint x_r\nint x_i"
    return KernelSpec(
        name=name if rows else f"{name}_strided",
        doc=f"{name} over {coords[1]} of x[{', '.join(coords)}]",
        params=params(f"in x: T\nout y: OUT\n{sizes}"),
        variants=_variants(rows),
        reference=_reference(name == "log_softmax", rows),
        cases=_row_cases if rows else _strided_cases,
        types={"T": dtypes.FLOATS, "OUT": dtypes.FLOATS},
        slots=(
            Slot("PROLOGUE", coords, "T", "applied to each element: scale, mask", _count),
            Slot("EPILOGUE", coords, "T", "applied to each result; its value has type OUT", _count),
        ),
        exact=False,
        flops=lambda s: 12.0 * _count(s),
        bytes=lambda s: 8.0 * _count(s),
        defines=_DEFINES[name] | (_ROWS_DEFINES if rows else _STRIDED_DEFINES),
    )


SOFTMAX, LOG_SOFTMAX = (register(_spec(name, True)) for name in _DEFINES)
SOFTMAX_STRIDED, LOG_SOFTMAX_STRIDED = (register(_spec(name, False)) for name in _DEFINES)
