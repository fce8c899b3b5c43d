"""Where NaN or infinity began: a graph with a flag for every value, and the way back from what went wrong."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

import numpy as np

from a1400.graph.graph import Graph, Value
from a1400.graph.tensor import Tensor
from a1400.ops.registry import is_real

FLAGS = "flags"


def _bad(x: Tensor) -> Tensor:
    """1 (float32, shape []) where an element of ``x`` is NaN or infinite, else 0."""
    return (~x.is_finite()).cast(np.float32).max()


def all_finite(x: Tensor) -> Tensor:
    """One truth value (bool, shape []) for the whole tensor."""
    return _bad(x) < 0.5


@dataclass(frozen=True)
class Entry:
    """A node as it was before anything optimised it: its layer, and its values by ``id``."""

    sources: tuple[str, ...]
    op: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]

    def __str__(self) -> str:
        return f"{', '.join(self.sources) or 'the network'} (operation {self.op!r})"


@dataclass
class Flags:
    """Flags of the values of a graph.

    ``entries`` are its nodes in order; ``flagged`` the values (by ``id``) that the elements of the graph's output
    ``flags`` (float32) speak of: 1 where one is not finite.
    """

    entries: list[Entry] = field(default_factory=list)
    flagged: list[int] = field(default_factory=list)
    _alive: list[Value] = field(default_factory=list)  # an id must not come to mean another value

    def declare(self, graph: Graph) -> None:
        """Append a flag for each floating value that ``graph`` has now; they become its only output."""
        parts: list[Tensor] = []
        for node in list(graph.nodes):
            inputs = tuple(id(v) for v in node.inputs if v is not None)
            self.entries.append(Entry(node.sources, node.op, inputs, tuple(id(v) for v in node.outputs)))
            self._alive += [*(v for v in node.inputs if v is not None), *node.outputs]
            for value in node.outputs:
                if is_real(value.dtype) and value.size:
                    parts.append(_bad(Tensor(graph, value)).reshape((1,)))
                    self.flagged.append(id(value))
        graph.outputs.clear()
        graph.aliases.clear()
        whole = parts[0] if len(parts) == 1 else parts[0].op("concat", *parts[1:], axis=0)
        graph.output(FLAGS, whole.value)

    def origin(self, flags: np.ndarray, ends: Collection[int]) -> Entry | None:
        """The first node whose result is not finite and goes on, not finite all the way, to one of ``ends`` (ids).

        ``flags`` is what came out.  A value that is infinite on purpose and made finite again (a mask) leads to no end
        and is not blamed.  None where the ends are finite.
        """
        wrong = {value for value, flag in zip(self.flagged, flags) if flag > 0.5}
        made = {value: entry for entry in self.entries for value in entry.outputs}
        reached: set[int] = set()
        stack = [value for value in ends if value in wrong]
        while stack:
            value = stack.pop()
            if value not in reached:
                reached.add(value)
                stack.extend(v for v in made[value].inputs if v in wrong)
        for entry in self.entries:
            if not reached.isdisjoint(entry.outputs):
                return entry
        return None
