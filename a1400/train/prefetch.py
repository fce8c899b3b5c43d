"""The next batches are prepared on another thread while the device works on this one."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Generic, TypeVar

T = TypeVar("T")
#: batches that wait at most
DEPTH = 2
#: seconds between looks at whether anybody still wants what is being made
_LOOK = 0.1
#: seconds that closing waits for the thread: it may be inside the caller's own code
_PATIENCE = 5.0


class _Done:
    """The end of the iterator, or the error that ended it."""

    def __init__(self, error: BaseException | None) -> None:
        self.error = error


class Prefetcher(Generic[T]):
    """Walks ``iterator`` on a thread of its own, at most ``depth`` items ahead.

    Iterate over it inside ``with``: leaving ends the thread.  An error of the iterator is raised where its item would
    have come.  ``interrupted`` is asked while waiting; the iteration ends when it gives true.
    """

    def __init__(
        self, iterator: Iterator[T], depth: int = DEPTH, interrupted: Callable[[], bool] | None = None
    ) -> None:
        self._iterator, self._interrupted = iterator, interrupted
        self._queue: queue.Queue[T | _Done] = queue.Queue(depth)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._work, name="a1400-batches", daemon=True)

    def __enter__(self) -> Prefetcher[T]:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __iter__(self) -> Iterator[T]:
        while True:
            try:
                item = self._queue.get(timeout=_LOOK)
            except queue.Empty:
                if self._interrupted is not None and self._interrupted():
                    return
                continue
            if isinstance(item, _Done):
                if item.error is not None:
                    raise item.error
                return
            yield item

    def close(self) -> None:
        """End the thread."""
        self._stop.set()
        self._thread.join(_PATIENCE)

    def _work(self) -> None:
        error: BaseException | None = None
        try:
            for item in self._iterator:
                if not self._put(item):
                    break
        except BaseException as caught:
            error = caught
        finally:
            close = getattr(self._iterator, "close", None)
            if close is not None:
                close()
        self._put(_Done(error))

    def _put(self, item: T | _Done) -> bool:
        while not self._stop.is_set():
            try:
                self._queue.put(item, timeout=_LOOK)
                return True
            except queue.Full:
                continue
        return False
