"""How matrix products are shared out among cores."""

from __future__ import annotations

import heapq
import itertools

import pytest

from a1400.kernels import gemm
from a1400.kernels.gemm_pack import PANEL
from a1400.kernels.gemm_shares import shares

MR, NPC, HELD = 12, 8, 6
SHAPES = [
    (1, 1600, 128, 1), (1, 128, 10, 1), (1, 4096, 4096, 1), (8, 768, 3072, 1), (49, 384, 1152, 1), (64, 512, 512, 1),
    (128, 3072, 768, 1), (197, 768, 768, 1), (1024, 1024, 1024, 1), (12544, 64, 64, 1), (64, 64, 64, 12), (5, 0, 40, 3),
]  # fmt: skip


def cut(shape: tuple[int, int, int, int], cores: int) -> tuple[int, int]:
    rows, depth, columns, batch = shape
    return shares(rows, depth, columns, batch, mr=MR, npc=NPC, blocks_held=HELD, cores=cores)


def sizes(count: int, parts: int) -> list[int]:
    """What the kernel's ``part_begin`` and ``part_end`` make of ``count``."""
    edges = [-(-i * count // parts) for i in range(parts + 1)]
    return [end - begin for begin, end in itertools.pairwise(edges)]


@pytest.mark.parametrize("cores", [1, 2, 8, 96])
@pytest.mark.parametrize("shape", SHAPES)
def test_no_item_is_empty(shape: tuple[int, int, int, int], cores: int) -> None:
    for count, parts in zip((max(1, shape[0] // MR), -(-shape[2] // PANEL)), cut(shape, cores)):
        assert min(sizes(count, parts)) > 0


@pytest.mark.parametrize("cores", [2, 3, 4, 8, 16])
@pytest.mark.parametrize("shape", [s for s in SHAPES if s[0] * s[1] * s[2] * s[3] > 5e7])
def test_cores_finish_together(shape: tuple[int, int, int, int], cores: int) -> None:
    """Where each core takes the next item when it is done, the last has at most a tenth more than its share."""
    panels = -(-shape[2] // PANEL)
    down, across = cut(shape, cores)
    rows = [MR * n for n in sizes(max(1, shape[0] // MR), down)]
    rows[-1] += shape[0] - sum(rows)
    done = [0] * cores
    for item in shape[3] * [height * wide for wide in sizes(panels, across) for height in rows]:
        heapq.heappush(done, heapq.heappop(done) + item)
    assert max(done) <= 1.1 * shape[0] * panels * shape[3] / cores + MR


def test_small_products_stay_on_one_core() -> None:
    assert cut((1, 128, 10, 1), 64) == cut((12, 64, 64, 1), 64) == (1, 1)


def test_the_number_of_cores_makes_no_program() -> None:
    """It decides the launch's geometry and is not in the text."""
    variant = gemm.gemm_packed.variant("cpu")
    assert [t.name for t in variant.tunables if not t.compiled] == ["CORES"]
    scalars = {"M": 128, "N": 768, "K": 768, "nb0": 1, "nb1": 1}
    grids = {variant.geometry(scalars, variant.settings({"CORES": cores}))[0] for cores in (2, 16)}
    assert len(grids) == 2
