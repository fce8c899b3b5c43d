"""What a profile holds.  All times are seconds, all rates per second."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from a1400.backends.base import DeviceInfo
from a1400.profile.roofline import Roofline

#: the parts of a run in the order of time, and what each is
PHASES = {
    "inputs": "inputs bound to the launches or copied",
    "outputs": "memory for the results chosen",
    "start": "from the first call of the driver to the first kernel",
    "kernels": "kernels running",
    "late": "device idle between kernels: the host had not enqueued the next one",
    "gaps": "device idle between kernels: the driver's own doing",
    "finish": "from the last kernel's end until the host knows",
    "results": "results copied and handed over",
}


@dataclass(frozen=True)
class Times:
    """Seconds of several runs: median, quartiles and fastest."""

    median: float
    low_quartile: float
    high_quartile: float
    best: float


@dataclass(frozen=True)
class Moments:
    """When a run began (0), inputs were bound, outputs chosen, launches done and results handed over: in seconds."""

    begin: float
    bound: float
    chosen: float
    waited: float
    end: float


class Rates:
    """Rates of something with ``seconds``, ``flops``, ``bytes`` and ``roof``; 0 where it was too short to be timed."""

    seconds: float
    flops: float
    bytes: float
    roof: float

    @property
    def flop_rate(self) -> float:
        """Operations per second."""
        return self.flops / self.seconds if self.seconds else 0.0

    @property
    def byte_rate(self) -> float:
        """Bytes per second."""
        return self.bytes / self.seconds if self.seconds else 0.0

    @property
    def share(self) -> float:
        """Share of the roofline: 1 is as fast as the device's measured peaks allow."""
        return self.roof / self.seconds if self.seconds else 0.0


@dataclass(frozen=True)
class LaunchProfile(Rates):
    """One launch of the plan.

    ``kernel`` is spec and variant, ``op`` the primitive op it computes, ``nodes`` the model's nodes it serves.
    ``seconds`` is the device's time, ``gap`` how long the device was idle before it (medians of all runs); ``flops``
    and ``bytes`` are the least it costs (:mod:`a1400.kernels.cost`), ``roof`` the seconds that the device's peaks would
    take for them, where ``unit`` says which peak counts.  ``called``, ``returned`` (the host's call), ``start`` and
    ``end`` are seconds since the start of the run on the timeline, which is the one of median length.
    """

    index: int
    kernel: str
    op: str
    nodes: tuple[str, ...]
    types: Mapping[str, str]
    scalars: Mapping[str, int | float]
    tunables: Mapping[str, int]
    work_groups: tuple[int, ...]
    group_size: tuple[int, ...]
    flops: float
    bytes: float
    seconds: float
    best: float
    gap: float
    called: float
    returned: float
    start: float
    end: float
    unit: str
    roof: float

    @property
    def label(self) -> str:
        """The nodes it serves on one line, the op where there are none."""
        return " + ".join(self.nodes) or self.op


@dataclass(frozen=True)
class Group(Rates):
    """Launches that have something in common: how many, and their sums."""

    name: str
    launches: int
    seconds: float
    gap: float
    flops: float
    bytes: float
    roof: float


@dataclass(frozen=True)
class Tenant:
    """One storage in the plan's arena: bytes ``offset`` to ``offset + nbytes``, from launch ``first`` to ``last``."""

    name: str
    offset: int
    nbytes: int
    first: int
    last: int


@dataclass(frozen=True)
class Profile:
    """Where one model's time goes on one device for one set of input shapes.

    ``plain`` and ``profiled`` are whole runs without and with every launch timed, taken in turn; ``phases`` has the
    median of each part of a profiled run (:data:`PHASES`).  ``moments`` are those of the run on the timeline, the
    profiled one of median length.  ``arena`` is the memory plan, ``arena_bytes`` its size.
    """

    model: str
    device: DeviceInfo
    precision: str
    date: str
    shapes: Mapping[str, tuple[int, ...]]
    runs: int
    plain: Times
    profiled: Times
    phases: Mapping[str, float]
    moments: Moments
    launches: list[LaunchProfile]
    roofline: Roofline
    arena: list[Tenant] = field(default_factory=list)
    arena_bytes: int = 0

    @property
    def cost(self) -> float:
        """How much longer a profiled run takes than a plain one, as a share of the plain one."""
        return self.profiled.median / self.plain.median - 1 if self.plain.median else 0.0

    @property
    def total(self) -> Group:
        """All launches together."""
        return _sum("all", self.launches)

    def by_kernel(self) -> list[Group]:
        """Launches by spec and variant, the longest first."""
        return _groups(self.launches, lambda x: x.kernel)

    def by_op(self) -> list[Group]:
        """Launches by primitive op, the longest first."""
        return _groups(self.launches, lambda x: x.op)

    def by_node(self) -> list[Group]:
        """Launches by the set of model nodes they serve, the longest first."""
        return _groups(self.launches, lambda x: x.label)

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return {
            "model": self.model,
            "device": asdict(self.device) | {"id": self.device.id},
            "precision": self.precision,
            "date": self.date,
            "shapes": {name: list(shape) for name, shape in self.shapes.items()},
            "runs": self.runs,
            "plain": asdict(self.plain),
            "profiled": asdict(self.profiled),
            "profiling_cost": self.cost,
            "phases": dict(self.phases),
            "moments": asdict(self.moments),
            "roofline": self.roofline.to_dict(),
            "total": _group_dict(self.total),
            "launches": [
                asdict(x) | {"flop_rate": x.flop_rate, "byte_rate": x.byte_rate, "share": x.share}
                for x in self.launches
            ],
            "by_kernel": [_group_dict(g) for g in self.by_kernel()],
            "by_op": [_group_dict(g) for g in self.by_op()],
            "by_node": [_group_dict(g) for g in self.by_node()],
            "arena": [asdict(t) for t in self.arena],
            "arena_bytes": self.arena_bytes,
        }


def _group_dict(group: Group) -> dict[str, Any]:
    return asdict(group) | {"flop_rate": group.flop_rate, "byte_rate": group.byte_rate, "share": group.share}


def _sum(name: str, launches: Iterable[LaunchProfile]) -> Group:
    rows = [(1, x.seconds, x.gap, x.flops, x.bytes, x.roof) for x in launches]
    count, seconds, gap, flops, nbytes, roof = (sum(column) for column in zip(*rows)) if rows else (0,) * 6
    return Group(name, int(count), float(seconds), float(gap), float(flops), float(nbytes), float(roof))


def _groups(launches: Iterable[LaunchProfile], key: Callable[[LaunchProfile], str]) -> list[Group]:
    found: dict[str, list[LaunchProfile]] = {}
    for launch in launches:
        found.setdefault(key(launch), []).append(launch)
    return sorted((_sum(name, members) for name, members in found.items()), key=lambda g: -g.seconds)
