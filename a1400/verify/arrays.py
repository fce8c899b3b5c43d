"""Arrays of any element type in files between parent and child, without pickle."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from a1400 import dtypes


def save_arrays(path: Path, arrays: Mapping[str, np.ndarray]) -> list[list[Any]]:
    """Write the arrays' bytes one after the other; returns (name, dtype, shape) of each for :func:`load_arrays`."""
    with path.open("wb") as file:
        for array in arrays.values():
            file.write(np.ascontiguousarray(array).tobytes())
    return [[name, dtypes.short(a.dtype), list(np.shape(a))] for name, a in arrays.items()]


def load_arrays(path: Path, described: Sequence[Sequence[Any]]) -> dict[str, np.ndarray]:
    """The arrays that :func:`save_arrays` wrote."""
    result = {}
    with path.open("rb") as file:
        for name, short, shape in described:
            dtype = dtypes.from_short(short)
            count = int(np.prod(shape, dtype=np.int64))
            result[name] = np.frombuffer(bytearray(file.read(count * dtype.itemsize)), dtype).reshape(shape)
    return result
