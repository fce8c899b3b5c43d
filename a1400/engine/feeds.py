"""What callers give as inputs, checked."""

from __future__ import annotations

from typing import Any

import numpy as np

from a1400 import dtypes
from a1400.errors import InputError


def as_array(name: str, given: Any, dtype: np.dtype) -> np.ndarray:
    """``given`` as an array; Python numbers have no width of their own and take ``dtype`` where it can hold them."""
    try:
        array = np.asarray(given)
    except (TypeError, ValueError) as error:
        raise InputError(f"input {name!r} is not an array: {' '.join(str(error).split())}") from None
    kinds = {"b": "b"}.get(dtype.kind, "biu" if dtypes.is_int(dtype) else "biuf")
    if hasattr(given, "dtype") or array.dtype == dtype or (array.size and array.dtype.kind not in kinds):
        return array
    with np.errstate(all="ignore"):
        made = array.astype(dtype)
    fits = np.array_equal(made, array) if dtypes.is_int(dtype) else (np.isfinite(made) | ~np.isfinite(array)).all()
    if not fits:
        raise InputError(f"input {name!r} holds numbers that are out of range for {dtype}")
    return made


def check_shape(
    name: str, shape: tuple[int, ...], wanted: tuple[int | str | None, ...], symbols: dict[str, tuple[int, str]]
) -> None:
    """Raise :class:`InputError` unless ``shape`` is as ``wanted``; ``symbols`` remembers what names stand for."""
    if len(shape) != len(wanted):
        raise InputError(
            f"input {name!r} has shape {list(shape)}, the model needs {len(wanted)} dimensions {list(wanted)}"
        )
    for size, want in zip(shape, wanted, strict=True):
        if isinstance(want, int) and size != want:
            raise InputError(f"input {name!r} has shape {list(shape)}, the model needs {list(wanted)}")
        if isinstance(want, str):
            known = symbols.setdefault(want, (size, name))
            if known[0] != size:
                raise InputError(f"dimension {want!r} is {known[0]} in input {known[1]!r} but {size} in input {name!r}")
