"""What the row-wise kernel families share: launch geometry, device requirements, the type of a reference."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from a1400 import dtypes
from a1400.backends.base import DeviceInfo, Grid
from a1400.kernels.spec import Case, Scalars, Tunable, Tunables, Variant

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


def team(
    name: str, kind: str, lanes: int, teams: int, source: str, units: Callable[[Scalars], int], **more: Any
) -> Variant:
    """A variant whose work-groups hold TEAMS teams of LANES work-items, each with one of the call's ``units``."""

    def geometry(s: Scalars, t: Tunables) -> tuple[Grid, Grid]:
        return (ceil_div(units(s), t["TEAMS"]), 1, 1), (t["LANES"] * t["TEAMS"], 1, 1)

    return Variant(
        name, kind, geometry,
        (
            Tunable("LANES", lanes, (4, 8, 16, 32, 64, 128, 256), "work-items of a team, a power of two"),
            Tunable("TEAMS", teams, (1, 2, 4, 8, 16, 32, 64), "teams of a group"),
        ),
        requires=runs, constraint=lambda t: t["LANES"] * t["TEAMS"] <= 256, source=source, **more,
    )  # fmt: skip


def row_teams(source: str) -> tuple[Variant, Variant]:
    """Teams for ``rows`` of ``n`` elements: all of a group for a long row, else one of eight."""

    def units(s: Scalars) -> int:
        return int(s["rows"])

    return (
        team("group", "gpu", 256, 1, source, units, supports=lambda s: s["n"] > 1024),
        team("team", "any", 32, 8, source, units),
    )


def channel_chunks(source: str) -> tuple[Variant, Variant]:
    """For something of each of C channels in each of S chunks of the pixels of N images."""

    def geometry(s: Scalars, t: Tunables) -> tuple[Grid, Grid]:
        groups = ceil_div(int(s["C"]), t["CHANNELS"]) * int(s["N"] * s["S"])
        return (groups, 1, 1), (t["CHANNELS"] * t["LANES"], 1, 1)

    return (
        Variant(
            "cpu", "cpu", lambda s, t: cpu_blocks(int(s["N"] * s["S"]), int(s["N"] * s["P"] * s["C"])),
            backends=("opencl",), source=f"cpu/{source}", vector_width=WIDTH, requires=runs_vectors,
        ),
        Variant(
            "team", "any", geometry,
            (
                Tunable("CHANNELS", 32, (16, 32, 64), "channels per group"),
                Tunable("LANES", 8, (4, 8, 16), "work-items per channel, a power of two"),
            ),
            source=source, constraint=lambda t: t["CHANNELS"] * t["LANES"] <= 256, requires=runs,
        ),
    )  # fmt: skip


def rows_of(flat: np.ndarray, s: Scalars, name: str) -> np.ndarray:
    """``[rows, n]`` that the scalars ``NAME_off`` and ``NAME_row`` lay into a buffer; for use in references."""
    flat = flat.reshape(-1)[int(s[f"{name}_off"]) :]
    item = flat.itemsize
    return np.lib.stride_tricks.as_strided(flat, (int(s["rows"]), int(s["n"])), (int(s[f"{name}_row"]) * item, item))
