"""How the CPU kernel of matrix products cuts its work into work-items.

A work-item takes a range of row blocks and a range of 32-column panels.  Items are as equal as they can be, and as
many as let all cores finish together: the cut with the least estimated time wins.  Times are counted in cycles of a
core that does one fused multiply-add of 16 floats in each; the other figures are measured, and good to a factor of two.
"""

from __future__ import annotations

from functools import lru_cache

from a1400.kernels.gemm_pack import PANEL

_VECTORS = PANEL // 16
_COPY = 1 / 8  # cycles to copy a float of A into a work-item's block
_STREAM_ROWS = 4  # bringing a panel nearer from memory takes as long as multiplying it with so many rows
_FEW_ROWS = 4  # fewer rows than this wait for B
_FINISH = 3  # cycles to finish a vector of sums
_ITEM = 300  # cycles to start an item
_OTHERS = 12_000  # cycles until other cores have begun
_UNEVEN = 0.08  # of an item: cores are disturbed, and the last to finish decides
_STEPS = (*range(1, 13), 14, 16, 20, 24, 28, 32, 40, 48, 56, 64, 80, 96, 128, 192, 256, 384, 512)


@lru_cache(maxsize=4096)
def shares(
    rows: int, depth: int, columns: int, batch: int, *, mr: int, npc: int, blocks_held: int, cores: int
) -> tuple[int, int]:
    """Number of work-items over (row blocks, panels) for each of ``batch`` products ``rows x depth x columns``.

    ``mr`` rows make a block, and what is left over is part of the last; a work-item copies a block for every ``npc`` of
    its panels, and reads its panels anew for every ``blocks_held`` of its blocks.  Items along an axis differ by one
    block or panel at most.  No item is empty.
    """
    blocks, panels = max(1, rows // mr), max(1, -(-columns // PANEL))
    best, chosen = float("inf"), (1, 1)

    def cost(height: float, wide: float) -> float:
        passes = -(-height // (blocks_held * mr))
        multiply = max(height + _STREAM_ROWS * passes, _FEW_ROWS) * wide * _VECTORS * depth
        copy = height * -(-wide // npc) * depth * _COPY
        return multiply + copy + height * wide * _VECTORS * _FINISH + _ITEM

    for across in _cuts(panels):
        for down in _cuts(blocks):
            items = down * across * batch
            largest = cost(max(rows - (blocks - -(-blocks // down)) * mr, min(rows, mr)), -(-panels // across))
            # a core that takes several gets large ones and small ones
            several = -(-items // cores)
            mean = cost(rows / down, panels / across)
            time = max(largest, several * mean) + _UNEVEN * largest + (_OTHERS if items > 1 else 0)
            if time < best:
                best, chosen = time, (down, across)
    return chosen


def _cuts(count: int) -> list[int]:
    """Numbers of ranges into which ``count`` things can be cut with no range empty; not all of them."""
    return sorted({-(-count // -(-count // n)) for n in _STEPS if n <= count})
