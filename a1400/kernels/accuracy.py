"""How far an answer is from its reference."""

from __future__ import annotations

import ml_dtypes
import numpy as np

from a1400 import dtypes

#: values smaller than this part of the scale are results of cancellation: ULPs are then counted at that magnitude
_FLOOR = 2.0**-8


def compare(got: np.ndarray, expected: np.ndarray, tolerance: tuple[float, float], exact: bool) -> str:
    """Empty if equal (values in exact mode, else within rtol and atol x the reference's scale), else what differs."""
    expected = np.asarray(expected)
    if got.shape != expected.shape:
        return f"shape {got.shape}, expected {expected.shape}"
    if got.size == 0:
        return ""
    wide = np.float64 if dtypes.is_float(got.dtype) else got.dtype
    g, e = got.astype(wide), expected.astype(wide)
    if exact or not dtypes.is_float(got.dtype):
        e = expected.astype(got.dtype).astype(wide)
        bad = ~((g == e) | ((g != g) & (e != e)))
    else:
        rtol, atol = tolerance
        finite = np.abs(e[np.isfinite(e)])
        scale = float(finite.max()) if finite.size else 1.0
        with np.errstate(invalid="ignore"):
            bad = ~((np.abs(g - e) <= rtol * np.abs(e) + atol * scale) | (g == e) | (np.isnan(g) & np.isnan(e)))
    if not bad.any():
        return ""
    at = tuple(int(i) for i in np.argwhere(bad)[0])
    return f"{int(bad.sum())} of {bad.size} values differ, first at {at}: got {got[at]}, expected {expected[at]}"


def figures(got: np.ndarray, expected: np.ndarray) -> tuple[float, float]:
    """The largest difference relative to the largest finite reference magnitude, and in units in the last place.

    A unit in the last place is that of ``got``'s dtype at the reference value, but never finer than at 1/256 of the
    largest magnitude: what cancels to almost nothing has no last place of its own.  Integers count in ones.  Both are
    infinite where one side is finite and the other is not, or the shapes differ.
    """
    expected = np.asarray(expected)
    if got.shape != expected.shape:
        return float("inf"), float("inf")
    if got.size == 0:
        return 0.0, 0.0
    if not dtypes.is_float(got.dtype):
        g, e = got.astype(np.float64), expected.astype(got.dtype).astype(np.float64)
        difference = np.abs(g - e)
        return float(difference.max() / (np.abs(e).max() or 1.0)), float(difference.max())
    g, e = got.astype(np.float64), expected.astype(np.float64)
    with np.errstate(all="ignore"):
        rounded = expected.astype(got.dtype).astype(np.float64)
        same = (g == e) | (np.isnan(g) & np.isnan(e)) | (g == rounded)
        difference = np.where(same & ~(np.isfinite(g) & np.isfinite(e)), 0.0, np.abs(g - e))
    difference = np.where(np.isfinite(difference), difference, np.inf)
    finite = np.abs(e[np.isfinite(e)])
    scale = float(finite.max()) if finite.size and finite.max() else 1.0
    kind = ml_dtypes.finfo(got.dtype)
    bits, lowest = int(kind.nmant), int(kind.minexp)
    at = np.maximum(np.where(np.isfinite(e), np.abs(e), 1.0), scale * _FLOOR)
    exponent = np.maximum(np.frexp(at)[1] - 1, lowest)
    return float(difference.max() / scale), float((difference / np.ldexp(1.0, exponent - bits)).max())
