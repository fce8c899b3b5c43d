"""A plan: everything decided for one set of input shapes - launches, arena offsets, weights."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field

from a1400.backends.base import Device, DeviceInfo, Program
from a1400.engine import lower  # noqa: F401 - registers the handlers
from a1400.engine.lowering import Launch, Lowering
from a1400.engine.weight_store import WeightStore
from a1400.errors import DeviceMemoryError
from a1400.graph.graph import Graph
from a1400.kernels import load_all
from a1400.kernels.source import program_text
from a1400.kernels.spec import KernelCall
from a1400.memory.planner import plan_arena
from a1400.memory.storage import ArenaPlan, Storage
from a1400.optimizer import Report


@dataclass
class Plan:
    """Launches in order with their arena; immutable once made, shared by all execution contexts."""

    graph: Graph
    report: Report
    launches: list[Launch]
    storages: list[Storage]
    arena: ArenaPlan
    programs: dict[tuple, Program] = field(default_factory=dict)

    @property
    def weight_bytes(self) -> int:
        """Bytes of the weights this plan uses."""
        return sum(s.nbytes for s in {id(s): s for s in self.used("weight")}.values())

    @property
    def state_bytes(self) -> int:
        """Bytes of the states of its graph."""
        return sum(self.graph.inputs[name].nbytes for name in self.graph.states)

    @property
    def output_bytes(self) -> int:
        """Bytes of the arrays that a run makes for its outputs."""
        return sum(v.nbytes for name, v in self.graph.outputs.items() if name not in self.graph.aliases)

    def used(self, kind: str) -> list[Storage]:
        """Storages of one kind that some launch reads or writes, or that are outputs."""
        return [s for s in self.storages if s.kind == kind and (s.first >= 0 or kind in ("input", "output"))]


def make_plan(
    graph: Graph, report: Report, device: Device, weights: WeightStore, memory_limit: int | None,
    allow: frozenset[str] = frozenset(),
) -> Plan:  # fmt: skip
    """Lower ``graph`` for ``device``, place its data and compile its programs.

    ``allow`` names roundings of operands that kernels may make ("tf32").  Raises :class:`DeviceMemoryError` with the
    numbers when the plan needs more than ``memory_limit`` bytes.
    """
    load_all()
    with _Builder(device) as builder:
        lowering = Lowering(graph, device.info, weights, allow, builder.begin)
        lowering.run()
        used = _used_storages(lowering)
        arena = plan_arena(used, max(device.info.alignment, 64))
        plan = Plan(graph, report, lowering.launches, used, arena)
        _check_limit(plan, memory_limit, device.info)
        plan.programs = builder.programs(plan.launches)
        return plan


def placed_bytes(graph: Graph, info: DeviceInfo, weights: WeightStore, allow: frozenset[str]) -> tuple[int, int]:
    """Bytes that a plan of ``graph`` would need: of activations, and of weights, states and outputs together."""
    load_all()
    lowering = Lowering(graph, info, weights, allow)
    lowering.run()
    used = _used_storages(lowering)
    plan = Plan(graph, Report(), lowering.launches, used, plan_arena(used, max(info.alignment, 64)))
    return plan.arena.total, plan.weight_bytes + plan.state_bytes + plan.output_bytes


def _check_limit(plan: Plan, limit: int | None, info: DeviceInfo) -> None:
    need = plan.arena.total + plan.weight_bytes + plan.state_bytes + plan.output_bytes
    if need <= (info.memory if limit is None else limit):
        return
    states = f"{plan.state_bytes:,} of states, " if plan.state_bytes else ""
    than = "the device has" if limit is None else f"the limit of {limit:,} bytes"
    raise DeviceMemoryError(
        f"this model needs {need:,} bytes ({states}{plan.weight_bytes:,} of weights, {plan.arena.total:,} of "
        f"activations, {plan.output_bytes:,} of outputs), more than {than}; use smaller inputs or "
        f"{'another device' if limit is None else 'a larger limit'}"
    )


def _used_storages(lowering: Lowering) -> list[Storage]:
    seen: dict[int, Storage] = {}
    for storage in lowering.storages:
        if storage.kind != "arena" or storage.first >= 0:
            seen[id(storage)] = storage
    for launch in lowering.launches:
        for argument in launch.call.arguments():
            if hasattr(argument, "storage"):
                seen[id(argument.storage)] = argument.storage
    return list(seen.values())


class _Builder:
    """Builds each distinct program once, several at a time, while the lowering goes on and packs weights."""

    def __init__(self, device: Device) -> None:
        self._device = device
        self._pool = ThreadPoolExecutor(max_workers=4)
        self._begun: dict[tuple, Future[Program]] = {}

    def __enter__(self) -> _Builder:
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown(cancel_futures=True)

    def begin(self, call: KernelCall) -> None:
        """Start to build the program of ``call``, unless that was done."""
        if call.program_key not in self._begun:
            self._begun[call.program_key] = self._pool.submit(self._build, call)

    def programs(self, launches: list[Launch]) -> dict[tuple, Program]:
        """The programs of ``launches``, all built."""
        for launch in launches:
            self.begin(launch.call)
        return {key: self._begun[key].result() for key in dict.fromkeys(x.call.program_key for x in launches)}

    def _build(self, call: KernelCall) -> Program:
        name = f"{call.spec.name}/{call.variant.name}"
        return self._device.compile(name, program_text(call, self._device.info.backend), call.spec.name)
