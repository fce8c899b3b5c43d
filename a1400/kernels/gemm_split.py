"""How the CPU micro-kernels cut a matrix product into work-items.

A work-item takes a range of row blocks (MR rows each) and a range of 32-column panels, and loops over both.  Few
panels per item keep its part of B in the second-level cache for all its rows; the number of items follows the
amount of work, so that small products start few and large ones feed any number of cores.
"""

from __future__ import annotations

from a1400.kernels.gemm_pack import PANEL

_ITEM_FLOPS = 1.5e6  # about 15 microseconds: ten times what starting an item costs
_MOST_ITEMS = 192
_L2_FLOATS = 320 * 1024  # what an item's panels may take: about a second-level cache, measured to be flat around this


def split(rows: int, depth: int, columns: int, batch: int, mr: int, npc: int) -> tuple[int, int]:
    """Number of work-items over (row blocks, panels) for each of ``batch`` products ``rows x depth x columns``."""
    blocks, panels = max(1, -(-rows // mr)), max(1, -(-columns // PANEL))
    flops = 2.0 * max(rows, 6) * depth * columns * batch  # few rows: reading B takes as long as six of them
    wanted = max(1, min(_MOST_ITEMS, int(flops / _ITEM_FLOPS)))
    per = max(1, wanted // max(1, batch))  # items wanted for one product
    # panels of one item: as many as the cache holds, at most what the kernel's scratch holds
    held = max(1, min(npc, panels, _L2_FLOATS // max(1, depth * PANEL)))
    if blocks * -(-panels // held) < per:  # too few rows to share out: share out panels further
        held = max(1, min(held, panels * blocks // per))
    across = -(-panels // held)
    if across > per and blocks == 1:  # a single row block: whole panels, no more items than wanted
        across = max(1, per)
    down = max(1, min(blocks, -(-per // across)))
    # no empty items: what the kernel computes as ceil(blocks / groups) must need that many groups
    down = -(-blocks // -(-blocks // down))
    across = -(-panels // -(-panels // across))
    return down, across


def split_groups(rows: int, depth: int, columns: int, groups: int, mr: int, npc: int) -> tuple[int, int, int]:
    """Like :func:`split` for a grouped convolution, with the number of ranges of groups as the third entry.

    An item takes all groups whose weights the cache holds: neighbouring groups read neighbouring channels.
    """
    panels = max(1, -(-columns // PANEL))
    held = min(groups, _L2_FLOATS // max(1, depth * panels * PANEL))
    if held <= 1:
        down, across = split(rows, depth, columns, groups, mr, npc)
        return down, across, groups
    wanted = max(1, min(_MOST_ITEMS, int(2.0 * rows * depth * columns * groups / _ITEM_FLOPS)))
    blocks, ranges = max(1, -(-rows // mr)), -(-groups // held)
    down = max(1, min(blocks, -(-wanted // ranges)))
    ranges = max(ranges, min(groups, wanted // down))
    return -(-blocks // -(-blocks // down)), 1, -(-groups // -(-groups // ranges))
