"""Arrays that stay on the device: results that are fed to the next run, and tensors of other libraries."""

from __future__ import annotations

from typing import Any

import numpy as np

from a1400.backends import dlpack
from a1400.backends.base import Buffer, Device, Event, Stream
from a1400.errors import InputError


class DeviceArray:
    """A dense array in a device's memory.

    ``run(..., outputs="device")`` returns them, and ``run`` takes them as inputs without a copy.  Other libraries take
    them through DLPack (``torch.from_dlpack(array)``, ``cupy.from_dlpack(array)``), NumPy by ``array.numpy()``.
    """

    def __init__(
        self, device: Device, buffer: Buffer, shape: tuple[int, ...], dtype: np.dtype,
        host: np.ndarray | None = None, ready: Event | None = None, read_only: bool = False,
    ) -> None:  # fmt: skip
        """``host`` is the same memory as an array, on devices that share the host's; ``ready`` the event after which
        the memory holds its contents (None: it does)."""
        self._device, self.buffer, self._host = device, buffer, host
        self.shape, self.dtype = tuple(shape), np.dtype(dtype)
        self._ready = ready
        self._read_only = read_only
        self._lent: set[int | None] = set()  # other libraries' streams that may read or write it

    @property
    def device(self) -> str:
        """Id of the device it lies on: ``cuda:0``."""
        return self._device.info.id

    @property
    def ndim(self) -> int:
        """Number of dimensions."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """Number of elements."""
        return int(np.prod(self.shape, dtype=np.int64))

    @property
    def nbytes(self) -> int:
        """Size in bytes."""
        return self.size * self.dtype.itemsize

    def __len__(self) -> int:
        if not self.shape:
            raise TypeError("an array without dimensions has no length")
        return self.shape[0]

    def __repr__(self) -> str:
        return f"DeviceArray(shape={self.shape}, dtype={self.dtype}, device={self.device!r})"

    def on(self, device: Device) -> bool:
        """Whether it lies on this device."""
        return self._device is device

    def numpy(self) -> np.ndarray:
        """The contents as a NumPy array: on CPU devices the array's own memory, else a copy."""
        if self._host is not None:
            return self._host
        array = np.empty(self.shape, self.dtype)
        if array.nbytes:
            stream = self._device.service
            self.wait_in(stream)
            stream.read(self.buffer, array)
        return array

    def wait_in(self, stream: Stream) -> None:
        """Let later work of ``stream`` wait for whoever still writes this array, its own producer or a borrower."""
        if self._ready is not None:
            stream.wait(self._ready)
        for foreign in self._lent:
            self._device.join(stream, foreign)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        if copy is False and self._host is None:
            raise ValueError(f"this array lies on {self.device}: it cannot become a NumPy array without a copy")
        array = self.numpy()
        if dtype is not None and array.dtype != dtype:
            if copy is False:
                raise ValueError(f"{self.dtype} cannot become {dtype} without a copy")
            return array.astype(dtype)
        return array.copy() if copy and self._host is not None else array

    def __dlpack_device__(self) -> tuple[int, int]:
        found = self._device.dlpack_device
        if found is None:
            raise BufferError(f"memory of {self.device} cannot be handed to other libraries; use .numpy()")
        return found

    def __dlpack__(
        self, *, stream: int | None = None, max_version: tuple[int, int] | None = None,
        dl_device: tuple[int, int] | None = None, copy: bool | None = None,
    ) -> Any:  # fmt: skip
        """A DLPack capsule over this memory.  Results are complete when ``run`` returns, so no stream has to wait."""
        own = self.__dlpack_device__()
        if copy or (dl_device is not None and tuple(dl_device) != own):
            raise BufferError(f"this array is handed out only as it is, on {self.device}; use .numpy() for a copy")
        if own[0] == dlpack.CPU:
            owner: Any = self
        else:
            if self._ready is not None or self._lent - {stream}:
                self.wait_in(self._device.service)
                self._device.service.synchronize()
            self._lent.add(stream)
            owner = _Loan(self, stream)
        return dlpack.give(owner, self.buffer.address, self.shape, self.dtype, own, max_version, self._read_only)


class _Loan:
    """Another library's hold on a device array: its kernels may still run when it lets go."""

    def __init__(self, array: DeviceArray, stream: int | None) -> None:
        self._array, self._stream = array, stream

    def __del__(self) -> None:
        self._array._device.retire(self._array.buffer, self._stream)


def adopt(name: str, given: Any, device: Device) -> Any:
    """What a run can use of input ``name``: a :class:`DeviceArray` on ``device``, a NumPy array without a copy where
    ``given`` is a tensor in the host's memory, else ``given`` itself.

    Raises :class:`InputError` for tensors on another device, and for those of this one that are not dense.
    """
    if isinstance(given, DeviceArray) and given.on(device):
        return given
    if isinstance(given, np.ndarray) or not hasattr(given, "__dlpack_device__"):
        return given
    try:
        kind, number = (int(part) for part in given.__dlpack_device__())
        if kind in dlpack.ON_HOST:
            return dlpack.take(given).numpy()
        own = device.dlpack_device
        same = own is not None and number == own[1] and kind in (own[0], dlpack.CUDA_MANAGED)
        found = device.borrow(given) if same else None
    except (BufferError, RuntimeError, TypeError, ValueError) as error:
        raise InputError(f"input {name!r} cannot be taken through DLPack: {' '.join(str(error).split())}") from None
    if found is None:
        where = f"cuda:{number}" if kind in (dlpack.CUDA, dlpack.CUDA_MANAGED) else f"DLPack device {(kind, number)}"
        raise InputError(
            f"input {name!r} lies on {where} and the model runs on {device.info.id} ({device.info.name}): "
            "move it there, or give it in the host's memory"
        )
    tensor, buffer, ready = found
    if not tensor.is_dense:
        raise InputError(
            f"input {name!r} on {device.info.id} is not contiguous (shape {list(tensor.shape)}, strides "
            f"{list(tensor.strides)}): give a contiguous copy"
        )
    return DeviceArray(device, buffer, tensor.shape, tensor.dtype, ready=ready, read_only=tensor.read_only)
