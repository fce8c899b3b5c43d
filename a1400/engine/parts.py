"""Parts of concatenations: where a kernel may write its result so that nothing is left to concatenate."""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass

from a1400.engine.updates import VIEW_OPS
from a1400.graph.graph import Graph, Node, Value
from a1400.memory.storage import View


@dataclass(frozen=True)
class Part:
    """Elements ``start ..`` along ``axis`` of ``whole``, a concatenation's output; ``shape`` is theirs there.

    ``moves`` are the reshapes and transposes between the value and the concatenation, the last one first.
    """

    whole: Value
    axis: int
    start: int
    shape: tuple[int, ...]
    moves: tuple[Node, ...]

    def place(self, whole: View) -> View | None:
        """Where the value lies in ``whole``; None where no strides say it."""
        starts = tuple(self.start if d == self.axis else 0 for d in range(len(self.shape)))
        view: View | None = whole.slice(starts, self.shape, (1,) * len(self.shape))
        for node in self.moves:
            source = node.inputs[0]
            assert source is not None and view is not None
            if node.op == "reshape":
                view = view.reshape(source.shape)
            else:
                perm = node.attrs["perm"]
                view = view.transpose(tuple(perm.index(axis) for axis in range(len(perm))))
            if view is None:
                return None
        return view


def find_parts(graph: Graph, claimed: Container[int]) -> dict[int, Part]:
    """Values (by ``id``) that are parts of a concatenation, but for those ``claimed`` for another place."""
    parts: dict[int, Part] = {}
    for node in graph.nodes:
        if node.op != "concat":
            continue
        axis, start = node.attrs["axis"], 0
        for part in node.inputs:
            assert part is not None
            value, moves = part, []
            while value.producer is not None and value.producer.op in ("reshape", "transpose"):
                moves.append(value.producer)
                value = value.producer.inputs[0]  # type: ignore[assignment]
            if value.producer is not None and value.producer.op not in VIEW_OPS and id(value) not in claimed:
                parts.setdefault(id(value), Part(node.output, axis, start, part.shape, tuple(moves)))
            start += part.shape[axis]
    return parts
