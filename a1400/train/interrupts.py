"""Ctrl-C while a network is trained: the step that runs is finished, so that what is saved is whole."""

from __future__ import annotations

import signal
import threading
from types import FrameType, TracebackType
from typing import Any


class Interrupts:
    """Inside ``with``, the first Ctrl-C sets ``asked``; the second one is a ``KeyboardInterrupt`` as ever.

    Only the main thread gets signals: on another one this does nothing, nor inside another one of its kind.
    """

    _active = False

    def __init__(self) -> None:
        self.asked = False
        self._before: Any = None

    def __enter__(self) -> Interrupts:
        if threading.current_thread() is threading.main_thread() and not Interrupts._active:
            self._before = signal.signal(signal.SIGINT, self._interrupt)
            Interrupts._active = True
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._before is not None:
            signal.signal(signal.SIGINT, self._before)
            self._before, Interrupts._active = None, False

    def _interrupt(self, number: int, frame: FrameType | None) -> None:
        if self.asked:
            raise KeyboardInterrupt
        self.asked = True
