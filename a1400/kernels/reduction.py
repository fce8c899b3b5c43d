"""Reductions over any axes.

Two families of specs, one spec per kind in each; kinds: ``sum mean max min prod l1 l2 sum_square log_sum logsumexp
any all`` and ``root_sum`` (square root of a sum: the last stage of a split ``l2``).

=======================  ==========================  ====================================  =====================
spec                     computes                    dtype variables                       slots
=======================  ==========================  ====================================  =====================
``reduce_<kind>``        y[o, i] from x[o, r, i]     T (x), ACC (accumulator), OUT (y)     PROLOGUE(v; o, r, i)
                                                                                           EPILOGUE(v; o, i)
``reduce_rows_<kind>``   y[o] from x[o, r]           T, ACC, OUT                           PROLOGUE(v; o, r)
                                                                                           EPILOGUE(v; o)
=======================  ==========================  ====================================  =====================

Parameters (``reduce_rows_<kind>`` has no ``I`` and no ``x_i``)::

    in x: T, out y: OUT, int O0, O1, R0, R1, I, S, chunk, count, x_off, x_o0, x_o1, x_r0, x_r1, x_i

x is at ``x[x_off + o0 x_o0 + o1 x_o1 + r0 x_r0 + r1 x_r1 + i x_i]`` with flat ``o = o0 O1 + o1`` and ``r = r0 R1 +
r1``. ``S`` splits the reduction: y is contiguous ``[O, S, I]`` and part s covers ``chunk`` values of r from ``s
chunk``; with S = 1 give ``chunk = R0 R1``.  ``mean`` divides by ``count`` (the other kinds ignore it).  PROLOGUE's
value has ACC's register type (so without one T and ACC share it), EPILOGUE takes ACC and gives OUT; partial results
of a split reduction are stored in ACC's register type.  Maxima and minima propagate NaN. ``l2``, ``log_sum``,
``logsumexp``, ``root_sum`` need a floating ACC; ``any``/``all`` take bool (or integer 0/1) values.

How a lowering uses this: ``ReduceView.of`` (:mod:`a1400.kernels.reduce_plan`) turns shape, strides and axes into the
scalars (or says that a copy is needed), ``plan_reduce`` decides whether one launch is enough and lists the stages.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from a1400 import dtypes
from a1400.backends.base import Grid
from a1400.kernels import expr
from a1400.kernels.check import slot_reference
from a1400.kernels.geometry import WIDTH, Reference, ceil_div, cpu_blocks, runs, runs_vectors
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


@dataclass(frozen=True)
class Kind:
    """How one kind combines values, as C text over ``a``, ``v``, ``b`` (valid for scalars and vectors).

    ``split``: the kinds of the first and the last stage when a reduction takes two launches.  ``quick``: step and join
    for kernels that look for NaN apart (``a != a``, two values at a time) and put it in at the end.
    """

    init: str
    step: str
    join: str = "((a) + (b))"
    finish: str = "(a)"
    passes: int = 1
    split: tuple[str, str] = ("", "")
    exact: bool = True
    floating: bool = False
    quick: tuple[str, str] | None = None


_SUM = "((a) + (v))"


def _beyond(v: str, sign: str) -> str:
    """``v`` if it is beyond ``a``, else ``a``."""
    return f"(({v}) {sign} (a) ? ({v}) : (a))"


def _extreme(init: str, sign: str) -> Kind:
    """Maximum or minimum: the step takes a NaN, and nothing is beyond one."""
    step, join = (f"(((({v}) {sign} (a)) | (({v}) != ({v}))) ? ({v}) : (a))" for v in "vb")
    return Kind(init, step, join, quick=(_beyond("v", sign), _beyond("b", sign)))


KINDS: dict[str, Kind] = {
    "sum": Kind("0", _SUM),
    "mean": Kind("0", _SUM, finish="((a) / (ACC_r)(count))", split=("sum", "mean"), exact=False),
    "max": _extreme("ACC_lowest", ">"),
    "min": _extreme("ACC_highest", "<"),
    "prod": Kind("1", "((a) * (v))", "((a) * (b))"),
    "l1": Kind("0", "((a) + a_abs(v))", split=("l1", "sum")),
    "l2": Kind(
        "0", "((a) + (v) * (v))", finish="sqrt(a)", split=("sum_square", "root_sum"), exact=False, floating=True
    ),
    "sum_square": Kind("0", "((a) + (v) * (v))", split=("sum_square", "sum")),
    "log_sum": Kind("0", _SUM, finish="a_log(a)", split=("sum", "log_sum"), exact=False, floating=True),
    "root_sum": Kind("0", _SUM, finish="sqrt(a)", split=("sum", "root_sum"), exact=False, floating=True),
    "logsumexp": Kind(  # NaN need not be found by the maximum: the sum has it
        "(pass == 0 ? ACC_lowest : 0)",
        f"(pass == 0 ? {_beyond('v', '>')} : (a) + a_exp((v) - shift))",
        f"(pass == 0 ? {_beyond('b', '>')} : (a) + (b))",
        "(a_log(a) + shift)",
        passes=2,
        exact=False,
        floating=True,
    ),
    "any": Kind("0", _beyond("v", ">"), _beyond("b", ">")),
    "all": Kind("1", _beyond("v", "<"), _beyond("b", "<")),
}


def _reference_values(kind: str, v: np.ndarray, axis: int, count: int) -> np.ndarray:
    wide = v.astype(np.float64 if dtypes.is_float(v.dtype) else np.int64)
    with np.errstate(all="ignore"):
        if kind in ("sum", "mean", "log_sum", "root_sum"):
            total = wide.sum(axis)
            if kind == "mean":
                return total / count if dtypes.is_float(v.dtype) else np.trunc(total / count).astype(np.int64)
            return np.log(total) if kind == "log_sum" else np.sqrt(total) if kind == "root_sum" else total
        if kind in ("l2", "sum_square"):
            total = np.square(wide).sum(axis)
            return np.sqrt(total) if kind == "l2" else total
        if kind == "logsumexp":
            return np.logaddexp.reduce(wide, axis)
        if kind == "l1":
            return np.abs(wide).sum(axis)
        if kind in ("max", "any"):
            return wide.max(axis)
        if kind in ("min", "all"):
            return wide.min(axis)
        return wide.prod(axis)


def _reference(kind: str, rows: bool) -> Reference:
    def reference(arrays: Mapping[str, np.ndarray], s: Scalars, case: Case) -> Mapping[str, np.ndarray]:
        g = {k: int(v) for k, v in s.items()}
        g.setdefault("I", 1)
        g.setdefault("x_i", 0)
        flat = arrays["x"].reshape(-1)[g["x_off"] :]
        strides = [g[k] * flat.itemsize for k in ("x_o0", "x_o1", "x_r0", "x_r1", "x_i")]
        shape = (g["O0"], g["O1"], g["R0"], g["R1"], g["I"])
        v = np.lib.stride_tricks.as_strided(flat, shape, strides).reshape(shape[0] * shape[1], -1, g["I"])
        v = slot_reference(case, "PROLOGUE", v[..., 0] if rows else v)
        v = v[..., None] if rows else v
        parts = [v[:, p * g["chunk"] : (p + 1) * g["chunk"]] for p in range(g["S"])]
        y = np.stack([_reference_values(kind, part, 1, g["count"]) for part in parts], 1)
        if "EPILOGUE" in case.slots:
            y = slot_reference(case, "EPILOGUE", y[:, 0, 0] if rows else y[:, 0])
        return {"y": y.reshape(case.outputs["y"][0])}

    return reference


# ---- variants ------------------------------------------------------------------------------------------------


def _outputs(s: Scalars) -> int:
    return int(s["O0"] * s["O1"] * s["S"] * s.get("I", 1))


def _teams(s: Scalars, t: Tunables) -> tuple[Grid, Grid]:
    return (ceil_div(_outputs(s), t["OUTS"]), 1, 1), (t["OUTS"] * t["LANES"], 1, 1)


def _elements(s: Scalars) -> int:
    return int(s["O0"] * s["O1"] * s["R0"] * s["R1"] * s.get("I", 1))


def _cpu_rows(s: Scalars, t: Tunables) -> tuple[Grid, Grid]:
    return cpu_blocks(_outputs(s), _elements(s))


def _cpu_columns(s: Scalars, t: Tunables) -> tuple[Grid, Grid]:
    units = int(s["O0"] * s["O1"] * s["S"]) * ceil_div(int(s["I"]), 64)
    return cpu_blocks(units, _elements(s))


def _variants(rows: bool) -> tuple[Variant, ...]:
    return (
        Variant(
            "cpu", "cpu", _cpu_rows if rows else _cpu_columns, backends=("opencl",),
            source="cpu/reduce_rows" if rows else "cpu/reduce", vector_width=WIDTH, requires=runs_vectors,
            supports=(lambda s: s["x_r1"] == 1 and s["R1"] >= WIDTH and s["chunk"] >= WIDTH) if rows
            else (lambda s: s["x_i"] == 1 and s["I"] >= WIDTH),
        ),
        Variant("cpu_any", "cpu", _cpu_rows, backends=("opencl",), source="cpu/reduce_any", requires=runs),
        Variant(
            "team", "gpu", _teams,
            (
                Tunable("LANES", 32 if rows else 8, (4, 8, 16, 32, 64), "work-items per output, a power of two"),
                Tunable("OUTS", 8 if rows else 32, (2, 4, 8, 16, 32), "outputs per group"),
            ),
            source="reduce", requires=runs, supports=lambda s: s["R0"] * s["R1"] >= (32 if rows else 16),
            constraint=lambda t: t["LANES"] * t["OUTS"] <= 256,
        ),
        Variant(
            "thread", "any", _teams,
            (
                Tunable("LANES", 1, (1,), "work-items per output"),
                Tunable("OUTS", 64, (32, 64, 128), "outputs per group"),
            ),
            source="reduce", requires=runs,
        ),
    )  # fmt: skip


# ---- cases ---------------------------------------------------------------------------------------------------

_F32, _F16, _BF16 = (dtypes.from_short(n) for n in ("f32", "f16", "bf16"))
_BOOL, _I32 = np.dtype(np.bool_), np.dtype(np.int32)


def _case(
    name: str, rows: bool, sizes: tuple[int, ...], types: Mapping[str, np.dtype], *, layout: str = "contiguous",
    split: int = 1, x: np.ndarray | None = None, slots: bool = False, exact: bool = True,
    low: float = -1.0, high: float = 1.0,
) -> Case:  # fmt: skip
    o0, o1, r0, r1, i = sizes
    if layout == "contiguous":  # x[o0, r0, o1, r1, i]
        strides = (r0 * o1 * r1 * i, r1 * i, o1 * r1 * i, i, 1)
    else:  # x[i, r1, o0, r0, o1] with gaps: nothing lies side by side
        strides = (r0 * o1 * 3, 3, o1 * 3, o0 * r0 * o1 * 3, r1 * o0 * r0 * o1 * 3)
    off = 5
    size = off + 1 + sum((n - 1) * st for n, st in zip((o0, o1, r0, r1, i), strides))
    chunk = ceil_div(r0 * r1, split)
    scalars: dict[str, int | float] = dict(
        O0=o0, O1=o1, R0=r0, R1=r1, I=i, S=split, chunk=chunk, count=r0 * r1, x_off=off,
        x_o0=strides[0], x_o1=strides[1], x_r0=strides[2], x_r1=strides[3], x_i=strides[4],
    )  # fmt: skip
    if rows:
        del scalars["I"], scalars["x_i"]
    data: Any = Data((size,), "T", low, high)
    if x is not None:
        data = np.resize(x, size).astype(types["T"])
    filled: dict[str, Any] = {}
    if slots:
        acc = types["ACC"]
        code = SlotCode(
            expr.apply("add", expr.arg(0, acc), expr.cast(expr.arg(1, types["T"]), acc)), (Operand(types["T"], 1),)
        )
        o, r = o0 * o1, r0 * r1
        values = np.resize(np.linspace(-1, 1, 37), o * r * i + 2).astype(types["T"])
        # column bias from a matrix for the prologue, one value per output for the epilogue
        filled["PROLOGUE"] = (code, ((values, 2, (r, 1) if rows else (r * i, i, 1)),))
        out = expr.cast(expr.apply("mul", expr.arg(0, acc), expr.cast(expr.arg(1, types["T"]), acc)), types["OUT"])
        filled["EPILOGUE"] = (SlotCode(out, (Operand(types["T"], 1),)), ((values, 1, (1,) if rows else (i, 1)),))
    shape = (o0 * o1, split) if rows else (o0 * o1, split, i)
    return Case(name, {"x": data}, scalars, {"y": (shape, "OUT")}, types, filled, exact)


def _types(t: np.dtype, acc: np.dtype | None = None, out: np.dtype | None = None) -> dict[str, np.dtype]:
    return {"T": t, "ACC": acc or t, "OUT": out or t}


def _cases(kind: str, rows: bool) -> Iterator[Case]:
    k = KINDS[kind]
    low, high = (0.8, 1.2) if kind in ("prod", "log_sum", "root_sum") else (-1.0, 1.0)
    t = _types(_BOOL if kind in ("any", "all") else _F32)

    def case(name: str, sizes: tuple[int, ...], types: Mapping[str, np.dtype] = t, **more: Any) -> Case:
        columns = sizes[4]
        if rows:  # the same sizes with the columns as further outputs
            sizes = (sizes[0] * columns, *sizes[1:4], 1)
        exact = more.pop("exact", True) and k.exact and (kind != "prod" or sizes[2] * sizes[3] <= 8)
        return _case(name, rows, sizes, types, low=low, high=high, exact=exact, **more)

    yield case("one", (1, 1, 1, 1, 1))
    yield case("short", (3, 2, 1, 5, 1))
    yield case("vector", (2, 1, 1, 16, 16))
    yield case("ragged", (2, 3, 3, 37, 21))
    yield case("wide", (1, 2, 2, 67, 131))
    yield case("strided", (3, 2, 2, 19, 5), layout="strided")
    yield case("long", (1, 1, 1, 400 if kind == "prod" else 4999, 17 if kind == "sum" else 1))
    yield case("split", (2, 1, 1, 1000, 20), split=7)
    if kind == "sum":
        yield case("slots", (2, 3, 1, 45, 35), slots=True)
        yield case("f16", (2, 3, 1, 45, 35), _types(_F16))
        yield case("bf16_slots", (2, 1, 2, 30, 18), _types(_BF16, _F32, _F16), slots=True)
        yield case("f64", (2, 2, 1, 45, 19), _types(np.dtype(np.float64)))
        yield case("i64", (2, 2, 1, 45, 19), _types(np.dtype(np.int64)))
    if kind in ("sum", "max", "min", "prod", "mean"):
        yield case("i32", (2, 1, 2, 35, 19), _types(_I32))
    if kind in ("sum", "max"):
        yield case("u8", (2, 1, 2, 35, 19), _types(np.dtype(np.uint8)))
    if kind in ("max", "min", "logsumexp"):
        special = np.array([0.5, -np.inf, 3.0, np.inf, -2.0, np.nan, -np.inf])
        yield case("nan_inf", (5, 1, 1, 40, 17), x=special, exact=False)
        yield case("short_nan_inf", (5, 7, 1, 1, 17), x=special, exact=False)
        yield case("inf_only", (3, 1, 1, 33, 17), x=np.array([-np.inf]), exact=False)
        yield case("large", (3, 1, 1, 33, 17), x=np.array([1000.0, 1001.0, 999.5]), exact=False)


# ---- specs ---------------------------------------------------------------------------------------------------


def _spec(kind: str, rows: bool) -> KernelSpec:
    k = KINDS[kind]
    coords = ("o", "r") if rows else ("o", "r", "i")
    columns = "" if rows else "int I\n"
    column_stride = "" if rows else "int x_i\n"
    defines = {
        "REDUCE_INIT": k.init,
        "REDUCE_STEP(a, v)": k.step,
        "REDUCE_JOIN(a, b)": k.join,
        "REDUCE_QUICK_STEP(a, v)": k.quick[0] if k.quick else k.step,
        "REDUCE_QUICK_JOIN(a, b)": k.quick[1] if k.quick else k.join,
        "REDUCE_NANS": "1" if k.quick else "0",
        "REDUCE_FINISH(a)": k.finish,
        "REDUCE_PASSES": str(k.passes),
        "REDUCE_SHIFT(a, type)": "(a_isinf(a) ? (type)(0) : (a))" if k.passes > 1 else "(a)",
        "REDUCE_PROLOGUE(v, o, r, i)": "PROLOGUE(v, o, r)" if rows else "PROLOGUE(v, o, r, i)",
        "REDUCE_EPILOGUE(v, o, i)": "EPILOGUE(v, o)" if rows else "EPILOGUE(v, o, i)",
    }
    if rows:
        defines |= {"REDUCE_ROWS": "", "I": "1", "x_i": "0"}
    acc = dtypes.FLOATS if k.floating else dtypes.ALL
    return KernelSpec(
        name=f"reduce_rows_{kind}" if rows else f"reduce_{kind}",
        doc=f"{kind} over r of x[{', '.join(coords)}]",
        params=params(f"""
            in x: T
            out y: OUT
            int O0
            int O1
            int R0
            int R1
            {columns}
            int S
            int chunk
            int count
            int x_off
            int x_o0
            int x_o1
            int x_r0
            int x_r1
            {column_stride}"""),
        # any and all work on masks, for which there is no vector text
        variants=_variants(rows)[1 if kind in ("any", "all") else 0 :],
        reference=_reference(kind, rows),
        cases=lambda: _cases(kind, rows),
        types={"T": dtypes.ALL, "ACC": acc, "OUT": dtypes.ALL},
        slots=(
            Slot("PROLOGUE", coords, "T", "applied to each element; its value has ACC's register type", _elements),
            Slot("EPILOGUE", ("o",) if rows else ("o", "i"), "ACC", "applied to each result; its value has type OUT",
                 _outputs),
        ),
        exact=k.exact,
        flops=lambda s: float(_elements(s)),
        bytes=lambda s: 4.0 * (_elements(s) + _outputs(s)),
        defines=defines,
    )


ROWS = {kind: register(_spec(kind, True)) for kind in KINDS}
COLUMNS = {kind: register(_spec(kind, False)) for kind in KINDS}
