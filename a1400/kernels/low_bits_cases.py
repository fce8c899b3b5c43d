"""Test data for the element types of at most eight bits."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from a1400 import dtypes
from a1400.kernels.expr import Expr, apply, arg, cast, const

#: types whose stores have a case of their own; of the others the same rounding is tried in one program
STORED = tuple(dtypes.from_short(name) for name in ("f8e4m3fn", "f8e8m0", "i4"))
_F32, _I32 = np.dtype(np.float32), np.dtype(np.int32)
_BITS = {"f6": 6, "f4": 4, "i4": 4, "u4": 4, "i2": 2, "u2": 2}


def codes(dtype: np.dtype) -> np.ndarray:
    """Every element that ``dtype`` has, by code: 4 to 256."""
    return np.arange(1 << _BITS.get(dtypes.short(dtype)[:2], 8), dtype=np.uint8).view(dtype)


def numbers() -> np.ndarray:
    """f32: what the floating types hold, halfway between and just beside that; overflow, infinities and NaN."""
    found: list[np.ndarray] = [np.array([0.0, -0.0, np.inf, -np.inf, np.nan, 1e9, -1e9, 3e38, 1e-30], np.float32)]
    for name in ("f8e4m3fn", "f8e5m2fnuz", "f6e2m3"):
        held: np.ndarray = codes(dtypes.from_short(name)).astype(np.float32)
        held = np.unique(held[np.isfinite(held)])
        halves = (held[1:] + held[:-1]) / 2
        found += [held, halves, np.nextafter(halves, np.float32(np.inf)), np.nextafter(halves, np.float32(-np.inf))]
    return np.concatenate(found).astype(np.float32)


def rounded(kinds: Sequence[np.dtype]) -> Expr:
    """Operand 1 (f32) rounded to the type whose number in ``kinds`` is operand 2 (i32): f32."""
    x, which = arg(1, _F32), arg(2, _I32)
    total = cast(cast(x, kinds[0]), _F32)
    for k, dtype in enumerate(kinds[1:], 1):
        total = apply("where", apply("eq", which, const(k, _I32)), cast(cast(x, dtype), _F32), total)
    return total
