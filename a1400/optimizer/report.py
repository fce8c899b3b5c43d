"""What the passes did, for ``model.explain()``."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from a1400.optimizer.precision import Narrowing


@dataclass
class PassResult:
    """One run of one pass: number of rewrites, short notes for people, nodes before and after, seconds."""

    name: str
    rewrites: int = 0
    notes: list[str] = field(default_factory=list)
    nodes_before: int = 0
    nodes_after: int = 0
    seconds: float = 0.0


@dataclass
class Report:
    """The passes in the order in which they ran; a pass that ran twice is listed twice.

    ``narrowing`` says what became of float32 tensors where half types were asked for.
    """

    passes: list[PassResult] = field(default_factory=list)
    disabled: tuple[str, ...] = ()
    narrowing: Narrowing | None = None

    @property
    def seconds(self) -> float:
        """Time of all passes."""
        return sum(p.seconds for p in self.passes)

    def count(self, name: str) -> int:
        """Rewrites of all runs of the pass ``name``."""
        return sum(p.rewrites for p in self.passes if p.name == name)

    def to_dict(self) -> list[dict[str, Any]]:
        """JSON-ready: one entry per run of a pass."""
        return [
            {
                "name": p.name,
                "rewrites": p.rewrites,
                "notes": "; ".join(p.notes),
                "nodes_before": p.nodes_before,
                "nodes_after": p.nodes_after,
                "seconds": round(p.seconds, 6),
            }
            for p in self.passes
        ]

    def __str__(self) -> str:
        lines = [f"{'pass':<24} {'rewrites':>8} {'nodes':>14} {'ms':>8}  notes"]
        for p in self.passes:
            nodes = f"{p.nodes_before} -> {p.nodes_after}"
            lines.append(f"{p.name:<24} {p.rewrites:>8} {nodes:>14} {p.seconds * 1e3:>8.1f}  {'; '.join(p.notes)}")
        if self.disabled:
            lines.append("switched off: " + ", ".join(self.disabled))
        return "\n".join(lines)
