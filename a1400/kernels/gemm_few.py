"""The variant of ``gemm_packed`` for at most four rows, which is as fast as memory: decode steps, classifiers."""

from __future__ import annotations

from a1400.backends.base import Grid
from a1400.kernels.gemm_pack import PANEL
from a1400.kernels.spec import Scalars, Tunable, Tunables, Variant

MOST_ROWS = 4
#: bytes of B that are worth a work-item, and items for each core: whoever is done first takes the next
_ITEM_BYTES = 64 * 1024
_ITEMS = 6


def _geometry(s: Scalars, t: Tunables) -> tuple[Grid, Grid]:
    panels, depth = max(1, -(-int(s["N"]) // PANEL)), max(1, int(s["K"]))
    each = max(-(-_ITEM_BYTES // (4 * depth * PANEL)), -(-panels // (_ITEMS * t["CORES"])))
    return (1, -(-panels // min(each, panels)), int(s["nb0"]) * int(s["nb1"])), (1, 1, 1)


FEW_ROWS = Variant(
    "cpu_few", "cpu", _geometry,
    (
        Tunable("AHEAD", 64, (32, 64, 128), "rows of a panel (128 bytes each) by which B is fetched ahead"),
        Tunable("CORES", 8, (2, 4, 8, 16, 32, 64), "cores that items are made for", compiled=False, searched=False),
    ),
    backends=("opencl",), source="cpu/gemm_few", vector_width=16, plain=("PROLOGUE",),
    supports=lambda s: int(s["M"]) <= MOST_ROWS and (int(s["a_k"]) == 1 or int(s["K"]) == 1),
    test_tunables=({"CORES": 2, "AHEAD": 32},),
)  # fmt: skip
