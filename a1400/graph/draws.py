"""Random numbers of models that are run: what each run is fed, so that no two draw the same."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Container, Mapping
from typing import Any

import numpy as np

#: the input of a graph that random numbers are drawn with: uint32 [3], a seed (low, high) and the number of the run
STATE = "#random"
STATE_SHAPE = (3,)


class Draws:
    """The states of one model's runs, in their order; from a seed of its own until one is given."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.seed(None)

    def seed(self, number: int | None) -> None:
        """Begin again with ``number``, of which 64 bits count; None: with a seed that nobody knows."""
        number = secrets.randbits(64) if number is None else int(number) & (2**64 - 1)
        with self._lock:
            self._seed, self._run = number, 0

    def next(self) -> np.ndarray:
        """The state of the next run."""
        with self._lock:
            seed, run = self._seed, self._run
            self._run = (run + 1) & 0xFFFFFFFF
        return np.array([seed & 0xFFFFFFFF, seed >> 32, run], np.uint32)

    def fed(self, feeds: Mapping[str, Any], inputs: Container[str]) -> Mapping[str, Any]:
        """``feeds``, with the state of the next run where ``inputs`` of a graph ask for one."""
        return {**feeds, STATE: self.next()} if STATE in inputs else feeds
