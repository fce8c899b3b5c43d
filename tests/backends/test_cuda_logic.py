"""The CUDA backend's own logic, against a look-alike of CuPy; and its manners on a machine without a GPU."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest

from a1400 import config
from a1400.backends import cuda
from a1400.backends.cuda_compile import target
from a1400.backends.program_cache import ProgramCache
from a1400.errors import BackendNotFoundError, DeviceMemoryError, KernelArgumentError, KernelCompileError

from .fake_cupy import FakeCupy


@pytest.fixture(autouse=True)
def fresh_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("A1400_CACHE_DIR", str(tmp_path / "cache"))


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
    assert (first.local_memory, first.dynamic_local_memory) == (48 << 10, 227 << 10)


def test_same_device_each_time(fake):
    backend = cuda.CUDABackend()
    assert backend.open(0) is backend.open(0)
    with pytest.raises(BackendNotFoundError):
        backend.open(2)


def test_transfers_and_parts(device):
    stream = device.stream()
    buffer = device.alloc(1024)
    assert buffer.address % 256 == 0
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
    before = fake.used
    part = device.alloc(1000).sub(256, 10)
    assert fake.used == before + 1000
    del part
    assert fake.used == before


def test_out_of_memory_gives_the_numbers(fake, device):
    held = device.alloc(1 << 19)
    with pytest.raises(DeviceMemoryError) as caught:
        device.alloc(1 << 20)
    assert f"{1 << 20:,}" in str(caught.value)
    assert f"{1 << 19:,}" in str(caught.value)
    del held


KERNEL = (
    '#define KERNEL_ENTRY extern "C" __global__ void __launch_bounds__(256) k(GPTR(const float) RESTRICT a, '
    "const float b, const int c, const long d, const uchar e, const half f, const bool g, const bfloat h)"
)
EMPTY = 'extern "C" __global__ void k()'
ONE = 'extern "C" __global__ void k(const int n)'


def test_arguments_keep_their_types(fake, device):
    program = device.compile("k", KERNEL, "k", ["--std=c++17"])
    buffer = device.alloc(256)
    scalars = [np.float32(1), np.int32(-1), np.int64(2), np.uint8(3), np.float16(4), np.bool_(True)]
    launch = program.bind([buffer, *scalars, ml_dtypes.bfloat16(1.5)], (2, 3, 4), (32, 1, 1))
    stream = device.stream()
    stream.run([launch])
    stream.synchronize()
    name, grid, block, args = fake.log[-1]
    assert (name, grid, block) == ("k", (2, 3, 4), (32, 1, 1))
    assert args[0] == buffer.address
    assert args[1:5] == (1.0, -1, 2, 3)
    assert args[5] == np.float16(4).view(np.uint16) and args[6] == 1
    assert args[7].tobytes() == ml_dtypes.bfloat16(1.5).tobytes()
    launch.rebind(2, np.int32(7))
    stream.run([launch])
    launch.rebind(2, np.int32(8))  # what was enqueued keeps the value it had
    stream.synchronize()
    assert fake.log[-1][3][2] == 7
    with pytest.raises(KernelArgumentError, match="float"):
        program.bind([1.0], (1, 1, 1), (1, 1, 1))
    with pytest.raises(KernelArgumentError, match="no argument 99"):
        launch.rebind(99, np.int32(0))
    for index, other in ((0, np.int32(1)), (1, buffer), (2, np.int64(1))):
        with pytest.raises(KernelArgumentError, match=f"argument {index} of kernel 'k' .* cannot become"):
            launch.rebind(index, other)


def test_geometry_limits_and_empty_launches(fake, device):
    program = device.compile("my_kernel", KERNEL, "k")
    with pytest.raises(KernelArgumentError, match=r"'my_kernel' on NVIDIA H200.* 256 threads, not \(512, 1, 1\)"):
        program.bind([], (1, 1, 1), (512, 1, 1))
    with pytest.raises(KernelArgumentError, match="65535"):
        program.bind([], (1, 70000, 1), (1, 1, 1))
    stream = device.stream()
    stream.run([device.compile("k", EMPTY, "k").bind([], (0, 1, 1), (32, 1, 1))])
    stream.synchronize()
    assert fake.log == []


def test_dynamic_shared_memory(fake, device):
    fake.machine.static = 1024
    program = device.compile("k", EMPTY, "k")
    function = next(iter(fake.functions.values()))
    stream = device.stream()
    for nbytes in (0, 4096, 100_000, 100_000, 50_000, 226 << 10):
        stream.run([device.compile("k", EMPTY, "k").bind([], (1, 1, 1), (32, 1, 1), nbytes)])
    assert function.asked == [100_000, 226 << 10]  # the driver is told only what is new to it
    with pytest.raises(KernelArgumentError, match=r"'k' on NVIDIA H200.* 231,425 .* 231,424 .* 232,448 .* 1,024"):
        program.bind([], (1, 1, 1), (32, 1, 1), (226 << 10) + 1)


def test_compile_once_and_errors(fake, device):
    for _ in range(3):
        device.compile("k", EMPTY, "k")
    assert fake.compiled == [("-arch=sm_90a",)]
    assert device.compiled_programs == 1
    with pytest.raises(KernelCompileError, match=r"'my_spec'.*H200.*13\.0.*line 2: `a = syntax_error;`"):
        device.compile("my_spec", "void f() {\n  a = syntax_error;\n}", "f")


def test_programs_are_kept_on_disk(fake, device):
    device.compile("k", EMPTY, "k")
    again = cuda.CUDABackend().open(1)
    again.compile("k", EMPTY, "k")
    assert len(fake.compiled) == 1
    again.compile("k", EMPTY, "k", ["-lineinfo"])
    assert fake.compiled[1] == ("-arch=sm_90a", "-lineinfo")
    folder = config.cache_dir() / "programs"
    for path in folder.iterdir():  # whole and with a right checksum, but not what the driver wants
        key = bytes.fromhex(path.stem)
        ProgramCache().store(key, b"from another world")
    cuda.CUDABackend().open(1).compile("k", EMPTY, "k")
    assert len(fake.compiled) == 3


def test_a_missing_entry_is_an_error_of_ours(device):
    with pytest.raises(KernelCompileError, match=r"'k' could not be built .* sm_90a by NVRTC 13.0.*not found"):
        device.compile("k", EMPTY, "another")


@pytest.mark.parametrize(
    ("capability", "wanted"),
    [
        (75, ("sm_75", True)),
        (90, ("sm_90a", True)),
        (100, ("sm_100a", True)),
        (120, ("sm_120", True)),
        (130, ("compute_120", False)),
        (70, None),
    ],
)
def test_architectures(capability, wanted):
    assert target(capability, [75, 80, 86, 89, 90, 100, 103, 120]) == wanted


def test_architectures_that_nvrtc_does_not_know(monkeypatch):
    for capability, words in (((7, 0), "sm_70.*older CuPy"), ((13, 0), None)):
        fake = FakeCupy(capability=capability)
        monkeypatch.setattr(cuda, "driver_present", lambda: True)
        monkeypatch.setattr(cuda, "import_cupy", lambda fake=fake: fake)
        device = cuda.CUDABackend().open(0)
        if words:
            with pytest.raises(KernelCompileError, match=words):
                device.compile("k", EMPTY, "k")
        else:
            device.compile("k", EMPTY, "k")
            assert fake.compiled == [("-arch=compute_121",)]


def test_capture_and_replay(fake, device):
    program = device.compile("k", ONE, "k")
    launches = [program.bind([np.int32(i)], (1, 1, 1), (1, 1, 1)) for i in range(3)]
    stream = device.stream()
    recording = stream.capture(launches)
    assert fake.log == []
    launches[0].rebind(0, np.int32(9))  # does not change the recording
    stream.replay(recording)
    stream.replay(recording)
    stream.synchronize()
    assert [call[3][0] for call in fake.log] == [0, 1, 2, 0, 1, 2]
    assert stream.capture([]) is None


def test_captures_can_be_switched_off(fake, device, monkeypatch):
    launch = device.compile("k", ONE, "k").bind([np.int32(1)], (1, 1, 1), (1, 1, 1))
    monkeypatch.setenv("A1400_CUDA_GRAPHS", "0")
    assert device.stream().capture([launch, launch]) is None
    assert fake.graphs == []


def test_times(fake, device):
    program = device.compile("k", EMPTY, "k")
    launch = program.bind([], (1, 1, 1), (1, 1, 1))
    assert device.stream().time([launch, launch]) == [1.0, 1.0]
