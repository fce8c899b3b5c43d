"""Models whose shapes depend on what tensors hold: a chain of plans, each made when the value before it is known.

Tracing stops where a shape needs a value that only a run gives.  What that value needs becomes a *part*, a graph and
plan of its own, and is run; the value is read, and tracing goes on with it.  What later nodes read of a part stays on
the device (:class:`~a1400.engine.device_array.DeviceArray`) and is an input of the parts that come.  A part is known by
the values read before it, so equal values find it again; the parts used longest ago go first.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np

from a1400.engine.contexts import PlanEntry
from a1400.engine.structures import assembled, parts
from a1400.graph.extract import extract, needed
from a1400.graph.graph import Graph, Value
from a1400.ops import OPS

#: parts kept for one set of input shapes; the least recently used goes first
PART_LIMIT = 32
#: the output of a part that is read
_READ = "value read"

#: called by a front-end: the graph so far, the value it needs, and values that it goes on with; returns the contents
Reader = Callable[[Graph, Value, Sequence[Value]], np.ndarray]
#: values read so far, as bytes
Path = tuple[bytes, ...]


@dataclass(frozen=True)
class Part:
    """One plan of a chain.  ``reads`` is the value to be read after it (None: the last part), ``kept`` the names of
    what it leaves on the device, with the number of the trace's node and of its output; ``nodes`` counts the nodes
    traced until then; ``results`` tells of the last part what outputs are made of (see :class:`Graph`)."""

    entry: PlanEntry
    reads: tuple[tuple[int, ...], np.dtype] | None
    kept: Mapping[str, tuple[int, int]]
    nodes: int
    results: Mapping[str, Any] | None = None


class _Begun(Exception):
    """The first part is planned, and no more was asked for."""


class Chain:
    """The parts for one set of input shapes.  May be run from many threads at once.

    ``trace`` traces the model with a reader, ``plan`` makes a plan of a graph (which it may change), ``check`` is told
    the entry of each part before it runs, ``planning`` is held while either works.
    """

    def __init__(
        self, trace: Callable[[Reader], Graph], plan: Callable[[Graph], PlanEntry], check: Callable[[PlanEntry], None],
        planning: threading.Lock,
    ) -> None:  # fmt: skip
        self._trace, self._plan, self._check, self._planning = trace, plan, check, planning
        self._parts: OrderedDict[Path, Part] = OrderedDict()
        self._lock = threading.Lock()
        self._latest: tuple[Part, ...] = ()
        self._told: dict[str, np.ndarray] = {}  # what the texts of this chain feed besides

    @property
    def kept(self) -> int:
        """How many parts are kept now."""
        return len(self._parts)

    def entries(self) -> list[PlanEntry]:
        """The plans of all parts."""
        with self._lock:
            return [part.entry for part in self._parts.values()]

    def latest(self) -> list[PlanEntry]:
        """The plans that the latest run went through."""
        return [part.entry for part in self._latest]

    def begin(self, feeds: Mapping[str, Any]) -> None:
        """Make the first part ready: what comes after it depends on what tensors hold."""
        if self._find(()) is None:
            with self._planning, suppress(_Begun):
                self._extend(_Walk(self, feeds, frozenset()), begin=True)
        first = self._find(())
        assert first is not None
        with first.entry.context():
            self._latest = self._latest or (first,)

    def run(self, feeds: Mapping[str, Any], on_device: Collection[str]) -> dict[str, Any]:
        """Run all parts; returns the model's outputs as :meth:`ExecutionContext.run` does."""
        walk = _Walk(self, feeds, frozenset(on_device))
        while walk.results is None:
            part = self._find(walk.path)
            if part is not None:
                walk.step(part)
                continue
            with self._planning:
                self._extend(walk)
        self._latest = tuple(walk.parts)
        with self._lock:
            for length in reversed(range(len(walk.parts))):  # a part is younger than those that come after it
                if walk.path[:length] in self._parts:
                    self._parts.move_to_end(walk.path[:length])
        return walk.results

    def _find(self, path: Path) -> Part | None:
        with self._lock:
            return self._parts.get(path)

    def _add(self, path: Path, part: Part) -> None:
        with self._lock:
            self._parts[path] = part
            while len(self._parts) > PART_LIMIT:
                self._parts.popitem(last=False)

    def _extend(self, walk: _Walk, begin: bool = False) -> None:
        """Trace on from where the known parts end, and run each new part as it comes.  ``planning`` is held."""
        there: dict[int, str] = {}
        traced: list[Graph] = []
        count = 0

        def read(graph: Graph, value: Value, more: Sequence[Value]) -> np.ndarray:
            nonlocal count
            if not traced or traced[-1] is not graph:
                if traced:  # the front-end found out something that makes it trace otherwise: begin as if never run
                    with self._lock:
                        self._parts.clear()
                    self._told.clear()
                    there.clear()
                    walk.begin()
                traced.append(graph)
                count = 0
            count += 1
            if count <= len(walk.parts):
                part, array = walk.parts[count - 1], walk.values[count - 1]
                # should tracing ever take another way than before, what was kept is computed again
                if part.nodes == len(graph.nodes):
                    there.update((id(graph.nodes[n].outputs[i]), name) for name, (n, i) in part.kept.items())
                return array
            self._told.update(graph.told)
            found = self._find(walk.path)  # another thread may have made it
            part = found or self._part(graph, value, more, there)
            if found is None:
                self._add(walk.path, part)
            if begin:
                raise _Begun
            walk.step(part)
            there.update((id(graph.nodes[n].outputs[i]), name) for name, (n, i) in part.kept.items())
            return walk.values[-1]

        graph = self._trace(read)
        self._told.update(graph.told)
        if self._find(walk.path) is None:
            entry = self._plan(extract(graph, graph.outputs, there))
            self._add(walk.path, Part(entry, None, {}, len(graph.nodes), graph.results))

    def _part(self, graph: Graph, value: Value, more: Sequence[Value], there: Mapping[int, str]) -> Part:
        computed = {id(node): node for node in needed(graph, [value], there)}
        keep: dict[int, Value] = {}
        for candidate in more:
            base = _behind_views(candidate, there)
            if id(base.producer) in computed and id(base) not in there:
                keep[id(base)] = base
        numbers = {id(node): n for n, node in enumerate(graph.nodes)}
        kept: dict[str, tuple[int, int]] = {}
        targets = {_READ: value}
        for base in keep.values():
            producer = base.producer
            assert producer is not None
            place = numbers[id(producer)], next(i for i, v in enumerate(producer.outputs) if v is base)
            name = f"kept value {place[0]}.{place[1]}"
            kept[name], targets[name] = place, base
        entry = self._plan(extract(graph, targets, there))
        return Part(entry, (value.shape, value.dtype), kept, len(graph.nodes))


class _Walk:
    """One run through a chain: where it is, what it has read, and what is on the device."""

    def __init__(self, chain: Chain, feeds: Mapping[str, Any], on_device: frozenset[str]) -> None:
        self._chain, self._on_device, self._feeds = chain, on_device, feeds
        self.results: dict[str, Any] | None = None
        self.begin()

    def begin(self) -> None:
        """Be where no part has run."""
        self._held = dict(self._feeds)
        self.path: Path = ()
        self.values: list[np.ndarray] = []
        self.parts: list[Part] = []

    def step(self, part: Part) -> None:
        """Run a part and read its value."""
        self._chain._check(part.entry)
        stay = part.kept if part.reads is not None else self._on_device
        if part.results is not None:
            stay = parts(part.results, self._on_device)
        with part.entry.context() as context:
            found = context.run({**self._held, **self._chain._told}, stay)
        self.parts.append(part)
        if part.reads is None:
            self.results = found if part.results is None else assembled(part.results, found)
            return
        value = found.pop(_READ)
        self._held.update(found)
        self.values.append(value)
        self.path = (*self.path, value.tobytes())


def _behind_views(value: Value, there: Mapping[int, str]) -> Value:
    """What ``value`` is a view of: views are made again where they are read."""
    while id(value) not in there and value.producer is not None and OPS[value.producer.op].view:
        source = value.producer.inputs[0]
        assert source is not None
        value = source
    return value
