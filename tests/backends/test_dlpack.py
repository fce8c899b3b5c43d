"""DLPack in both directions, with PyTorch and NumPy on the other side."""

from __future__ import annotations

import gc
import threading
import weakref
from typing import Any

import ml_dtypes
import numpy as np
import pytest
import torch

from a1400.backends import dlpack

TYPES = [torch.float32, torch.float16, torch.bfloat16, torch.float64, torch.int8, torch.int64, torch.uint8, torch.bool]


class Owner:
    """Memory to lend."""

    def __init__(self, array: np.ndarray, version: tuple[int, int] | None = None) -> None:
        self.array, self.version = array, version

    def __dlpack_device__(self) -> tuple[int, int]:
        return dlpack.CPU, 0

    def __dlpack__(self, **_: Any) -> Any:
        a = self.array
        return dlpack.give(self, a.ctypes.data, a.shape, a.dtype, (dlpack.CPU, 0), self.version)


@pytest.mark.parametrize("dtype", TYPES, ids=str)
@pytest.mark.parametrize("shape", [(3, 4), (5,), (), (0, 3)], ids=str)
def test_taking(dtype: torch.dtype, shape: tuple[int, ...]) -> None:
    tensor = torch.arange(int(np.prod(shape))).reshape(shape).to(dtype)
    taken = dlpack.take(tensor)
    array = taken.numpy()
    assert (array.shape, taken.shape, taken.is_dense) == (shape, shape, True)
    if tensor.numel():
        assert array.ctypes.data == tensor.data_ptr() == taken.address
    np.testing.assert_array_equal(array.astype(np.float64), tensor.double().numpy())
    want = tensor.double().numpy().copy()
    del tensor, taken
    gc.collect()
    np.testing.assert_array_equal(array.astype(np.float64), want)


def test_taking_strides_and_offsets() -> None:
    tensor = torch.arange(24.0).reshape(4, 6)[1:, 1::2].T
    taken = dlpack.take(tensor)
    assert not taken.is_dense and taken.strides == (2, 6)
    np.testing.assert_array_equal(taken.numpy(), tensor.numpy())


@pytest.mark.parametrize("version", [None, (0, 8), (1, 0)], ids=str)
@pytest.mark.parametrize("dtype", [np.float32, ml_dtypes.bfloat16, np.bool_, np.int64, np.complex64], ids=str)
def test_giving(dtype: Any, version: tuple[int, int] | None) -> None:
    array = np.arange(6).reshape(2, 3).astype(dtype)
    owner = Owner(array, version)
    alive = weakref.ref(owner)
    tensor = torch.from_dlpack(owner)
    assert tensor.data_ptr() == array.ctypes.data and tuple(tensor.shape) == (2, 3)
    np.testing.assert_array_equal(
        tensor.to(torch.complex128).numpy(), array.astype(np.complex128)
    )
    del owner
    gc.collect()
    assert alive() is not None
    view = tensor[1:]
    del tensor
    gc.collect()
    assert alive() is not None
    del view
    gc.collect()
    assert alive() is None


@pytest.mark.parametrize("version", [None, (1, 0)], ids=str)
def test_a_capsule_that_nobody_takes(version: tuple[int, int] | None) -> None:
    owner = Owner(np.zeros(4), version)
    alive = weakref.ref(owner)
    capsule = owner.__dlpack__()
    del owner
    gc.collect()
    assert alive() is not None
    del capsule
    gc.collect()
    assert alive() is None


def test_a_capsule_is_taken_once() -> None:
    capsule = torch.ones(3).__dlpack__()
    first = dlpack.Tensor(capsule)
    with pytest.raises(BufferError, match="used before"):
        dlpack.Tensor(capsule)
    np.testing.assert_array_equal(first.numpy(), np.ones(3))


def test_numpy_takes_and_gives() -> None:
    array = np.arange(5, dtype=np.float32)
    assert np.from_dlpack(Owner(array, (1, 0))).ctypes.data == array.ctypes.data
    array.flags.writeable = False
    taken = dlpack.take(array)
    assert taken.read_only and not taken.numpy().flags.writeable
    with pytest.raises(BufferError, match="only read"):
        dlpack.give(array, array.ctypes.data, (5,), array.dtype, (1, 0), None, read_only=True)
    with pytest.raises(BufferError, match="datetime64"):
        dlpack.give(array, 0, (5,), np.dtype("M8[s]"), (1, 0))


def test_released_by_another_thread() -> None:
    owner = Owner(np.zeros(1000))
    alive = weakref.ref(owner)
    held = [torch.from_dlpack(owner)]
    del owner
    thread = threading.Thread(target=held.clear)
    thread.start()
    thread.join()
    gc.collect()
    assert alive() is None


def test_structures_are_the_c_headers() -> None:
    import ctypes

    assert ctypes.sizeof(dlpack._DLTensor) == 48
    assert (ctypes.sizeof(dlpack._Managed), ctypes.sizeof(dlpack._ManagedVersioned)) == (64, 80)
