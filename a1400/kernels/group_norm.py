"""Group, instance and batch statistics of channels-last activations, and their application.

=======================  ======================================================================  ======================
spec                     parameters                                                              slots
=======================  ======================================================================  ======================
``group_norm_partial``   in x: T, out part: ACC, int N, P, C, S, chunk, x_off, x_ld              PROLOGUE(v; n, p, c)
``group_norm_stats``     in part: ACC, out mean: ACC, out inv_std: ACC,
                         int N, P, C, G, S, chunk, float eps
``group_norm_apply``     in x: T, in mean: ACC, in inv_std: ACC, out y: OUT,                     PROLOGUE(v; n, p, c)
                         int N, P, C, G, x_off, x_ld, y_off, y_ld                                EPILOGUE(v; n, p, c)
=======================  ======================================================================  ======================

x is ``[N, P, C]`` with pixels ``x_ld`` apart (images ``P x_ld`` apart).  ``group_norm_partial`` gives ``part[N, S, 2,
C]``: for each channel and each chunk of ``chunk`` pixels the mean and the sum of squared distances from it;
``group_norm_stats`` combines them (in a fixed order) into ``mean[N, G]`` and ``inv_std[N, G]``; ``group_norm_apply``
gives ``EPILOGUE((PROLOGUE(x) - mean) * inv_std)`` with scale and bias per channel as operands (inner stride 1).  G
must divide C; G = C is instance normalisation; batch statistics are N = 1, P = all pixels, G = C.  :func:`split`
chooses S and chunk.  ACC is T, or f32 where T is shorter; slots work in it, EPILOGUE gives OUT."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from a1400 import dtypes
from a1400.backends.base import DeviceInfo
from a1400.kernels import expr
from a1400.kernels.check import slot_reference
from a1400.kernels.geometry import WIDTH, ceil_div, channel_chunks, cpu_blocks, runs, runs_vectors
from a1400.kernels.spec import (
    Case,
    Data,
    KernelSpec,
    Operand,
    Scalars,
    Slot,
    SlotCode,
    Tunable,
    Variant,
    params,
    register,
)

_F32 = np.dtype(np.float32)
_WIDE = tuple(dtypes.from_short(n) for n in ("f32", "f64"))
_COORDS = ("n", "p", "c")


def split(info: DeviceInfo, n: int, p: int, c: int) -> tuple[int, int]:
    """(S, chunk) for ``group_norm_partial``: enough parts to keep ``info`` busy, chunks small enough to stay cached."""
    if info.kind == "cpu":
        chunk = max(16, 32768 // max(c, 1))
    else:
        chunk = max(64, ceil_div(n * p * ceil_div(c, 32), 8 * max(info.compute_units, 1)))
    chunk = max(1, min(p, chunk))
    return max(1, ceil_div(p, chunk)), chunk


def _pixels(flat: np.ndarray, s: Scalars, offset: str, ld: str) -> np.ndarray:
    n, p, c = (int(s[k]) for k in "NPC")
    item = flat.itemsize
    step = int(s[ld]) * item
    return np.lib.stride_tricks.as_strided(flat.reshape(-1)[int(s[offset]) :], (n, p, c), (p * step, step, item))


def _partial_reference(arrays: Mapping[str, np.ndarray], s: Scalars, case: Case) -> Mapping[str, np.ndarray]:
    v = np.asarray(slot_reference(case, "PROLOGUE", _pixels(arrays["x"], s, "x_off", "x_ld")), np.float64)
    chunk = int(s["chunk"])
    parts = [v[:, k * chunk : (k + 1) * chunk] for k in range(int(s["S"]))]
    mean = np.stack([part.mean(1) for part in parts], 1)
    square = np.stack([np.square(part - part.mean(1, keepdims=True)).sum(1) for part in parts], 1)
    return {"part": np.stack([mean, square], 2)}


def _stats_reference(arrays: Mapping[str, np.ndarray], s: Scalars, case: Case) -> Mapping[str, np.ndarray]:
    n, p, c, g, parts, chunk = (int(s[k]) for k in ("N", "P", "C", "G", "S", "chunk"))
    part = arrays["part"].reshape(n, parts, 2, g, c // g)
    count = np.array([min(p, (k + 1) * chunk) - k * chunk for k in range(parts)])[:, None, None]
    total = p * (c // g)
    mean = (part[:, :, 0] * count).sum((1, 3)) / total
    square = part[:, :, 1] + np.square(part[:, :, 0] - mean[:, None, :, None]) * count
    return {"mean": mean, "inv_std": 1 / np.sqrt(square.sum((1, 3)) / total + s["eps"])}


def _apply_reference(arrays: Mapping[str, np.ndarray], s: Scalars, case: Case) -> Mapping[str, np.ndarray]:
    n, c, g = (int(s[k]) for k in "NCG")
    v = np.asarray(slot_reference(case, "PROLOGUE", _pixels(arrays["x"], s, "x_off", "x_ld")), np.float64)
    mean, inv_std = (np.repeat(arrays[k].reshape(n, 1, g), c // g, 2) for k in ("mean", "inv_std"))
    y = np.zeros(case.outputs["y"][0])
    _pixels(y, s, "y_off", "y_ld")[...] = slot_reference(case, "EPILOGUE", (v - mean) * inv_std)
    return {"y": y}


# ---- variants ------------------------------------------------------------------------------------------------


_APPLY_VARIANTS = (
    Variant(
        "cpu", "cpu", lambda s, t: cpu_blocks(int(s["N"] * s["P"]), int(s["N"] * s["P"] * s["C"])),
        backends=("opencl",), source="cpu/group_norm_apply", vector_width=WIDTH, requires=runs_vectors,
    ),
    Variant(
        "thread", "any",
        lambda s, t: ((ceil_div(int(s["N"] * s["P"] * s["C"]), t["GROUP"]), 1, 1), (t["GROUP"], 1, 1)),
        (Tunable("GROUP", 128, (64, 128, 256), "work-items per group"),), requires=runs,
    ),
)  # fmt: skip


# ---- cases ---------------------------------------------------------------------------------------------------


def _types(t: str) -> dict[str, np.dtype]:
    return {"T": dtypes.from_short(t), "ACC": dtypes.from_short("f64" if t == "f64" else "f32")}


def _prologue(t: np.dtype, c: int) -> dict[str, Any]:
    added = expr.apply("add", expr.arg(0, _F32), expr.cast(expr.arg(1, t), _F32))
    return {"PROLOGUE": (SlotCode(added, (Operand(t, 1),)), ((np.linspace(-1, 1, c).astype(t), 0, (0, 0, 1)),))}


def _partial_cases() -> Iterator[Case]:
    for name, (n, p, c), chunk, gap, t in (
        ("one", (1, 1, 1), 1, 0, "f32"),
        ("narrow", (2, 21, 5), 8, 0, "f32"),
        ("vector", (2, 7, 16), 7, 0, "f32"),
        ("ragged", (3, 50, 151), 16, 6, "f32"),
        ("slots", (2, 33, 40), 11, 0, "f32"),
        ("f16", (2, 33, 40), 11, 0, "f16"),
        ("bf16", (1, 9, 20), 9, 0, "bf16"),
        ("f64", (2, 21, 20), 8, 1, "f64"),
    ):
        types = _types(t)
        s: dict[str, int | float] = dict(N=n, P=p, C=c, S=ceil_div(p, chunk), chunk=chunk, x_off=3, x_ld=c + gap)
        slots = _prologue(types["T"], c) if name == "slots" else {}
        x = Data((3 + n * p * (c + gap),), "T", 1.0, 3.0)
        yield Case(name, {"x": x}, s, {"part": ((n, int(s["S"]), 2, c), "ACC")}, types, slots)


def _stats_cases() -> Iterator[Case]:
    for name, n, p, c, g, chunk, t in (
        ("one", 1, 1, 1, 1, 1, "f32"),
        ("groups", 3, 50, 30, 5, 16, "f32"),
        ("instance", 2, 9, 70, 70, 9, "f32"),
        ("f64", 2, 9, 6, 3, 4, "f64"),
    ):
        eps = 0.5 if t == "f64" else 1e-5  # exact in f32, as it is handed over in f32
        s: dict[str, int | float] = dict(N=n, P=p, C=c, G=g, S=ceil_div(p, chunk), chunk=chunk, eps=eps)
        part = Data((n, int(s["S"]), 2, c), "ACC", 0.5, 2.0)
        outputs = {"mean": ((n, g), "ACC"), "inv_std": ((n, g), "ACC")}
        yield Case(name, {"part": part}, s, outputs, {"ACC": dtypes.from_short(t)})


def _apply_cases() -> Iterator[Case]:
    for name, (n, p, c), g, gap, t, out in (
        ("one", (1, 1, 1), 1, 0, "f32", "f32"),
        ("narrow", (2, 7, 6), 3, 2, "f32", "f32"),
        ("ragged", (3, 50, 330), 33, 6, "f32", "f32"),
        ("instance", (2, 20, 48), 48, 0, "f32", "f32"),
        ("slots", (2, 11, 40), 4, 0, "f32", "f16"),
        ("f16", (2, 11, 40), 1, 0, "f16", "f16"),
        ("f64", (2, 7, 20), 4, 1, "f64", "f64"),
    ):
        types = {**_types(t), "OUT": dtypes.from_short(out)}
        s: dict[str, int | float] = dict(N=n, P=p, C=c, G=g, x_off=3, x_ld=c + gap, y_off=0, y_ld=c)
        slots: dict[str, Any] = {}
        if name == "slots":
            slots = _prologue(types["T"], c)
            scaled = expr.apply("mul", expr.arg(0, _F32), expr.arg(1, _F32))
            last = expr.cast(expr.apply("add", scaled, expr.arg(2, _F32)), types["OUT"])
            scale, bias = np.linspace(1, 2, c).astype(_F32), np.linspace(-1, 1, c + 2).astype(_F32)
            operands = ((scale, 0, (0, 0, 1)), (bias, 2, (0, 0, 1)))
            slots["EPILOGUE"] = (SlotCode(last, (Operand(_F32, 1), Operand(_F32, 1))), operands)
        arrays = {
            "x": Data((3 + n * p * (c + gap),), "T", -2.0, 2.0),
            "mean": Data((n, g), "ACC"),
            "inv_std": Data((n, g), "ACC", 0.5, 2.0),
        }
        yield Case(name, arrays, s, {"y": ((n * p * c,), "OUT")}, types, slots)


# ---- specs ---------------------------------------------------------------------------------------------------



def _elements(s: Scalars) -> float:
    return float(s["N"] * s["P"] * s["C"])


_PROLOGUE = Slot("PROLOGUE", _COORDS, "ACC", "applied to each element", _elements)

PARTIAL = register(
    KernelSpec(
        name="group_norm_partial",
        doc="mean and sum of squares per channel of chunks of pixels",
        params=params("in x: T\nout part: ACC\nint N\nint P\nint C\nint S\nint chunk\nint x_off\nint x_ld"),
        variants=channel_chunks("group_norm_partial"),
        reference=_partial_reference,
        cases=_partial_cases,
        types={"T": dtypes.FLOATS, "ACC": _WIDE},
        slots=(_PROLOGUE,),
        exact=False,
        flops=lambda s: 4.0 * s["N"] * s["P"] * s["C"],
        bytes=lambda s: 4.0 * s["N"] * s["P"] * s["C"],
    )
)

STATS = register(
    KernelSpec(
        name="group_norm_stats",
        doc="mean and inverse deviation per group of channels from group_norm_partial's parts",
        params=params(
            "in part: ACC\nout mean: ACC\nout inv_std: ACC\nint N\nint P\nint C\nint G\nint S\nint chunk\nfloat eps"
        ),
        variants=(
            Variant(
                "thread", "any", lambda s, t: ((ceil_div(int(s["N"] * s["G"]), 32), 1, 1), (32, 1, 1)), requires=runs
            ),
        ),
        types={"ACC": _WIDE},
        reference=_stats_reference,
        cases=_stats_cases,
        exact=False,
        flops=lambda s: 5.0 * s["N"] * s["S"] * s["C"],
        bytes=lambda s: 16.0 * s["N"] * s["S"] * s["C"],
    )
)

APPLY = register(
    KernelSpec(
        name="group_norm_apply",
        doc="(x - mean) * inv_std with statistics per image and group of channels",
        params=params(
            "in x: T\nin mean: ACC\nin inv_std: ACC\nout y: OUT\n"
            "int N\nint P\nint C\nint G\nint x_off\nint x_ld\nint y_off\nint y_ld"
        ),
        variants=_APPLY_VARIANTS,
        reference=_apply_reference,
        cases=_apply_cases,
        types={"T": dtypes.FLOATS, "OUT": dtypes.FLOATS, "ACC": _WIDE},
        slots=(
            _PROLOGUE, Slot("EPILOGUE", _COORDS, "ACC", "applied to each result: scale, bias, activation", _elements),
        ),
        exact=False,
        flops=lambda s: 2.0 * s["N"] * s["P"] * s["C"],
        bytes=lambda s: 8.0 * s["N"] * s["P"] * s["C"],
    )
)
