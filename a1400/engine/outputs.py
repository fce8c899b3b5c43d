"""Memory for large results on devices that share the host's: used again once the caller has let go of it."""

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
    buffer: Buffer
    idle: int = 0


class OutputPool:
    """Results of one output of one context, each with the device's buffer over it.

    Making such a buffer, and touching fresh pages, costs as much as a small product.  A result's memory is given out
    again only when nothing but the pool refers to it: every NumPy view of a result, and whatever else holds one, counts
    as a reference to the array that owns the memory.
    """

    def __init__(self, device: Device) -> None:
        self._device = device
        self._slots: list[_Slot] = []

    def take(self, shape: tuple[int, ...], dtype: np.dtype) -> tuple[np.ndarray, Buffer]:
        """An array for the caller, its contents undefined, and the buffer over it."""
        for slot in self._slots:
            if _references(slot) == slot.idle:
                break
        else:
            slot = self._make(shape, dtype)
            # a result that the caller keeps is his: the newest ones are the likeliest to come back
            self._slots = [*self._slots[1 - LARGEST_POOL :], slot]
        return slot.array.view(), slot.buffer

    def _make(self, shape: tuple[int, ...], dtype: np.dtype) -> _Slot:
        array = self._device.host_array(shape, dtype)
        buffer = self._device.wrap(array)
        assert buffer is not None  # only devices that can wrap have pools
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
