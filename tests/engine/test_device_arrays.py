"""Tensors of other libraries as inputs, and results that stay on the device, on every OpenCL and CUDA device here."""

from __future__ import annotations

import gc
from pathlib import Path

import ml_dtypes
import numpy as np
import onnx
import pytest
import torch

import a1400
from a1400.backends import registry
from a1400.backends.base import Device, DeviceInfo
from a1400.engine.device_array import DeviceArray
from a1400.engine.model import Model
from a1400.errors import InputError
from tests.cuda_on_host.backend import HostCudaBackend
from tests.engine.onnx_models import decoder_step

LARGE = 2048


@pytest.fixture
def model(tmp_path: Path, device_info: DeviceInfo) -> Model:
    return a1400.load(decoder_step(tmp_path / "m.onnx"), device=device_info.id)


def rows(seed: int, n: int) -> torch.Tensor:
    return torch.randint(-8, 8, (n, 8), generator=torch.Generator().manual_seed(seed)).float()


@pytest.mark.parametrize("n", [3, LARGE])
def test_torch_tensors(model: Model, n: int) -> None:
    for i in range(3):
        x, cache = rows(i, n), rows(i + 10, n)
        got = model(x, cache)
        np.testing.assert_array_equal(got[1], (cache / 2 + x).numpy())
    views = rows(1, 2 * n)[::2], rows(2, n).T.contiguous().T  # copied once to be dense
    np.testing.assert_array_equal(model(*views)[1], (views[1] / 2 + views[0]).numpy())


def test_large_tensors_are_used_in_place(model: Model, device: Device) -> None:
    if not device.shares_memory:
        pytest.skip("this device has memory of its own")
    x, cache = rows(0, LARGE), rows(1, LARGE)
    model(x, cache)
    context = next(iter(model._plans.values()))._idle[0]
    assert context._inputs["x"].bound.address == x.data_ptr()


@pytest.mark.parametrize("n", [0, 3, LARGE])
def test_results_stay_and_return(model: Model, n: int) -> None:
    want = rows(99, n)
    state: object = want
    kept = []
    for i in range(6):
        x = rows(i, n)
        got = model.run({"x": x, "cache": state}, outputs="device" if i % 2 else {"state": "device"})
        want = want / 2 + x
        assert isinstance(got["y"], DeviceArray if i % 2 else np.ndarray)
        np.testing.assert_allclose(np.asarray(got["y"]), torch.softmax(want, -1).numpy(), rtol=1e-5, atol=1e-7)
        state = got["state"]
        assert isinstance(state, DeviceArray)
        assert (state.shape, state.dtype, state.ndim, len(state)) == ((n, 8), np.float32, 2, n)
        assert repr(state).startswith(f"DeviceArray(shape=({n}, 8), dtype=float32, device=")
        kept.append((state, want))
    for state, value in kept:  # those that the caller keeps are not written again
        np.testing.assert_array_equal(state.numpy(), value.numpy())
        assert np.asarray(state, np.float64).dtype == np.float64


def test_bfloat16(tmp_path: Path, device_info: DeviceInfo, device: Device) -> None:
    model = a1400.load(decoder_step(tmp_path / "b.onnx", onnx.TensorProto.BFLOAT16), device=device_info.id)
    for n in (3, LARGE):
        x, cache = rows(0, n).bfloat16(), rows(1, n).bfloat16()
        want = cache / 2 + x
        state = model.run({"x": x, "cache": cache}, outputs="device")["state"]
        assert state.dtype == ml_dtypes.bfloat16
        np.testing.assert_array_equal(state.numpy().astype(np.float32), want.float().numpy())
        if device.shares_memory:
            shared = torch.from_dlpack(state)
            assert shared.dtype == torch.bfloat16 and shared.data_ptr() == state.buffer.address
            assert torch.equal(shared, want)


@pytest.mark.parametrize("n", [3, LARGE])
def test_results_are_handed_out_without_a_copy(model: Model, device: Device, n: int) -> None:
    if not device.shares_memory:
        pytest.skip("this device has memory of its own")
    x, cache = rows(0, n), rows(1, n)
    want = cache / 2 + x
    state = model.run({"x": x, "cache": cache}, outputs="device")["state"]
    assert state.__dlpack_device__() == (1, 0)
    tensor = torch.from_dlpack(state)
    array = np.from_dlpack(state)
    address = state.buffer.address
    assert tensor.data_ptr() == array.ctypes.data == state.numpy().ctypes.data == address
    del state, array
    gc.collect()
    for i in range(4):  # the tensor holds the memory, so no later result takes it
        later = model.run({"x": rows(i, n), "cache": rows(7, n)}, outputs="device")["state"]
        assert later.buffer.address != address
    assert torch.equal(tensor, want)
    tensor += 1  # memory of the caller now: the model sees what he writes
    np.testing.assert_array_equal(model(x, tensor)[1], (tensor / 2 + x).numpy())


def test_what_cannot_be_taken(model: Model) -> None:
    good = np.zeros((3, 8), np.float32)
    with pytest.raises(InputError, match=r"'cache' cannot be taken through DLPack: .*grad"):
        model(good, torch.zeros(3, 8, requires_grad=True))
    with pytest.raises(InputError, match="'cache' is float64"):
        model(good, torch.zeros(3, 8, dtype=torch.float64))

    class OnGpu:
        def __dlpack_device__(self) -> tuple[int, int]:
            return 2, 7

        def __dlpack__(self, **_: object) -> object:
            raise AssertionError("nobody asks for what cannot be used")

    class OnMetal(OnGpu):
        def __dlpack_device__(self) -> tuple[int, int]:
            return 8, 0

    with pytest.raises(InputError, match=r"'cache' lies on cuda:7 and the model runs on \w+:\d+ .*: move it there"):
        model(good, OnGpu())
    with pytest.raises(InputError, match=r"'cache' lies on DLPack device \(8, 0\)"):
        model(good, OnMetal())


def test_a_device_whose_memory_others_cannot_use(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    backend = HostCudaBackend()
    if problems := backend.problems():
        pytest.skip(" ".join(problems))
    monkeypatch.setattr(registry, "_instances", lambda: (backend,))
    model = a1400.load(decoder_step(tmp_path / "m.onnx"))
    want = rows(1, LARGE)
    state: object = want
    for i in range(3):
        x = rows(i, LARGE)
        state = model.run({"x": x, "cache": state}, outputs="device")["state"]
        want = want / 2 + x
    assert isinstance(state, DeviceArray)
    np.testing.assert_array_equal(np.asarray(state), want.numpy())
    with pytest.raises(BufferError, match=r"cuda:0 cannot be handed to other libraries; use \.numpy"):
        torch.from_dlpack(state)
    with pytest.raises(ValueError, match="without a copy"):
        np.asarray(state, copy=False)
