"""Things made once for each key, different ones side by side."""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class OncePerKey(Generic[K, V]):
    """What ``make`` gave for each key.  Threads that want the same key wait for one of them; others do not wait."""

    def __init__(self) -> None:
        self._made: dict[K, V] = {}
        self._making: dict[K, threading.Lock] = {}
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._made)

    def get(self, key: K, make: Callable[[], V]) -> V:
        """The value for ``key``; where ``make`` raises, the next caller tries again."""
        try:
            return self._made[key]
        except KeyError:
            with self._lock:
                lock = self._making.setdefault(key, threading.Lock())
        with lock:
            if key not in self._made:
                self._made[key] = make()
            return self._made[key]
