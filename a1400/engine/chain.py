"""Models whose shapes depend on what tensors hold: a chain of plans, each made when the value before it is known.

Tracing stops where a shape needs a value that only a run gives.  What that value needs becomes a *part*, a graph and
plan of its own, and is run; the value is read, and tracing goes on with it.  What later nodes read of a part stays on
the device (:class:`~a1400.engine.device_array.DeviceArray`) and is an input of the parts that come.  A part is known by
the values read before it, so equal values find it again.  Parts whose graphs are alike - the turns of a loop - share
one plan (:class:`Shelf`).
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Collection, Hashable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

import numpy as np

from a1400.engine.contexts import PlanEntry
from a1400.engine.structures import assembled, parts
from a1400.graph.alike import likeness
from a1400.graph.extract import extract, needed
from a1400.graph.graph import Graph, Value
from a1400.ops import OPS

#: plans kept for one set of input shapes, and how many more while their arenas are small together; the least recently
#: used goes first
PART_LIMIT = 32
MOST_PARTS, SMALL_BYTES = 256, 1 << 26
#: links between parts, the values read, that are kept: each is a few hundred bytes
_LINK_LIMIT = 8192
#: the output of a part that is read
_READ = "value read"

#: called by a front-end: the graph so far, the value it needs, and values that it goes on with; returns the contents
Reader = Callable[[Graph, Value, Sequence[Value]], np.ndarray]
#: told the plan of each part of a run, and what it is fed with, before it runs
Visitor = Callable[[PlanEntry, Mapping[str, Any]], None]


@dataclass(frozen=True)
class Shelved:
    """A plan with the names of its inputs and outputs."""

    entry: PlanEntry
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


class Shelf:
    """Plans by what their graphs compute; as many as :data:`PART_LIMIT` says, more where they are small."""

    def __init__(self, plan: Callable[[Graph], PlanEntry]) -> None:
        self._plan = plan
        self._plans: OrderedDict[Hashable, tuple[Shelved, list[np.ndarray]]] = OrderedDict()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._plans)

    def entries(self) -> list[PlanEntry]:
        """All plans."""
        with self._lock:
            return [shelved.entry for shelved, _ in self._plans.values()]

    def take(self, graph: Graph) -> tuple[Hashable, Shelved]:
        """The plan of a graph like ``graph``, which may be changed, and the key that finds it again."""
        found = likeness(graph)
        key, arrays = (object(), []) if found is None else found
        known = self.find(key)
        if known is None:
            names = tuple(graph.inputs), tuple(graph.outputs)
            known = Shelved(self._plan(graph), *names)
            with self._lock:
                self._plans[key] = known, arrays
                while len(self._plans) > PART_LIMIT and self._too_much():
                    self._plans.popitem(last=False)
        return key, known

    def find(self, key: Hashable) -> Shelved | None:
        """The plan of ``key``, used now; None when it is gone."""
        with self._lock:
            found = self._plans.get(key)
            if found is None:
                return None
            self._plans.move_to_end(key)
            return found[0]

    def _too_much(self) -> bool:
        held = sum(shelved.entry.plan.arena.total for shelved, _ in self._plans.values())
        return len(self._plans) > MOST_PARTS or held > SMALL_BYTES


@dataclass(frozen=True)
class Part:
    """One plan of a chain, ``key`` on its shelf, with what its inputs and outputs are called in the chain.

    ``told`` are inputs that tracing gave.  ``reads`` says that a value is to be read after it, else it is the last;
    ``kept`` are the names of what it leaves on the device, with the number of the trace's node and of its output;
    ``nodes`` counts the nodes traced until then; ``results`` tells of the last part what outputs are made of (see
    :class:`Graph`).
    """

    key: Hashable
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    told: Mapping[str, np.ndarray]
    reads: bool
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
        self._trace, self._check, self._planning = trace, check, planning
        self._shelf = Shelf(plan)
        self._parts: OrderedDict[bytes, Part] = OrderedDict()  # by a digest of the values read so far
        self._lock = threading.Lock()
        self._latest: tuple[PlanEntry, ...] = ()

    @property
    def kept(self) -> int:
        """How many plans are kept now."""
        return len(self._shelf)

    def entries(self) -> list[PlanEntry]:
        """The plans of all parts."""
        return self._shelf.entries()

    def latest(self) -> list[PlanEntry]:
        """The plans that the latest run went through, one for each part."""
        return list(self._latest)

    def begin(self, feeds: Mapping[str, Any]) -> None:
        """Make the first part ready: what comes after it depends on what tensors hold."""
        walk = _Walk(self._check, feeds, frozenset())
        if self._find(walk) is None:
            with self._planning, suppress(_Begun):
                self._extend(walk, begin=True)
        found = self._find(walk)
        assert found is not None
        with found[1].entry.context():
            self._latest = self._latest or (found[1].entry,)

    def run(
        self, feeds: Mapping[str, Any], on_device: Collection[str], visit: Visitor | None = None
    ) -> dict[str, Any]:
        """Run all parts; returns the model's outputs as :meth:`ExecutionContext.run` does."""
        walk = _Walk(self._check, feeds, frozenset(on_device), visit)
        while walk.results is None:
            found = self._find(walk)
            if found is not None:
                walk.step(*found)
                continue
            with self._planning:
                self._extend(walk)
        self._latest = tuple(walk.entries)
        with self._lock:
            for path in reversed(walk.paths[: len(walk.parts)]):  # a part is younger than those that come after it
                if path in self._parts:
                    self._parts.move_to_end(path)
        return walk.results

    def _find(self, walk: _Walk) -> tuple[Part, Shelved] | None:
        """The part that comes next, with its plan."""
        with self._lock:
            part = self._parts.get(walk.paths[-1])
        shelved = None if part is None else self._shelf.find(part.key)
        return None if part is None or shelved is None else (part, shelved)

    def _add(self, walk: _Walk, part: Part) -> None:
        with self._lock:
            self._parts[walk.paths[-1]] = part
            while len(self._parts) > _LINK_LIMIT:
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
                    there.clear()
                    walk.begin()
                traced.append(graph)
                count = 0
            count += 1
            if count <= len(walk.values):
                part, array = walk.parts[count - 1], walk.values[count - 1]
                # should tracing ever take another way than before, what was kept is computed again
                if part.nodes == len(graph.nodes):
                    there.update((id(graph.nodes[n].outputs[i]), name) for name, (n, i) in part.kept.items())
                return array
            found = self._find(walk)  # another thread may have made it
            part, shelved = found or self._made(graph, *_targets(graph, value, more, there), True, there)
            if found is None:
                self._add(walk, part)
            if begin:
                raise _Begun
            walk.step(part, shelved)
            there.update((id(graph.nodes[n].outputs[i]), name) for name, (n, i) in part.kept.items())
            return walk.values[-1]

        graph = self._trace(read)
        found = self._find(walk)
        part, shelved = found or self._made(graph, graph.outputs, {}, False, there)
        if found is None:
            self._add(walk, part)
        if not begin:
            walk.step(part, shelved)

    def _made(
        self, graph: Graph, targets: Mapping[str, Value], kept: Mapping[str, tuple[int, int]], reads: bool,
        there: Mapping[int, str],
    ) -> tuple[Part, Shelved]:  # fmt: skip
        """The part that computes ``targets``, with its plan."""
        new = extract(graph, targets, there)
        inputs, outputs = tuple(new.inputs), tuple(new.outputs)
        told = {name: graph.told[name] for name in inputs if name in graph.told}
        key, shelved = self._shelf.take(new)
        results = None if reads else graph.results
        return Part(key, inputs, outputs, told, reads, kept, len(graph.nodes), results), shelved


def _targets(
    graph: Graph, value: Value, more: Sequence[Value], there: Mapping[int, str]
) -> tuple[dict[str, Value], dict[str, tuple[int, int]]]:
    """What a part computes that ends with ``value``: that, and what it keeps, with its places in the trace."""
    computed = {id(node) for node in needed(graph, [value], there)}
    keep: dict[int, Value] = {}
    for candidate in more:
        base = _behind_views(candidate, there)
        if id(base.producer) in computed and id(base) not in there:
            keep[id(base)] = base
    numbers = {id(node): n for n, node in enumerate(graph.nodes) if id(node) in computed} if keep else {}
    kept: dict[str, tuple[int, int]] = {}
    targets = {_READ: value}
    for base in keep.values():
        producer = base.producer
        assert producer is not None
        place = numbers[id(producer)], next(i for i, v in enumerate(producer.outputs) if v is base)
        name = f"kept value {place[0]}.{place[1]}"
        kept[name], targets[name] = place, base
    return targets, kept


class _Walk:
    """One run through a chain: where it is, what it has read, and what is on the device."""

    def __init__(
        self, check: Callable[[PlanEntry], None], feeds: Mapping[str, Any], on_device: frozenset[str],
        visit: Visitor | None = None,
    ) -> None:  # fmt: skip
        self._check, self._on_device, self._visit, self._feeds = check, on_device, visit, feeds
        self.results: dict[str, Any] | None = None
        self.begin()

    def begin(self) -> None:
        """Be where no part has run."""
        self._held = dict(self._feeds)
        self.paths = [b""]
        self.values: list[np.ndarray] = []
        self.parts: list[Part] = []
        self.entries: list[PlanEntry] = []

    def step(self, part: Part, shelved: Shelved) -> None:
        """Run a part and read its value."""
        entry = shelved.entry
        self._check(entry)
        held = {**self._held, **part.told} if part.told else self._held
        feeds = {name: held[ours] for name, ours in zip(shelved.inputs, part.inputs)}
        stays: Collection[str] = part.kept if part.reads else self._on_device
        if part.results is not None:
            stays = parts(part.results, stays)
        if self._visit is not None:
            self._visit(entry, feeds)
        with entry.context() as context:
            made = context.run(feeds, {name for name, ours in zip(shelved.outputs, part.outputs) if ours in stays})
        found = {ours: made[name] for name, ours in zip(shelved.outputs, part.outputs)}
        self.parts.append(part)
        self.entries.append(entry)
        if not part.reads:
            self.results = found if part.results is None else assembled(part.results, found)
            return
        value = found.pop(_READ)
        self._held.update(found)
        self.values.append(value)
        self.paths.append(blake2b(self.paths[-1] + value.tobytes(), digest_size=32).digest())


def _behind_views(value: Value, there: Mapping[int, str]) -> Value:
    """What ``value`` is a view of: views are made again where they are read."""
    while id(value) not in there and value.producer is not None and OPS[value.producer.op].view:
        source = value.producer.inputs[0]
        assert source is not None
        value = source
    return value
