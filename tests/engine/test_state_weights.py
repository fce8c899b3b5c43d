"""Every op that has weights, with all of them as states: nothing may want them as constants."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from a1400.backends.base import Device
from a1400.engine.program import Program, States
from a1400.graph import Graph, Value
from a1400.graph.graph import evaluate
from a1400.ops.registry import is_real
from tests.engine.graphs import GRAPHS
from tests.engine.test_lowering import close

NAMES = (
    "matmul_weights", "matmul_half", "matmul_heads", "conv_3x3", "conv_1x1", "conv_1x1_stride", "conv_first_layer",
    "conv_groups", "conv_depthwise", "conv_depthwise_multiplier", "conv_1d", "conv_3d", "conv_f16", "conv_transpose",
    "normalizations", "lstm_forward", "lstm_bidirectional_options", "gru_bidirectional_options", "gru_reverse",
    "rnn_bidirectional_options",
)  # fmt: skip


class Trained(Graph):
    """A graph whose floating constants are states, but for numbers."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.held: dict[str, np.ndarray] = {}

    def constant(self, array: Any, dtype: np.dtype | None = None, name: str = "") -> Value:
        data = np.asarray(array, dtype)
        if data.size == 1 or not is_real(data.dtype):
            return super().constant(data)
        name = f"w{len(self.held)}"
        self.held[name] = data
        return self.state(name, data.shape, data.dtype)


@pytest.mark.parametrize("name", NAMES)
def test_weights(name: str, device: Device) -> None:
    graph, states = Trained(name), States(device)
    feeds = GRAPHS[name](graph)
    assert graph.held
    want = evaluate(graph, {**feeds, **graph.held})
    for state, array in graph.held.items():
        states.allocate(state, array)
    got = Program(graph, device, states).run(feeds)
    for output, array in want.items():
        close(f"{name}.{output}", got[output], array)


def test_embedding(device: Device) -> None:
    """Rows of a table that starts anywhere in a larger state."""
    g, states = Graph("embedding"), States(device)
    held = np.random.default_rng(0).standard_normal(100).astype(np.float32)
    table = g.op("slice", g.state("flat", (100,), held.dtype), starts=(3,), shape=(90,), steps=(1,))
    index = g.input("index", (4,), np.dtype(np.int32))
    g.output("y", g.op("gather", g.op("reshape", table, shape=(9, 10)), index, axis=0))
    states.allocate("flat", held)
    places = np.array([8, 0, 3, 3], np.int32)
    got = Program(g, device, states).run({"index": places})["y"]
    np.testing.assert_array_equal(got, held[3:93].reshape(9, 10)[places])
