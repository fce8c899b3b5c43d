"""Padding and cropping of tensors of rank up to 6.

Elements are moved as words (:func:`a1400.kernels.gather.word`); the fill value is given as its bit pattern
(:func:`word_of`).  Tensors of smaller rank get leading dims of size 1 (:func:`scalars`); a caller that merges
neighbouring dims without padding makes the innermost runs longer, and so the kernel faster.

===================  ===============================================================================================
parameter            meaning
===================  ===============================================================================================
x, y: T              y is contiguous of shape d0..d5
n0..n5, x0..x5       x's sizes and strides (elements), first element at x_off
p0..p5               elements added before x along each dim; negative ones crop (so may the end, through d)
mode                 0 constant, 1 reflect, 2 edge, 3 wrap
value                constant mode: bit pattern of the fill value
===================  ===============================================================================================
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from a1400.backends.base import Grid
from a1400.kernels.gather import GROUP, RANK, WORDS, per_element
from a1400.kernels.spec import Case, Data, KernelSpec, Scalars, Tunable, Tunables, Variant, params, register
from a1400.kernels.strided import ceil_div, dense, strided

MODES = ("constant", "reflect", "edge", "wrap")
U32 = np.dtype(np.uint32)


def word_of(value: float | int | bool, dtype: np.dtype) -> int:
    """Bit pattern of ``value`` in ``dtype``, as the kernel's ``value`` takes it."""
    raw = np.array([value]).astype(dtype).view(f"u{np.dtype(dtype).itemsize}")
    return int(raw.astype(np.uint64).view(np.int64)[0])


def scalars(
    x_shape: Sequence[int], low: Sequence[int], high: Sequence[int], mode: str = "constant", value: int = 0,
    strides: Sequence[int] | None = None,
) -> dict[str, int]:  # fmt: skip
    """Scalars for padding ``x_shape`` by ``low`` before and ``high`` behind (negative: crop)."""
    rank = len(x_shape)
    if rank > RANK:
        raise ValueError(f"rank {rank} is above {RANK}")
    lead = RANK - rank
    sizes = [1] * lead + list(x_shape)
    lows = [0] * lead + list(low)
    highs = [0] * lead + list(high)
    steps = [0] * lead + list(dense(x_shape) if strides is None else strides)
    result = {f"d{k}": max(0, sizes[k] + lows[k] + highs[k]) for k in range(RANK)}
    result |= {f"n{k}": sizes[k] for k in range(RANK)} | {f"x{k}": steps[k] for k in range(RANK)}
    result |= {f"p{k}": lows[k] for k in range(RANK)}
    return result | {"x_off": 0, "mode": MODES.index(mode), "value": value}


def _map(i: np.ndarray, n: int, mode: int) -> np.ndarray:
    """Source position of each output position; -1 where the fill value goes."""
    if mode == 0:
        return np.where((i >= 0) & (i < n), i, -1)
    if mode == 2:
        return np.clip(i, 0, n - 1)
    if mode == 3:
        return i % n
    period = max(2 * (n - 1), 1)
    i = i % period
    return np.minimum(i, period - i) if n > 1 else i * 0


def reference(arrays: Mapping[str, np.ndarray], s: Scalars, case: Case) -> dict[str, np.ndarray]:
    """Index maps, one per dim."""
    n = {k: int(v) for k, v in s.items()}
    x = strided(arrays["x"], n["x_off"], [n[f"n{k}"] for k in range(RANK)], [n[f"x{k}"] for k in range(RANK)])
    maps = [_map(np.arange(n[f"d{k}"]) - n[f"p{k}"], n[f"n{k}"], n["mode"]) for k in range(RANK)]
    inside = np.ones((1,) * RANK, bool)
    for k, m in enumerate(maps):
        inside = inside & (m >= 0).reshape([-1 if j == k else 1 for j in range(RANK)])
    shape, _ = case.outputs["y"]
    word = np.array([n["value"]], np.int64).view(np.uint64).astype(arrays["x"].dtype)[0]
    if x.size == 0:
        return {"y": np.full(shape, word)}
    y = np.where(inside, x[np.ix_(*(np.maximum(m, 0) for m in maps))], word)
    return {"y": y.reshape(shape)}


def _rows(s: Scalars, t: Tunables) -> tuple[Grid, Grid]:
    rows = int(np.prod([int(s[f"d{k}"]) for k in range(RANK - 1)]))
    return (ceil_div(rows, max(1, t["CHUNK"] // max(1, int(s["d5"])))), 1, 1), (1, 1, 1)


def _case(
    name: str, shape: tuple[int, ...], low: tuple[int, ...], high: tuple[int, ...], mode: str = "constant",
    dtype: np.dtype = U32, value: int = 7, strides: tuple[int, ...] | None = None,
) -> Case:  # fmt: skip
    values = scalars(shape, low, high, mode, value, strides)
    size = int(np.prod(shape)) if strides is None else 1 + sum((n - 1) * st for n, st in zip(shape, strides))
    out = tuple(values[f"d{k}"] for k in range(RANK - len(shape), RANK))
    return Case(name, {"x": Data((size,), "T", 0, 200)}, values, {"y": (out, "T")}, {"T": dtype})


def cases() -> Iterator[Case]:
    """Every mode, crops, word sizes, long and short inner runs, strides."""
    yield _case("one", (1,), (0,), (0,))
    yield _case("image", (1, 5, 6, 40), (0, 1, 2, 0), (0, 2, 1, 0))
    yield _case("long_runs", (3, 1000), (1, 5), (0, 77))
    yield _case("transposed", (5, 7, 6), (1, 2, 0), (0, 1, 3), strides=(1, 5, 35))
    yield _case("crop", (6, 40), (-2, -3), (-1, 4))
    yield _case("crop_all_of_x", (6, 5), (-7, 0), (9, 0))
    yield _case("empty_input", (0, 3), (2, 1), (1, 1))
    yield _case("six", (2, 1, 3, 2, 3, 4), (1, 0, 1, 1, 0, 1), (0, 1, 0, 1, 2, 0))
    for mode in MODES[1:]:
        yield _case(mode, (4, 5, 21), (1, 2, 3), (2, 3, 4), mode)
        yield _case(f"{mode}_crop", (6, 5), (-2, 2), (3, -1), mode)
        yield _case(f"{mode}_of_one", (1, 3), (2, 1), (1, 0), mode)
        yield _case(f"{mode}_far", (3, 4), (5, 0), (7, 9), mode)
    for dtype in WORDS:
        yield _case(f"{dtype}", (3, 33), (1, 2), (1, 30), "constant", dtype, value=-1)


SPEC = register(
    KernelSpec(
        name="pad",
        doc="pad or crop a tensor of rank up to 6: constant, reflect, edge, wrap",
        params=params(
            "in x: T\nout y: T\n"
            + "\n".join(f"int {letter}{k}" for letter in "dnxp" for k in range(RANK))
            + "\nint x_off\nint mode\nlong value"
        ),
        variants=(
            Variant("cpu", "cpu", _rows,
                    (Tunable("CHUNK", 16384, (4096, 16384, 65536), "elements that one work-item writes"),),
                    ("opencl",), "cpu/pad", test_tunables=({"CHUNK": 64},)),
            Variant(
                "gpu", "gpu", lambda s, t: per_element(int(np.prod([int(s[f"d{k}"]) for k in range(RANK)])), t), GROUP
            ),
        ),
        reference=reference,
        cases=cases,
        types={"T": WORDS},
        bytes=lambda s: 8.0 * float(np.prod([s[f"d{k}"] for k in range(RANK)])),
    )
)  # fmt: skip
