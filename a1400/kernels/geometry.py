"""What the row-wise kernel families share: launch geometry, device requirements, the type of a reference."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from a1400 import dtypes
from a1400.backends.base import DeviceInfo, Grid
from a1400.kernels.spec import Case, Scalars

Reference = Callable[[Mapping[str, np.ndarray], Scalars, Case], Mapping[str, np.ndarray]]

WIDTH = 16  # lanes of the vector variants
_GRAIN = 8192  # elements that are worth a work-group of their own on a CPU
_MOST = 64  # work-groups that keep any CPU's cores busy to the end


def ceil_div(a: int, b: int) -> int:
    """``a / b`` rounded up."""
    return -(-a // b)


def cpu_blocks(units: int, elements: int) -> tuple[Grid, Grid]:
    """Work-groups of one work-item that share ``units`` independent pieces, ``elements`` of work in all."""
    if units <= 0:
        return (0, 1, 1), (1, 1, 1)
    return (max(1, min(units, elements // _GRAIN, _MOST)), 1, 1), (1, 1, 1)


def runs(info: DeviceInfo, types: Mapping[str, np.dtype]) -> bool:
    """The device has the arithmetic that ``types`` need: double precision where one is f64."""
    return info.fp64 or all(t != np.float64 for t in types.values())


def runs_vectors(info: DeviceInfo, types: Mapping[str, np.dtype]) -> bool:
    """As :func:`runs`, and every register is 32 bits wide, as vectors of 16 lanes need."""
    narrow = ("float", "int", "uint")
    return all(dtypes.info(t).register in narrow and t != np.bool_ for t in types.values())
