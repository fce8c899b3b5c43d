"""Clocks and the memory that settings share while they are timed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from a1400.backends.base import Device
from a1400.kernels import load_all
from a1400.kernels.check import launch_data, prepare
from a1400.kernels.launches import LoadedLaunch
from a1400.tuning.tuner.clock import Clock
from tests.tuning.test_tuning import INFO


class Scripted:
    """A launch that takes ``wall`` seconds by the host's clock and ``told`` by the driver's."""

    def __init__(self, wall: float, told: float, log: list[str] | None = None, name: str = "") -> None:
        self._wall, self._told, self._log, self._name = wall, told, log if log is not None else [], name

    def wall(self, runs: int) -> float:
        self._log.append(f"{self._name}wall{runs}")
        return self._wall * runs

    def events(self, runs: int) -> list[float]:
        self._log.append(f"{self._name}events{runs}")
        return [self._told] * runs


@pytest.mark.parametrize(
    ("kind", "told", "name", "expected"),
    [
        ("gpu", 0.9e-3, "device events", 0.9e-3),
        ("gpu", 0.0, "the host's clock", 1e-3),  # no clock at all
        ("gpu", 0.1e-3, "the host's clock", 1e-3),  # it misses most of the time
        ("gpu", 5e-3, "the host's clock", 1e-3),  # it counts from the enqueueing
        ("cpu", 0.9e-3, "the host's clock", 1e-3),
    ],
)
def test_events_count_only_where_they_are_sound(kind: str, told: float, name: str, expected: float) -> None:
    clock = Clock(replace(INFO, kind=kind))
    launch: Any = Scripted(1e-3, told)
    assert clock.measure(launch) == pytest.approx(expected) and clock.name == name


def test_what_is_hopeless_is_sampled_once_and_a_race_goes_both_ways() -> None:
    log: list[str] = []
    slow: Any = Scripted(1e-3, 0, log)
    clock = Clock(replace(INFO, kind="cpu"))
    clock.sample(slow)
    del log[:]
    clock.measure(slow, give_up=0.5e-3)
    assert log == ["wall4"]
    del log[:]
    clock.measure(slow, give_up=2e-3)
    assert len(log) == 5
    both: Sequence[Any] = [Scripted(1e-3, 0, log, "a"), Scripted(2e-3, 0, log, "b")]
    assert Clock(replace(INFO, kind="cpu")).race(both, 3) == pytest.approx([1e-3, 2e-3])
    samples = [entry for entry in log[5:] if entry in ("awall4", "bwall2")]
    assert samples == ["awall4", "bwall2", "bwall2", "awall4", "awall4", "bwall2"]


def test_settings_share_memory_and_copies_take_turns(device: Device) -> None:
    spec = load_all()["layer_norm"]
    variant = spec.variant("team")
    case = next(iter(spec.cases()))
    prepared = prepare(spec, case, False)
    data = launch_data(variant, prepared, device.info)
    first = LoadedLaunch(data, device, rotate=("x",), copies=3)
    alone = first.run().outputs
    other = LoadedLaunch(data, device, share=first)
    for name, array in other.run().outputs.items():
        np.testing.assert_array_equal(array, alone[name])
    assert other._buffers is first._buffers and len(first._turn) == len(other._turn) == 3
    assert [first._turn.index(bound) for bound in (*first._turns(2), *first._turns(5))] == [0, 1, 2, 0, 1, 2, 0]
    assert first.wall(4) > 0 and len(first.events(2)) == 2
    x = next(host for host in data.buffers() if host.name == "x")
    for spare in first._spare:  # each copy holds what the original holds
        held = np.empty(x.nbytes, np.uint8)
        first._stream.read(spare[id(x)], held)
        assert held.tobytes() == x.array.tobytes()
