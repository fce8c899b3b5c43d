"""One profile of the parts that a model runs in, one after the other."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import replace

from a1400.profile.result import LaunchProfile, Moments, Profile, Tenant, Times


def joined(parts: Sequence[tuple[Hashable, Profile]], shapes: Mapping[str, tuple[int, ...]]) -> Profile:
    """``parts`` as a whole, for inputs of ``shapes``: times are sums, the timeline goes from part to part.

    Each part comes with its plan: parts with the same one share an arena, the others' lie side by side.  What the host
    does between parts - it reads a value and finds the next part - is not in it.
    """
    first, last = parts[0][1], parts[-1][1]
    launches: list[LaunchProfile] = []
    arena: list[Tenant] = []
    bases: dict[Hashable, int] = {}
    began = size = 0.0
    for plan, part in parts:
        count, at = len(launches), began
        base = bases.setdefault(plan, int(size))
        size = max(size, base + part.arena_bytes)
        arena += [
            replace(t, offset=t.offset + base, first=t.first + count, last=t.last + count) for t in part.arena
        ]
        launches += [
            replace(
                x, index=x.index + count, called=x.called + at, returned=x.returned + at, start=x.start + at,
                end=x.end + at,
            )
            for x in part.launches
        ]  # fmt: skip
        began += part.moments.end
    before = began - last.moments.end
    moments = Moments(
        first.moments.begin, first.moments.bound, first.moments.chosen, before + last.moments.waited, began
    )
    profiles = [part for _, part in parts]
    return replace(
        first, shapes=dict(shapes), plain=_sum([p.plain for p in profiles]),
        profiled=_sum([p.profiled for p in profiles]),
        phases={name: sum(p.phases[name] for p in profiles) for name in first.phases}, moments=moments,
        launches=launches, arena=arena, arena_bytes=int(size),
    )  # fmt: skip


def _sum(times: Sequence[Times]) -> Times:
    return Times(
        sum(t.median for t in times), sum(t.low_quartile for t in times), sum(t.high_quartile for t in times),
        sum(t.best for t in times),
    )  # fmt: skip
