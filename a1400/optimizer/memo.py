"""Constants that outlive one graph.

A model is traced again for each new set of input shapes, and each trace is optimised.  What is computed from weights
(folded, transposed, scaled) must not be computed again, and must be *the same array object* in each trace: the engine
packs device weights once per array.  :class:`Memo` wraps the dict that lives as long as the model.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from a1400.graph.graph import Graph, Value
from a1400.memory.mapped import release

#: arrays up to this many bytes are shared by content, larger ones by address
SMALL = 32 * 1024


def attribute_key(value: Any) -> Any:
    """A hashable stand-in for an attribute (nested sequences, arrays, dtypes, expressions)."""
    if isinstance(value, dict):
        return tuple((k, attribute_key(value[k])) for k in sorted(value))
    if isinstance(value, (list, tuple)):
        return tuple(attribute_key(v) for v in value)
    if isinstance(value, np.ndarray):
        return (str(value.dtype), value.shape, value.tobytes())
    return value


class Memo:
    """Shared constants of one model: canonical arrays, and results by (operation key, identities of the sources)."""

    def __init__(self, table: dict[Any, Any] | None = None) -> None:
        self.table: dict[Any, Any] = {} if table is None else table

    def canonical(self, array: np.ndarray) -> np.ndarray:
        """The one array object that stands for ``array``'s contents in this model.

        Views of weights made anew by each trace are recognised by address and strides (the array kept in the memo
        keeps the address from being used again), small arrays by content.
        """
        own = ("own", id(array))
        if own in self.table:
            return array
        key: Any
        if array.nbytes <= SMALL:
            key = ("content", str(array.dtype), array.shape, array.tobytes())
        else:
            key = ("address", str(array.dtype), array.shape, array.strides, array.__array_interface__["data"][0])
        found: np.ndarray = self.table.setdefault(key, array)
        self.table[("own", id(found))] = found
        return found

    def derive(
        self, key: Any, sources: Sequence[np.ndarray], make: Callable[[], Sequence[np.ndarray]]
    ) -> list[np.ndarray]:
        """``make()``'s arrays, computed once per (key, sources); the sources are kept alive with them."""
        sources = [self.canonical(s) for s in sources]
        full = ("derived", key, tuple(id(s) for s in sources))
        entry = self.table.get(full)
        if entry is None:
            entry = ([self.canonical(np.asarray(a)) for a in make()], sources)
            self.table[full] = entry
            for source in sources:
                release(source)
        return list(entry[0])


def canonicalise(graph: Graph, memo: Memo) -> None:
    """Make every constant of ``graph`` use its canonical array."""
    for value in graph.constants():
        value.data = memo.canonical(value.data)  # type: ignore[arg-type]


def constant(memo: Memo, array: Any, dtype: np.dtype | None = None, name: str = "") -> Value:
    """A constant value over a canonical array."""
    data = memo.canonical(np.asarray(array, dtype=dtype))
    return Value(data.shape, data.dtype, name, data)
