"""Variants of ``conv`` and ``conv_transpose`` for tensor cores: implicit matrix products, one source for all of them.

They differ in how many channels a copy of the input takes: 16 bytes of channels where channels, pixels and the start
are multiples of that, else what divides them; single 16-bit channels pass through registers.  TF32 rounds f32 inputs to
10 bits of mantissa, and must be asked for.  A transposed convolution is a convolution for each of its phases: outputs
whose coordinates agree modulo the stride, which the same taps reach.

The limit, from the hardware's published figures: 16 of depth of a 128 x 128 tile are 524,288 operations, 256 cycles
of an sm_80's tensor cores, in which its shared memory delivers 32 KiB.  Four warps of 64 x 64 read 16 KiB of fragments
and 8 KiB are copied in, so the tensor cores should be the limit; warps of 32 x 32 read twice as much per operation and
shared memory should be.  Those 8 KiB come from L2: 64 operations a byte, 4.9 TB/s at 312 TFLOP/s, of the 7.2 TB/s that
L2 gives.  Four stages of depth 32 take 66 KiB: two blocks on an sm_80 (164 KiB), one on an sm_86 (100 KiB).  A thread's
sums take 128 registers and all of it below 256, which also leaves room for two blocks.  ``choose_tunables`` weighs
this against processors that small images leave idle.  None of it has been measured yet.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from math import prod

import numpy as np

from a1400 import dtypes
from a1400.backends.base import DeviceInfo, Grid
from a1400.kernels import conv_shape
from a1400.kernels.gemm import MOST_BATCH_GROUPS
from a1400.kernels.gemm_tensor import row_stage
from a1400.kernels.spec import Scalars, Tunable, Tunables, Variant

_SHORT = tuple(dtypes.from_short(n) for n in ("f16", "bf16"))
_F32 = dtypes.from_short("f32")
_TABLE = 16  # bytes of a row's coordinates
# tensor cores add with fewer guard bits than a float addition has
TOLERANCE = {"f32": (3e-5, 3e-5), "f16": (2e-3, 2e-3), "bf16": (1.6e-2, 1.6e-2)}
_TF32 = {"f32": (1e-3, 1e-3)}

TUNABLES = (
    Tunable("BM", 128, (32, 64, 128, 256), "output pixels of a block"),
    Tunable("BN", 128, (32, 64, 128, 256), "output channels of a block"),
    Tunable("BK", 32, (16, 32, 64), "depth of a stage"),
    Tunable("WM", 2, (1, 2, 4), "warps of a block along the pixels"),
    Tunable("WN", 2, (1, 2, 4), "warps of a block along the channels"),
    Tunable("STAGES", 4, (2, 3, 4, 5), "tiles in shared memory at once"),
    Tunable("BAND", 8, (1, 4, 8, 16), "tiles of pixels that blocks go through together"),
)


def phases(s: Scalars) -> int:
    """Phases of a transposed convolution: outputs that the same taps reach."""
    return int(s["sd"]) * int(s["sh"]) * int(s["sw"])


def tiles(s: Scalars, t: Tunables) -> int:
    """Number of tiles of a group."""
    return -(-conv_shape.output_rows(s) // t["BM"]) * -(-(int(s["OC"]) // int(s["groups"])) // t["BN"])


def geometry(s: Scalars, t: Tunables) -> tuple[Grid, Grid]:
    """A block for each tile of each group."""
    return (tiles(s, t), 1, int(s["groups"])), (32 * t["WM"] * t["WN"], 1, 1)


def _phase_tiles(s: Scalars, t: Tunables) -> int:
    """Number of tiles of a group's largest phase."""
    sizes = (-(-int(s[out]) // int(s[stride])) for out, stride in (("OD", "sd"), ("OH", "sh"), ("OW", "sw")))
    rows = int(s["N"]) * prod(sizes)
    return -(-rows // t["BM"]) * -(-(int(s["OC"]) // int(s["groups"])) // t["BN"])


def _phase_geometry(s: Scalars, t: Tunables) -> tuple[Grid, Grid]:
    return (_phase_tiles(s, t), 1, int(s["groups"]) * phases(s)), (32 * t["WM"] * t["WN"], 1, 1)


#: block tiles and their warps, worth trying for some shape
TILES = (
    {"BM": 128, "BN": 128, "WM": 2, "WN": 2}, {"BM": 128, "BN": 64, "WM": 2, "WN": 2},
    {"BM": 64, "BN": 64, "WM": 2, "WN": 2}, {"BM": 128, "BN": 32, "WM": 4, "WN": 1},
    {"BM": 64, "BN": 32, "WM": 4, "WN": 1}, {"BM": 32, "BN": 32, "WM": 2, "WN": 1},
)  # fmt: skip


def _step_cycles(t: Tunables) -> float:
    """An sm_80's cycles for 32 bytes of depth of a tile: tensor cores or shared memory, whichever takes longer."""
    fragments = 32 * (t["BM"] * t["WN"] + t["BN"] * t["WM"])
    return max(t["BM"] * t["BN"] / 64, (fragments + 32 * (t["BM"] + t["BN"])) / 128)


def choose_tunables(info: DeviceInfo, s: Scalars, transposed: bool = False) -> Mapping[str, int]:
    """The tile with the least work for the busiest processor of ``info``, by the estimate of :func:`_step_cycles`."""

    def cost(t: Tunables) -> float:
        blocks = prod((_phase_geometry if transposed else geometry)(s, t)[0])
        return -(-blocks // max(info.compute_units, 1)) * _step_cycles(t)

    return min(TILES, key=cost)


def _dynamic_bytes(types: Mapping[str, np.dtype], t: Tunables) -> int:
    return t["STAGES"] * t["BK"] * (t["BM"] + t["BN"]) * types["TA"].itemsize + _TABLE * t["BM"]


def _constraint(gather: int, itemsize: int) -> Callable[[Tunables], bool]:
    """Whether threads share the copies evenly, warps hold whole fragments, and rows of sums fit the stages' memory."""

    def fits(t: Tunables) -> bool:
        threads, parts, units = 32 * t["WM"] * t["WN"], t["BK"] // gather, t["BN"] * itemsize // 16
        if t["BM"] % (16 * t["WM"]) or t["BN"] % (16 * t["WN"]) or threads % parts or threads % units:
            return False
        rows, columns = t["BM"] // t["WM"], t["BN"] // t["WN"]
        ring = t["STAGES"] * t["BK"] * (t["BM"] + t["BN"]) * itemsize
        return (
            t["BM"] % (threads // parts) == 0
            and t["BK"] % (threads // units) == 0
            and rows * columns <= 64 * 64  # sums of a thread: 128 registers
            and t["WM"] * t["WN"] * row_stage(min(64, columns)) <= ring
        )

    return fits


def tensor_types(info: DeviceInfo, types: Mapping[str, np.dtype]) -> bool:
    """Whether tensor cores take these types: 16-bit inputs of one type, float sums."""
    return (
        info.capability >= 80
        and types["TA"] == types["TB"]
        and types["TA"] in _SHORT
        and types["TC"] in (*_SHORT, _F32)
        and types["ACC"] == _F32
    )


def _tf32_types(info: DeviceInfo, types: Mapping[str, np.dtype]) -> bool:
    return info.capability >= 80 and all(t == _F32 for t in types.values())


def supports(gather: int) -> Callable[[Scalars], bool]:
    """Whether ``gather`` channels can be copied at once: channels lie side by side, images one behind the other."""

    def divides(s: Scalars) -> bool:
        groups = int(s["groups"])
        dense = int(s["D"]) * int(s["H"]) * int(s["W"]) * int(s["x_ld"])
        if (s.get("x_c", 1), s.get("x_n", dense)) != (1, dense):
            return False
        sizes = (int(s["C"]) // groups, int(s["x_ld"]), int(s["x_off"]))
        return all(size % gather == 0 for size in sizes) and groups * phases(s) <= MOST_BATCH_GROUPS

    return divides


def _variant(gather: int, itemsize: int, transposed: bool = False) -> Variant:
    full = gather * itemsize == 16
    tf32 = itemsize == 4
    name = ("tf32" if tf32 else "tensor") + ("" if full else f"_{gather}")
    # a narrow tile as well, and one with a single warp along the pixels
    tunables = tuple(replace(t, default=16) if t.name == "BK" and tf32 else t for t in TUNABLES)
    tests = ({"BM": 64, "BN": 32, "WN": 1, "STAGES": 3}, {"BM": 64, "BN": 64, "BK": 16, "STAGES": 2, "WM": 1})
    return Variant(
        name, "gpu", _phase_geometry if transposed else geometry, tunables, backends=("cuda",), source="conv_tensor",
        defines={"GATHER": str(gather), "TRANSPOSED": str(int(transposed))},
        requires=_tf32_types if tf32 else tensor_types, supports=supports(gather), dynamic_bytes=_dynamic_bytes,
        constraint=_constraint(gather, itemsize), min_blocks=1, precision="tf32" if tf32 else "",
        tolerance=_TF32 if tf32 else TOLERANCE, test_tunables=tests,
    )  # fmt: skip


# elements of a copy and bytes of an element, the widest copies first
_COPIES = ((8, 2), (4, 2), (2, 2), (1, 2), (4, 4), (2, 4), (1, 4))
#: of ``conv``
VARIANTS = tuple(_variant(gather, itemsize) for gather, itemsize in _COPIES)
#: of ``conv_transpose``
TRANSPOSED = tuple(_variant(gather, itemsize, True) for gather, itemsize in _COPIES)
