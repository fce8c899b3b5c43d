"""Groups of pointwise regions that become one node with several results: an optimizer's step is one pass over memory.

Regions of one shape are put together where one reads the other's result or both read the same tensor, and where nothing
else lies between them: no way may lead out of a group and back into it.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

from a1400.graph.graph import Graph, Node, Value
from a1400.kernels.pointwise import MAX_RESULTS
from a1400.ops import OPS
from a1400.optimizer.regions import MAX_OPERANDS, MAX_OPERATIONS, Region, made_of_numbers

#: nodes that may be visited to prove that nothing lies between two regions
_TOO_FAR = 4096


@dataclass
class Group:
    """Regions in order; ``results`` are the values that others read, ``nodes`` all of them in order."""

    regions: list[Region]
    nodes: list[Node] = field(default_factory=list)
    results: list[Value] = field(default_factory=list)


class _Grouper:
    def __init__(self, graph: Graph, regions: Sequence[Region]) -> None:
        self.order = {id(n): i for i, n in enumerate(graph.nodes)}
        self.outputs = {id(v) for v in graph.outputs.values()}
        self.counted = made_of_numbers(graph)  # reading those costs no memory traffic
        self.groups: list[Group] = []
        self.makers = {id(r.root.output): r for r in regions}
        self.home: dict[int, Group] = {}  # region -> group
        # who reads a value: regions as wholes, and other nodes
        self.readers: dict[int, list[Region | Node]] = {}
        for region in regions:
            for key in region.operands:
                self.readers.setdefault(key, []).append(region)
        for node in graph.nodes:
            if not OPS[node.op].pointwise:
                for key in {id(v) for v in node.inputs if v is not None}:
                    self.readers.setdefault(key, []).append(node)

    def add(self, region: Region) -> None:
        """Put ``region`` into the first group that it fits, or into one of its own."""
        for group in self._partners(region):
            if self._fits(group, region) and not self._is_between(group, region):
                group.regions.append(region)
                self.home[id(region)] = group
                return
        group = Group([region])
        self.groups.append(group)
        self.home[id(region)] = group

    def _partners(self, region: Region) -> list[Group]:
        """Groups of the same shape that make or read what ``region`` reads, the earliest first."""
        found: dict[int, Group] = {}
        for key, value in region.operands.items():
            if value.shape != region.shape or key in self.counted:
                continue
            for other in (*self.readers.get(key, ()), self.makers.get(key)):
                group = self.home.get(id(other))
                if group is not None and group.regions[0].shape == region.shape:
                    found[id(group)] = group
        return sorted(found.values(), key=lambda g: self.order[id(g.regions[0].root)])

    def _fits(self, group: Group, region: Region) -> bool:
        regions = [*group.regions, region]
        made = {id(r.root.output) for r in regions}
        operands = {key for r in regions for key in r.operands} - made
        nodes = {id(n) for r in regions for n in r.nodes}
        if len(operands) > MAX_OPERANDS or len(nodes) > MAX_OPERATIONS:
            return False
        return len(self.results(regions)) <= MAX_RESULTS

    def results(self, regions: Sequence[Region]) -> list[Value]:
        """What is read outside of ``regions``."""
        inside = {id(r) for r in regions}
        roots = [r.root.output for r in regions]
        return [
            v for v in roots
            if id(v) in self.outputs or any(id(reader) not in inside for reader in self.readers.get(id(v), ()))
        ]  # fmt: skip

    def _is_between(self, group: Group, region: Region) -> bool:
        """Whether a way leads from ``group`` over something else to ``region``, which comes after all of it."""
        last = self.order[id(region.root)]
        inside = {id(r) for r in group.regions}
        stack: list[Region | Node] = [
            reader for r in group.regions for reader in self.readers.get(id(r.root.output), ())
            if id(reader) not in inside and reader is not region
        ]  # fmt: skip
        seen: set[int] = set()
        while stack:
            unit = stack.pop()
            if unit is region or len(seen) > _TOO_FAR:
                return True
            if id(unit) in seen:
                continue
            seen.add(id(unit))
            members: Sequence[Region | Node] = [unit]
            if isinstance(unit, Region) and id(unit) in self.home:
                members = self.home[id(unit)].regions
                if members is group.regions:
                    continue
            for member in members:
                node = member.root if isinstance(member, Region) else member
                if self.order[id(node)] > last:
                    continue
                for value in node.outputs:
                    stack.extend(self.readers.get(id(value), ()))
        return False


def group_regions(graph: Graph, regions: Sequence[Region], attached: Collection[int]) -> list[Group]:
    """Groups of all ``regions`` that are not ``attached`` (ids) to other nodes; most are groups of one."""
    grouper = _Grouper(graph, regions)
    for region in regions:
        if id(region) not in attached:
            grouper.add(region)
    for group in grouper.groups:
        group.results = grouper.results(group.regions) or [group.regions[-1].root.output]
        unique = {id(n): n for r in group.regions for n in r.nodes}
        group.nodes = sorted(unique.values(), key=lambda n: grouper.order[id(n)])
    return grouper.groups
