"""How PyTorch's tensors lie in memory: dense ones, their axes in any order, are used as they are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


def number(size: Any) -> int:
    """A size or stride as a number; of a symbolic one what it was when the graph was traced."""
    if isinstance(size, int):
        return size
    node = size.node
    return int(node.hint if node.hint is not None else node.shape_env.size_hint(node.expr, fallback=1))


def order_of(shape: Sequence[Any], strides: Sequence[Any]) -> tuple[int, ...] | None:
    """The axes from the outermost to the innermost where they are dense in that order, else None.

    Axes of size 1 stand where they need no transpose.
    """
    sizes, steps = [number(n) for n in shape], [number(s) for s in strides]
    if 0 in sizes:
        return tuple(range(len(sizes)))
    long = [d for d, n in enumerate(sizes) if n > 1]
    ordered = sorted(long, key=lambda d: (-steps[d], d))
    expected = 1
    for d in reversed(ordered):
        if steps[d] != expected:
            return None
        expected *= sizes[d]
    if ordered == long:
        return tuple(range(len(sizes)))
    places = iter(ordered)
    return tuple(next(places) if n > 1 else d for d, n in enumerate(sizes))


def inverse(order: Sequence[int]) -> tuple[int, ...]:
    """The permutation that undoes another."""
    found = [0] * len(order)
    for place, axis in enumerate(order):
        found[axis] = place
    return tuple(found)


def is_plain(order: Sequence[int]) -> bool:
    """Whether it changes nothing."""
    return all(i == axis for i, axis in enumerate(order))
