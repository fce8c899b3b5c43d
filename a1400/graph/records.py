"""Dicts as results of a model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Records:
    """A list of dicts, one for each row of ``rows`` [n, len(keys)]; each has all ``keys`` (strings or int64).

    ``rows`` is a value while a model is traced, and the name of a graph's output in :attr:`Graph.results`.
    """

    rows: Any
    keys: np.ndarray

    def assembled(self, rows: np.ndarray) -> list[dict[Any, Any]]:
        """The dicts, of Python's own numbers and strings."""
        keys = self.keys.tolist()
        return [dict(zip(keys, row)) for row in rows.tolist()]
