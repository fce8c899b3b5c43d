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
    def of(cls, entry: PlanEntry) -> MemoryReport:
        """What the plan of ``entry`` needs."""
        plan = entry.plan
        return cls(
            plan.arena.total, plan.arena.naive, plan.weight_bytes, sum(s.nbytes for s in plan.used("input")),
            sum(s.nbytes for s in plan.used("output")), entry.contexts, plan.state_bytes,
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
