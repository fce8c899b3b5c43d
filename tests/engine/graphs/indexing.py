"""Gathers and scatters."""

from __future__ import annotations

import numpy as np

from a1400.graph import Graph
from tests.engine.graphs.base import RNG, Build, Feeds, f32, graph


@graph
def gathers_and_scatters(g: Graph) -> Feeds:
    b = Build(g)
    x = b.input(f32(6, 5, 4))
    index = b.input(np.array([[0, -1], [3, 2]]))
    tuples = b.input(np.array([[0, 1], [5, -1], [0, 1]]))
    places = b.input(RNG.integers(-5, 5, (6, 3, 4)))
    updates = b.input(f32(3, 4))
    return b.out(
        *(g.op("gather", x, index, axis=a) for a in (0, 1, 2)),
        g.op("gather_elements", x, places, axis=1),
        g.op("gather_nd", x, tuples, batch_dims=0),
        g.op("gather_nd", x, b.input(RNG.integers(0, 5, (6, 2, 1))), batch_dims=1),
        *(g.op("scatter_nd", x, tuples, updates, reduction=r) for r in ("none", "add", "mul", "max", "min")),
        *(g.op("scatter_elements", x, places, b.input(f32(6, 3, 4)), axis=1, reduction=r) for r in ("add", "max")),
    )
