"""What a user sees while a network is trained: a bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from a1400.errors import InputError

if TYPE_CHECKING:
    from rich.progress import Progress

#: seconds between two drawings of the bar
_REFRESH = 0.1
#: seconds after which a long epoch says something where there is no bar
_LINE = 60.0


class Display:
    """Shows nothing: ``verbose=0``, and the base of the others."""

    def begin_epoch(self, title: str, steps: int | None, done: int = 0) -> None:
        """An epoch, or a walk of its own; ``done`` of its ``steps`` batches lie before the first one that is shown."""

    def step(self, done: int, samples: int, logs: Mapping[str, float]) -> None:
        """``done`` batches are through; the last had so many ``samples``."""

    def end_epoch(self, logs: Mapping[str, float]) -> None:
        """The epoch is through, its validation too."""

    def say(self, text: str) -> None:
        """A line between."""

    def close(self) -> None:
        """Nothing more will come, whatever happened."""


class Lines(Display):
    """One line per epoch, and one a minute inside long ones."""

    def begin_epoch(self, title: str, steps: int | None, done: int = 0) -> None:
        """Start the clock."""
        self._title = title
        self._steps, self._done, self._samples = steps, done, 0
        self._start = self._last = self._now = time.perf_counter()
        self._first = done

    def step(self, done: int, samples: int, logs: Mapping[str, float]) -> None:
        """Count."""
        self._done = done
        self._samples += samples
        self._now = now = time.perf_counter()
        if now - self._last >= _LINE:
            self._last = now
            self.say(self.line(logs))

    def end_epoch(self, logs: Mapping[str, float]) -> None:
        """The epoch's line."""
        self.say(self.line(logs, ended=True))

    def say(self, text: str) -> None:
        """Print it at once."""
        print(text, flush=True)

    def line(self, logs: Mapping[str, float], ended: bool = False) -> str:
        """Where it stands."""
        seconds = max(self._now - self._start, 1e-9)  # of the steps, without what came behind them
        whole = _time(time.perf_counter() - self._start)
        parts = [self._title, f"{self._done}/{self._steps or '?'}", whole, *_numbers(logs)]
        if self._samples:
            parts.append(f"{self._samples / seconds:,.0f} samples/s")
        if not ended and self._steps and self._done > self._first:
            left = seconds / (self._done - self._first) * (self._steps - self._done)
            parts.append(f"{_time(left)} left")
        return "  ".join(parts)


class Bar(Lines):
    """A bar with loss, metrics, samples per second and the time left; its epoch's line stays."""

    def __init__(self, console: Any = None) -> None:
        from rich.console import Console

        self._console = console or Console()
        self._progress: Progress | None = None

    def begin_epoch(self, title: str, steps: int | None, done: int = 0) -> None:
        """A new bar."""
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        super().begin_epoch(title, steps, done)
        self._progress = Progress(
            TextColumn("{task.description}"), BarColumn(bar_width=24), MofNCompleteColumn(),
            TextColumn("{task.fields[numbers]}"), TimeRemainingColumn(compact=True),
            console=self._console, transient=True, auto_refresh=False,
        )  # fmt: skip
        self._task = self._progress.add_task(self._title, total=steps, completed=done, numbers="")
        self._progress.start()
        self._drawn = 0.0

    def step(self, done: int, samples: int, logs: Mapping[str, float]) -> None:
        """Move the bar."""
        self._done = done
        self._samples += samples
        self._now = now = time.perf_counter()
        if self._progress is not None and (now - self._drawn >= _REFRESH or done == self._steps):
            self._drawn = now
            speed = f"{self._samples / max(now - self._start, 1e-9):,.0f} samples/s"
            self._progress.update(self._task, completed=done, numbers="  ".join([*_numbers(logs), speed]), refresh=True)

    def end_epoch(self, logs: Mapping[str, float]) -> None:
        """A line in place of the bar."""
        self.close()
        super().end_epoch(logs)

    def say(self, text: str) -> None:
        """Above the bar."""
        self._console.print(text, markup=False, highlight=False, soft_wrap=True)

    def close(self) -> None:
        """Take the bar away."""
        if self._progress is not None:
            self._progress.stop()
            self._progress = None


def display(verbose: str | int | bool) -> Display:
    """"auto" and 1: a bar on a terminal, else lines; 2: lines; 0: nothing."""
    if verbose == 0:
        return Display()
    if verbose == 2:
        return Lines()
    if verbose not in ("auto", 1):
        raise InputError(f"verbose is 'auto', 0, 1 or 2, not {verbose!r}")
    return Bar() if sys.stdout.isatty() else Lines()


def _numbers(logs: Mapping[str, float]) -> list[str]:
    return [f"{name} {_short(value)}" for name, value in logs.items()]


def _short(value: float) -> str:
    size = abs(value)
    return f"{value:.4f}" if size == 0 or 1e-3 <= size < 1e4 else f"{value:.3e}"


def _time(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
