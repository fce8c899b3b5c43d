"""Sampling of a channels-last image at the positions of a grid (ONNX GridSample, 2-D).

=====================  =====================================================================================
parameter              meaning
=====================  =====================================================================================
x: T                   [B, H, W, C] at ``x_off + b*x_b + h*x_h + w*x_w + c``
grid: TG               [B, OH, OW, 2] contiguous: (x, y) in [-1, 1]
y: T                   [B, OH, OW, C], contiguous
mode                   0 linear, 1 nearest (half to even), 2 cubic (a = -0.75)
padding                0 zeros, 1 border, 2 reflection
align                  1: -1 and 1 are the centres of the corner pixels, 0: their outer edges
=====================  =====================================================================================

A NaN position samples like PyTorch's: as if at -1 before padding rules.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from a1400 import dtypes
from a1400.backends.base import Grid
from a1400.kernels.gather import GROUP, per_element
from a1400.kernels.geometry import runs, runs_vectors
from a1400.kernels.spec import Case, Data, KernelSpec, Scalars, Tunable, Tunables, Variant, params, register
from a1400.kernels.strided import ceil_div, dense, strided

MODES = ("linear", "nearest", "cubic")
PADDINGS = ("zeros", "border", "reflection")
F32, F64, F16, BF16 = np.dtype(np.float32), np.dtype(np.float64), np.dtype(np.float16), dtypes.bfloat16


def scalars(
    b: int, h: int, w: int, c: int, oh: int, ow: int, mode: str = "linear", padding: str = "zeros", align: bool = False
) -> dict[str, int]:
    """Scalars for a dense input [b, h, w, c]."""
    st = dense((b, h, w, c))
    return {
        "B": b, "H": h, "W": w, "C": c, "OH": oh, "OW": ow, "mode": MODES.index(mode),
        "padding": PADDINGS.index(padding), "align": int(align), "x_off": 0, "x_b": st[0], "x_h": st[1], "x_w": st[2],
    }  # fmt: skip


def _reflect(p: np.ndarray, size: int, align: bool) -> np.ndarray:
    low, high = (0.0, size - 1.0) if align else (-0.5, size - 0.5)
    span = high - low
    if span <= 0:
        return np.zeros_like(p)
    p = np.abs(p - low) % (2 * span)
    return np.minimum(p, 2 * span - p) + low


def place(p: np.ndarray, size: int, s: Scalars) -> np.ndarray:
    """Positions after the padding rule (border and reflection bring them inside)."""
    if s["padding"] == 2:
        p = _reflect(p, size, bool(s["align"]))
    return np.clip(p, 0, size - 1) if s["padding"] else p


def _cubic(t: np.ndarray, a: float = -0.75) -> list[np.ndarray]:
    def near(x: np.ndarray) -> np.ndarray:
        return ((a + 2) * x - (a + 3)) * x * x + 1

    def far(x: np.ndarray) -> np.ndarray:
        return ((a * x - 5 * a) * x + 8 * a) * x - 4 * a

    return [far(t + 1), near(t), near(1 - t), far(2 - t)]


def reference(arrays: Mapping[str, np.ndarray], s: Scalars, case: Case) -> dict[str, np.ndarray]:
    """Sum of taps, each fetched by the padding rule."""
    n = {k: int(v) for k, v in s.items()}
    b, h, w, c = n["B"], n["H"], n["W"], n["C"]
    x = strided(arrays["x"], n["x_off"], (b, h, w, c), (n["x_b"], n["x_h"], n["x_w"], 1))
    f = np.float64 if case.types.get("TG") == F64 else np.float32  # as the kernel: which pixel is nearest depends on it
    grid = arrays["grid"].reshape(b, n["OH"], n["OW"], 2).astype(f)
    grid = np.where(np.isnan(grid), f(-1), grid)
    found = []
    for k, size in ((0, w), (1, h)):
        g = grid[..., k]
        p = (g + f(1)) * f(0.5) * f(size - 1) if n["align"] else ((g + f(1)) * f(size) - f(1)) * f(0.5)
        found.append(p.astype(np.float64))
    px, py = found

    def fetch(iy: np.ndarray, ix: np.ndarray) -> np.ndarray:
        ix, iy = place(ix, w, s), place(iy, h, s)
        inside = (ix >= 0) & (ix <= w - 1) & (iy >= 0) & (iy <= h - 1)
        rows = np.clip(np.rint(iy), 0, h - 1).astype(np.int64)
        columns = np.clip(np.rint(ix), 0, w - 1).astype(np.int64)
        value = x[np.arange(b)[:, None, None], rows, columns]
        return np.where(inside[..., None], value, 0.0)

    if n["mode"] == 2:
        fx, fy = np.floor(px), np.floor(py)
        wx, wy = _cubic(px - fx), _cubic(py - fy)
        y = sum(
            (wy[j] * wx[i])[..., None] * fetch(fy - 1 + j, fx - 1 + i) for j in range(4) for i in range(4)
        )  # fmt: skip
    else:
        px, py = place(px, w, s), place(py, h, s)
        if n["mode"] == 1:
            y = fetch(np.rint(py), np.rint(px))
        else:
            fx, fy = np.floor(px), np.floor(py)
            tx, ty = px - fx, py - fy
            y = (
                ((1 - ty) * (1 - tx))[..., None] * fetch(fy, fx)
                + ((1 - ty) * tx)[..., None] * fetch(fy, fx + 1)
                + (ty * (1 - tx))[..., None] * fetch(fy + 1, fx)
                + (ty * tx)[..., None] * fetch(fy + 1, fx + 1)
            )
    return {"y": np.asarray(y).reshape(case.outputs["y"][0])}


def _cpu(s: Scalars, t: Tunables) -> tuple[Grid, Grid]:
    pixels = int(s["B"] * s["OH"] * s["OW"])
    return (ceil_div(pixels, max(1, t["CHUNK"] // max(1, int(s["C"])))), 1, 1), (1, 1, 1)


def _case(
    name: str, size: tuple[int, int, int, int], out: tuple[int, int], dtype: np.dtype = F32, far: float = 1.3,
    exact_grid: bool = False, **how: object,
) -> Case:  # fmt: skip
    b, h, w, c = size
    rng = np.random.default_rng(11)
    grid: np.ndarray = rng.uniform(-far, far, (b, *out, 2)).astype(np.float32)
    if exact_grid:
        grid = (rng.integers(-6, 7, grid.shape) / 4).astype(np.float32)
    if dtype == F64:
        grid = grid.astype(F64)
    return Case(
        name, {"x": Data(size, "T"), "grid": grid}, scalars(b, h, w, c, *out, **how),  # type: ignore[arg-type]
        {"y": ((b, *out, c), "T")}, {"T": dtype, "TG": grid.dtype}, exact=False,
    )  # fmt: skip


def cases() -> Iterator[Case]:
    """Every mode with every padding, channel tails, far positions."""
    yield _case("one", (1, 1, 1, 1), (1, 1))
    for mode in MODES:
        for padding in PADDINGS:
            for align in (False, True):
                name = f"{mode}_{padding}_{int(align)}"
                yield _case(name, (2, 5, 7, 21), (4, 6), mode=mode, padding=padding, align=align)
    yield _case("far", (1, 4, 5, 16), (6, 6), far=40.0, padding="reflection")
    yield _case("huge", (1, 4, 5, 16), (6, 6), far=1e30, padding="border")
    yield _case("on_pixels", (1, 5, 5, 3), (6, 6), exact_grid=True, align=True)
    yield _case("one_pixel", (1, 1, 1, 4), (3, 3), padding="reflection", align=True)
    yield _case("half", (1, 5, 6, 20), (4, 5), F16)
    yield _case("bfloat", (1, 5, 6, 20), (4, 5), BF16)
    yield _case("double", (1, 5, 6, 20), (4, 5), F64, mode="cubic", padding="reflection")


SPEC = register(
    KernelSpec(
        name="grid_sample",
        doc="2-D sampling at grid positions (ONNX GridSample), channels-last",
        params=params("""
            in x: T
            in grid: TG
            out y: T
            int B
            int H
            int W
            int C
            int OH
            int OW
            int mode
            int padding
            int align
            int x_off
            int x_b
            int x_h
            int x_w
        """),
        variants=(
            Variant("cpu", "cpu", _cpu,
                    (Tunable("CHUNK", 8192, (2048, 8192, 32768), "elements that one work-item writes"),),
                    ("opencl",), "cpu/grid_sample", 16, test_tunables=({"CHUNK": 64},),
                    requires=runs_vectors),
            Variant("gpu", "gpu", lambda s, t: per_element(int(s["B"] * s["OH"] * s["OW"] * s["C"]), t), GROUP,
                    requires=runs),
        ),
        reference=reference,
        cases=cases,
        # two linear blends along x and one along y, each of a difference, a product and a sum
        flops=lambda s: 9.0 * s["B"] * s["OH"] * s["OW"] * s["C"],
        types={"T": dtypes.FLOATS, "TG": dtypes.FLOATS},
        exact=False,
        tolerance={"f32": (2e-5, 2e-5), "f16": (2e-3, 2e-3), "bf16": (1.6e-2, 1.6e-2), "f64": (1e-11, 1e-11)},
        bytes=lambda s: 20.0 * s["B"] * s["OH"] * s["OW"] * s["C"],
    )
)  # fmt: skip
