"""What became of a model: passes, launches, programs, and where every node runs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from a1400.engine.lowering import Launch
from a1400.engine.plan import Plan


@dataclass
class Explanation:
    """The story of one run's plans, several where a model runs in parts; ``str()`` is a table for people,
    :meth:`to_dict` the same for programs.

    ``kept`` is, for a model in parts, how many plans of parts are kept and how many at most; ``made`` says the same of
    the plans for different shapes.
    """

    model: str
    device: str
    model_nodes: dict[str, str]
    plans: Sequence[Plan]
    precision: str = "fp32"
    kept: tuple[int, int] | None = None
    made: tuple[int, int] = (1, 1)

    @property
    def launches(self) -> list[Launch]:
        """The launches of all plans, in order."""
        return [launch for plan in self.plans for launch in plan.launches]

    def placement(self) -> dict[str, str]:
        """Model node -> where it runs; nodes of its function body and subgraphs count as the node's.

        ``device: `` and the kernels that serve it; ``host``, worked out from what this run's inputs hold (strings,
        control flow, arithmetic of shapes); ``device and host: ``, both; ``folded at load``, made of constants alone
        once per model; ``shapes``, known from the inputs' shapes; ``view``, handed on without work; ``unused``.
        """
        kernels: dict[str, list[str]] = {}
        for launch in self.launches:
            for source in launch.sources:
                kernel = f"{launch.call.spec.name}/{launch.call.variant.name}"
                kernels.setdefault(self._owner(source), []).append(kernel)
        graphs = [plan.graph for plan in self.plans]
        alive = {self._owner(source) for graph in graphs for node in graph.nodes for source in node.sources}
        on_host = {self._owner(name) for graph in graphs for name in graph.on_host}
        fates = {name: fate for graph in graphs for name, fate in graph.fates.items()}
        result = {}
        for name in self.model_nodes:
            if name in kernels:
                result[name] = "device and host: " if name in on_host else "device: "
                result[name] += ", ".join(dict.fromkeys(kernels[name]))
            elif name in on_host:
                result[name] = "host"
            else:
                result[name] = "view" if name in alive else fates.get(name, "folded at load")
        return result

    def _owner(self, label: str) -> str:
        """The model's node that the node called ``label`` is part of: labels of inner nodes begin with its own."""
        while label not in self.model_nodes and "/" in label:
            label = label.rpartition("/")[0]
        return label

    def counts(self) -> dict[str, int]:
        """How many of the model's nodes are at each place of :meth:`placement`, the largest number first."""
        return dict(Counter(place.partition(":")[0] for place in self.placement().values()).most_common())

    def parts(self) -> dict[str, Any] | None:
        """JSON-ready, for a model that runs in parts: launches of each, how many are kept and how many at most."""
        if self.kept is None:
            return None
        return {"launches": [len(plan.launches) for plan in self.plans], "kept": self.kept[0], "limit": self.kept[1]}

    def precision_facts(self) -> dict[str, Any]:
        """JSON-ready: the precision asked for and what came of it.

        For fp16 and bf16 that is what :class:`~a1400.optimizer.precision.Narrowing` tells; for tf32 the kernels that
        round their operands so, with the model nodes they serve.
        """
        facts: dict[str, Any] = {"asked": self.precision}
        for plan in self.plans[:1]:
            if plan.report.narrowing is not None:
                facts |= plan.report.narrowing.to_dict()
        if self.precision == "tf32":
            rounding = [x for x in self.launches if x.call.variant.precision == "tf32"]
            facts["tf32_kernels"] = dict(Counter(f"{x.call.spec.name}/{x.call.variant.name}" for x in rounding))
            facts["tf32_nodes"] = list(dict.fromkeys(source for x in rounding for source in x.sources))
        return facts

    def _precision_text(self) -> str:
        told = [str(plan.report.narrowing) for plan in self.plans if plan.report.narrowing is not None]
        if told:
            return f"precision {self.precision}: {'; then '.join(told)}"
        if self.precision != "tf32":
            return f"precision {self.precision}"
        kernels = self.precision_facts()["tf32_kernels"]
        if not kernels:
            return "precision tf32: no kernel for this device and model rounds to tf32, all compute in float32"
        return "precision tf32: rounded in " + ", ".join(f"{n} launches of {k}" for k, n in kernels.items())

    def _parts_text(self) -> list[str]:
        parts = self.parts()
        if parts is None:
            return []
        return [
            f"shapes depend on what tensors hold: {len(parts['launches'])} parts with a value read after each but the "
            f"last, of {_runs(parts['launches'])} launches; parts alike share a plan: {parts['kept']} plans are kept, "
            f"and {parts['limit']} at most, more while they are small"
        ]

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready: counts, passes, precision, kernels by number of launches, and the placement of each node."""
        placement = self.placement()
        launches = Counter(f"{x.call.spec.name}/{x.call.variant.name}" for x in self.launches)
        return {
            "model": self.model,
            "device": self.device,
            "nodes_in_model": len(self.model_nodes),
            "nodes_after_optimization": sum(len(plan.graph.nodes) for plan in self.plans),
            "launches": len(self.launches),
            "programs": len({key for plan in self.plans for key in plan.programs}),
            "host_nodes": sum("host" in place.partition(":")[0] for place in placement.values()),
            "places": self.counts(),
            "precision": self.precision_facts(),
            "passes": [entry for plan in self.plans for entry in plan.report.to_dict()],
            "kernels": dict(launches.most_common()),
            "plans": {"kept": self.made[0], "limit": self.made[1]},
            "parts": self.parts(),
            "placement": {n: {"op": self.model_nodes[n], "where": place} for n, place in placement.items()},
        }

    def __str__(self) -> str:
        d = self.to_dict()
        lines = [
            f"{d['model']} on {d['device']}",
            f"{d['nodes_in_model']} model nodes -> {d['nodes_after_optimization']} nodes -> "
            f"{d['launches']} launches of {d['programs']} programs",
            f"each set of input shapes has a plan: {self.made[0]} plans are kept, {self.made[1]} at most",
            "where the model's nodes run: " + ", ".join(f"{k} {n}" for k, n in d["places"].items()),
            self._precision_text(),
            *self._parts_text(),
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


def _runs(numbers: list[int]) -> str:
    """``3, 40 x 9, 2``: equal numbers in a row as one."""
    groups = [(number, len(list(group))) for number, group in groupby(numbers)]
    return ", ".join(f"{count} x {number}" if count > 1 else str(number) for number, count in groups)
