"""What the graph modules share: the table of builders, a builder's tools, random data."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from typing import Any

import numpy as np

from a1400.graph import Graph, Value

Feeds = dict[str, np.ndarray]
Builder = Callable[[Graph], Feeds]
RNG = np.random.default_rng(7)


class _Table(dict[str, Builder]):
    """Builders by name; each draws the same numbers whatever ran before it."""

    def __setitem__(self, name: str, builder: Builder) -> None:
        def seeded(g: Graph) -> Feeds:
            RNG.bit_generator.state = np.random.default_rng(zlib.crc32(name.encode())).bit_generator.state
            return builder(g)

        super().__setitem__(name, seeded)


GRAPHS: dict[str, Builder] = _Table()


def f32(*shape: int, low: float = -1.0, high: float = 1.0) -> np.ndarray:
    """Uniform random floats."""
    return RNG.uniform(low, high, shape).astype(np.float32)


def graph(function: Builder) -> Builder:
    """Decorator: enter a builder into :data:`GRAPHS`."""
    GRAPHS[function.__name__] = function
    return function


class Build:
    """A graph under construction and the arrays to feed it."""

    def __init__(self, g: Graph) -> None:
        self.g = g
        self.feeds: Feeds = {}

    def input(self, array: np.ndarray) -> Value:
        """Declare the next input."""
        name = f"x{len(self.feeds)}"
        self.feeds[name] = array
        return self.g.input(name, array.shape, array.dtype)

    def out(self, *values: Value) -> Feeds:
        """Declare outputs and give back the feeds."""
        for value in values:
            self.g.output(f"y{len(self.g.outputs)}", value)
        return self.feeds

    def const(self, array: Any) -> Value:
        """A constant."""
        return self.g.constant(array)


#: attributes of a 3x3 convolution that keeps the image's size
CONV = {"strides": (1, 1), "dilations": (1, 1), "low": (1, 1), "high": (1, 1), "groups": 1}
