"""Offsets in one arena from lifetimes.

Greedy by size: the largest storage first, each at the lowest offset where it overlaps no storage that lives at the
same time (Pisarchyk and Lee, "Efficient Memory Management for Deep Neural Net Inference", 2020, "greedy by size").
"""

from __future__ import annotations

from collections.abc import Iterable

from a1400.memory.storage import ArenaPlan, Storage


def root_of(storage: Storage) -> Storage:
    """The storage whose bytes are really used, following in-place sharing."""
    while storage.shares is not None:
        storage = storage.shares
    return storage


def plan_arena(storages: Iterable[Storage], alignment: int) -> ArenaPlan:
    """Set ``offset`` of every arena storage (multiples of ``alignment`` bytes) and return the totals.

    ``storages`` must have ``first``/``last`` set; storages that share bytes live from the earliest to the latest of
    them.
    """
    tenants = [s for s in storages if s.kind == "arena"]
    naive = sum(_up(s.nbytes, alignment) for s in tenants)
    roots: dict[Storage, list[int]] = {}
    for s in tenants:
        life = roots.setdefault(root_of(s), [s.first, s.last])
        life[0], life[1] = min(life[0], s.first), max(life[1], s.last)
    placed: list[tuple[int, int, int, int]] = []  # offset, end, first, last
    total = 0
    for root in sorted(roots, key=lambda s: -s.nbytes):
        first, last = roots[root]
        size = _up(max(root.nbytes, 1), alignment)
        offset = 0
        for start, end, f, l in sorted(p for p in placed if p[2] <= last and first <= p[3]):
            if offset + size <= start:
                break
            offset = max(offset, end)
        root.offset = offset
        placed.append((offset, offset + size, first, last))
        total = max(total, offset + size)
    for s in tenants:
        s.offset = root_of(s).offset
    return ArenaPlan(total, naive, tenants)


def _up(n: int, alignment: int) -> int:
    return -(-n // alignment) * alignment
