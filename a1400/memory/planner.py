"""Offsets in one arena from lifetimes.

Greedy by size: the largest storage first, each at the lowest offset where it overlaps no storage that lives at the
same time (Pisarchyk and Lee, "Efficient Memory Management for Deep Neural Net Inference", 2020, "greedy by size").
"""

from __future__ import annotations

from collections.abc import Iterable

from a1400.memory.storage import ArenaPlan, Storage


def plan_arena(storages: Iterable[Storage], alignment: int) -> ArenaPlan:
    """Set ``offset`` of every arena storage (multiples of ``alignment`` bytes) and return the totals.

    ``storages`` must have ``first``/``last`` set.
    """
    tenants = [s for s in storages if s.kind == "arena"]
    naive = sum(_up(s.nbytes, alignment) for s in tenants)
    placed: list[tuple[int, int, int, int]] = []  # offset, end, first, last
    total = 0
    for storage in sorted(tenants, key=lambda s: -s.nbytes):
        size = _up(max(storage.nbytes, 1), alignment)
        offset = 0
        for start, end, first, last in sorted(placed):
            if first > storage.last or storage.first > last:
                continue
            if offset + size <= start:
                break
            offset = max(offset, end)
        storage.offset = offset
        placed.append((offset, offset + size, storage.first, storage.last))
        total = max(total, offset + size)
    return ArenaPlan(total, naive, tenants)


def _up(n: int, alignment: int) -> int:
    return -(-n // alignment) * alignment
