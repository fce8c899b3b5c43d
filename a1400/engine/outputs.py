"""Memory for large results, used again once the caller has let go of it."""

from __future__ import annotations

import sys
from dataclasses import dataclass

import numpy as np

from a1400.backends.base import Buffer, Device

#: a loop that keeps one result while it computes the next needs two
LARGEST_POOL = 2


@dataclass
class _Slot:
    owner: np.ndarray
    array: np.ndarray
    buffer: Buffer | None
    idle: int = 0


class OutputPool:
    """Results of one output of one context, in the memory that the device transfers fastest to.

    On devices that share the host's memory each comes with the device's buffer over it: making such a buffer, and
    touching fresh pages, costs as much as a small product.  On CUDA the memory is pinned, which costs even more to get.
    A result's memory is given out again only when nothing but the pool refers to it: every NumPy view of a result, and
    whatever else holds one, counts as a reference to the array that owns the memory.
    """

    def __init__(self, device: Device) -> None:
        self._device = device
        self._slots: list[_Slot] = []

    def take(self, shape: tuple[int, ...], dtype: np.dtype) -> tuple[np.ndarray, Buffer]:
        """An array for the caller, its contents undefined, and the buffer over it (devices that share memory)."""
        slot = self._idle()
        if slot is None:
            slot = self._make(shape, dtype)
            # a result that the caller keeps is his: the newest ones are the likeliest to come back
            self._slots = [*self._slots[1 - LARGEST_POOL :], slot]
        assert slot.buffer is not None  # only devices that can wrap ask for buffers
        return slot.array.view(), slot.buffer

    def pinned(self, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray | None:
        """An array for the caller; None when he keeps all that the pool may have, pinned memory being scarce."""
        slot = self._idle()
        if slot is None:
            if len(self._slots) == LARGEST_POOL:
                return None
            slot = self._make(shape, dtype)
            self._slots.append(slot)
        return slot.array.view()

    def _idle(self) -> _Slot | None:
        return next((slot for slot in self._slots if _references(slot) == slot.idle), None)

    def _make(self, shape: tuple[int, ...], dtype: np.dtype) -> _Slot:
        array = self._device.host_array(shape, dtype)
        buffer = self._device.wrap(array)
        owner = array
        while isinstance(owner.base, np.ndarray):
            owner = owner.base
        slot = _Slot(owner, array, buffer)
        del owner, array, buffer
        slot.idle = _references(slot)
        return slot


def _references(slot: _Slot) -> int:
    """How many things refer to the memory's owner (compared with the count when only the slot did)."""
    return sys.getrefcount(slot.owner)
