"""Sampling of a channels-last volume at the positions of a grid (ONNX GridSample, 3-D).

=====================  =====================================================================================
parameter              meaning
=====================  =====================================================================================
x: T                   [B, D, H, W, C], contiguous
grid: TG               [B, P, 3] contiguous: (x, y, z) in [-1, 1]
y: T                   [B, P, C], contiguous
mode                   0 linear, 1 nearest (half to even)
padding, align         as :mod:`a1400.kernels.grid`
=====================  =====================================================================================
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping

import numpy as np

from a1400 import dtypes
from a1400.kernels.gather import GROUP, per_element
from a1400.kernels.geometry import runs
from a1400.kernels.grid import BF16, F16, F32, F64, MODES, PADDINGS, place
from a1400.kernels.spec import Case, Data, KernelSpec, Scalars, Variant, params, register


def scalars(
    b: int, size: tuple[int, int, int], c: int, points: int, mode: str = "linear", padding: str = "zeros",
    align: bool = False,
) -> dict[str, int]:  # fmt: skip
    """Scalars for a volume [b, *size, c] and ``points`` positions in each."""
    return {
        "B": b, "D": size[0], "H": size[1], "W": size[2], "C": c, "P": points, "mode": MODES.index(mode),
        "padding": PADDINGS.index(padding), "align": int(align),
    }  # fmt: skip


def reference(arrays: Mapping[str, np.ndarray], s: Scalars, case: Case) -> dict[str, np.ndarray]:
    """Sum of taps; positions in the kernel's arithmetic: which voxel is nearest depends on it."""
    sizes, f = [int(s[k]) for k in "DHW"], np.float64 if case.types.get("TG") == F64 else np.float32
    x = arrays["x"].reshape(int(s["B"]), *sizes, int(s["C"]))
    grid = arrays["grid"].reshape(int(s["B"]), int(s["P"]), 3).astype(f)
    grid = np.where(np.isnan(grid), f(-1), grid)
    choices = []
    for axis, n in enumerate(sizes):
        g = grid[..., 2 - axis]
        p = (g + f(1)) * f(0.5) * f(n - 1) if s["align"] else ((g + f(1)) * f(n) - f(1)) * f(0.5)
        p = place(p.astype(np.float64), n, s)
        base = np.floor(p)
        choices.append([(np.rint(p), np.ones_like(p))] if s["mode"] else [(base, base + 1 - p), (base + 1, p - base)])
    y = np.zeros((*grid.shape[:2], x.shape[-1]))
    for taps in itertools.product(*choices):
        inside = np.logical_and.reduce([(p >= 0) & (p <= n - 1) for (p, _), n in zip(taps, sizes)])
        index = (np.arange(len(x))[:, None], *(np.clip(p, 0, n - 1).astype(np.int64) for (p, _), n in zip(taps, sizes)))
        weight = np.where(inside, taps[0][1] * taps[1][1] * taps[2][1], 0.0)
        y += weight[..., None] * x[index]
    return {"y": y.reshape(case.outputs["y"][0])}


def _case(name: str, b: int, size: tuple[int, int, int], c: int, points: int, dtype: np.dtype = F32, far: float = 1.3,
          **how: object) -> Case:  # fmt: skip
    grid = np.random.default_rng(12).uniform(-far, far, (b, points, 3)).astype(F64 if dtype == F64 else F32)
    return Case(
        name, {"x": Data((b, *size, c), "T"), "grid": grid},
        scalars(b, size, c, points, **how),  # type: ignore[arg-type]
        {"y": ((b, points, c), "T")}, {"T": dtype, "TG": grid.dtype}, exact=False,
    )  # fmt: skip


def cases() -> Iterator[Case]:
    """Both modes with every padding, a volume of one voxel, far positions, half types."""
    yield _case("one", 1, (1, 1, 1), 1, 1, padding="reflection", align=True)
    for mode, padding, align in itertools.product(MODES[:2], PADDINGS, (False, True)):
        yield _case(f"{mode}_{padding}_{int(align)}", 2, (3, 4, 5), 3, 37, mode=mode, padding=padding, align=align)
    yield _case("far", 1, (2, 3, 4), 5, 60, far=40.0, padding="reflection")
    yield _case("half", 1, (4, 2, 3), 4, 65, F16)
    yield _case("bfloat", 1, (4, 2, 3), 4, 65, BF16)
    yield _case("double", 1, (4, 2, 3), 4, 65, F64)


SPEC = register(
    KernelSpec(
        name="grid_sample_volume",
        doc="3-D sampling at grid positions (ONNX GridSample), channels-last",
        params=params("""
            in x: T
            in grid: TG
            out y: T
            int B
            int D
            int H
            int W
            int C
            int P
            int mode
            int padding
            int align
        """),
        variants=(
            Variant("any", "any", lambda s, t: per_element(int(s["B"] * s["P"] * s["C"]), t), GROUP, requires=runs),
        ),
        reference=reference,
        cases=cases,
        flops=lambda s: 21.0 * s["B"] * s["P"] * s["C"],
        types={"T": dtypes.FLOATS, "TG": dtypes.FLOATS},
        exact=False,
        tolerance={"f32": (2e-5, 2e-5), "f16": (2e-3, 2e-3), "bf16": (1.6e-2, 1.6e-2), "f64": (1e-11, 1e-11)},
        bytes=lambda s: 36.0 * s["B"] * s["P"] * s["C"],
    )
)  # fmt: skip
