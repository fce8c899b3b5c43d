"""Resize of up to three spatial axes, channels-last: a weighted sum by per-axis tables (ONNX Resize, all modes).

``y[b, od, oh, ow, c] = EPILOGUE(sum_kd sum_kh sum_kw wd wh ww x[b, id, ih, iw, c]; b, m, c)``

=====================  =====================================================================================
parameter              meaning
=====================  =====================================================================================
x: T                   [B, ., ., ., C] at ``x_off + b*x_b + d*x_d + h*x_h + w*x_w + c``
id wd, ih wh, iw ww    index (i32) and weight (W) tables [out, taps] per axis, made by
                       :func:`~a1400.kernels.resize_tables.axis_tables`; ``identity(size)`` for an axis left alone
y: T                   [B, OD, OH, OW, C], contiguous
TD TH TW               taps per axis
extrapolation          value where an axis' first index is -1 (tf_crop_and_resize)
slot EPILOGUE(b,m,c)   m = (od*OH + oh)*OW + ow; its value is stored to y
=====================  =====================================================================================

The three axes are summed together (taps multiply): for wide filters (antialias, several axes) launch once per axis.
T is a float type; integer tensors with nearest are moved by ``gather`` along each axis instead.
Axes of other tensors: fold leading axes into B, trailing ones into C.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from a1400 import dtypes
from a1400.backends.base import Grid
from a1400.kernels.check import slot_reference
from a1400.kernels.expr import apply, arg
from a1400.kernels.gather import GROUP, per_element
from a1400.kernels.geometry import runs, runs_vectors
from a1400.kernels.resize_tables import axis_tables, identity
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
from a1400.kernels.strided import ceil_div, dense, strided

__all__ = ["SPEC", "axis_tables", "identity", "scalars"]

F32, F64, F16, BF16 = np.dtype(np.float32), np.dtype(np.float64), np.dtype(np.float16), dtypes.bfloat16


def scalars(
    b: int, sizes: tuple[int, int, int], out: tuple[int, int, int], c: int, taps: tuple[int, int, int],
    extrapolation: float = 0.0,
) -> dict[str, int | float]:  # fmt: skip
    """Scalars for a dense input [b, *sizes, c]."""
    st = dense((b, *sizes, c))
    return {
        "B": b, "OD": out[0], "OH": out[1], "OW": out[2], "C": c, "TD": taps[0], "TH": taps[1], "TW": taps[2],
        "x_off": 0, "x_b": st[0], "x_d": st[1], "x_h": st[2], "x_w": st[3], "extrapolation": extrapolation,
    }  # fmt: skip


def reference(arrays: Mapping[str, np.ndarray], s: Scalars, case: Case) -> dict[str, np.ndarray]:
    """One axis after another."""
    n = {k: int(v) for k, v in s.items() if k != "extrapolation"}
    tables = [(arrays[f"i{a}"].reshape(n[f"O{a.upper()}"], n[f"T{a.upper()}"]), arrays[f"w{a}"]) for a in "dhw"]
    sizes = [int(i.max(initial=0)) + 1 for i, _ in tables]
    x = strided(arrays["x"], n["x_off"], (n["B"], *sizes, n["C"]), (n["x_b"], n["x_d"], n["x_h"], n["x_w"], 1))
    outside = np.zeros((n["OD"], n["OH"], n["OW"]), bool)
    for axis, (index, weight) in enumerate(tables):
        taken = np.take(x, np.maximum(index, 0), axis=1 + axis)  # [.., out, taps, ..]
        shape = [1] * taken.ndim
        shape[1 + axis : 3 + axis] = index.shape
        x = (taken * weight.reshape(shape)).sum(axis=2 + axis)
        outside |= (index[:, 0] < 0).reshape([-1 if a == axis else 1 for a in range(3)])
    x = np.where(outside[None, ..., None], s["extrapolation"], x)
    y = x.reshape(n["B"], -1, n["C"]).astype(case.types.get("W", F32))
    y = slot_reference(case, "EPILOGUE", y)
    return {"y": y.reshape(case.outputs["y"][0])}


def _cpu(s: Scalars, t: Tunables) -> tuple[Grid, Grid]:
    pixels = int(s["B"] * s["OD"] * s["OH"] * s["OW"])
    return (ceil_div(pixels, max(1, t["CHUNK"] // max(1, int(s["C"])))), 1, 1), (1, 1, 1)


def _case(
    name: str, b: int, sizes: tuple[int, int, int], out: tuple[int, int, int], c: int, dtype: np.dtype = F32,
    epilogue: bool = False, exact: bool = False, **how: Any,
) -> Case:  # fmt: skip
    arrays: dict[str, Data | np.ndarray] = {"x": Data((b, *sizes, c), "T")}
    wide = F64 if dtype == F64 else F32
    taps = []
    for a, size, to in zip("dhw", sizes, out):
        index, weight = identity(size) if size == to else axis_tables(size, to, **how)
        arrays[f"i{a}"], arrays[f"w{a}"] = index, weight.astype(wide)
        taps.append(index.shape[1])
    slots = {}
    if epilogue:
        extra = np.random.default_rng(1).normal(size=(b, out[0] * out[1] * out[2], c)).astype(np.float32)
        value = apply("add", apply("max", arg(0, F32), arg(1, F32)), arg(2, F32))
        code = SlotCode(value, (Operand(F32, 1), Operand(F32, 0)))
        slots["EPILOGUE"] = (code, ((extra, 0, dense(extra.shape)), (extra[0, :, 0].copy(), 0, (0, 1, 0))))
    return Case(
        name, arrays, scalars(b, sizes, out, c, (taps[0], taps[1], taps[2]), 2.0), {"y": ((b, *out, c), "T")},
        {"T": dtype, "W": wide}, slots, exact,
    )  # fmt: skip


def cases() -> Iterator[Case]:
    """Modes by their tables, channel tails, one to three axes, epilogues."""
    yield _case("one", 1, (1, 1, 1), (1, 1, 1), 1, exact=True)
    yield _case("nearest_twice", 2, (1, 5, 6), (1, 10, 12), 24, exact=True, coordinate_mode="asymmetric")
    yield _case("nearest_narrow", 1, (1, 5, 6), (1, 7, 4), 3, exact=True)
    yield _case("linear_1d", 2, (1, 1, 9), (1, 1, 20), 5, mode="linear")
    yield _case("linear_2d", 2, (1, 5, 6), (1, 10, 11), 37, mode="linear", epilogue=True)
    yield _case("linear_2d_half", 1, (1, 4, 4), (1, 8, 8), 16, mode="linear", exact=True, coordinate_mode="asymmetric")
    yield _case("linear_3d", 1, (3, 4, 5), (5, 3, 9), 16, mode="linear", coordinate_mode="align_corners")
    yield _case("cubic", 1, (1, 7, 6), (1, 13, 5), 18, mode="cubic", exclude_outside=True)
    yield _case("antialias", 1, (1, 20, 17), (1, 7, 5), 3, mode="cubic", antialias=True)
    crop: dict[str, Any] = {"coordinate_mode": "tf_crop_and_resize", "roi": (-0.3, 1.2)}
    yield _case("wide_filter", 1, (1, 60, 60), (1, 4, 5), 18, mode="cubic", antialias=True)  # more than 256 taps
    yield _case("crop", 1, (1, 6, 6), (1, 5, 4), 20, mode="linear", **crop)
    yield _case("half", 1, (1, 5, 6), (1, 10, 11), 20, F16, mode="linear")
    yield _case("bfloat", 1, (1, 5, 6), (1, 10, 11), 20, BF16, mode="linear", epilogue=True)
    yield _case("double", 1, (1, 5, 6), (1, 10, 11), 20, F64, mode="cubic")


SPEC = register(
    KernelSpec(
        name="resize",
        doc="ONNX Resize over up to three spatial axes, channels-last, by index and weight tables",
        params=params("""
            in x: T
            in id: i32
            in wd: W
            in ih: i32
            in wh: W
            in iw: i32
            in ww: W
            out y: T
            int B
            int OD
            int OH
            int OW
            int C
            int TD
            int TH
            int TW
            int x_off
            int x_b
            int x_d
            int x_h
            int x_w
            float extrapolation
        """),
        variants=(
            Variant("cpu", "cpu", _cpu,
                    (Tunable("CHUNK", 8192, (2048, 8192, 32768), "elements that one work-item writes"),),
                    ("opencl",), "cpu/resize", 16, supports=lambda s: s["TD"] * s["TH"] * s["TW"] <= 256,
                    test_tunables=({"CHUNK": 64},), requires=runs_vectors),
            Variant(
                "gpu", "gpu", lambda s, t: per_element(int(s["B"] * s["OD"] * s["OH"] * s["OW"] * s["C"]), t), GROUP,
                requires=runs,
            ),
        ),
        reference=reference,
        cases=cases,
        types={"T": dtypes.FLOATS, "W": (F32, F64)},
        slots=(Slot("EPILOGUE", ("b", "m", "c"), "W", "the resized value, before it is stored",
                    lambda s: float(s["B"] * s["OD"] * s["OH"] * s["OW"] * s["C"])),),
        flops=lambda s: 2.0 * s["B"] * s["OD"] * s["OH"] * s["OW"] * s["C"] * s["TD"] * s["TH"] * s["TW"],
        bytes=lambda s: 8.0 * s["B"] * s["OD"] * s["OH"] * s["OW"] * s["C"],
    )
)  # fmt: skip
