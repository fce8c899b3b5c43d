"""Recordings of a context's launches (CUDA graphs): one call of the driver instead of one for each kernel.

A recording holds the addresses that inputs and outputs had.  Arrays of the host go through the context's own memory,
whose addresses stay, and results on the device come from a pool that gives few addresses again and again; so the
addresses of a run are remembered, and a set of them that comes a second time is recorded.  Addresses that never come
twice are launched one by one, which costs no more than recording them would.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

from a1400.backends.base import BoundLaunch, Stream
from a1400.engine.ports import Port

#: recordings kept per context, and sets of addresses remembered; a decoder's cache alternates between two or three
MOST_RECORDINGS = 4
_MOST_SEEN = 32


class Recordings:
    """The recordings of one context's launches on its stream."""

    def __init__(self, stream: Stream, launches: Sequence[BoundLaunch], ports: Sequence[Port]) -> None:
        self._stream, self._launches, self._ports = stream, launches, ports
        self._made: OrderedDict[tuple[int, ...], Any] = OrderedDict()
        self._seen: OrderedDict[tuple[int, ...], None] = OrderedDict()
        self._possible = len(launches) > 1

    def run(self) -> None:
        """Enqueue the launches as they are bound now."""
        if not self._possible:
            self._stream.run(self._launches)
            return
        addresses = tuple(port.bound.address for port in self._ports)  # all that may differ between runs
        recording = self._made.get(addresses)
        if recording is None:
            recording = self._record(addresses)
        if recording is None:
            self._stream.run(self._launches)
            return
        self._made.move_to_end(addresses)
        self._stream.replay(recording)

    def _record(self, addresses: tuple[int, ...]) -> Any | None:
        """A new recording where these addresses were seen before."""
        if addresses not in self._seen:
            self._seen[addresses] = None
            if len(self._seen) > _MOST_SEEN:
                self._seen.popitem(last=False)
            return None
        recording = self._stream.capture(self._launches)
        if recording is None:
            self._possible = False
            return None
        self._made[addresses] = recording
        if len(self._made) > MOST_RECORDINGS:
            # Its run is over: a context's run ends only when its stream is done.
            self._made.popitem(last=False)
        return recording
