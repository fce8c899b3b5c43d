"""What became of a model: passes, launches, programs, and where every node runs."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

from a1400.engine.plan import Plan


@dataclass
class Explanation:
    """The story of one plan; ``str()`` is a table for people, :meth:`to_dict` the same for programs."""

    model: str
    device: str
    model_nodes: dict[str, str]
    plan: Plan

    def placement(self) -> dict[str, str]:
        """Model node -> where it runs.

        That is the kernels that serve it, ``folded`` (known before the run) or ``view`` (no work).
        """
        kernels: dict[str, list[str]] = {}
        for launch in self.plan.launches:
            for source in launch.sources:
                kernels.setdefault(source, []).append(f"{launch.call.spec.name}/{launch.call.variant.name}")
        alive = {source for node in self.plan.graph.nodes for source in node.sources}
        result = {}
        for name in self.model_nodes:
            if name in kernels:
                result[name] = "device: " + ", ".join(dict.fromkeys(kernels[name]))
            else:
                result[name] = "view" if name in alive else "folded"
        return result

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready: counts, passes, kernels by number of launches, and the placement of each node."""
        placement = self.placement()
        launches = Counter(f"{x.call.spec.name}/{x.call.variant.name}" for x in self.plan.launches)
        return {
            "model": self.model,
            "device": self.device,
            "nodes_in_model": len(self.model_nodes),
            "nodes_after_optimization": len(self.plan.graph.nodes),
            "launches": len(self.plan.launches),
            "programs": len(self.plan.programs),
            "host_nodes": sum(place.startswith("host") for place in placement.values()),
            "passes": self.plan.report.to_dict(),
            "kernels": dict(launches.most_common()),
            "placement": {n: {"op": self.model_nodes[n], "where": place} for n, place in placement.items()},
        }

    def __str__(self) -> str:
        d = self.to_dict()
        places = Counter(p["where"].split(":")[0] for p in d["placement"].values())
        lines = [
            f"{d['model']} on {d['device']}",
            f"{d['nodes_in_model']} model nodes -> {d['nodes_after_optimization']} nodes -> "
            f"{d['launches']} launches of {d['programs']} programs",
            "where the model's nodes run: " + ", ".join(f"{k} {n}" for k, n in places.most_common()),
            "",
            "pass                     rewrites   nodes",
        ]
        for p in d["passes"]:
            notes = f"  {p['notes']}" if p.get("notes") else ""
            lines.append(f"{p['name']:<24} {p['rewrites']:>8}   {p['nodes_before']} -> {p['nodes_after']}{notes}")
        lines += ["", "kernel                             launches"]
        lines += [f"{name:<36} {count:>6}" for name, count in d["kernels"].items()]
        lines += ["", "node                                     where"]
        lines += [f"{n[:40]:<40} {p['where']}  ({p['op']})" for n, p in d["placement"].items()]
        return "\n".join(lines)
