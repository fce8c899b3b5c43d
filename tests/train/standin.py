"""The engine's face on NumPy references: what the trainer does besides running programs is tested without a device."""

from __future__ import annotations

from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from a1400.graph.graph import Graph, evaluate


class States:
    """As :class:`a1400.engine.states.States`."""

    alignment = 64

    def __init__(self, device: Any) -> None:
        self.arrays: dict[str, np.ndarray] = {}

    def allocate(self, name: str, array: np.ndarray) -> None:
        """A new state."""
        assert name not in self.arrays
        self.arrays[name] = np.array(array)

    def read(self, name: str) -> np.ndarray:
        """A copy."""
        return self.arrays[name].copy()

    def write(self, name: str, array: np.ndarray) -> None:
        """Replace it."""
        assert (array.shape, array.dtype) == (self.arrays[name].shape, self.arrays[name].dtype), name
        self.arrays[name] = np.array(array)


class Program:
    """As :class:`a1400.engine.program.Program`."""

    runs = 0

    def __init__(self, graph: Graph, device: Any, states: States, **options: Any) -> None:
        self.graph, self.states = graph, states
        assert set(graph.states) <= set(states.arrays)

    def run(self, feeds: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Outputs; updates go to the states."""
        Program.runs += 1
        assert set(feeds) == set(self.graph.inputs) - self.graph.states
        for name, array in feeds.items():
            value = self.graph.inputs[name]
            assert (array.shape, array.dtype) == (value.shape, value.dtype), name
        held = {name: self.states.arrays[name] for name in self.graph.states}
        found = evaluate(self.graph, {**feeds, **held})
        for output, name in self.graph.aliases.items():
            self.states.arrays[name] = found.pop(output)
        return found


def use(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every trainer made from now on run on NumPy."""
    from a1400.backends import registry
    from a1400.train import runner

    monkeypatch.setattr(registry, "choose", lambda *_: SimpleNamespace(info=None))
    monkeypatch.setattr(runner, "States", States)
    monkeypatch.setattr(runner, "Weights", lambda _: None)
    monkeypatch.setattr(runner, "Program", Program)
