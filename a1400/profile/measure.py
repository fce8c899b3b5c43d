"""Measure one plan: plain runs and profiled runs in turn, put together as a :class:`Profile`."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from statistics import median
from typing import Any

import numpy as np

from a1400 import dtypes
from a1400.backends.base import Device, Span
from a1400.engine.contexts import PlanEntry
from a1400.engine.lowering import Launch
from a1400.engine.plan import Plan
from a1400.kernels.cost import cost
from a1400.profile.result import PHASES, LaunchProfile, Moments, Profile, Tenant, Times
from a1400.profile.roofline import Roofline


@dataclass(frozen=True)
class _Run:
    """One profiled run; all times in seconds since its start."""

    moments: Moments
    spans: list[Span]
    phases: dict[str, float]


def measure(
    entry: PlanEntry, feeds: Mapping[str, Any], device: Device, roofline: Roofline, model: str, precision: str,
    runs: int, warmup: int,
) -> Profile:  # fmt: skip
    """Run the plan ``warmup`` times, then ``runs`` times plain and ``runs`` times profiled, alternating."""
    plain: list[float] = []
    traced: list[_Run] = []
    with entry.context() as context:
        for _ in range(warmup):
            context.run(feeds)
            context.traced(feeds)
        for number in range(2 * runs):
            if number % 4 in (0, 3):  # A B B A: what slows the machine down falls on both alike
                start = time.perf_counter()
                context.run(feeds)
                plain.append(time.perf_counter() - start)
            else:
                traced.append(_run(*context.traced(feeds)))
    plan = entry.plan
    # what one run touches; embeddings, of which a run reads a few rows, stay out of it
    read = [cost(x.call, _is_weight).weights for x in plan.launches]
    footprint = plan.arena.total + min(int(sum(read)), plan.weight_bytes)
    shown = sorted(traced, key=lambda run: run.moments.end)[(len(traced) - 1) // 2]
    return Profile(
        model=model,
        device=device.info,
        precision=precision,
        date=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        shapes={name: tuple(array.shape) for name, array in feeds.items()},
        runs=runs,
        plain=_times(plain),
        profiled=_times([run.moments.end for run in traced]),
        phases={name: median(run.phases[name] for run in traced) for name in PHASES},
        moments=shown.moments,
        launches=[
            _launch(index, launch, [run.spans for run in traced], shown.spans, roofline, footprint)
            for index, launch in enumerate(plan.launches)
        ],
        roofline=roofline,
        arena=_arena(plan),
        arena_bytes=plan.arena.total,
    )


def _is_weight(buffer: Any) -> bool:
    return bool(buffer.storage.kind == "weight")


def _times(seconds: Sequence[float]) -> Times:
    low, middle, high = np.percentile(seconds, [25, 50, 75])
    return Times(float(middle), float(low), float(high), min(seconds))


def _run(times: Sequence[float], spans: Sequence[Span]) -> _Run:
    """A run with its parts; ``times`` as :meth:`ExecutionContext.traced` gives them."""
    zero = times[0]
    begin, bound, chosen, waited, end = (t - zero for t in times)
    moved = [Span(s.called - zero, s.returned - zero, s.start - zero, s.end - zero) for s in spans]
    kernels, late, gaps = 0.0, 0.0, 0.0
    for index, span in enumerate(moved):
        idle = _idle(moved, index) if index else 0.0
        # what of the idle time had passed when the host's call came back
        before = min(max(span.returned - moved[index - 1].end, 0.0), idle) if index else 0.0
        kernels, late, gaps = kernels + span.end - span.start, late + before, gaps + idle - before
    first, last = (moved[0].start, moved[-1].end) if moved else (waited, waited)
    phases = {
        "inputs": bound - begin,
        "outputs": chosen - bound,
        "start": max(first - chosen, 0.0),
        "kernels": kernels,
        "late": late,
        "gaps": gaps,
        "finish": max(waited - last, 0.0),
        "results": end - waited,
    }
    return _Run(Moments(begin, bound, chosen, waited, end), moved, phases)


def _idle(spans: Sequence[Span], index: int) -> float:
    """Seconds between the end of the launch before and the start of this one."""
    return max(spans[index].start - spans[index - 1].end, 0.0) if index else 0.0


def _launch(
    index: int, launch: Launch, runs: Sequence[Sequence[Span]], shown: Sequence[Span], roofline: Roofline,
    footprint: int,
) -> LaunchProfile:  # fmt: skip
    call = launch.call
    least = cost(call, _is_weight)
    groups, group_size = call.geometry()
    seconds = [spans[index].end - spans[index].start for spans in runs]
    span, unit = shown[index], roofline.unit(call)
    return LaunchProfile(
        index=index,
        kernel=f"{call.spec.name}/{call.variant.name}",
        op=launch.op,
        nodes=tuple(launch.sources),
        types={name: dtypes.short(dtype) for name, dtype in call.types.items()},
        scalars=dict(call.scalars),
        tunables=dict(call.tunables),
        work_groups=tuple(groups),
        group_size=tuple(group_size),
        flops=least.flops,
        bytes=least.bytes,
        seconds=median(seconds),
        best=min(seconds),
        gap=median(_idle(spans, index) for spans in runs),
        called=span.called,
        returned=span.returned,
        start=span.start,
        end=span.end,
        unit=unit,
        roof=roofline.seconds(least.flops, least.bytes, unit, least.weights, footprint),
    )


def _arena(plan: Plan) -> list[Tenant]:
    tenants = []
    for storage in plan.arena.tenants:
        writer = plan.launches[storage.first] if 0 <= storage.first < len(plan.launches) else None
        name = (" + ".join(writer.sources) or writer.op) if writer else "unused"
        tenants.append(Tenant(name, storage.offset, storage.nbytes, storage.first, storage.last))
    return tenants
