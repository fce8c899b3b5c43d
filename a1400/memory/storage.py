"""Storages and the strided views on them.

A *storage* is a range of device memory with one life: a weight, a run's input or output, or a temporary in the arena.
A *view* is how an op's operand sits in a storage - offset and strides in elements - so that transposes, slices,
reshapes and broadcasts cost nothing until a kernel that cannot read them asks for a dense copy.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np


@dataclass(eq=False)
class Storage:
    """One range of memory.

    ``kind``: ``weight`` (``array`` holds the bytes, uploaded once per model), ``input``/``output`` (``name`` says
    which; bound anew for every run), ``state`` (``name`` says which; memory that outlives the run), ``arena``
    (``offset`` is set by the planner) or ``position`` (numbers of elements, which lie in no memory).
    ``first``/``last`` are the launch numbers between which arena data must live.
    """

    kind: str
    nbytes: int
    name: str = ""
    array: np.ndarray | None = None
    first: int = -1
    last: int = -1
    offset: int = 0
    #: what a weight was packed from; kept alive because weights are found by their identities
    sources: tuple[np.ndarray, ...] = ()

    def __hash__(self) -> int:
        return id(self)


@dataclass(frozen=True)
class Ref:
    """A byte range of a storage, standing for the buffer argument of a launch."""

    storage: Storage
    offset: int
    nbytes: int


@dataclass(frozen=True)
class View:
    """A tensor inside a storage; offset and strides count elements of ``dtype``."""

    storage: Storage
    dtype: np.dtype
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    offset: int = 0

    @property
    def size(self) -> int:
        """Number of elements."""
        return int(np.prod(self.shape, dtype=np.int64))

    @property
    def is_dense(self) -> bool:
        """Row-major without gaps (the offset may be anything)."""
        return all(n == 1 or s == d for n, s, d in zip(self.shape, self.strides, dense_strides(self.shape)))

    def same_place(self, other: View) -> bool:
        """Whether both are the same elements of the same memory in the same shape."""
        where = (self.storage, self.dtype, self.shape, self.offset)
        steps = zip(self.shape, self.strides, other.strides)
        return where == (other.storage, other.dtype, other.shape, other.offset) and all(
            n == 1 or a == b for n, a, b in steps
        )

    def ref(self) -> Ref:
        """The whole storage, for kernels that take an element offset."""
        return Ref(self.storage, 0, self.storage.nbytes)

    def transpose(self, perm: tuple[int, ...]) -> View:
        """Axes reordered."""
        shape, strides = tuple(self.shape[p] for p in perm), tuple(self.strides[p] for p in perm)
        return View(self.storage, self.dtype, shape, strides, self.offset)

    def expand(self, shape: tuple[int, ...]) -> View:
        """Broadcast to ``shape`` with zero strides."""
        lead = len(shape) - len(self.shape)
        strides = [0] * lead + [0 if n == 1 else s for n, s in zip(self.shape, self.strides)]
        return View(self.storage, self.dtype, tuple(shape), tuple(strides), self.offset)

    def slice(self, starts: tuple[int, ...], shape: tuple[int, ...], steps: tuple[int, ...]) -> View:
        """Regular sub-block; negative steps flip."""
        offset = self.offset + sum(a * s for a, s in zip(starts, self.strides))
        return View(self.storage, self.dtype, shape, tuple(s * k for s, k in zip(self.strides, steps)), offset)

    def reshape(self, shape: tuple[int, ...]) -> View | None:
        """The same elements in row-major order under another shape; None if that needs a copy."""
        strides = reshape_strides(self.shape, self.strides, shape)
        return None if strides is None else View(self.storage, self.dtype, tuple(shape), strides, self.offset)


def dense_strides(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Row-major strides in elements."""
    strides, step = [], 1
    for n in reversed(shape):
        strides.append(step)
        step *= n
    return tuple(reversed(strides))


def reshape_strides(
    shape: tuple[int, ...], strides: tuple[int, ...], target: tuple[int, ...]
) -> tuple[int, ...] | None:
    """Strides of ``target`` over the same memory, or None when the elements are not laid out so."""
    if 0 in shape:
        return dense_strides(target)
    old = [(n, s) for n, s in zip(shape, strides) if n != 1]
    result = [0] * len(target)
    new = [d for d, n in enumerate(target) if n != 1]
    i = j = 0
    while i < len(old) and j < len(new):
        group, (count, _) = [i], old[i]
        axes, wanted = [new[j]], target[new[j]]
        while count != wanted:
            if count < wanted:
                i += 1
                count *= old[i][0]
                group.append(i)
            else:
                j += 1
                wanted *= target[new[j]]
                axes.append(new[j])
        for a, b in pairwise(group):
            if old[a][1] != old[b][0] * old[b][1]:
                return None
        step = old[group[-1]][1]
        for axis in reversed(axes):
            result[axis] = step
            step *= target[axis]
        i, j = i + 1, j + 1
    return tuple(result)


def collapse_group(shape: tuple[int, ...], strides: tuple[int, ...], axes: list[int]) -> int | None:
    """One stride that walks ``axes`` (adjacent, outer to inner) in row-major order, or None.

    Axes of size 1 do not count.
    """
    used = [(shape[a], strides[a]) for a in axes if shape[a] != 1]
    if not used:
        return 0
    for (_, outer), (n, inner) in pairwise(used):
        if outer != n * inner:
            return None
    return used[-1][1]


@dataclass
class ArenaPlan:
    """Result of planning: bytes of the arena, and of all its tenants if nothing were reused."""

    total: int = 0
    naive: int = 0
    tenants: list[Storage] = field(default_factory=list)
