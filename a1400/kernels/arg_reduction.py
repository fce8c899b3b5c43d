"""Index of the largest or smallest element: ``argmax`` and ``argmin``.

==============  ===========================================================  ===============
spec            parameters                                                   dtype variables
==============  ===========================================================  ===============
``argmax``      in x: T, out y: i64, int O, R, I, x_off, x_o, x_r, x_i,      T (x)
``argmin``      int select_last
==============  ===========================================================  ===============

``y[o, i]`` (contiguous) is the r of the extreme ``x[x_off + o x_o + r x_r + i x_i]``: the first one, or the last with
``select_last``.  A NaN wins over every number, as in NumPy.  R must be at least 1.  No slots.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from a1400 import dtypes
from a1400.kernels.geometry import WIDTH, Reference, ceil_div, cpu_blocks, runs_vectors, team
from a1400.kernels.spec import Case, Data, KernelSpec, Scalars, Variant, params, register


def _reference(largest: bool) -> Reference:
    def reference(arrays: Mapping[str, np.ndarray], s: Scalars, case: Case) -> Mapping[str, np.ndarray]:
        flat = arrays["x"].reshape(-1)[int(s["x_off"]) :]
        shape = [int(s[k]) for k in "ORI"]
        v = np.lib.stride_tricks.as_strided(flat, shape, [int(s[k]) * flat.itemsize for k in ("x_o", "x_r", "x_i")])
        pick = np.argmax if largest else np.argmin
        if s["select_last"]:
            return {"y": shape[1] - 1 - pick(v[:, ::-1], axis=1)}
        return {"y": pick(v, axis=1)}

    return reference


def _count(s: Scalars) -> int:
    return int(s["O"] * s["R"] * s["I"])


def _outputs(s: Scalars) -> int:
    return int(s["O"] * s["I"])


_VARIANTS = (
    Variant(
        "cpu_columns", "cpu", lambda s, t: cpu_blocks(int(s["O"]) * ceil_div(int(s["I"]), 64), _count(s)),
        backends=("opencl",), source="cpu/arg_reduce_columns", vector_width=WIDTH, requires=runs_vectors,
        supports=lambda s: s["x_i"] == 1 and s["I"] >= WIDTH,
    ),
    Variant(
        "cpu", "cpu", lambda s, t: cpu_blocks(_outputs(s), _count(s)), backends=("opencl",),
        source="cpu/arg_reduce_rows", vector_width=WIDTH, requires=runs_vectors,
    ),
    team(
        "group", "gpu", 256, 1, "arg_reduce", _outputs,
        supports=lambda s: s["R"] >= 256 and (s["I"] == 1 or s["O"] * s["I"] < 256),
    ),
    team("team", "any", 8, 32, "arg_reduce", _outputs),
)  # fmt: skip

_SPECIAL = np.array([0.5, -np.inf, 3.0, np.inf, -2.0, np.inf, -np.inf, 3.0])


def _case(
    name: str, shape: tuple[int, int, int], *, t: str = "f32", last: int = 0, gap: int = 0,
    x: np.ndarray | None = None, transposed: bool = False,
) -> Case:  # fmt: skip
    o, r, i = shape
    strides = [r * (i + gap), i + gap, 1]
    if transposed:
        strides = [3, o * 3, o * r * 3]
    types = {"T": dtypes.from_short(t)}
    off = 3
    size = off + 1 + sum((n - 1) * st for n, st in zip(shape, strides))
    data: Any = Data((size,), "T", -3.0, 3.0) if x is None else np.resize(x, size).astype(types["T"])
    scalars: dict[str, int | float] = {
        "O": o, "R": r, "I": i, "x_off": off, "x_o": strides[0], "x_r": strides[1], "x_i": strides[2],
        "select_last": last,
    }  # fmt: skip
    return Case(name, {"x": data}, scalars, {"y": ((o, i), "i64")}, types)


def _cases() -> Iterator[Case]:
    nan = np.where(np.arange(97) % 29 == 20, np.nan, np.resize(_SPECIAL, 97))
    for last in (0, 1):
        end = "_last" if last else ""
        yield _case("one" + end, (1, 1, 1), last=last)
        yield _case("rows_short" + end, (5, 7, 1), last=last)
        yield _case("rows_vector" + end, (3, 16, 1), last=last)
        yield _case("rows_ragged" + end, (4, 93, 1), last=last)
        yield _case("rows_long" + end, (2, 3001, 1), last=last)
        yield _case("rows_inf" + end, (5, 61, 1), last=last, x=_SPECIAL)
        yield _case("rows_nan" + end, (5, 61, 1), last=last, x=nan)
        yield _case("columns" + end, (3, 11, 83), last=last, gap=4)
        yield _case("columns_nan" + end, (3, 11, 21), last=last, x=nan)
        yield _case("columns_narrow" + end, (3, 300, 5), last=last)
    yield _case("transposed", (4, 19, 6), transposed=True)
    yield _case("i32", (4, 93, 1), t="i32")
    yield _case("u8_columns", (2, 30, 18), t="u8")
    yield _case("i64", (4, 93, 1), t="i64", last=1)
    yield _case("f16", (4, 93, 1), t="f16")
    yield _case("bf16_columns", (2, 30, 18), t="bf16")


def _spec(name: str, largest: bool) -> KernelSpec:
    sign = ">" if largest else "<"
    return KernelSpec(
        name=name,
        doc=f"index of the {'largest' if largest else 'smallest'} over r of x[o, r, i]",
        params=params("""
            in x: T
            out y: i64
            int O
            int R
            int I
            int x_off
            int x_o
            int x_r
            int x_i
            int select_last"""),
        variants=_VARIANTS,
        reference=_reference(largest),
        cases=_cases,
        types={"T": dtypes.ALL},
        flops=lambda s: float(_count(s)),
        bytes=lambda s: 4.0 * _count(s) + 8.0 * s["O"] * s["I"],
        defines={
            "ARG_BEATS(a, b)": f"(((a) {sign} (b)) | (((a) != (a)) & ((b) == (b))))",
            "ARG_REACHES(a, b)": f"(((a) {sign}= (b)) | ((a) != (a)))",
            "ARG_EXTREME(a, b)": "a_max(a, b)" if largest else "a_min(a, b)",
        },
    )


ARGMAX, ARGMIN = register(_spec("argmax", True)), register(_spec("argmin", False))
