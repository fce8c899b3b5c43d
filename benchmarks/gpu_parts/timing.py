"""Times on a GPU: recordings (CUDA graphs) between two events, engines in turn, medians with their spread.

One sample is a recording of ``repeat`` repetitions, long enough (two milliseconds) for the events' own time not to
matter, and enqueued behind an untimed repetition of itself, so that the device never waits for the host.  Engines take
turns and the order of turns alternates, so that clocks and temperature fall on all alike.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Protocol

import numpy as np

from a1400.backends.base import BoundLaunch, Stream

#: a sample lasts at least this long, in seconds
SAMPLE = 2e-3
MOST_REPEATS = 200
FEWEST_ROUNDS, MOST_ROUNDS = 5, 60


class Work(Protocol):
    """Something to time.  ``how`` says by what means: ``graph``, ``launches`` or ``wall clock``."""

    how: str

    def prepare(self, repeat: int) -> None:
        """Get ready for samples of ``repeat`` repetitions."""
        ...

    def sample(self) -> float:
        """Seconds of one repetition, from one sample."""
        ...


@dataclass(frozen=True)
class Timing:
    """Seconds of one repetition: median, quartiles and fastest of ``samples`` samples of ``repeat`` repetitions."""

    median: float
    low: float
    high: float
    best: float
    samples: int
    repeat: int
    how: str

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return asdict(self)


class LaunchWork:
    """Bound launches of a1400 on a stream, recorded where the backend has recordings."""

    def __init__(self, stream: Stream, launches: Sequence[BoundLaunch]) -> None:
        self._stream, self._launches = stream, list(launches)
        self._repeat, self._recording = 1, None
        self.how = "launches"

    def prepare(self, repeat: int) -> None:
        self._repeat = repeat
        self._recording = self._stream.capture(self._launches * repeat)
        self.how = "launches" if self._recording is None else "graph"

    def _enqueue(self) -> None:
        if self._recording is not None:
            self._stream.replay(self._recording)
        else:
            self._stream.run(self._launches * self._repeat)

    def sample(self) -> float:
        self._enqueue()
        begin = self._stream.record()
        self._enqueue()
        end = self._stream.record()
        self._stream.synchronize()
        return end.seconds_since(begin) / self._repeat


class TorchWork:
    """A call of PyTorch's on its current device, recorded where it can be."""

    def __init__(self, torch: Any, call: Callable[[], Any]) -> None:
        self._torch, self._call = torch, call
        self._repeat, self._graph = 1, None
        self.how = "launches"

    def prepare(self, repeat: int) -> None:
        torch = self._torch
        self._repeat, self._graph = repeat, None
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side), torch.no_grad():
            for _ in range(3):  # cuDNN chooses its algorithms, cuBLAS its workspace
                self._call()
        torch.cuda.current_stream().wait_stream(side)
        torch.cuda.synchronize()
        graph = torch.cuda.CUDAGraph()
        try:
            with torch.cuda.graph(graph), torch.no_grad():
                for _ in range(repeat):
                    self._call()
        except RuntimeError:
            torch.cuda.synchronize()
            self.how = "launches"
            return
        self._graph, self.how = graph, "graph"

    def _enqueue(self) -> None:
        if self._graph is not None:
            self._graph.replay()
            return
        with self._torch.no_grad():
            for _ in range(self._repeat):
                self._call()

    def sample(self) -> float:
        begin, end = (self._torch.cuda.Event(enable_timing=True) for _ in range(2))
        self._enqueue()
        begin.record()
        self._enqueue()
        end.record()
        self._torch.cuda.synchronize()
        return begin.elapsed_time(end) * 1e-3 / self._repeat


class CupyWork:
    """A call that enqueues work on CuPy's current stream, recorded where it can be."""

    def __init__(self, cupy: Any, call: Callable[[], Any]) -> None:
        self._cupy, self._call = cupy, call
        self._stream = cupy.cuda.Stream(non_blocking=True)
        self._repeat, self._graph = 1, None
        self.how = "launches"

    def prepare(self, repeat: int) -> None:
        self._repeat, self._graph = repeat, None
        self._cupy.cuda.runtime.deviceSynchronize()  # the data came by another stream
        with self._stream:
            self._call()
            self._stream.synchronize()
            self._stream.begin_capture()
            try:
                for _ in range(repeat):
                    self._call()
            except Exception:
                self._end_capture()
                self.how = "launches"
                return
            self._graph = self._end_capture()
        self.how = "launches" if self._graph is None else "graph"

    def _end_capture(self) -> Any:
        try:
            return self._stream.end_capture()
        except RuntimeError:
            return None

    def _enqueue(self) -> None:
        if self._graph is not None:
            self._graph.launch(self._stream)
            return
        with self._stream:
            for _ in range(self._repeat):
                self._call()

    def sample(self) -> float:
        begin, end = self._cupy.cuda.Event(), self._cupy.cuda.Event()
        self._enqueue()
        begin.record(self._stream)
        self._enqueue()
        end.record(self._stream)
        self._stream.synchronize()
        return float(self._cupy.cuda.get_elapsed_time(begin, end)) * 1e-3 / self._repeat


class WallWork:
    """A call that returns when its results are there, by the host's clock."""

    how = "wall clock"

    def __init__(self, call: Callable[[], Any], clock: Callable[[], float] = time.perf_counter) -> None:
        self._call, self._clock, self._repeat = call, clock, 1

    def prepare(self, repeat: int) -> None:
        self._repeat = repeat
        self._call()

    def sample(self) -> float:
        begin = self._clock()
        for _ in range(self._repeat):
            self._call()
        return (self._clock() - begin) / self._repeat


def measure(
    works: Mapping[str, Work], seconds: float, clock: Callable[[], float] = time.perf_counter
) -> tuple[dict[str, Timing], dict[str, str]]:
    """Time ``works`` in turn for about ``seconds`` each; returns timings, and why others could not be timed."""
    timings: dict[str, Timing] = {}
    failures: dict[str, str] = {}
    repeats: dict[str, int] = {}
    samples: dict[str, list[float]] = {}
    for name, work in works.items():
        try:
            work.prepare(1)
            once = min(work.sample() for _ in range(3))
            repeats[name] = max(1, min(MOST_REPEATS, math.ceil(SAMPLE / max(once, 1e-9))))
            if repeats[name] > 1:
                work.prepare(repeats[name])
            work.sample()
            samples[name] = []
        except Exception as error:
            failures[name] = reason(error)
    deadline, rounds = clock() + seconds * len(samples), 0
    while samples and rounds < MOST_ROUNDS and (rounds < FEWEST_ROUNDS or clock() < deadline):
        for name in list(samples) if rounds % 2 == 0 else list(reversed(list(samples))):
            try:
                samples[name].append(works[name].sample())
            except Exception as error:
                failures[name] = reason(error)
                del samples[name]
        rounds += 1
    for name, found in samples.items():
        low, median, high = (float(x) for x in np.percentile(found, [25, 50, 75]))
        timings[name] = Timing(median, low, high, min(found), len(found), repeats[name], works[name].how)
    return timings, failures


def reason(error: BaseException) -> str:
    """An exception in one line."""
    words = " ".join(str(error).split())
    return f"{type(error).__name__}: {words[:400]}"
