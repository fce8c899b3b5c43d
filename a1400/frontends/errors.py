"""The errors of the front-ends that a caller can act on."""

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


class NeedsRun(UnsupportedOpError):
    """A shape depends on what a tensor holds at run time, and the trace has nobody who can run the graph and read it.

    Tracing with ``source.graph(shapes, values, read=...)`` gets past it.
    """
