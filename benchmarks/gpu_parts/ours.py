"""One operation through a1400's own way: graph, optimizer, lowering, plan - so what is timed is what a model gets."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from a1400.backends.base import Device
from a1400.engine.executor import DeviceWeights, ExecutionContext
from a1400.engine.plan import Plan, make_plan
from a1400.engine.weight_store import WeightStore
from a1400.graph import Graph
from a1400.optimizer import optimize
from benchmarks.gpu_parts.timing import LaunchWork


@dataclass
class Prepared:
    """A plan that has run once: its outputs, and its launches over data that stays on the device."""

    plan: Plan
    context: ExecutionContext
    outputs: dict[str, np.ndarray]

    @property
    def kernels(self) -> list[str]:
        """Kernels with variant and tunables, each with how often it is launched if more than once."""
        counts = Counter(_name(launch.call) for launch in self.plan.launches)
        return [name if n == 1 else f"{n} x {name}" for name, n in counts.items()]

    def work(self) -> LaunchWork:
        """All launches, to be timed."""
        return LaunchWork(self.context.stream, self.context.launches)


def _name(call: object) -> str:
    settings = ",".join(f"{k}={v}" for k, v in call.tunables.items())  # type: ignore[attr-defined]
    name = f"{call.spec.name}/{call.variant.name}"  # type: ignore[attr-defined]
    return f"{name}[{settings}]" if settings else name


def prepare(
    device: Device, build: Callable[[Graph], None], feeds: Mapping[str, np.ndarray], tf32: bool = False
) -> Prepared:
    """Plan the graph that ``build`` makes for ``device`` and run it once on ``feeds``."""
    graph = Graph("benchmark")
    build(graph)
    report = optimize(graph, info=device.info)
    allow = frozenset({"tf32"}) if tf32 else frozenset[str]()
    plan = make_plan(graph, report, device, WeightStore(), None, allow)
    context = ExecutionContext(plan, device, DeviceWeights(device))
    return Prepared(plan, context, context.run({k: np.ascontiguousarray(v) for k, v in feeds.items()}))
