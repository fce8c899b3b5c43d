"""The CUDA backend's own logic, against a look-alike of CuPy; and its manners on a machine without a GPU."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest

from a1400.backends import cuda
from a1400.errors import BackendNotFoundError, DeviceMemoryError, KernelArgumentError, KernelCompileError

from .fake_cupy import FakeCupy


@pytest.fixture
def fake(monkeypatch):
    fake = FakeCupy()
    monkeypatch.setattr(cuda, "driver_present", lambda: True)
    monkeypatch.setattr(cuda, "import_cupy", lambda: fake)
    return fake


@pytest.fixture
def device(fake):
    return cuda.CUDABackend().open(1)


def test_no_driver(monkeypatch):
    monkeypatch.setattr(cuda, "driver_present", lambda: False)
    backend = cuda.CUDABackend()
    assert backend.devices() == []
    assert "driver" in backend.problems()[0]
    with pytest.raises(BackendNotFoundError, match="pip install"):
        backend.open(0)


def test_no_cupy(monkeypatch):
    def missing():
        raise ImportError("No module named 'cupy'")

    monkeypatch.setattr(cuda, "driver_present", lambda: True)
    monkeypatch.setattr(cuda, "import_cupy", missing)
    backend = cuda.CUDABackend()
    assert backend.devices() == []
    assert "pip install" in backend.problems()[0]
    assert "cupy-cuda13x" in backend.problems()[0]


def test_cupy_without_a_device(monkeypatch):
    if cuda.driver_present():
        pytest.skip("this machine has an NVIDIA driver")
    pytest.importorskip("cupy", reason="CuPy is not installed")
    monkeypatch.setattr(cuda, "driver_present", lambda: True)
    backend = cuda.CUDABackend()
    assert backend.devices() == []
    assert "nvidia-smi" in backend.problems()[0]


def test_description(fake):
    first, second = cuda.CUDABackend().devices()
    assert (first.id, second.id) == ("cuda:0", "cuda:1")
    assert first.extensions == {"sm_90"}
    assert first.driver == "13.0"
    assert first.kind == "gpu"
    assert first.fp16


def test_same_device_each_time(fake):
    backend = cuda.CUDABackend()
    assert backend.open(0) is backend.open(0)
    with pytest.raises(BackendNotFoundError):
        backend.open(2)


def test_transfers_and_parts(device):
    stream = device.stream()
    buffer = device.alloc(1024)
    assert buffer.pointer % 256 == 0
    data = np.arange(128, dtype=np.float32)
    stream.write(buffer.sub(256, 512), data)
    back = device.host_array((2, 64), np.dtype(np.float32))
    stream.read(buffer.sub(256, 768).sub(0, 512), back)
    assert np.array_equal(back.ravel(), data)
    for bad in ((256, 1024), (-256, 1), (4, 4)):
        with pytest.raises(ValueError, match=r"not inside|not a multiple"):
            buffer.sub(*bad)
    stream.write(device.alloc(0), np.empty(0, np.float32))
    with pytest.raises(ValueError, match="does not fit"):
        stream.write(device.alloc(1), data)


def test_memory_is_freed_with_the_last_part(fake, device):
    part = device.alloc(1000).sub(256, 10)
    assert fake.used == 1000
    del part
    assert fake.used == 0


def test_out_of_memory_gives_the_numbers(fake, device):
    held = device.alloc(1 << 19)
    with pytest.raises(DeviceMemoryError) as caught:
        device.alloc(1 << 20)
    assert f"{1 << 20:,}" in str(caught.value)
    assert f"{1 << 19:,}" in str(caught.value)
    del held


def test_arguments_keep_their_types(fake, device):
    program = device.compile("k", "code", "k", ["--std=c++17"])
    buffer = device.alloc(256)
    scalars = [np.float32(1), np.int32(-1), np.int64(2), np.uint8(3), np.float16(4), np.bool_(True)]
    launch = program.bind([buffer, *scalars, ml_dtypes.bfloat16(1.5)], (2, 3, 4), (32, 1, 1))
    stream = device.stream()
    stream.run([launch])
    name, grid, block, args = fake.log[-1]
    assert (name, grid, block) == ("k", (2, 3, 4), (32, 1, 1))
    assert args[0] == np.uint64(buffer.pointer)
    assert [type(a) for a in args] == [np.uint64, *(type(s) for s in scalars), np.uint16]
    assert args[-1].tobytes() == ml_dtypes.bfloat16(1.5).tobytes()
    launch.rebind(2, np.int32(7))
    stream.run([launch])
    assert fake.log[-1][3][2] == 7
    with pytest.raises(KernelArgumentError, match="float"):
        program.bind([1.0], (1, 1, 1), (1, 1, 1))
    with pytest.raises(KernelArgumentError, match="no argument 99"):
        launch.rebind(99, np.int32(0))


def test_geometry_limits_and_empty_launches(fake, device):
    program = device.compile("k", "code", "k")
    with pytest.raises(KernelArgumentError, match="1024"):
        program.bind([], (1, 1, 1), (2048, 1, 1))
    with pytest.raises(KernelArgumentError, match="65535"):
        program.bind([], (1, 70000, 1), (1, 1, 1))
    before = len(fake.log)
    device.stream().run([program.bind([], (0, 1, 1), (32, 1, 1))])
    assert len(fake.log) == before


def test_compile_once_and_errors(fake, device):
    for _ in range(3):
        device.compile("k", "code", "k")
    assert fake.compiled == ["k"]
    assert device.compiled_programs == 1
    with pytest.raises(KernelCompileError, match=r"'my_spec'.*H200.*13\.0.*line 2: `a = syntax_error;`"):
        device.compile("my_spec", "void f() {\n  a = syntax_error;\n}", "f")


def test_capture_and_replay(fake, device):
    program = device.compile("k", "code", "k")
    launches = [program.bind([np.int32(i)], (1, 1, 1), (1, 1, 1)) for i in range(3)]
    stream = device.stream()
    recording = stream.capture(launches)
    assert fake.log == []
    stream.replay(recording)
    stream.replay(recording)
    assert [call[3][0] for call in fake.log] == [0, 1, 2, 0, 1, 2]
    assert stream.capture([]) is None


def test_times(fake, device):
    program = device.compile("k", "code", "k")
    launch = program.bind([], (1, 1, 1), (1, 1, 1))
    assert device.stream().time([launch, launch]) == [1.0, 1.0]
