"""Inputs and outputs of an execution context: how one run's arrays get to the launches and back.

Three ways, by device.  Where the device shares the host's memory, large arrays are used in place and small ones are
copied to memory of the port's own.  Where copies from pinned memory run beside other work (CUDA), arrays pass through
pinned memory of the port's own, so that nothing waits before the run's end.  Elsewhere the driver copies.  Arrays that
lie on the device already are used in place everywhere.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import replace
from typing import Any

import numpy as np

from a1400.backends.base import Argument, BoundLaunch, Buffer, Device, Stream, TensorMap
from a1400.engine.device_array import DeviceArray
from a1400.engine.outputs import OutputPool
from a1400.memory.storage import Ref, Storage

#: host arrays below this many bytes are copied: making a buffer over them, or keeping memory ready for them, costs more
WRAP_THRESHOLD = 16384
#: arrays above this many bytes have no pinned memory of their own
STAGING_LIMIT = 64 << 20
#: a part that is copied to the device while the next is copied to pinned memory; a multiple of every alignment
_CHUNK = 4 << 20
#: what kernels' widest accesses need of an address
_NEEDED_ALIGNMENT = 16


class Port(ABC):
    """An input or output.  ``bound`` is the buffer that the launches at ``sites`` use now.

    Memory of its own (``own``) is made when first needed: a decoder's cache, which stays on the device, needs none.
    Until then launches refer to ``spare``, a buffer that none of them will run with.
    """

    def __init__(self, storage: Storage, device: Device, stream: Stream, spare: Buffer) -> None:
        self.storage = storage
        self._device, self._stream, self._spare = device, stream, spare
        self._own: Buffer | None = None
        self._bytes: np.ndarray | None = None  # the host's view of `own`, or pinned memory as large
        self.bound = spare
        self._sites: list[tuple[BoundLaunch, int, Ref | TensorMap]] = []

    @property
    def own(self) -> Buffer:
        """The port's own memory, at one address for the context's life."""
        if self._own is None:
            if self._device.shares_memory:
                self._bytes = self._device.host_array((self.storage.nbytes,), np.dtype(np.uint8))
                self._own = self._device.wrap(self._bytes)
            if self._own is None:
                self._bytes, self._own = None, self._device.alloc(self.storage.nbytes)
        return self._own

    @property
    def staging(self) -> np.ndarray | None:
        """Host memory for what goes in or out: over ``own`` itself, or pinned beside it; None where there is none."""
        self.own  # noqa: B018 - makes the memory
        if self._bytes is None and self._device.stages and self.storage.nbytes <= STAGING_LIMIT:
            self._bytes = self._device.host_array((self.storage.nbytes,), np.dtype(np.uint8))
        return self._bytes

    def argument(self, site: Ref | TensorMap, buffer: Buffer) -> Argument:
        """What a launch that has ``site`` as an argument shall get when the port uses ``buffer``."""
        if isinstance(site, TensorMap):
            return replace(site, buffer=self.argument(site.buffer, buffer))
        if site.offset == 0 or buffer is self._spare:
            return buffer
        return buffer.sub(site.offset, min(site.nbytes, buffer.nbytes - site.offset))

    def first(self, site: Ref | TensorMap) -> Argument:
        """What to bind at first; tensor maps are checked against the memory they describe, so they get real memory."""
        if isinstance(site, TensorMap) and self.bound is self._spare:
            self.point(self.own)
        return self.argument(site, self.bound)

    def connect(self, launch: BoundLaunch, index: int, site: Ref | TensorMap) -> None:
        """Argument ``index`` of ``launch`` follows this port from now on."""
        self._sites.append((launch, index, site))

    def point(self, buffer: Buffer) -> None:
        """Let every launch that uses the port use ``buffer``, unless it does already."""
        if self.bound is buffer:
            return
        self.bound = buffer
        for launch, index, site in self._sites:
            launch.rebind(index, self.argument(site, buffer))

    @abstractmethod
    def release(self) -> None:
        """Forget what belongs to one run."""

    def let_go(self) -> None:
        """Refer to nothing but the port's own memory."""
        has_map = any(isinstance(site, TensorMap) for _, _, site in self._sites)
        self.point(self.own if has_map or self._own is not None else self._spare)


class InputPort(Port):
    """An input."""

    _array: np.ndarray | None = None  # what ``bound`` lies over: the same array again needs nothing
    _fed: DeviceArray | None = None
    _typed: np.ndarray | None = None  # `_bytes` as the plan's dtype and shape

    def feed(self, value: np.ndarray | DeviceArray) -> None:
        """Make the launches read ``value``: of the plan's shape and dtype, dense.  Copies may still be under way."""
        if isinstance(value, DeviceArray):
            self._feed_from_device(value)
        elif self._device.shares_memory:
            self._feed_shared(value)
        else:
            own = self.own
            staging = self.staging if value.nbytes else None
            if staging is not None:
                self._stage(staging, value)
            elif value.nbytes:
                self._stream.write(own, value)
            self.point(own)

    def _feed_from_device(self, value: DeviceArray) -> None:
        self._array, self._fed = None, value
        value.wait_in(self._stream)
        if value.nbytes and value.buffer.address % _NEEDED_ALIGNMENT == 0:
            self.point(value.buffer)
            return
        if value.nbytes:
            self._stream.copy(self.own, value.buffer, value.nbytes)
        self.point(self.own)

    def _feed_shared(self, array: np.ndarray) -> None:
        if array.nbytes >= WRAP_THRESHOLD:
            if array is self._array:
                return
            buffer = self._device.wrap(array)
            if buffer is not None:
                self.point(buffer)
                self._array = array
                return
        self._array = None
        own = self.own
        if self._bytes is not None:
            if self._typed is None:
                self._typed = self._bytes[: array.nbytes].view(array.dtype).reshape(array.shape)
            self._typed[...] = array
        elif array.nbytes:
            self._stream.write(own, array)
        self.point(own)

    def _stage(self, staging: np.ndarray, array: np.ndarray) -> None:
        flat = array.reshape(-1).view(np.uint8)
        for start in range(0, flat.nbytes, _CHUNK):
            part = staging[start : start + _CHUNK][: flat.nbytes - start]
            part[...] = flat[start : start + _CHUNK]
            whole = part.nbytes == self.own.nbytes
            self._stream.upload(self.own if whole else self.own.sub(start, part.nbytes), part)

    def release(self) -> None:
        """Let go of device memory that the caller lent for one run."""
        if self._fed is not None:
            self._fed = None
            self.let_go()


class OutputPort(Port):
    """An output, with the shape and dtype of its arrays."""

    _pool: OutputPool | None = None
    _result: Any = None
    _late: np.ndarray | None = None  # staging to copy the result from once it is there
    _typed: np.ndarray | None = None  # `_bytes` as the plan's dtype and shape

    def __init__(
        self, storage: Storage, device: Device, stream: Stream, spare: Buffer, shape: tuple[int, ...], dtype: np.dtype
    ) -> None:
        super().__init__(storage, device, stream, spare)
        self._shape, self._dtype = shape, dtype
        self._in_place = device.shares_memory and storage.nbytes <= device.info.max_allocation

    def prepare(self, on_device: bool) -> None:
        """Choose the memory that the launches write: a :class:`DeviceArray`'s, the result's own, or the port's."""
        shape, dtype, nbytes = self._shape, self._dtype, self.storage.nbytes
        if self._in_place and (on_device or nbytes >= WRAP_THRESHOLD):
            array, buffer = self.pool.take(shape, dtype)
            self._result = DeviceArray(self._device, buffer, shape, dtype, host=array) if on_device else array
            self.point(buffer)
        elif on_device:
            buffer = self._device.alloc(nbytes)
            self._result = DeviceArray(self._device, buffer, shape, dtype)
            self.point(buffer)
        else:
            self._result = None
            self.point(self.own)

    @property
    def pool(self) -> OutputPool:
        """Memory for results that are written in place."""
        if self._pool is None:
            self._pool = OutputPool(self._device)
        return self._pool

    def fetch(self) -> None:
        """Enqueue what brings the result to the host; it is there once the stream is done."""
        if self._result is not None:
            return
        if self._device.shares_memory and self._bytes is not None:
            self._late = self._bytes  # the launches wrote it
            return
        large = self.storage.nbytes >= WRAP_THRESHOLD
        pinned = self.pool.pinned(self._shape, self._dtype) if large and self._device.stages else None
        if pinned is not None:
            self._result = pinned
            self._stream.download(self.own, pinned)
            return
        staging = self.staging if self.storage.nbytes else None
        if staging is not None:
            self._stream.download(self.own, staging)
            self._late = staging
        else:
            self._result = np.empty(self._shape, self._dtype)
            if self._result.nbytes:
                self._stream.download(self.own, self._result)

    def result(self) -> Any:
        """The result, once the stream is done; the port forgets it."""
        if self._late is None:
            return self._result
        if self._typed is None:
            nbytes = math.prod(self._shape) * self._dtype.itemsize
            self._typed = self._late[:nbytes].view(self._dtype).reshape(self._shape)
        return self._typed.copy()

    def release(self) -> None:
        """Forget the result, and let go of its memory where it stays on the device."""
        if isinstance(self._result, DeviceArray):
            self.let_go()
        self._result = self._late = None
