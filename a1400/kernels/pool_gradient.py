"""Gradients of pooling: from dy ``[N, OD, OH, OW, C]`` to dx ``[N, D, H, W, C]``.

=============================  ====================================================================================
``pool_gradient_max``          in x: T (what was pooled), in y: T (the result), in dy: T, out dx: OUT, GEOMETRY
``pool_gradient_lp``           the same, float p
``pool_gradient_average``      in dy: T, out dx: OUT, GEOMETRY without x and y, int include_pad, lim_d, lim_h, lim_w
=============================  ====================================================================================

GEOMETRY is that of :mod:`a1400.kernels.pool` with ``dy_off, dy_ld, dx_off, dx_ld`` behind it.  Every element of dx is
gathered from the windows that cover it, in their order: no atomics, no places kept from the forward pass.  Of several
equal largest elements (or NaNs) of a window the first in (d, h, w) order takes all.  Slot ``EPILOGUE(v; b, m, n)``:
image, flat pixel of dx, channel; the CPU variants compute some elements twice, so it must not read what it writes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from itertools import product
from typing import Any

import numpy as np

from a1400 import dtypes
from a1400.backends.base import Grid
from a1400.kernels import expr
from a1400.kernels.check import slot_reference
from a1400.kernels.geometry import WIDTH, ceil_div, cpu_blocks, runs, runs_vectors
from a1400.kernels.pool import COUNT, SIZES, windows
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

_F32 = np.dtype(np.float32)
_KINDS: dict[str, tuple[str, dict[str, str]]] = {
    "max": ("", {}),
    "lp": ("float p", {
        "POOL_LP": "",
        "POOL_LP_TERM(g, v, y, type)": (
            "(p == 2.0f ? (g) * (v) / (y) : (g) * a_sign(v) * (p == 1.0f ? (type)(1)"
            " : a_pow(a_abs(v) / ((y) == (type)(0) ? (type)(1) : (y)), (type)(p - 1.0f))))"
        ),
    }),
    "average": ("int include_pad\nint lim_d\nint lim_h\nint lim_w", {"POOL_AVERAGE": "", "POOL_COUNT": COUNT}),
}  # fmt: skip


def _axis(s: Scalars, a: str) -> tuple[int, ...]:
    return tuple(int(s[k + a]) for k in ("O", "K", "S", "L", "P"))


def _images(flat: np.ndarray, s: Scalars, name: str, sizes: tuple[int, ...]) -> np.ndarray:
    """``[N, *sizes, C]`` of a buffer whose pixels are ``<name>_ld`` apart."""
    n, c, step = int(s["N"]), int(s["C"]), int(s[f"{name}_ld"])
    pixels = n * int(np.prod(sizes))
    rows = np.lib.stride_tricks.as_strided(
        flat.reshape(-1)[int(s[f"{name}_off"]) :], (pixels, c), (step * flat.itemsize, flat.itemsize)
    )
    return rows.reshape(n, *sizes, c)


def _reference(kind: str) -> Callable[..., Mapping[str, np.ndarray]]:
    def reference(arrays: Mapping[str, np.ndarray], s: Scalars, case: Case) -> Mapping[str, np.ndarray]:
        size, out = tuple(int(s[a]) for a in "DHW"), tuple(int(s["O" + a]) for a in "DHW")
        dy = _images(arrays["dy"], s, "dy", out)
        dx = np.zeros((int(s["N"]), *size, int(s["C"])))
        x = None if kind == "average" else _images(arrays["x"], s, "x", size)
        y = None if kind == "average" else _images(arrays["y"], s, "y", out)
        axes = [_axis(s, a) for a in "DHW"]
        for window in product(*(range(o) for o in out)):
            starts = [w * st - p for w, (_, _, st, _, p) in zip(window, axes)]
            places = list(product(*(range(k) for _, k, _, _, _ in axes)))
            where = [tuple(b + k * axis[3] for b, k, axis in zip(starts, tap, axes)) for tap in places]
            inside = [at for at in where if all(0 <= p < n for p, n in zip(at, size))]
            here: Any = (slice(None), *window)
            coming = dy[here]
            left = np.ones(coming.shape, bool)
            limits = [s.get("lim_" + a, n) for a, n in zip("dhw", size)]
            near = [at for at in where if all(p < n for p, n in zip(at, limits))]
            counted = len(near if s.get("include_pad") else inside)
            for at in inside:
                pixel: Any = (slice(None), *at)
                if x is None or y is None:
                    dx[pixel] += coming / counted
                    continue
                v, best = x[pixel], y[here]
                if kind == "max":
                    mine = left & ((v == best) | (np.isnan(v) & np.isnan(best)))
                    dx[pixel] += np.where(mine, coming, 0)
                    left &= ~mine
                else:
                    ratio = np.abs(v) / np.where(best == 0, 1, best)
                    dx[pixel] += np.where(best == 0, 0, coming * np.sign(v) * ratio ** (s["p"] - 1))
        n, c = int(s["N"]), int(s["C"])
        return {"dx": slot_reference(case, "EPILOGUE", dx.reshape(n, -1, c)).reshape(case.outputs["dx"][0])}

    return reference


# ---- variants ------------------------------------------------------------------------------------------------
def _elements(s: Scalars) -> int:
    return int(s["N"] * s["D"] * s["H"] * s["W"] * s["C"])


def _windows(s: Scalars) -> int:
    return int(s["N"] * s["OD"] * s["OH"] * s["OW"] * s["C"])


def _work(s: Scalars) -> int:
    """Windows times what each covers."""
    return _windows(s) * int(s["KD"] * s["KH"] * s["KW"])


def _apart(s: Scalars) -> bool:
    if s["C"] < WIDTH:
        return False
    return all(s["K" + a] == s["S" + a] and s["L" + a] == 1 and s["P" + a] == 0 for a in "DHW")


def _cells(s: Scalars, t: Tunables) -> tuple[Grid, Grid]:
    cells = int(s["N"])
    for a in "DHW":
        cells *= ceil_div(int(s[a]), int(s["K" + a]))
    return cpu_blocks(cells, _elements(s))


_VARIANTS = (
    Variant(
        "apart", "cpu", _cells, backends=("opencl",), source="cpu/pool_gradient_apart", vector_width=WIDTH,
        requires=runs_vectors, supports=_apart,
    ),
    Variant(
        "cpu", "cpu", lambda s, t: cpu_blocks(int(s["N"] * s["D"] * s["H"] * s["W"]), 2 * max(_work(s), _elements(s))),
        backends=("opencl",), source="cpu/pool_gradient", vector_width=WIDTH, requires=runs_vectors,
        supports=lambda s: s["C"] >= WIDTH,
    ),
    Variant(
        "thread", "any", lambda s, t: ((ceil_div(_elements(s), t["GROUP"]), 1, 1), (t["GROUP"], 1, 1)),
        (Tunable("GROUP", 128, (64, 128, 256), "work-items per group"),), requires=runs, source="pool_gradient",
    ),
)  # fmt: skip


# ---- cases ---------------------------------------------------------------------------------------------------
def _case(
    kind: str, name: str, image: tuple[int, int, int, int, int], kernel: tuple[int, int, int],
    stride: tuple[int, int, int] = (1, 1, 1), dilation: tuple[int, int, int] = (1, 1, 1),
    pad: tuple[int, int, int] = (0, 0, 0), *, ceil: bool = False, t: str = "f32", gap: int = 0, slots: bool = False,
    equal: bool = False, special: float | None = None, **more: Any,
) -> Case:  # fmt: skip
    n, *spatial, c = image
    s: dict[str, int | float] = {"N": n, "C": c, "x_off": 3, "x_ld": c + gap, "y_off": 1, "y_ld": c + gap}
    for a, size, k, st, di, p in zip("DHW", spatial, kernel, stride, dilation, pad):
        room = size + 2 * p - (k - 1) * di - 1
        s |= {a: size, "O" + a: (ceil_div(room, st) if ceil else room // st) + 1, "K" + a: k, "S" + a: st, "L" + a: di}
        s |= {"P" + a: p} | ({"lim_" + a.lower(): size + p} if kind == "average" else {})
    s |= {"dy_off": 2, "dy_ld": c + gap, "dx_off": 0, "dx_ld": c} | more
    types = {"T": dtypes.from_short(t), "OUT": dtypes.from_short(t)}
    out = tuple(int(s["O" + a]) for a in "DHW")
    pixels, windows = n * int(np.prod(spatial)), n * int(np.prod(out))
    arrays: dict[str, Any] = {"dy": Data((2 + (windows - 1) * (c + gap) + c,), "T")}
    if kind == "average":
        for key in ("x_off", "x_ld", "y_off", "y_ld"):
            del s[key]
    else:
        rng = np.random.default_rng(4)
        x = rng.integers(-1, 2, 3 + pixels * (c + gap)) if equal else rng.uniform(-2, 2, 3 + pixels * (c + gap))
        if special is not None:
            x[rng.integers(0, x.size, x.size // 5)] = special
        x = x.astype(types["T"])
        y = _pooled(x.astype(np.float64), kind, s).astype(types["T"])
        whole = np.zeros(1 + windows * (c + gap), types["T"])
        whole[1:].reshape(windows, c + gap)[:, :c] = y.reshape(windows, c)
        arrays |= {"x": x[: 3 + (pixels - 1) * (c + gap) + c], "y": whole[: 1 + (windows - 1) * (c + gap) + c]}
    filled: dict[str, Any] = {}
    if slots:
        masked = expr.apply("mul", expr.arg(0, _F32), expr.arg(1, _F32))
        m = int(np.prod(spatial))
        mask = np.random.default_rng(5).integers(0, 2, n * m * c + 1).astype(_F32)
        filled["EPILOGUE"] = (SlotCode(masked, (Operand(_F32, 1),)), ((mask, 1, (m * c, c, 1)),))
    return Case(name, arrays, s, {"dx": ((n, *spatial, c), "OUT")}, types, filled)


def _pooled(x: np.ndarray, kind: str, s: Scalars) -> np.ndarray:
    """What was pooled: the forward result ``[N, OD, OH, OW, C]`` of a buffer ``x``."""
    values, valid = windows({"x": x}, s)
    inside = valid[:, :, :, None, :]
    if kind == "max":
        return np.asarray(np.where(inside, values, -np.inf).max(-1))
    p = float(s["p"])
    return np.asarray((np.abs(np.where(inside, values, 0)) ** p).sum(-1) ** (1 / p))


def _cases(kind: str) -> Iterator[Case]:
    choices: dict[str, tuple[dict[str, Any], ...]] = {
        "max": ({},), "average": ({"include_pad": 0}, {"include_pad": 1}), "lp": ({"p": 2.0}, {"p": 1.0}, {"p": 3.0}),
    }  # fmt: skip
    two = (1, 2, 2)
    for extra in choices[kind]:
        end = "".join(f"_{k}{v:g}" for k, v in extra.items())
        yield _case(kind, "apart" + end, (2, 1, 6, 8, 32), two, two, **extra)
        yield _case(kind, "left over" + end, (2, 1, 7, 5, 21), two, two, gap=3, **extra)
        yield _case(kind, "overlapping" + end, (2, 1, 9, 7, 20), (1, 3, 3), two, pad=(0, 1, 1), **extra)
    extra = choices[kind][-1]
    yield _case(kind, "one", (1, 1, 1, 1, 1), (1, 1, 1), **extra)
    yield _case(kind, "few channels", (2, 1, 6, 7, 3), (1, 3, 2), (1, 2, 1), **extra)
    yield _case(kind, "ceil", (1, 1, 5, 7, 17), two, two, ceil=True, **extra)
    yield _case(kind, "dilated", (1, 1, 12, 9, 17), (1, 3, 2), (1, 2, 1), (1, 2, 3), (0, 2, 1), **extra)
    yield _case(kind, "volume", (1, 4, 6, 4, 18), (2, 3, 2), (2, 1, 2), pad=(0, 1, 0), **extra)
    yield _case(kind, "slots", (2, 1, 6, 6, 37), two, two, slots=True, **extra)
    yield _case(kind, "f16", (1, 1, 6, 6, 20), two, two, t="f16", **extra)
    if kind == "max":
        yield _case(kind, "equal", (2, 1, 8, 8, 18), two, two, equal=True)
        yield _case(kind, "equal overlapping", (1, 1, 8, 8, 18), (1, 3, 3), two, pad=(0, 1, 1), equal=True)
        for name, special in (("nan", np.nan), ("inf", np.inf)):
            yield _case(kind, name, (1, 1, 8, 6, 18), two, two, special=special)
            yield _case(kind, f"{name} overlapping", (1, 1, 8, 6, 18), (1, 3, 3), special=special)
        yield _case(kind, "f64", (1, 1, 6, 6, 5), (1, 3, 3), two, t="f64")


# ---- specs ---------------------------------------------------------------------------------------------------
def _spec(kind: str) -> KernelSpec:
    more, defines = _KINDS[kind]
    names = [n for n in (*SIZES, "dy_off", "dy_ld", "dx_off", "dx_ld")
             if kind != "average" or n not in ("x_off", "x_ld", "y_off", "y_ld")]  # fmt: skip
    known = "" if kind == "average" else "in x: T\nin y: T\n"
    geometry = "\n".join(f"int {name}" for name in names)
    return KernelSpec(
        name=f"pool_gradient_{kind}",
        doc=f"gradient of {kind} pooling of channels-last images",
        params=params(f"{known}in dy: T\nout dx: OUT\n{geometry}\n{more}"),
        variants=_VARIANTS,
        reference=_reference(kind),
        cases=lambda: _cases(kind),
        types={"T": dtypes.FLOATS, "OUT": dtypes.FLOATS},
        slots=(Slot("EPILOGUE", ("b", "m", "n"), "T", "applied to each result; its value has type OUT", _elements),),
        exact=kind == "max",
        flops=lambda s: float(_work(s)),
        bytes=lambda s: 4.0 * (2 - (kind == "average")) * (_elements(s) + _windows(s)),
        defines=defines,
    )


MAX, LP, AVERAGE = (register(_spec(kind)) for kind in _KINDS)
