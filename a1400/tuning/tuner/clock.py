"""Seconds of a launch: by the device's events where they are sound, else by the host's clock over many runs.

An event's clock may be coarse, or count from when a launch was enqueued; a CPU's driver also works on the thread that
waits.  So events are believed on GPUs only, and there only if together they fill most of the time that the host sees.
"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

from a1400.backends.base import DeviceInfo
from a1400.kernels.launches import LoadedLaunch

#: seconds of one sample by the host's clock: long against its resolution and a wake-up
_SAMPLE = 4e-3
_SAMPLES = 5
_MOST_RUNS = 2000


class Clock:
    """Times launches of one call on one device; the first launch decides which clock counts."""

    def __init__(self, info: DeviceInfo) -> None:
        self._gpu = info.kind == "gpu"
        self._by_events: bool | None = None
        self._runs: dict[int, int] = {}

    @property
    def name(self) -> str:
        """Which clock counts."""
        return "device events" if self._by_events else "the host's clock"

    def sample(self, loaded: LoadedLaunch) -> float:
        """Seconds of one run, as the mean of a few milliseconds of runs."""
        runs = self._runs.get(id(loaded)) or self._calibrate(loaded)
        if self._by_events:
            return sum(loaded.events(runs)) / runs
        return loaded.wall(runs) / runs

    def measure(self, loaded: LoadedLaunch, give_up: float | None = None) -> float:
        """The least of a few samples; only one is taken of what is slower than ``give_up`` seconds."""
        best = self.sample(loaded)
        for _ in range(_SAMPLES - 1):
            if give_up is not None and best > give_up:
                break
            best = min(best, self.sample(loaded))
        return best

    def race(self, loaded: Sequence[LoadedLaunch], rounds: int) -> list[float]:
        """Median seconds of each, sampled in turn ``rounds`` times, forwards and backwards."""
        samples: list[list[float]] = [[] for _ in loaded]
        order = list(range(len(loaded)))
        for number in range(rounds):
            for index in order if number % 2 == 0 else reversed(order):
                samples[index].append(self.sample(loaded[index]))
        return [median(values) for values in samples]

    def _calibrate(self, loaded: LoadedLaunch) -> int:
        once = loaded.wall(1)
        once = min(once, loaded.wall(1))
        runs = min(_MOST_RUNS, max(1, int(_SAMPLE / max(once, 1e-7))))
        if self._by_events is None:
            self._by_events = self._gpu and _sound(loaded, min(runs, 50))
        self._runs[id(loaded)] = runs
        return runs


def _sound(loaded: LoadedLaunch, runs: int) -> bool:
    """Whether events agree with the host's clock over the same runs: no longer, and not much shorter."""
    told, seen = sum(loaded.events(runs)), loaded.wall(runs)
    return min(loaded.events(1)) > 0 and 0.5 * seen <= told <= 1.2 * seen
