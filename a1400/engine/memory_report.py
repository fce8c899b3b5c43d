"""What a plan needs of the device's memory."""

from __future__ import annotations

from dataclasses import dataclass

from a1400.engine.contexts import PlanEntry


@dataclass
class MemoryReport:
    """Bytes a plan needs: one arena per running context, against the sum without reuse; weights once per model, states
    once for all programs that share them."""

    arena: int
    naive: int
    weights: int
    inputs: int
    outputs: int
    contexts: int
    states: int = 0

    @classmethod
    def of(cls, *entries: PlanEntry) -> MemoryReport:
        """What the plan of an entry needs, or those of several together, each once; inputs and outputs count what
        passes between them."""
        entries = tuple(dict.fromkeys(entries))  # the turns of a loop share one
        plans = [entry.plan for entry in entries]
        weights = {id(s): s.nbytes for plan in plans for s in plan.used("weight")}
        return cls(
            sum(plan.arena.total for plan in plans), sum(plan.arena.naive for plan in plans), sum(weights.values()),
            sum(s.nbytes for plan in plans for s in plan.used("input")),
            sum(s.nbytes for plan in plans for s in plan.used("output")), sum(e.contexts for e in entries),
            sum(plan.state_bytes for plan in plans),
        )  # fmt: skip

    def to_dict(self) -> dict[str, int]:
        """JSON-ready."""
        return dict(vars(self))

    def __str__(self) -> str:
        saved = 1 - self.arena / self.naive if self.naive else 0.0
        states = f"states {self.states:,}, " if self.states else ""
        return (
            f"arena {self.arena:,} bytes (without reuse {self.naive:,}: {saved:.0%} saved), "
            f"weights {self.weights:,} bytes, {states}inputs {self.inputs:,}, outputs {self.outputs:,}, "
            f"{self.contexts} context(s)"
        )
