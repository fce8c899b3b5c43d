"""A training step as one graph: two layers, squared error, gradients, and gradient descent with momentum."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from a1400.autodiff import gradients
from a1400.graph import Graph
from a1400.graph.graph import evaluate
from a1400.graph.tensor import Tensor

F32 = np.dtype(np.float32)
BATCH, INPUTS, HIDDEN, OUTPUTS = 12, 20, 32, 5


@dataclass
class Step:
    """A step's graph, what its states hold at first, and how many gaps its flat arrays have."""

    graph: Graph
    held: dict[str, np.ndarray]
    gaps: int

    def expected(self, batches: list[dict[str, np.ndarray]]) -> tuple[list[float], dict[str, np.ndarray]]:
        """Losses and final states by the NumPy references."""
        held, losses = dict(self.held), []
        for feeds in batches:
            results = evaluate(self.graph, {**feeds, **held})
            held.update({state: results.pop(output) for output, state in self.graph.aliases.items()})
            losses.append(float(results["loss"]))
        return losses, held


def batches(count: int, batch: int = BATCH) -> list[dict[str, np.ndarray]]:
    rng = np.random.default_rng(5)
    return [
        {"x": rng.standard_normal((batch, INPUTS)).astype(F32), "t": rng.standard_normal((batch, OUTPUTS)).astype(F32)}
        for _ in range(count)
    ]


def mlp_step(unit: int, batch: int = BATCH, hidden_layers: int = 1) -> Step:
    """All parameters in one flat state, each from a multiple of ``unit`` elements on."""
    g, rng = Graph("step"), np.random.default_rng(2)
    sizes = [INPUTS, *[HIDDEN] * hidden_layers, OUTPUTS]
    shapes = [shape for n, m in pairwise(sizes) for shape in ((n, m), (m,))]
    starts, at = [], 0
    for shape in shapes:
        starts.append(at)
        at += -(-int(np.prod(shape)) // unit) * unit
    values = np.zeros(at, F32)
    for start, shape in zip(starts, shapes):
        size = int(np.prod(shape))
        values[start : start + size] = rng.standard_normal(size) / np.sqrt(shape[0])
    held = {"parameters": values, "velocity": np.zeros(at, F32), "rate": np.array(0.05, F32), "step": np.zeros((), F32)}
    flat, velocity, rate, step = (Tensor(g, g.state(n, a.shape, a.dtype)) for n, a in held.items())
    weights = [flat.slice((s,), (int(np.prod(shape)),)).reshape(shape) for s, shape in zip(starts, shapes)]
    y = Tensor(g, g.input("x", (batch, INPUTS), F32))
    for i in range(0, len(weights), 2):
        y = y @ weights[i] + weights[i + 1]
        if i + 2 < len(weights):
            y = y * y.op("sigmoid")
    difference = y - Tensor(g, g.input("t", (batch, OUTPUTS), F32))
    loss = (difference * difference).mean()
    g.output("loss", loss.value)
    found = gradients(g, loss.value, [w.value for w in weights])
    pieces, gaps = [], 0
    for i, gradient in enumerate(found):
        assert gradient is not None
        pieces.append(Tensor(g, gradient).reshape((gradient.size,)))
        gap = (starts[i + 1] if i + 1 < len(starts) else at) - starts[i] - gradient.size
        if gap:
            pieces.append(Tensor(g, g.constant(np.zeros(gap, F32))))
            gaps += 1
    gradient = pieces[0].op("concat", *pieces[1:], axis=0)
    moved = velocity * 0.9 + gradient
    g.update("velocity", moved.value)
    g.update("parameters", (flat - moved * rate).value)
    g.update("step", (step + 1.0).value)
    return Step(g, held, gaps)
