"""The numbers of a run: running means inside an epoch, and the curves over epochs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np


class History:
    """What ``fit`` returns: ``history`` (name -> a value per epoch) and ``epoch`` (their numbers, from 0).

    ``interrupted`` says that Ctrl-C ended the run.
    """

    def __init__(self) -> None:
        self.history: dict[str, list[float]] = {}
        self.epoch: list[int] = []
        self.params: dict[str, Any] = {}
        self.interrupted = False

    def add(self, epoch: int, logs: Mapping[str, float]) -> None:
        """The numbers of an epoch."""
        self.epoch.append(epoch)
        for name, value in logs.items():
            self.history.setdefault(name, []).append(value)

    def __repr__(self) -> str:
        return f"<History of {len(self.epoch)} epochs: {', '.join(self.history)}>"


class Sums:
    """Sums in float64, by name, that outlive a step: what means and metrics are made of."""

    def __init__(self) -> None:
        self.table: dict[str, np.ndarray] = {}

    def add(self, values: Mapping[str, np.ndarray | float]) -> None:
        """Add to each name's sum."""
        for name, value in values.items():
            before = self.table.get(name)
            wide = np.asarray(value, np.float64)
            self.table[name] = wide if before is None else before + wide

    def clear(self) -> None:
        """Begin again."""
        self.table.clear()

    def state(self) -> dict[str, Any]:
        """For a checkpoint."""
        return dict(self.table)

    def restore(self, state: Mapping[str, Any]) -> None:
        """From a checkpoint."""
        self.table = {name: np.asarray(value, np.float64) for name, value in state.items()}
