"""Time several engines in one process, in turns."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

#: Seconds between two engines' turns: ONNX Runtime's idle threads were seen spinning for 41 ms after a run, which takes
#: the cores away from whoever comes next.
REST = 0.08
#: Seconds of one turn: fast models run often between two rests.
TURN = 0.1


@dataclass(frozen=True)
class Speed:
    """Times of one engine's runs in seconds: median, quartiles, fastest, and how many."""

    median: float
    low_quartile: float
    high_quartile: float
    best: float
    runs: int


def measure(engines: Mapping[str, Callable[[], Any]], seconds: float, rounds: int | None) -> dict[str, Speed]:
    """Run the engines in turn until each has ``rounds`` runs, or has run for ``seconds`` (then 5 to 2000 runs).

    The order alternates. Raises whatever an engine raises.
    """
    times: dict[str, list[float]] = {name: [] for name in engines}
    for _ in range(2):  # caches, thread pools, clocks
        for engine in engines.values():
            engine()

    def wants(name: str) -> bool:
        done = times[name]
        if rounds is not None:
            return len(done) < rounds
        return len(done) < 5 or (sum(done) < seconds and len(done) < 2000)

    turn = 0
    while any(map(wants, engines)):
        for name in list(engines) if turn % 2 == 0 else list(reversed(list(engines))):
            if len(engines) > 1:
                time.sleep(REST)
            begin = time.perf_counter()
            while wants(name):
                start = time.perf_counter()
                engines[name]()
                end = time.perf_counter()
                times[name].append(end - start)
                if end - begin > TURN:
                    break
        turn += 1
    return {name: _speed(values) for name, values in times.items()}


def _speed(times: list[float]) -> Speed:
    low, median, high = np.percentile(times, [25, 50, 75])
    return Speed(float(median), float(low), float(high), min(times), len(times))
