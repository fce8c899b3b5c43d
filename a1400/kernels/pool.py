"""Pooling of channels-last images: x ``[N, D, H, W, C]`` -> y ``[N, OD, OH, OW, C]``, 1 for spatial axes that are
not there.

===================  ======================================================  ======================
spec                 parameters                                              slots
===================  ======================================================  ======================
``pool_max``         in x: T, out y: OUT, GEOMETRY                           EPILOGUE(v; b, m, n)
``pool_average``     the same, int include_pad, lim_d, lim_h, lim_w          EPILOGUE(v; b, m, n)
``pool_lp``          the same as pool_max, float p                           EPILOGUE(v; b, m, n)
``pool_max_index``   in x: T, out y: T, out index: i64, GEOMETRY,
                     int i_n, i_c, i_d, i_h, i_w
===================  ======================================================  ======================

GEOMETRY is ``int N, D, H, W, C, OD, OH, OW, KD, KH, KW, SD, SH, SW, LD, LH, LW, PD, PH, PW, x_off, x_ld, y_off,
y_ld``: K kernel, S strides, L dilations, P low pads (high pads follow from the output size), ``*_ld`` pixel strides;
images are ``D H W x_ld`` (``OD OH OW y_ld``) apart.  Slot coordinates: image, flat output pixel, channel.

``pool_average``: with ``include_pad`` 1 the divisor counts window positions below ``lim_*`` (input size plus high
pad), else those inside the image.  ``pool_max`` propagates NaN; a window with no element gives the lowest value.
``pool_max_index``: ``index`` is contiguous ``[N, OD, OH, OW, C]``; element (n, c, d, h, w) is named ``n i_n + c i_c +
d i_d + h i_h + w i_w`` - :func:`index_strides` gives ONNX's two storage orders; of equal elements the first in (d, h,
w) order is named. T is floating (no f64 for lp) or, for max, any integer; ``pool_average``/``pool_lp`` work in T's
register type."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
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

SIZES = (
    "N", "D", "H", "W", "C", "OD", "OH", "OW", "KD", "KH", "KW", "SD", "SH", "SW", "LD", "LH", "LW", "PD", "PH", "PW",
    "x_off", "x_ld", "y_off", "y_ld",
)  # fmt: skip
_F32 = np.dtype(np.float32)

# The kinds differ in where the accumulator starts, how it takes a value, and what becomes of it.
COUNT = (
    "const int counted = include_pad"
    " ? window_high(d0, LD, lim_d, KD) * window_high(h0, LH, lim_h, KH) * window_high(w0, LW, lim_w, KW)"
    " : (kd1 - window_low(d0, LD)) * (kh1 - window_low(h0, LH)) * (kw1 - window_low(w0, LW));"
)
_KINDS: dict[str, tuple[str, dict[str, str]]] = {
    "max": ("", {
        "POOL_INIT": "T_lowest",
        "POOL_STEP(a, v, type)": "((((v) > (a)) | ((v) != (v))) ? (v) : (a))",
        "POOL_FINISH(a, type)": "(a)",
        "POOL_COUNT": "",
    }),
    "average": ("int include_pad\nint lim_d\nint lim_h\nint lim_w", {
        "POOL_INIT": "0", "POOL_STEP(a, v, type)": "((a) + (v))", "POOL_FINISH(a, type)": "((a) / (T_r)counted)",
        "POOL_COUNT": COUNT,
    }),
    "lp": ("float p", {
        "POOL_INIT": "0",
        "POOL_STEP(a, v, type)": (
            "((a) + (p == 2.0f ? (v) * (v) : (p == 1.0f ? a_abs(v) : a_pow(a_abs(v), (type)(p)))))"
        ),
        "POOL_FINISH(a, type)": "(p == 2.0f ? sqrt(a) : (p == 1.0f ? (a) : a_pow(a, (type)(1) / (type)(p))))",
        "POOL_COUNT": "",
    }),
}  # fmt: skip


def index_strides(c: int, d: int, h: int, w: int, storage_order: int = 0) -> dict[str, int]:
    """``i_*`` scalars of ``pool_max_index`` for ONNX's MaxPool: names in a contiguous ``[N, C, D, H, W]`` tensor.

    ``storage_order`` 1 counts the spatial axes column-major (the first fastest).
    """
    spatial = {"i_d": h * w, "i_h": w, "i_w": 1}
    if storage_order:
        spatial = {"i_d": 1, "i_h": d, "i_w": d * h}
    return {"i_n": c * d * h * w, "i_c": d * h * w, **spatial}


def windows(arrays: Mapping[str, np.ndarray], s: Scalars) -> tuple[np.ndarray, np.ndarray]:
    """Values ``[N, OD, OH, OW, C, K]`` and where they are inside the image ``[OD, OH, OW, K]``."""
    n, d, h, w, c = (int(s[k]) for k in "NDHWC")
    flat = arrays["x"].reshape(-1)[int(s["x_off"]) :]
    item, step = flat.itemsize, int(s["x_ld"]) * flat.itemsize
    x = np.lib.stride_tricks.as_strided(flat, (n, d, h, w, c), (d * h * w * step, h * w * step, w * step, step, item))
    positions = []
    for axis in "DHW":
        start = np.arange(int(s["O" + axis])) * int(s["S" + axis]) - int(s["P" + axis])
        positions.append(start[:, None] + np.arange(int(s["K" + axis])) * int(s["L" + axis]))
    inside = [(p >= 0) & (p < size) for p, size in zip(positions, (d, h, w))]
    pd, ph, pw = (np.clip(p, 0, size - 1) for p, size in zip(positions, (d, h, w)))
    # [OD, KD] x [OH, KH] x [OW, KW] -> [OD, OH, OW, KD, KH, KW]
    grid = np.ix_(range(n), pd.ravel(), ph.ravel(), pw.ravel())
    shape = [k for p in positions for k in p.shape]
    values = x[grid].reshape(n, *shape, c).transpose(0, 1, 3, 5, 7, 2, 4, 6)
    valid = inside[0][:, :, None, None, None, None] & inside[1][:, :, None, None] & inside[2]
    valid = valid.transpose(0, 2, 4, 1, 3, 5)
    return values.reshape(*values.shape[:5], -1), valid.reshape(*valid.shape[:3], -1)


def _reference(kind: str) -> Reference:
    def reference(arrays: Mapping[str, np.ndarray], s: Scalars, case: Case) -> Mapping[str, np.ndarray]:
        values, valid = windows(arrays, s)
        inside = valid[:, :, :, None, :]
        with np.errstate(all="ignore"):
            if kind == "max":
                lowest = -np.inf if np.issubdtype(values.dtype, np.floating) else np.iinfo(values.dtype).min
                y = np.where(inside, values, lowest).max(-1)
            elif kind == "average":
                count = valid.sum(-1)
                if s["include_pad"]:
                    per_axis = [
                        (
                            (np.arange(int(s["O" + a])) * int(s["S" + a]) - int(s["P" + a]))[:, None]
                            + np.arange(int(s["K" + a])) * int(s["L" + a]) < s["lim_" + a.lower()]
                        ).sum(1)
                        for a in "DHW"
                    ]  # fmt: skip
                    count = per_axis[0][:, None, None] * per_axis[1][:, None] * per_axis[2]
                y = np.where(inside, values, 0).sum(-1) / count[..., None]
            else:
                y = (np.abs(np.where(inside, values, 0)) ** s["p"]).sum(-1) ** (1 / s["p"])
        n, c = int(s["N"]), int(s["C"])
        y = slot_reference(case, "EPILOGUE", y.reshape(n, -1, c))
        return {"y": _spread(y, case, s)}

    return reference


def _spread(y: np.ndarray, case: Case, s: Scalars) -> np.ndarray:
    """``y`` [N, M, C] in an output with pixels ``y_ld`` apart; conformance cases use contiguous ones."""
    if s["y_ld"] != s["C"] or s["y_off"]:
        raise ValueError("cases keep y contiguous: what lies between pixels is not defined")
    return y.reshape(case.outputs["y"][0])


def _index_reference(arrays: Mapping[str, np.ndarray], s: Scalars, case: Case) -> Mapping[str, np.ndarray]:
    values, valid = windows(arrays, s)
    lowest = -np.inf if np.issubdtype(values.dtype, np.floating) else np.iinfo(values.dtype).min
    masked = np.where(valid[:, :, :, None, :], values, lowest)
    first = np.argmax(valid, -1)  # of a window of lowest values, the first inside the image
    at = np.where((masked == lowest).all(-1), first[..., None], masked.argmax(-1))
    kd, kh, kw = np.unravel_index(at, [int(s["K" + a]) for a in "DHW"])
    n, od, oh, ow, c = np.indices(at.shape)
    names = n * int(s["i_n"]) + c * int(s["i_c"])
    for a, o, k in (("D", od, kd), ("H", oh, kh), ("W", ow, kw)):
        where = o * int(s["S" + a]) - int(s["P" + a]) + k * int(s["L" + a])
        names = names + where * int(s["i_" + a.lower()])
    y = masked.max(-1)
    return {"y": y.reshape(case.outputs["y"][0]), "index": names.reshape(case.outputs["index"][0])}


# ---- variants ------------------------------------------------------------------------------------------------


def _outputs(s: Scalars) -> int:
    return int(s["N"] * s["OD"] * s["OH"] * s["OW"] * s["C"])


def _work(s: Scalars) -> int:
    return _outputs(s) * int(s["KD"] * s["KH"] * s["KW"])


def _thread(s: Scalars, t: Tunables) -> tuple[Grid, Grid]:
    return (ceil_div(_outputs(s), t["GROUP"]), 1, 1), (t["GROUP"], 1, 1)


def _variants(source: str, narrowest: int) -> tuple[Variant, ...]:
    return (
        Variant(
            "cpu", "cpu", lambda s, t: cpu_blocks(int(s["N"] * s["OD"] * s["OH"] * s["OW"]), _work(s)),
            backends=("opencl",), source=f"cpu/{source}", vector_width=WIDTH, requires=runs_vectors,
            supports=lambda s: s["C"] >= narrowest,
        ),
        Variant(
            "thread", "any", _thread, (Tunable("GROUP", 128, (64, 128, 256), "work-items per group"),), requires=runs,
            source=source,
        ),
    )  # fmt: skip


# ---- cases ---------------------------------------------------------------------------------------------------


def _case(
    kind: str, name: str, image: tuple[int, int, int, int, int], kernel: tuple[int, int, int],
    stride: tuple[int, int, int] = (1, 1, 1), dilation: tuple[int, int, int] = (1, 1, 1),
    pad: tuple[int, int, int] = (0, 0, 0), high: tuple[int, int, int] | None = None, *, ceil: bool = False,
    t: str = "f32", gap: int = 0, x: np.ndarray | None = None, slots: bool = False, **more: Any,
) -> Case:  # fmt: skip
    n, *spatial, c = image
    high = pad if high is None else high
    s: dict[str, int | float] = {"N": n, "C": c, "x_off": 3, "x_ld": c + gap, "y_off": 0, "y_ld": c}
    for a, size, k, st, di, lo, hi in zip("DHW", spatial, kernel, stride, dilation, pad, high):
        room = size + lo + hi - (k - 1) * di - 1
        out = (ceil_div(room, st) if ceil else room // st) + 1
        if ceil and (out - 1) * st >= size + lo:
            out -= 1
        s |= {a: size, "O" + a: out, "K" + a: k, "S" + a: st, "L" + a: di, "P" + a: lo}
        if kind == "average":
            s["lim_" + a.lower()] = size + hi
    if kind == "average":
        s["include_pad"] = more["include_pad"]
    if kind == "lp":
        s["p"] = more["p"]
    if kind == "index":
        s |= index_strides(c, spatial[0], spatial[1], spatial[2], more.get("storage_order", 0))
    types = {"T": dtypes.from_short(t)}
    if kind != "index":
        types["OUT"] = types["T"]
    size = 3 + int(np.prod(image[:-1])) * (c + gap)
    data: Any = Data((size,), "T", -3.0, 3.0) if x is None else np.resize(x, size).astype(types["T"])
    shape = (n, int(s["OD"]), int(s["OH"]), int(s["OW"]), c)
    outputs = {"y": (shape, "T" if kind == "index" else "OUT")}
    if kind == "index":
        outputs["index"] = (shape, "i64")
    filled: dict[str, Any] = {}
    if slots:
        added = expr.apply("add", expr.arg(0, _F32), expr.arg(1, _F32))
        m = shape[1] * shape[2] * shape[3]
        skip = np.linspace(-1, 1, n * m * c + 1).astype(_F32)
        filled["EPILOGUE"] = (SlotCode(added, (Operand(_F32, 1),)), ((skip, 1, (m * c, c, 1)),))
    return Case(name, {"x": data}, s, outputs, types, filled)


def _cases(kind: str) -> Iterator[Case]:
    choices: dict[str, tuple[dict[str, Any], ...]] = {
        "max": ({},),
        "average": ({"include_pad": 0}, {"include_pad": 1}),
        "lp": ({"p": 2.0}, {"p": 1.0}, {"p": 3.0}),
        "index": ({"storage_order": 0}, {"storage_order": 1}),
    }
    extras = choices[kind]
    one, two = (1, 1, 1), (1, 2, 2)
    for extra in extras:
        end = "".join(f"_{k}{v:g}" for k, v in extra.items())
        yield _case(kind, "one" + end, (1, 1, 1, 1, 1), one, **extra)
        yield _case(kind, "resnet" + end, (2, 1, 11, 9, 64), (1, 3, 3), two, one, (0, 1, 1), **extra)
        yield _case(kind, "ragged" + end, (1, 1, 7, 8, 87), (1, 2, 2), two, gap=5, **extra)
        yield _case(kind, "narrow" + end, (2, 1, 6, 7, 3), (1, 3, 2), (1, 2, 1), one, (0, 1, 0), (0, 0, 1), **extra)
        yield _case(kind, "ceil" + end, (1, 1, 8, 7, 20), (1, 3, 3), (1, 3, 2), one, (0, 1, 1), ceil=True, **extra)
        yield _case(kind, "dilated" + end, (1, 1, 12, 9, 17), (1, 3, 2), (1, 2, 1), (1, 2, 3), (0, 2, 1), **extra)
        yield _case(kind, "volume" + end, (1, 5, 6, 4, 18), (2, 3, 2), (2, 1, 2), one, (1, 1, 0), **extra)
    if kind != "index":
        yield _case(kind, "slots", (2, 1, 6, 6, 37), (1, 2, 2), two, slots=True, **extras[0])
    yield _case(kind, "f16", (1, 1, 6, 6, 37), (1, 2, 2), two, t="f16", **extras[0])
    if kind in ("max", "index"):
        special = np.array([0.5, -np.inf, 3.0, np.inf, -2.0, -np.inf, np.nan, 1.0, 2.0, 0.0, 1.0])
        yield _case(kind, "nan_inf", (1, 1, 9, 9, 21), (1, 3, 3), two, one, (0, 1, 1), x=special)
        yield _case(kind, "inf", (1, 1, 9, 9, 21), (1, 3, 3), two, one, (0, 1, 1), x=special[1:2])
        yield _case(kind, "i8", (1, 1, 9, 9, 21), (1, 3, 3), two, one, (0, 1, 1), t="i8")
        yield _case(kind, "u8_narrow", (1, 1, 9, 9, 5), (1, 3, 3), two, one, (0, 1, 1), t="u8")


# ---- specs ---------------------------------------------------------------------------------------------------

_GEOMETRY = "\n".join(f"int {name}" for name in SIZES)
_MAX_TYPES = dtypes.FLOATS + dtypes.INTS


def _spec(kind: str) -> KernelSpec:
    more, defines = _KINDS[kind]
    allowed = _MAX_TYPES if kind == "max" else dtypes.FLOATS
    return KernelSpec(
        name=f"pool_{kind}",
        doc=f"{kind} pooling of channels-last images",
        params=params(f"in x: T\nout y: OUT\n{_GEOMETRY}\n{more}"),
        variants=_variants("pool", 1),
        reference=_reference(kind),
        cases=lambda: _cases(kind),
        types={"T": allowed, "OUT": dtypes.FLOATS + dtypes.INTS},
        slots=(Slot("EPILOGUE", ("b", "m", "n"), "T", "applied to each result; its value has type OUT", _outputs),),
        exact=kind == "max",
        flops=lambda s: float(_work(s)),
        bytes=lambda s: 4.0 * (s["N"] * s["D"] * s["H"] * s["W"] * s["C"] + _outputs(s)),
        defines=defines,
    )


MAX, AVERAGE, LP = (register(_spec(kind)) for kind in _KINDS)
MAX_INDEX = register(
    KernelSpec(
        name="pool_max_index",
        doc="maximum pooling of channels-last images, with the place of each maximum",
        params=params(
            f"in x: T\nout y: T\nout index: i64\n{_GEOMETRY}\nint i_n\nint i_c\nint i_d\nint i_h\nint i_w"
        ),
        variants=_variants("pool_max_index", WIDTH),
        reference=_index_reference,
        cases=lambda: _cases("index"),
        types={"T": _MAX_TYPES},
        flops=lambda s: float(_work(s)),
        bytes=lambda s: 4.0 * s["N"] * s["D"] * s["H"] * s["W"] * s["C"] + 12.0 * _outputs(s),
    )
)
