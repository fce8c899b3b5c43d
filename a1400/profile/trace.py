"""A profile as a trace: JSON in Chrome's trace event format, which Perfetto and chrome://tracing show.

Every profile is a process of its own with a track for the host's calls, one for the device's kernels and one for the
arena's memory in use.  The format is described in "Trace Event Format" (Google, 2016); times are microseconds.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from a1400.io.files import write_whole
from a1400.profile.result import LaunchProfile, Profile, Tenant
from a1400.text import clean

_HOST, _DEVICE = 1, 2
Event = dict[str, Any]


def write_trace(profiles: Sequence[Profile], path: str | os.PathLike[str]) -> None:
    """Write the trace of all ``profiles`` to ``path``; raises ``OSError`` where that cannot be written."""
    write_whole(path, json.dumps(trace(profiles), allow_nan=False))


def trace(profiles: Iterable[Profile]) -> dict[str, Any]:
    """The trace as a JSON object."""
    events = [event for pid, one in enumerate(profiles, 1) for event in _events(one, pid)]
    return {"traceEvents": events, "displayTimeUnit": "ns"}


def _events(found: Profile, pid: int) -> Iterator[Event]:
    device = found.device
    yield _name(pid, 0, "process_name", f"{found.model} on {device.name} ({device.id})")
    yield _name(pid, _HOST, "thread_name", "host")
    yield _name(pid, _DEVICE, "thread_name", "device")
    yield from _host(found, pid)
    yield from _device(found.launches, pid)
    yield from _memory(found, pid)


def _name(pid: int, tid: int, what: str, name: str) -> Event:
    return {"ph": "M", "pid": pid, "tid": tid, "name": what, "args": {"name": clean(name)}}


def _pair(pid: int, tid: int, name: str, start: float, end: float, **arguments: Any) -> tuple[Event, Event]:
    """The beginning and the end of something."""
    shared = {"pid": pid, "tid": tid, "name": clean(name), "cat": "host" if tid == _HOST else "device"}
    begin = {"ph": "B", "ts": _micro(start), **shared} | ({"args": arguments} if arguments else {})
    return begin, {"ph": "E", "ts": _micro(end), **shared}


def _micro(seconds: float) -> float:
    return round(seconds * 1e6, 3)


def _host(found: Profile, pid: int) -> Iterator[Event]:
    moments = found.moments
    for name, start, end in (
        ("bind inputs", moments.begin, moments.bound),
        ("choose outputs", moments.bound, moments.chosen),
    ):
        yield from _pair(pid, _HOST, name, start, end)
    begin, finish = _pair(pid, _HOST, "run launches", moments.chosen, moments.waited)
    yield begin
    for launch in found.launches:
        yield from _pair(pid, _HOST, f"enqueue {launch.kernel}", launch.called, launch.returned)
        yield _arrow("s", launch, pid, _HOST, launch.called)
    yield finish
    yield from _pair(pid, _HOST, "results", moments.waited, moments.end)


def _arrow(phase: str, launch: LaunchProfile, pid: int, tid: int, when: float) -> Event:
    """One end of the arrow from the host's call to the kernel."""
    return {
        "ph": phase, "pid": pid, "tid": tid, "ts": _micro(when), "name": "launch", "cat": "launch",
        "id": pid * 1_000_000 + launch.index, **({"bp": "e"} if phase == "f" else {}),
    }  # fmt: skip


def _device(launches: Iterable[LaunchProfile], pid: int) -> Iterator[Event]:
    free = 0.0
    for launch in launches:
        start = max(launch.start, free)
        free = max(launch.end, start)
        begin, end = _pair(
            pid, _DEVICE, launch.kernel, start, free,
            index=launch.index, op=launch.op, nodes=[clean(n) for n in launch.nodes],
            seconds_median=launch.seconds, GFLOP=launch.flops / 1e9, MB=launch.bytes / 1e6,
            GFLOP_per_s=launch.flop_rate / 1e9, GB_per_s=launch.byte_rate / 1e9, share_of_roofline=launch.share,
            types=dict(launch.types), scalars=dict(launch.scalars), tunables=dict(launch.tunables),
            work_groups=list(launch.work_groups), group_size=list(launch.group_size),
        )  # fmt: skip
        yield begin
        yield _arrow("f", launch, pid, _DEVICE, start)
        yield end


def _memory(found: Profile, pid: int) -> Iterator[Event]:
    """Bytes of the arena in use while each launch runs."""
    for launch in found.launches:
        used = live_bytes(found.arena, launch.index)
        yield {
            "ph": "C", "pid": pid, "tid": _DEVICE, "ts": _micro(launch.start), "name": "arena in use",
            "args": {"bytes": used},
        }  # fmt: skip


def live_bytes(tenants: Iterable[Tenant], index: int) -> int:
    """Bytes of the storages that live during launch ``index``."""
    return sum(t.nbytes for t in tenants if t.first <= index <= t.last)
