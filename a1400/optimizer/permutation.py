"""Permuted values: reshaping and re-expressing them without moving data."""

from __future__ import annotations

from collections.abc import Sequence

from a1400.optimizer.shape_folding import inverse


def permuted(shape: Sequence[int], perm: Sequence[int]) -> tuple[int, ...]:
    """Shape after a transpose by ``perm``."""
    return tuple(shape[p] for p in perm)


def dimension_groups(before: Sequence[int], after: Sequence[int]) -> list[tuple[list[int], list[int]]] | None:
    """How a reshape cuts both shapes into the finest runs of dimensions with equal products.

    Dimensions of size 1 belong to no group.  None when a size is 0.
    """
    left = [i for i, n in enumerate(before) if n != 1]
    right = [i for i, n in enumerate(after) if n != 1]
    if any(before[i] == 0 for i in left):
        return None
    groups = []
    i = j = 0
    while i < len(left):
        a, b = [left[i]], [right[j]]
        pa, pb = before[left[i]], after[right[j]]
        i, j = i + 1, j + 1
        while pa != pb:
            if pa < pb:
                a.append(left[i])
                pa *= before[left[i]]
                i += 1
            else:
                b.append(right[j])
                pb *= after[right[j]]
                j += 1
        groups.append((a, b))
    return groups


def reshape_permuted(
    base: Sequence[int], perm: Sequence[int], target: Sequence[int]
) -> tuple[tuple[int, ...], tuple[int, ...]] | None:
    """Move a reshape in front of a transpose.

    For ``reshape(transpose(x, perm), target)`` with x of shape ``base``: (shape, perm2) such that
    ``transpose(reshape(x, shape), perm2)`` is the same; None when elements would have to move.
    """
    groups = dimension_groups(permuted(base, perm), target)
    if groups is None:
        return None
    order: list[tuple[int, list[int]]] = []
    for ins, outs in groups:
        places = [perm[i] for i in ins]
        # merged dimensions must lie side by side in memory (dimensions of size 1 between them do not matter)
        between = [d for d in range(min(places), max(places) + 1) if base[d] != 1]
        if between != places:
            return None
        order.append((places[0], outs))
    taken = {o for _, outs in order for o in outs}
    order.sort()
    # a dimension of size 1 goes right before the dimension that follows it in the target, if any, else to the end
    sequence: list[int] = []
    ones = [o for o in range(len(target)) if o not in taken]
    follower = {one: next((o for o in range(one, len(target)) if o in taken), -1) for one in ones}
    for _, outs in order:
        for o in outs:
            sequence += [one for one in ones if follower[one] == o]
            sequence.append(o)
    sequence += [one for one in ones if follower[one] == -1]
    return tuple(target[o] for o in sequence), inverse(sequence)


def remap_axes(perm: Sequence[int], values: Sequence[int]) -> tuple[int, ...]:
    """Per-axis values of a transposed tensor, as per-axis values of the tensor before the transpose."""
    result = [0] * len(perm)
    for i, p in enumerate(perm):
        result[p] = values[i]
    return tuple(result)
