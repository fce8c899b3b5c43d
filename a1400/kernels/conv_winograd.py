"""Winograd's convolution: 3 x 3 filters, no dilation, on channels-last images, with fewer multiplications.

======================  =========================================================================================
``conv_winograd4``      F(4x4, 3x3): 36 multiplications for 16 outputs, a quarter of what the direct way takes; w: f32,
                        transformed at load by ``conv_winograd_pack.pack_winograd``: four times the filters' memory
``conv_winograd4_raw``  the same with filters of type TB as ``conv`` takes them (``conv_pack.pack_conv``), transformed
                        on the way: for filters so large that reading four times as much takes longer
``conv_winograd2``      F(2x2, 3x3): 16 multiplications for 4 outputs, 1/2.25 of them; w as for ``conv_winograd4``,
                        half as large
``conv_winograd4_s2``   stride 2, by 4 x 4 outputs: 81 multiplications in place of 144; w as for ``conv_winograd4``,
                        nine times the filters' memory
``conv_winograd4_pool`` ``conv_winograd4`` and ``conv_winograd2`` with the pooling behind them, whose windows divide a
``conv_winograd2_pool`` tile: y is [N, OH / pool_h, OW / pool_w, OC]; see ``conv_pool``
======================  =========================================================================================

All: in x: TA [N, H, W, C], in w, out y: TC [N, OH, OW, OC]; pads are those before the first pixel, zeros behind the
last follow from the output sizes; pixels may be ``x_ld``/``y_ld`` apart.  ``block`` and ``across`` say how work is
shared out: tiles of a work-item (at most what the variant holds), ranges of output channels; they change speed only.
Slot ``EPILOGUE(v; b, m, n)`` as in ``conv``, on floats.

Arithmetic is float32.  Transformed values are larger than the result, so rounding errors are too: about 1e-6 of the
output's scale for F(4x4) at 64 channels and 4e-6 at 512, three times the direct way's, growing with the root of the
number of channels; those of F(2x2) are no larger than the direct way's.  An infinity or NaN reaches all outputs of its
tile, not only those whose filter covers it; inputs beyond 1e37 overflow.  The stride-2 kernel's errors are those of
F(4x4).  ``load(..., disable=["winograd"])`` keeps to the direct way.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from a1400 import dtypes
from a1400.backends.base import Grid
from a1400.kernels import conv_pool, conv_shape, conv_winograd_cases
from a1400.kernels.conv_pack import unpack_conv
from a1400.kernels.conv_winograd_pack import unpack_winograd
from a1400.kernels.gemm import floats_only
from a1400.kernels.spec import Case, KernelSpec, Scalars, Slot, Tunable, Tunables, Variant, params, register

TYPES = tuple(dtypes.from_short(n) for n in ("f32", "f16", "bf16"))

_PARAMS = """
in x: TA
in w: f32
out y: TC
int N        # images
int H        # input sizes
int W
int C
int OH       # output sizes
int OW
int OC
int ph       # pads
int pw
int groups
int x_off
int x_ld
int y_off
int y_ld
int block
int across
"""

_POOL = """
int pool_h
int pool_w
int average
"""


@dataclass(frozen=True)
class Algorithm:
    """What tells the kernels apart: outputs along a tile's side, stride, whether filters come as they are, pooling."""

    outputs: int
    stride: int = 1
    raw: bool = False
    pooled: bool = False

    @property
    def name(self) -> str:
        """The kernel's name."""
        return f"conv_winograd{self.outputs}{'_raw' * self.raw}{'_s2' * (self.stride == 2)}{'_pool' * self.pooled}"

    @property
    def planes(self) -> int:
        """Coefficients of a tile: its multiplications for each pair of channels."""
        return 81 if self.stride == 2 else (self.outputs + 2) ** 2


def tiles(s: Scalars, outputs: int) -> int:
    """Tiles of ``outputs`` x ``outputs`` pixels of all images."""
    return int(s["N"]) * -(-int(s["OH"]) // outputs) * -(-int(s["OW"]) // outputs)


def _whole(s: Scalars, stride: int) -> dict[str, int]:
    """The scalars of the convolution that this is."""
    ones = dict.fromkeys(("D", "OD", "KD", "sd", "dd", "dh", "dw"), 1)
    return {**conv_shape.ints(s), **ones, "KH": 3, "KW": 3, "pd": 0, "sh": stride, "sw": stride}


def block_limit(planes: int, t: Tunables) -> int:
    """Most tiles of a work-item of the cpu variant: coefficients of 16 channels and the products of a panel fit."""
    return min(16 * t["COEF"] // planes - 1, (16 * t["SUMS"] // planes - 1) // 2)


def _panels(s: Scalars) -> int:
    return -(-int(s["OC"]) // int(s["groups"]) // 32)


def _make(algorithm: Algorithm) -> KernelSpec:
    outputs, stride, raw, planes = algorithm.outputs, algorithm.stride, algorithm.raw, algorithm.planes

    def reference(arrays: Mapping[str, np.ndarray], s: Scalars, case: Case) -> dict[str, np.ndarray]:
        i = _whole(s, stride)
        groups, og, cg = i["groups"], i["OC"] // i["groups"], i["C"] // i["groups"]
        packed = arrays["w"].reshape(groups, _panels(s), 9 if raw else planes, cg, 32)
        filters = unpack_conv(packed, og) if raw else unpack_winograd(packed, outputs, og, stride)
        y = conv_shape.accumulate(conv_shape.input_view(arrays["x"], i), filters, i)
        if algorithm.pooled:
            return conv_pool.store_pooled(conv_pool.pooled(y[:, 0], s, case), s, case)
        return conv_shape.store_output(y, i, case)

    def cpu_geometry(s: Scalars, t: Tunables) -> tuple[Grid, Grid]:
        blocks = -(-tiles(s, outputs) // min(int(s["block"]), block_limit(planes, t)))
        return (blocks, min(_panels(s), int(s["across"])), int(s["groups"])), (1, 1, 1)

    def gpu_geometry(s: Scalars, t: Tunables) -> tuple[Grid, Grid]:
        return (-(-tiles(s, outputs) // t["TILES"]), _panels(s), int(s["groups"])), (32, t["TILES"], 1)

    scratch = (
        Tunable("COEF", 1152, (576, 1152), "KiB of transformed inputs that a work-item keeps"),
        Tunable("SUMS", 288, (288, 576), "KiB of products that a work-item keeps"),
    )
    steps = (Tunable("FILTERS", 32, (16, 32, 64), "channels of filters transformed at a time"),) if raw else ()
    narrow = {"FILTERS": 16} if raw else {}
    return register(
        KernelSpec(
            name=algorithm.name,
            doc=f"3 x 3 convolution of stride {stride} by tiles of {outputs} x {outputs}{', plain filters' * raw}.",
            params=params((_PARAMS.replace("w: f32", "w: TB") if raw else _PARAMS) + _POOL * algorithm.pooled),
            types=dict.fromkeys(("TA", "TB", "TC") if raw else ("TA", "TC"), TYPES),
            slots=(Slot("EPILOGUE", ("b", "m", "n"), "f32", "each result before it is stored",
                        lambda s: conv_shape.outputs(_whole(s, stride))),
                   *(conv_pool.POOLED_SLOT,) * algorithm.pooled),
            variants=(
                Variant(
                    "cpu", "cpu", cpu_geometry, (*scratch, *steps), backends=("opencl",), source="cpu/conv_winograd",
                    vector_width=16, narrow_width=8, requires=floats_only,
                    test_tunables=({"COEF": planes, "SUMS": planes, **narrow},),
                ),
                Variant(
                    "gpu", "any", gpu_geometry,
                    (
                        Tunable("TILES", 8, (2, 4, 8), "tiles of a work-group"),
                        Tunable("KC", 8, (8, 16), "channels of a step"),
                    ),
                    source="conv_winograd", requires=floats_only,
                    local_bytes=lambda types, t: 4 * planes * t["TILES"] * t["KC"],
                    test_tunables=({"TILES": 2, "KC": 16},),
                ),
            ),
            reference=reference,
            cases=lambda: (conv_winograd_cases.pooled_cases(outputs) if algorithm.pooled
                           else conv_winograd_cases.cases(outputs, stride, raw)),
            exact=outputs == 2,  # the maps of larger tiles have roots and thirds in them
            tolerance={"f32": (1e-5, 1e-5), "f16": (2e-3, 2e-3), "bf16": (1.6e-2, 1.6e-2)},
            flops=lambda s: conv_shape.flops(_whole(s, stride)),
            bytes=lambda s: conv_shape.nbytes(_whole(s, stride)),
            defines={"WINO_M": str(outputs), "WINO_STRIDE": str(stride), **({"WINO_RAW": ""} if raw else {}),
                     **({"WINO_POOLED": ""} if algorithm.pooled else {})},
        )
    )  # fmt: skip


#: by the kernels' names
ALGORITHMS = {a.name: a for a in (Algorithm(4), Algorithm(4, raw=True), Algorithm(2), Algorithm(4, stride=2))}
#: those that can pool too, by the names of those that do not
POOLED = {name: Algorithm(a.outputs, pooled=True) for name, a in ALGORITHMS.items() if a.stride == 1 and not a.raw}
SPECS = {a.name: _make(a) for a in (*ALGORITHMS.values(), *POOLED.values())}
