"""Small graphs, one per way that an op can be lowered.

:data:`GRAPHS` maps names to builders; a builder adds nodes and outputs to a graph and returns what to feed it.
"""

from __future__ import annotations

from tests.engine.graphs import (
    attention,
    convolution,
    fused,
    indexing,
    linear,
    movement,
    normalization,
    pointwise,
    recurrent,
    reduction,
    sampling,
)
from tests.engine.graphs.base import GRAPHS

__all__ = [
    "GRAPHS",
    "attention",
    "convolution",
    "fused",
    "indexing",
    "linear",
    "movement",
    "normalization",
    "pointwise",
    "recurrent",
    "reduction",
    "sampling",
]
