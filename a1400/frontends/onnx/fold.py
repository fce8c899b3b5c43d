"""Constants that outlive a trace: work on weights is done once per model, not once per input shape.

An array is *stable* when the model holds it for good: initializers, constant attributes, interned scalars, and results
computed from stable arrays only.  Results are remembered by the identity of the arrays they came from.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from typing import Any

import numpy as np

_ENTRIES = 8192


class FoldMemo:
    """The stable arrays of one model and the results remembered for them (least recently used go first)."""

    def __init__(self) -> None:
        self._stable: dict[int, np.ndarray] = {}
        self.given = 0  # bytes of the arrays that the model itself holds
        self._scalars: dict[tuple[np.dtype, bytes], np.ndarray] = {}
        # an entry keeps its inputs alive, so an id in a key cannot come to mean another array
        self._results: OrderedDict[Hashable, tuple[Sequence[Any], tuple[np.ndarray, ...]]] = OrderedDict()

    def keep(self, array: np.ndarray) -> np.ndarray:
        """Declare ``array`` stable."""
        if id(array) not in self._stable:
            self.given += array.nbytes
        self._stable[id(array)] = array
        return array

    def is_stable(self, array: np.ndarray) -> bool:
        """True when ``array`` is the same object on every trace."""
        return id(array) in self._stable

    def scalar(self, value: Any, dtype: np.dtype) -> np.ndarray:
        """The 0-d array of ``value``, one object per value and dtype."""
        array = np.asarray(value).astype(dtype)
        key = (np.dtype(dtype), array.tobytes())
        found = self._scalars.get(key)
        if found is None:
            found = self._scalars[key] = self.keep(array)
        return found

    def results(
        self, key: Hashable, inputs: Sequence[Any], make: Callable[[], Sequence[np.ndarray]]
    ) -> tuple[np.ndarray, ...]:
        """The arrays ``make`` gives, computed once for ``key`` and these input objects, and stable from then on."""
        whole = (key, tuple(id(a) for a in inputs))
        entry = self._results.get(whole)
        if entry is not None:
            self._results.move_to_end(whole)
            return entry[1]
        made = tuple(make())
        for array in made:
            array.flags.writeable = False
            self._stable[id(array)] = array
        self._results[whole] = (tuple(inputs), made)
        while len(self._results) > _ENTRIES:
            _, (_, old) = self._results.popitem(last=False)
            for array in old:
                self._stable.pop(id(array), None)
        return made


def freeze(value: Any) -> Hashable:
    """A hashable form of an attribute value; raises ``TypeError`` for what has none."""
    if isinstance(value, dict):
        return tuple((k, freeze(v)) for k, v in sorted(value.items()))
    if isinstance(value, (list, tuple)):
        return tuple(freeze(v) for v in value)
    hash(value)
    return value
