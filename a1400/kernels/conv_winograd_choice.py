"""Which way a 3 x 3 convolution takes, and how its work is shared out: by an estimate of cycles.

The unit is what a core does in the time of one fused multiply-add of a vector of 16; constants were fitted to
measurements (Zen 4, 256² x 32 to 7² x 512, one image and eight, weights not in the cache).  Only for CPUs: a GPU has
the direct kernels' tensor cores.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cache, lru_cache

from a1400.backends.base import DeviceInfo
from a1400.kernels.conv_winograd import ALGORITHMS, SPECS, Algorithm, block_limit, tiles
from a1400.kernels.spec import Scalars, Tunables

#: tiles of 4 x 4 lose a digit at more channels than this
MOST_CHANNELS = 2048
#: what the transforms of a tile take for 16 channels
_INPUT, _OUTPUT = {36: 300.0, 16: 110.0, 81: 600.0}, {36: 230.0, 16: 80.0, 81: 400.0}  # by planes
_FAR = 1.5  # times as much where the images do not stay in the cache
_FILTER = 120.0  # of one channel's filters for 16 outputs
_ITEM = 1500.0  # to start a work-item
_UNEVEN = 0.08  # of an item: cores are disturbed, and the last to finish decides
_CALL = 80.0  # of the micro-kernel
_LEAST_ROWS = 4.0  # fewer wait for their sums
_FILTER_ROWS = 0.6  # of a block: bringing its filters nearer
_DIRECT = 1.15  # of the multiplications alone
_CROWDED = 1.7e-7  # for each byte of coefficients, which share the second-level cache with the filters
_L3 = 4 << 20
_MEMORY = 11.5  # bytes that memory brings in a cycle, for all cores
_EXPOSED = 0.15  # of the time for memory, what arithmetic does not hide
_LEAST_GAIN = 1.1
#: most tiles of a work-item: larger blocks crowd the cache, and a core that is disturbed holds up the others for longer
_MOST_TILES = 28
_ACROSS = (1, 2, 3, 4, 6, 8, 12, 16)  # ranges of panels worth trying


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
    return _share(algorithm, size, tiles(scalars, algorithm.outputs), max(1, info.compute_units))


@dataclass(frozen=True)
class _Size:
    c: int  # channels of a group
    panels: int
    vectors: int  # of 16 outputs
    groups: int
    far: bool  # images larger than the cache

    @classmethod
    def of(cls, s: Scalars) -> _Size:
        groups = int(s["groups"])
        og = int(s["OC"]) // groups
        values = int(s["N"]) * (int(s["H"]) * int(s["W"]) * int(s["C"]) + int(s["OH"]) * int(s["OW"]) * int(s["OC"]))
        return cls(int(s["C"]) // groups, -(-og // 32), -(-og // 16), groups, 4 * values > _L3)


def _direct(info: DeviceInfo, s: Scalars) -> float:
    size = _Size.of(s)
    rows = int(s["N"]) * int(s["OH"]) * int(s["OW"])
    work = rows * (9.0 * size.c * size.vectors * _DIRECT + 2 * size.vectors) * size.groups
    return _with_memory(work / max(1, info.compute_units), 9, size)


def _with_memory(cycles: float, planes: int, size: _Size) -> float:
    """``cycles`` of all cores' arithmetic, and what reading the filters from memory takes beyond them."""
    nbytes = 128.0 * planes * size.c * size.panels * size.groups
    reading = nbytes / _MEMORY if nbytes > _L3 else 0.0
    return max(cycles, reading) + _EXPOSED * min(cycles, reading)


@cache
def _settings(kernel: str) -> Tunables:
    return SPECS[kernel].variant("cpu").settings()


@lru_cache(maxsize=1024)
def _share(algorithm: Algorithm, size: _Size, total: int, units: int) -> Choice:
    limit = min(_MOST_TILES, block_limit(algorithm.planes, _settings(algorithm.name)))
    best: Choice | None = None
    for blocks in _counts(total, limit):
        count = -(-total // blocks)
        for across in (n for n in _ACROSS if n <= size.panels):
            cycles = _cycles(algorithm, size, blocks, count, across, units)
            if best is None or cycles < best.cycles:
                best = Choice(algorithm.name, count, across, cycles)
    assert best is not None
    return best


def _cycles(algorithm: Algorithm, size: _Size, blocks: int, count: int, across: int, units: int) -> float:
    """Estimated cycles where work-items take ``count`` tiles and one of ``across`` ranges of panels."""
    settings, planes = _settings(algorithm.name), algorithm.planes
    chunks, panels = -(-size.c // 16), -(-size.panels // across)
    vectors = panels * min(2, size.vectors)
    # as the kernel does: all channels' coefficients, or steps of them and the products of some panels
    most = (settings["COEF"] * 16 // planes - 1) // count
    steps = -(-chunks // most)
    held = settings["SUMS"] * 16 // (planes * (count * 2 + 1)) if steps > 1 else panels
    parts = -(-count // 14)
    coefficients = 64.0 * planes * -(-chunks // steps) * count
    rows = max(count, _LEAST_ROWS * parts) + _FILTER_ROWS
    multiply = rows * planes * size.c * vectors + _CALL * parts * planes * panels * steps
    multiply *= 1 + _CROWDED * coefficients
    far = _FAR if size.far else 1.0
    transforms = far * count * (chunks * _INPUT[planes] * -(-panels // held) + vectors * _OUTPUT[planes])
    if algorithm.raw:
        transforms += size.c * vectors * _FILTER
    item = multiply + transforms + _ITEM
    rounds = -(-blocks * across * size.groups // units)
    return _with_memory(item * (rounds + _UNEVEN), 9 if algorithm.raw else planes, size)


def _counts(total: int, limit: int) -> Collection[int]:
    """Numbers of blocks worth trying."""
    return sorted({-(-total // rows) for rows in range(1, min(limit, total) + 1)}, reverse=True)


def winograd_scalars(scalars: Scalars, choice: Choice) -> Mapping[str, int | float]:
    """Scalars of the chosen kernel from those of ``conv_shape``."""
    names = ("N", "H", "W", "C", "OH", "OW", "OC", "ph", "pw", "groups", "x_off", "x_ld", "y_off", "y_ld")
    return {**{name: scalars[name] for name in names}, "block": choice.block, "across": choice.across}
