"""Resizing and grid sampling."""

from __future__ import annotations

from a1400.graph import Graph
from a1400.kernels.resize_tables import axis_tables
from tests.engine.graphs.base import RNG, Build, Feeds, f32, graph


@graph
def resizes(g: Graph) -> Feeds:
    b = Build(g)
    x = b.input(f32(2, 5, 6, 9))
    k = b.input(RNG.integers(0, 9, (1, 5, 6, 3)))
    linear = [axis_tables(5, 11, mode="linear"), axis_tables(6, 4, mode="linear", antialias=True)]
    cubic = [None, axis_tables(6, 13, mode="cubic", coordinate_mode="align_corners")]
    nearest = [
        axis_tables(5, 10, mode="nearest", coordinate_mode="asymmetric", nearest_mode="floor"),
        axis_tables(6, 12),
    ]
    return b.out(
        g.op("resize", x, tables=linear),
        g.op("resize", x, tables=cubic),
        g.op("resize", x, tables=nearest),
        g.op("resize", k, tables=nearest),
    )


@graph
def grid_samples(g: Graph) -> Feeds:
    b = Build(g)
    x, grid = b.input(f32(2, 7, 6, 5)), b.input(f32(2, 4, 3, 2, low=-1.3, high=1.3))
    modes = [("linear", "zeros", False), ("nearest", "border", True), ("cubic", "reflection", False)]
    return b.out(*(g.op("grid_sample", x, grid, mode=m, padding=p, align_corners=a) for m, p, a in modes))
