"""The execution contexts of one plan: as many as threads run it at once, and as the device's memory holds."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from a1400.backends.base import Device
from a1400.engine.executor import DeviceWeights, ExecutionContext
from a1400.engine.plan import Plan
from a1400.engine.states import States
from a1400.errors import DeviceMemoryError
from a1400.memory.mapped import map_of


class PlanEntry:
    """A plan and its contexts.

    ``make_room`` frees what other plans keep idle and says whether that was anything; it is called when a context does
    not fit.  If none of this plan's exists then, the device's error goes to the caller; else the caller waits for one.
    """

    def __init__(
        self, plan: Plan, device: Device, weights: DeviceWeights, make_room: Callable[[PlanEntry], bool],
        states: States | None = None,
    ) -> None:  # fmt: skip
        self.plan = plan
        self.contexts = 0  # that exist or are being made
        in_place = plan.used("weight") if device.shares_memory else []
        #: the maps of the model's files that runs read weights from
        self.maps = {map_of(s.array) for s in in_place if s.array is not None} - {None}
        self._device, self._weights, self._make_room, self._states = device, weights, make_room, states
        self._idle: list[ExecutionContext] = []
        self._most: int | None = None  # how many the device can hold, once that is known
        self._waiting = 0
        self._changed = threading.Condition()

    @contextmanager
    def context(self) -> Iterator[ExecutionContext]:
        """A context for the calling thread alone."""
        taken = self.take()
        try:
            yield taken
        finally:
            self.give_back(taken)

    def take(self) -> ExecutionContext:
        """An idle context, or a new one; the caller gives it back."""
        try:
            return self._idle.pop()  # one step of the interpreter: no lock
        except IndexError:
            return self._make_or_wait()

    def give_back(self, context: ExecutionContext) -> None:
        """Let others have it."""
        self._idle.append(context)
        if self._waiting:  # whoever waits says so before he looks for an idle one
            with self._changed:
                self._changed.notify()

    def drop_idle(self) -> int:
        """Free the contexts that nobody uses; returns how many there were."""
        count = 0
        with suppress(IndexError):
            while True:
                self._idle.pop()
                count += 1
        with self._changed:
            self.contexts -= count
            self._changed.notify_all()
        return count

    def _make_or_wait(self) -> ExecutionContext:
        while True:
            with self._changed:
                self._waiting += 1
                self._changed.wait_for(lambda: self._idle or self._most is None or self.contexts < self._most)
                self._waiting -= 1
                with suppress(IndexError):
                    return self._idle.pop()
                if self._most is not None and self.contexts >= self._most:
                    continue  # another thread was quicker
                self.contexts += 1
            try:
                with host_memory():
                    return ExecutionContext(self.plan, self._device, self._weights, self._states)
            except DeviceMemoryError:
                if not self._failed() and not self._make_room(self):
                    raise
            except BaseException:
                self._failed()
                raise

    def _failed(self) -> bool:
        """Note that a context could not be made; whether there are others to wait for."""
        with self._changed:
            self.contexts -= 1
            if self.contexts:
                self._most = self.contexts
            self._changed.notify_all()
            return self.contexts > 0


@contextmanager
def host_memory() -> Iterator[None]:
    """Report memory that the host does not have as the device's is reported."""
    try:
        yield
    except MemoryError as error:
        raise out_of_host_memory(error) from None


def out_of_host_memory(error: MemoryError) -> DeviceMemoryError:
    """The error of ours for the interpreter's."""
    text = f": {error}" if str(error) else ""
    return DeviceMemoryError(f"there is not enough memory for these inputs; use smaller ones{text}")
