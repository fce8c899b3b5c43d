"""The one error of the front-ends that a caller can act on."""

from __future__ import annotations

from a1400.errors import UnsupportedOpError


class NeedsValue(UnsupportedOpError):
    """A shape depends on the *values* of small model inputs, named in ``inputs``.

    Tracing again with those values (``source.graph(shapes, values=...)``) gets past it; the graph is then right
    for these values only.
    """

    def __init__(self, inputs: tuple[str, ...], message: str) -> None:
        super().__init__(message)
        self.inputs = inputs
