"""Gradients of ``grid_sample`` (2-D): of the image and of the positions.

=========================  ========================================================================================
``grid_image_gradient``    in grid: TG, in dy: T ``[B, OH, OW, C]``, out dx: ACC ``[B, H, W, C]``
``grid_points_gradient``   in x: T, in grid: TG, in dy: T, out dgrid: TG ``[B, OH, OW, 2]``
=========================  ========================================================================================

Both: all contiguous; int B H W C OH OW mode padding align as in :mod:`a1400.kernels.grid`.  An element of the image
gets its contributions from one thread, in the order of the positions: no atomics.  Where padding holds a position at
the border its gradient is zero; reflected positions have it turned round; ``nearest`` has none.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from a1400.kernels.gather import GROUP, per_element
from a1400.kernels.geometry import ceil_div, runs
from a1400.kernels.grid import BF16, F16, F32, F64, MODES, PADDINGS, SPEC, reference, scalars
from a1400.kernels.spec import Case, Data, KernelSpec, Scalars, Variant, params, register

_SIZES = ("B", "H", "W", "C", "OH", "OW", "mode", "padding", "align")
_PARAMS = "\n".join(f"int {name}" for name in _SIZES)


def gradient_scalars(
    b: int, h: int, w: int, c: int, oh: int, ow: int, mode: str = "linear", padding: str = "zeros", align: bool = False
) -> dict[str, int]:
    """Scalars of both kernels."""
    made = scalars(b, h, w, c, oh, ow, mode, padding, align)
    return {name: made[name] for name in _SIZES}


def _sampled(x: np.ndarray, grid: np.ndarray, s: Scalars, wide: np.dtype) -> np.ndarray:
    """The forward kernel's reference: ``[B, OH, OW, C]``."""
    b, h, w, c = (int(s[n]) for n in "BHWC")
    more = {"x_off": 0, "x_b": h * w * c, "x_h": w * c, "x_w": c}
    case = Case("", {}, {}, {"y": ((b, int(s["OH"]), int(s["OW"]), c), "T")}, {"TG": wide})
    return reference({"x": np.ascontiguousarray(x), "grid": grid}, {**s, **more}, case)["y"]


def _image_reference(arrays: Mapping[str, np.ndarray], s: Scalars, case: Case) -> dict[str, np.ndarray]:
    """Sampling is linear in the image: what each of its elements contributes, element by element."""
    b, h, w, c = (int(s[n]) for n in "BHWC")
    dx = np.zeros((b, h, w, c))
    dy = arrays["dy"].reshape(b, int(s["OH"]), int(s["OW"]), c)
    for i, j in np.ndindex(h, w):
        one = np.zeros((b, h, w, c))
        one[:, i, j] = 1.0
        dx[:, i, j] = (_sampled(one, arrays["grid"], s, case.types["TG"]) * dy).sum((1, 2))
    return {"dx": dx}


def _points_reference(arrays: Mapping[str, np.ndarray], s: Scalars, case: Case) -> dict[str, np.ndarray]:
    """Differences of the sampled image over four points, which are exact for cubics; cases keep positions a quarter of
    a pixel away from where one cubic follows another."""
    b, h, w, c = (int(s[n]) for n in "BHWC")
    x, grid = arrays["x"].reshape(b, h, w, c), arrays["grid"].reshape(b, int(s["OH"]), int(s["OW"]), 2)
    dy = arrays["dy"].reshape(*grid.shape[:3], c)
    result = np.zeros(grid.shape)
    for axis, size in enumerate((w, h)) if s["mode"] != 1 else ():
        step = 0.2 / size  # a tenth of a pixel
        for times, factor in ((1, 8.0), (-1, -8.0), (2, -1.0), (-2, 1.0)):
            moved = grid.copy()
            moved[..., axis] += times * step
            result[..., axis] += factor / (12 * step) * (_sampled(x, moved, s, case.types["TG"]) * dy).sum(-1)
    return {"dgrid": result.reshape(case.outputs["dgrid"][0])}


def _positions(shape: tuple[int, ...], sizes: tuple[int, int], far: float, align: bool) -> np.ndarray:
    """Random positions whose pixels are a quarter of a pixel or more from the middles and edges of pixels."""
    rng = np.random.default_rng(12)
    result = np.empty((*shape, 2), np.float32)
    for k, n in enumerate(sizes):
        reach = far * n / 2
        whole = rng.integers(int((n - 1) / 2 - reach), int((n - 1) / 2 + reach) + 1, shape)
        p = whole + rng.choice([0.25, 0.375], shape)
        result[..., k] = 2 * p / max(n - 1, 1) - 1 if align else (2 * p + 1) / n - 1
    return result


def _case(
    kind: str, name: str, size: tuple[int, int, int, int], out: tuple[int, int], dtype: np.dtype = F32,
    far: float = 1.4, **how: object,
) -> Case:  # fmt: skip
    b, h, w, c = size
    grid = _positions((b, *out), (w, h), far, bool(how.get("align", False)))
    s = gradient_scalars(b, h, w, c, *out, **how)  # type: ignore[arg-type]
    dy = Data((b, *out, c), "T")
    wide = F64 if dtype == F64 else F32
    grid, types = grid.astype(wide), {"T": dtype, "TG": wide}
    if kind == "image":
        return Case(name, {"grid": grid, "dy": dy}, s, {"dx": (size, "ACC")}, {**types, "ACC": wide})
    return Case(name, {"x": Data(size, "T"), "grid": grid, "dy": dy}, s, {"dgrid": (grid.shape, "TG")}, types)


def _cases(kind: str) -> Iterator[Case]:
    yield _case(kind, "one", (1, 1, 1, 1), (1, 1))
    for mode in MODES:
        for padding in PADDINGS:
            align = mode == "cubic" or padding == "reflection"
            yield _case(kind, f"{mode}_{padding}", (2, 5, 7, 21), (4, 6), mode=mode, padding=padding, align=align)
    yield _case(kind, "edges", (1, 4, 5, 3), (6, 6), far=3.0, padding="reflection")
    yield _case(kind, "half", (1, 4, 5, 20), (4, 5), F16)
    yield _case(kind, "bfloat", (1, 4, 5, 3), (4, 5), BF16)
    yield _case(kind, "double", (1, 4, 5, 3), (4, 5), F64)


_TYPES = {"T": SPEC.types["T"], "TG": SPEC.types["TG"]}

IMAGE = register(
    KernelSpec(
        name="grid_image_gradient",
        doc="gradient of the image that grid_sample reads",
        params=params("in grid: TG\nin dy: T\nout dx: ACC\n" + _PARAMS),
        variants=(
            Variant(
                "any", "any", lambda s, t: ((ceil_div(int(s["C"]), 16), int(s["B"]), 1), (16, 1, 1)), requires=runs
            ),
        ),
        reference=_image_reference,
        cases=lambda: _cases("image"),
        types={**_TYPES, "ACC": (F32, F64)},
        exact=False,
        tolerance={"f32": (2e-5, 2e-5), "f64": (1e-11, 1e-11)},
        flops=lambda s: 8.0 * s["B"] * s["OH"] * s["OW"] * s["C"],
        bytes=lambda s: 4.0 * s["B"] * s["C"] * (s["OH"] * s["OW"] + s["H"] * s["W"]),
    )
)  # fmt: skip

POINTS = register(
    KernelSpec(
        name="grid_points_gradient",
        doc="gradient of the positions at which grid_sample reads",
        params=params("in x: T\nin grid: TG\nin dy: T\nout dgrid: TG\n" + _PARAMS),
        variants=(
            Variant("any", "any", lambda s, t: per_element(int(s["B"] * s["OH"] * s["OW"]), t), GROUP, requires=runs),
        ),
        reference=_points_reference,
        cases=lambda: _cases("points"),
        types=_TYPES,
        exact=False,
        # the reference is a difference of what float32 positions give
        tolerance={"f32": (1e-4, 1e-4), "f16": (2e-3, 2e-3), "bf16": (1.6e-2, 1.6e-2), "f64": (1e-9, 1e-9)},
        flops=lambda s: 8.0 * s["B"] * s["OH"] * s["OW"] * s["C"],
        bytes=lambda s: 4.0 * s["B"] * s["C"] * (s["OH"] * s["OW"] + s["H"] * s["W"]),
    )
)  # fmt: skip
