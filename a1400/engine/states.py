"""Memory that outlives runs: parameters, running statistics, what an optimizer remembers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from a1400.backends.base import Buffer, Device
from a1400.errors import InputError
from a1400.graph.graph import Graph


@dataclass(frozen=True)
class _State:
    shape: tuple[int, ...]
    dtype: np.dtype
    buffer: Buffer
    host: np.ndarray | None  # the same memory, where the device shares the host's

    @property
    def nbytes(self) -> int:
        return int(np.prod(self.shape, dtype=np.int64)) * self.dtype.itemsize


class States:
    """Named arrays on one device, which programs read and update in place.

    Each keeps its address, shape and dtype for life; several programs may share them.  Used by one thread at a time,
    and never while a program runs.
    """

    def __init__(self, device: Device) -> None:
        self._device = device
        self._states: dict[str, _State] = {}

    @property
    def names(self) -> tuple[str, ...]:
        """Names in the order of allocation."""
        return tuple(self._states)

    @property
    def nbytes(self) -> int:
        """Bytes of all of them."""
        return sum(state.nbytes for state in self._states.values())

    @property
    def alignment(self) -> int:
        """Bytes at whose multiples parts of a state should start: any kernel can read and write them in place then."""
        return max(64, self._device.info.alignment)

    def allocate(self, name: str, array: np.ndarray) -> None:
        """Make state ``name`` of the shape and dtype of ``array``, which is copied.

        Raises :class:`InputError` for a name that is taken and :class:`~a1400.errors.DeviceMemoryError`.
        """
        if name in self._states:
            raise InputError(f"there is a state {name!r} already")
        shape, dtype, buffer, host = tuple(array.shape), array.dtype, None, None
        if self._device.shares_memory:
            host = self._device.host_array(shape, dtype)
            buffer = self._device.wrap(host)
        if buffer is None:
            buffer, host = self._device.alloc(array.nbytes), None
        self._states[name] = _State(shape, dtype, buffer, host)
        self.write(name, array)

    def read(self, name: str) -> np.ndarray:
        """A copy of what the state holds."""
        state = self._find(name)
        if state.host is not None:
            return state.host.copy()
        array = np.empty(state.shape, state.dtype)
        if array.nbytes:
            self._device.service.read(state.buffer, array)
        return array

    def write(self, name: str, array: np.ndarray) -> None:
        """Replace what the state holds; raises :class:`InputError` for another shape or dtype."""
        state = self._find(name)
        if (tuple(array.shape), array.dtype) != (state.shape, state.dtype):
            raise InputError(
                f"state {name!r} is {state.dtype}{list(state.shape)}, not {array.dtype}{list(array.shape)}"
            )
        if state.host is not None:
            state.host[...] = array
        elif array.nbytes:
            self._device.service.write(state.buffer, np.ascontiguousarray(array))

    def buffer(self, name: str) -> Buffer:
        """The device's memory of a state."""
        return self._find(name).buffer

    def check(self, graph: Graph) -> None:
        """Raise :class:`InputError` unless every state of ``graph`` is here, in its shape and dtype."""
        for name in sorted(graph.states):
            value, state = graph.inputs[name], self._states.get(name)
            if state is None:
                raise InputError(f"the graph's state {name!r} has no memory; allocate it first")
            if (state.shape, state.dtype) != (value.shape, value.dtype):
                raise InputError(
                    f"state {name!r} is {state.dtype}{list(state.shape)}, "
                    f"the graph's is {value.dtype}{list(value.shape)}"
                )

    def _find(self, name: str) -> _State:
        found = self._states.get(name)
        if found is None:
            raise InputError(f"there is no state {name!r}; there are {', '.join(self._states) or 'none'}")
        return found
