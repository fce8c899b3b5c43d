"""The parent's hold on the process that measures: asks it, and starts it again behind what ends it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from a1400.errors import A1400Error
from a1400.verify.child import Child, Ending
from a1400.verify.find import Found

#: how often longer than one setting the planning of a whole model may take
_PATIENCE = 10


class Session:
    """A process on a device with a cache folder of its own; a context manager.

    ``timeout`` is the longest time in seconds that one setting may take, compiling included; after ``crashes``
    processes that died or hung, :class:`A1400Error` is raised.
    """

    def __init__(self, found: Found, job: Mapping[str, Any], cache: Path, timeout: float, crashes: int) -> None:
        self._job = {**found.job("tune", ()), **job, "cache": str(cache)}
        self._environment = {**found.environment, "A1400_CACHE_DIR": str(cache)}
        self._timeout, self._left = timeout, crashes
        self._child: Child | None = None
        self._opened: int | None = None

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *_: object) -> None:
        self._close()

    def plan(self) -> dict[str, Any]:
        """The plan's calls; raises :class:`A1400Error` where the model cannot be planned or its process ends."""
        return self._sure("plan", self._timeout * _PATIENCE)

    def open(self, number: int) -> dict[str, Any] | Ending:
        """Take a launch out of the plan."""
        self._opened = number
        return self._ask({"do": "open", "number": number}, self._timeout * _PATIENCE)

    def try_(self, tunables: Mapping[str, int], give_up: float | None) -> dict[str, Any] | Ending:
        """Compile, judge and time a setting of the open launch; an Ending where that ended the process."""
        return self._again({"do": "try_", "tunables": dict(tunables), "give_up": give_up}, self._timeout)

    def race(self, settings: list[dict[str, int]], rounds: int) -> list[float] | Ending:
        """Median seconds of settings of the open launch."""
        return self._again({"do": "race", "settings": settings, "rounds": rounds}, self._timeout * len(settings))

    def whole(self, table: str) -> dict[str, Any]:
        """The model without and with a table; raises :class:`A1400Error` where its process ends."""
        return self._sure("whole", self._timeout * _PATIENCE, table=table)

    def _sure(self, do: str, timeout: float, **more: Any) -> dict[str, Any]:
        answer = self._ask({"do": do, **more}, timeout)
        if isinstance(answer, Ending):
            raise A1400Error(f"the model cannot be run on this device: {answer.detail}")
        return answer

    def _again(self, question: dict[str, Any], timeout: float) -> Any:
        """Ask with the launch open, in a new process too."""
        if self._child is None and self._opened is not None:
            opened = self.open(self._opened)
            if isinstance(opened, Ending):
                return opened
        return self._ask(question, timeout)

    def _ask(self, question: dict[str, Any], timeout: float) -> Any:
        if self._child is None:
            if self._left <= 0:
                raise A1400Error("given up: too many settings ended the process that measures")
            self._child = Child(self._job, self._environment)
            started = self._hear(self._timeout * _PATIENCE)
            if isinstance(started, Ending):
                raise A1400Error(f"the device cannot be opened: {started.detail}")
        self._child.tell(question)
        return self._hear(timeout)

    def _hear(self, timeout: float) -> Any:
        assert self._child is not None
        while True:
            got = self._child.hear(timeout)
            if isinstance(got, Ending):
                self._close()
                if got.how == "failed":
                    raise A1400Error(got.detail)
                self._left -= 1
                return got
            if "answer" in got:
                return got["answer"]

    def _close(self) -> None:
        if self._child is not None:
            self._child.__exit__()
            self._child = None
