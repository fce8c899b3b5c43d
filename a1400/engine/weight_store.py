"""Weights in the layouts that kernels want, made once per model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any
from weakref import WeakValueDictionary

import numpy as np

from a1400.memory.mapped import release
from a1400.memory.storage import Storage


class WeightStore:
    """Device-ready weights of one model, shared by all its plans.

    Found by the identity of the source arrays and the packing.  A storage lives as long as some plan uses it, and keeps
    its sources alive, so an identity is never mistaken for another array's.
    """

    def __init__(self) -> None:
        self._storages: WeakValueDictionary[tuple[Any, ...], Storage] = WeakValueDictionary()

    def get(self, sources: Sequence[np.ndarray], key: tuple[Any, ...], make: Callable[..., np.ndarray]) -> Storage:
        """The storage of ``make(*sources)``, made once per (sources, key)."""
        full = (tuple(id(source) for source in sources), *key)
        storage = self._storages.get(full)
        if storage is None:
            array = np.require(make(*sources), None, ("C", "A"))
            for source in sources:
                if not np.may_share_memory(array, source):
                    release(source)
            storage = self._storages[full] = Storage("weight", array.nbytes, array=array, sources=tuple(sources))
        return storage
