"""Regions of a channels-last image resampled to a fixed size (ONNX RoiAlign and MaxRoiPool).

=====================  =====================================================================================
parameter              meaning
=====================  =====================================================================================
x: T                   [B, H, W, C], contiguous
rois: TR               [R, 4]: x, y of the first corner, x, y of the other; times ``scale`` in pixels
image: i32             [R]: which image a region is of (brought into 0 .. B - 1)
y: T                   [R, OH, OW, C], contiguous
samples                points of a bin along each axis; 0: as many as the bin has pixels, rounded up
largest                0: the mean of a bin's points, 1: the largest weighted corner of all of them, as ONNX says,
                       2: the largest pixel of a bin of whole ones (corners rounded, both inside; nothing inside: 0)
half_pixel             1: pixel i has its centre at i + 0.5; 0: at i, and regions are at least one pixel wide
dy: T, dx: T           (``roi_align_gradient``) what reaches y, and through it x; of equal largest the first takes all
=====================  =====================================================================================

He et al., "Mask R-CNN", 2017, and for whole pixels Girshick, "Fast R-CNN", 2015.
A point more than one pixel outside the image counts as 0.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from itertools import product

import numpy as np

from a1400 import dtypes
from a1400.kernels.gather import GROUP, per_element
from a1400.kernels.spec import Case, Data, KernelSpec, Scalars, Variant, params, register

#: points of a bin along an axis at most
MOST_SAMPLES = 32768


def _corners(p: float, size: int) -> tuple[int, int, float] | None:
    """The pixels on both sides of a point and how far it is from the first; None outside."""
    if not -1.0 <= p <= size:
        return None
    p = max(p, 0.0)
    low = int(p)
    return (size - 1, size - 1, 0.0) if low >= size - 1 else (low, low + 1, p - low)


def _line(start: float, end: float, bins: int, s: Mapping[str, float]) -> tuple[np.ndarray, int]:
    """The points of all bins along one axis, ``[bins, samples]``, and the number of samples."""
    offset = 0.5 if s["half_pixel"] else 0.0
    first, last = start * s["scale"] - offset, end * s["scale"] - offset
    length = last - first if s["half_pixel"] else max(last - first, 1.0)
    step = length / bins
    count = int(s["samples"]) or int(min(max(np.ceil(step), 0), MOST_SAMPLES))
    within = (np.arange(count) + 0.5) * step / max(count, 1)
    return first + np.arange(bins)[:, None] * step + within, count


def _bins(start: float, end: float, bins: int, size: int, s: Mapping[str, float]) -> list[slice]:
    """The whole pixels of each bin along one axis."""
    first, last = (int(np.copysign(np.floor(abs(p * s["scale"]) + 0.5), p)) for p in (start, end))
    step = max(last - first + 1, 1) / bins
    edges = [(int(np.floor(k * step)) + first, int(np.ceil((k + 1) * step)) + first) for k in range(bins)]
    return [slice(min(max(a, 0), size), min(max(b, 0), size)) for a, b in edges]


def align(x: np.ndarray, rois: np.ndarray, image: np.ndarray, s: Mapping[str, float]) -> np.ndarray:
    """``[R, OH, OW, C]`` by the rule above; ``s`` holds the scalars."""
    _, height, width, channels = x.shape
    y = np.zeros((len(rois), int(s["OH"]), int(s["OW"]), channels), x.dtype)
    for r, (x0, y0, x1, y1) in enumerate(rois.astype(np.float64)):
        source = x[min(max(int(image[r]), 0), len(x) - 1)]
        if s["largest"] == 2:
            rows_of, columns_of = _bins(y0, y1, y.shape[1], height, s), _bins(x0, x1, y.shape[2], width, s)
            for (i, tall), (j, wide) in product(enumerate(rows_of), enumerate(columns_of)):
                part = source[tall, wide]
                y[r, i, j] = part.max(axis=(0, 1)) if part.size else 0
            continue
        (ys, rows), (xs, columns) = _line(y0, y1, y.shape[1], s), _line(x0, x1, y.shape[2], s)
        for i, j in np.ndindex(y.shape[1], y.shape[2]):
            points = []
            for a in ys[i]:
                for b in xs[j]:
                    down, right = _corners(a, height), _corners(b, width)
                    if down is None or right is None:
                        points.append(np.zeros((4, channels)))
                        continue
                    (v0, v1, v), (u0, u1, u) = down, right
                    weights = np.array([(1 - v) * (1 - u), (1 - v) * u, v * (1 - u), v * u])
                    points.append(weights[:, None] * source[[v0, v0, v1, v1], [u0, u1, u0, u1]])
            if points and s["largest"]:
                y[r, i, j] = np.max(points, axis=(0, 1))
            elif points:
                y[r, i, j] = np.sum(points, axis=(0, 1)) / max(rows * columns, 1)
    return y


def _reference(arrays: Mapping[str, np.ndarray], s: Scalars, case: Case) -> Mapping[str, np.ndarray]:
    return {"y": align(arrays["x"], arrays["rois"], arrays["image"], s)}


def align_back(
    dy: np.ndarray, x: np.ndarray, rois: np.ndarray, image: np.ndarray, s: Mapping[str, float]
) -> np.ndarray:
    """What reaches ``x`` through :func:`align`, float64."""
    _, height, width, _ = x.shape
    dx = np.zeros(x.shape)
    for r, (x0, y0, x1, y1) in enumerate(rois.astype(np.float64)):
        which = min(max(int(image[r]), 0), len(x) - 1)
        source, back = x[which].astype(np.float64), dx[which]
        sizes = dy.shape[1:3]
        whole = s["largest"] == 2
        if whole:
            rows_of, columns_of = _bins(y0, y1, sizes[0], height, s), _bins(x0, x1, sizes[1], width, s)
        (ys, _), (xs, _) = _line(y0, y1, sizes[0], s), _line(x0, x1, sizes[1], s)
        for i, j in np.ndindex(*sizes):
            corners = []  # (weight, row, column) of all that the bin reads
            if whole:
                places = product(range(height)[rows_of[i]], range(width)[columns_of[j]])
                corners = [(1.0, v, u) for v, u in places]
            else:
                for a, b in product(ys[i], xs[j]):
                    down, right = _corners(a, height), _corners(b, width)
                    if down is None or right is None:
                        corners += [(0.0, 0, 0)] * 4
                        continue
                    (v0, v1, v), (u0, u1, u) = down, right
                    corners += [((1 - v) * (1 - u), v0, u0), ((1 - v) * u, v0, u1)]
                    corners += [(v * (1 - u), v1, u0), (v * u, v1, u1)]
            if s["largest"] and corners:
                values = np.array([w * source[v, u] for w, v, u in corners])
                for c, best in enumerate(values.argmax(0)):
                    w, v, u = corners[best]
                    back[v, u, c] += w * dy[r, i, j, c]
            elif corners:
                for w, v, u in corners:
                    back[v, u] += w * dy[r, i, j] / (len(corners) / 4)
    return dx


def scalars(
    x: tuple[int, ...], rois: int, height: int, width: int, scale: float, samples: int, largest: int, half_pixel: bool
) -> dict[str, int | float]:
    """Scalars for an image ``x`` [B, H, W, C]."""
    return {
        "R": rois, "B": x[0], "H": x[1], "W": x[2], "C": x[3], "OH": height, "OW": width, "samples": samples,
        "largest": int(largest), "half_pixel": int(half_pixel), "scale": float(scale),
    }  # fmt: skip


def _reference_back(arrays: Mapping[str, np.ndarray], s: Scalars, case: Case) -> Mapping[str, np.ndarray]:
    return {"dx": align_back(arrays["dy"], arrays["x"], arrays["rois"], arrays["image"], s)}


def _case(
    name: str, back: bool, x: tuple[int, ...], size: tuple[int, int], samples: int, largest: int, half_pixel: bool,
    t: str = "f32",
) -> Case:  # fmt: skip
    dtype = dtypes.from_short(t)
    rng = np.random.default_rng(1)
    low = rng.integers(-4, 2 * x[1], (5, 2))
    rois = np.concatenate([low, low + rng.integers(1, 2 * x[1], (5, 2))], 1).astype(np.float32)
    arrays: dict[str, Data | np.ndarray] = {
        "x": Data(x, "T"), "rois": rois, "image": rng.integers(0, x[0], 5).astype(np.int32),
    }  # fmt: skip
    values = scalars(x, 5, *size, 0.5, samples, largest, half_pixel)
    outputs: dict[str, tuple[tuple[int, ...], str]] = {"y": ((5, *size, x[3]), "T")}
    if back:
        arrays["dy"] = Data((5, *size, x[3]), "T")
        outputs = {"dx": (x, "T")}
    return Case(name, arrays, values, outputs, {"T": dtype, "TR": dtypes.from_short("f32")})


def _cases(back: bool) -> Iterator[Case]:
    for largest in (0, 1):
        kind = "max" if largest else "mean"
        yield _case(f"{kind}_fixed", back, (2, 9, 7, 5), (4, 2), 2, largest, True)
        yield _case(f"{kind}_adaptive", back, (1, 16, 16, 3), (2, 2), 0, largest, False)
    yield _case("whole_pixels", back, (2, 9, 7, 5), (4, 2), 0, 2, False)
    yield _case("one", back, (1, 1, 1, 1), (1, 1), 0, False, True)
    yield _case("half", back, (2, 8, 8, 4), (2, 4), 2, False, False, "f16")


_SCALARS = """
    int R
    int B
    int H
    int W
    int C
    int OH
    int OW
    int samples
    int largest
    int half_pixel
    float scale
"""


def _variants(*axes: str) -> tuple[Variant, ...]:
    return (
        Variant("any", "any", lambda s, t: per_element(int(np.prod([s[a] for a in axes])), t), GROUP,
                requires=lambda i, t: i.fp64 or np.float64 not in (t["T"], t["TR"])),
    )  # fmt: skip


ROI_ALIGN = register(
    KernelSpec(
        name="roi_align",
        doc="regions of an image resampled to a fixed size, by the mean or the largest of bilinear points",
        params=params("in x: T\nin rois: TR\nin image: i32\nout y: T" + _SCALARS),
        variants=_variants("R", "OH", "OW", "C"),
        reference=_reference,
        cases=partial(_cases, False),
        types={"T": dtypes.FLOATS, "TR": dtypes.FLOATS},
        exact=False,
    )
)

ROI_ALIGN_GRADIENT = register(
    KernelSpec(
        name="roi_align_gradient",
        doc="what reaches an image through its resampled regions",
        params=params("in dy: T\nin x: T\nin rois: TR\nin image: i32\nout dx: T" + _SCALARS),
        variants=_variants("B", "H", "W", "C"),
        reference=_reference_back,
        cases=partial(_cases, True),
        types={"T": dtypes.FLOATS, "TR": dtypes.FLOATS},
        exact=False,
    )
)
