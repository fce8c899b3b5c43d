"""Which way a 3 x 3 convolution takes, and how its work is shared out: by an estimate of cycles.

The unit is what a core does in the time of one fused multiply-add of a vector of 16; constants were fitted to
measurements (Zen 4, 56² x 64 to 7² x 512, one image and eight) and hold within a fifth.  Only for CPUs: a GPU has the
direct kernels' tensor cores.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import lru_cache

from a1400.backends.base import DeviceInfo
from a1400.kernels.conv_winograd import ALGORITHMS, SPECS, Algorithm, block_limit, tiles
from a1400.kernels.spec import Scalars

#: tiles of 4 x 4 lose a digit at more channels than this
MOST_CHANNELS = 2048
#: what the transforms of a tile take for 16 channels
_INPUT, _OUTPUT = {36: 300.0, 16: 110.0, 81: 600.0}, {36: 230.0, 16: 80.0, 81: 400.0}  # by planes
_FILTER = 130.0  # of one channel's filters for 16 outputs
_ITEM = 8000.0  # to start a work-item
_DIRECT = 1.15  # of the multiplications alone
_L2, _L3 = 800 << 10, 4 << 20
_LEAST_GAIN = 1.1


@dataclass(frozen=True)
class Choice:
    """A way to compute a convolution: the kernel's name, its scalars ``block`` and ``across``, estimated cycles."""

    kernel: str
    block: int
    across: int
    cycles: float


def applies(scalars: Scalars) -> bool:
    """Whether a convolution (scalars of ``conv_shape``) is 3 x 3 with stride 1 or 2 and no dilation, of pictures."""
    wanted = {"D": 1, "OD": 1, "KD": 1, "KH": 3, "KW": 3, "sd": 1, "dh": 1, "dw": 1, "pd": 0}
    return all(int(scalars[name]) == value for name, value in wanted.items()) and scalars["sh"] == scalars["sw"]


def choose(info: DeviceInfo, scalars: Scalars) -> Choice | None:
    """The best Winograd kernel for a convolution (scalars of ``conv_shape``) on ``info``; None: the direct one."""
    if info.kind != "cpu" or info.backend != "opencl" or not applies(scalars):
        return None
    fitting = [name for name, a in ALGORITHMS.items() if a.stride == int(scalars["sh"])]
    found = [share(info, kernel, scalars) for kernel in fitting]
    best = min((c for c in found if c is not None), key=lambda c: c.cycles, default=None)
    return best if best is not None and best.cycles * _LEAST_GAIN < _direct(info, scalars) else None


def share(info: DeviceInfo, kernel: str, scalars: Scalars) -> Choice | None:
    """The best sharing of a kernel's work among the cores of ``info``; None where it should not be used."""
    size = _Size.of(scalars)
    algorithm = ALGORITHMS[kernel]
    if algorithm.outputs == 4 and size.c > MOST_CHANNELS:
        return None
    limit = block_limit(algorithm.planes, SPECS[kernel].variant("cpu").settings())
    return _share(algorithm, size, tiles(scalars, algorithm.outputs), limit, max(1, info.compute_units))


@dataclass(frozen=True)
class _Size:
    c: int  # channels of a group
    panels: int
    vectors: int  # of 16 outputs
    groups: int

    @classmethod
    def of(cls, s: Scalars) -> _Size:
        groups = int(s["groups"])
        og = int(s["OC"]) // groups
        return cls(int(s["C"]) // groups, -(-og // 32), -(-og // 16), groups)


def _direct(info: DeviceInfo, s: Scalars) -> float:
    size = _Size.of(s)
    rows = int(s["N"]) * int(s["OH"]) * int(s["OW"])
    work = rows * (9.0 * size.c * size.vectors * _DIRECT + 2 * size.vectors) * size.groups
    return work / max(1, info.compute_units) + _traffic(9, size)


def _traffic(planes: int, size: _Size) -> float:
    """Cycles in which the filters are read beyond what arithmetic hides."""
    nbytes = 128.0 * planes * size.c * size.panels * size.groups
    return nbytes / 16 if nbytes > _L3 else nbytes / 64 if nbytes > _L2 else 0.0


@lru_cache(maxsize=1024)
def _share(algorithm: Algorithm, size: _Size, total: int, limit: int, units: int) -> Choice:
    raw, planes = algorithm.raw, algorithm.planes
    best: Choice | None = None
    for blocks in _counts(total, limit):
        count = -(-total // blocks)
        for across in range(1, min(size.panels, 4 * units) + 1):
            vectors = -(-size.panels // across) * min(2, size.vectors)
            chunks = -(-size.c // 16)
            # one more row for reading a panel's filters
            item = float(count + 1) * planes * size.c * vectors
            item += count * (chunks * _INPUT[planes] + vectors * _OUTPUT[planes])
            item += size.c * vectors * _FILTER * raw
            if 4 * planes * (size.c * (count + 32) + 32 * count) > _L2:  # inputs, a panel's filters and products
                item *= 1.1
            rounds = -(-blocks * across * size.groups // units)
            cycles = rounds * (item + _ITEM) + _traffic(9 if raw else planes, size)
            if best is None or cycles < best.cycles:
                best = Choice(algorithm.name, count, across, cycles)
    assert best is not None
    return best


def _counts(total: int, limit: int) -> Collection[int]:
    """Numbers of blocks worth trying: fewest tiles in a block first (more items even out what else the cores do)."""
    return sorted({-(-total // rows) for rows in range(min(6, total), min(limit, total) + 1)}, reverse=True)


def winograd_scalars(scalars: Scalars, choice: Choice) -> Mapping[str, int | float]:
    """Scalars of the chosen kernel from those of ``conv_shape``."""
    names = ("N", "H", "W", "C", "OH", "OW", "OC", "ph", "pw", "groups", "x_off", "x_ld", "y_off", "y_ld")
    return {**{name: scalars[name] for name in names}, "block": choice.block, "across": choice.across}
