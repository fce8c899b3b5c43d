"""Whole models through the CUDA backend with real numbers and no GPU: a look-alike of CuPy whose copies and kernels
happen as late as CUDA allows, its kernels run by the executor for hosts."""

from __future__ import annotations

import ctypes
import gc
import threading
import weakref
from collections.abc import Iterator
from pathlib import Path

import ml_dtypes
import numpy as np
import onnx
import pytest
import torch

import a1400
from a1400.backends import dlpack, registry
from a1400.backends.cuda import CUDABackend
from a1400.engine.device_array import DeviceArray
from a1400.engine.model import Model
from a1400.engine.outputs import LARGEST_POOL
from a1400.engine.program import Program, States
from a1400.engine.recordings import MOST_RECORDINGS
from a1400.errors import DeviceMemoryError, InputError
from tests.backends.fake_cupy import FakeCupy
from tests.backends.fake_execute import ForeignTensor, encoder, run_kernels
from tests.cuda_on_host import compiler
from tests.engine.onnx_models import decoder_step, mlp, shaped_by_value
from tests.engine.tensor_map_kernel import check_tensor_maps
from tests.engine.training import batches, mlp_step

LARGE = 2048  # rows of the decoder step that are no longer small


class Gpu:
    """A look-alike with a backend of its own."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, **options: int) -> None:
        self.fake = FakeCupy(capability=(7, 5), **{"limit": 1 << 26, **options})
        monkeypatch.setattr("a1400.backends.cuda.driver_present", lambda: True)
        monkeypatch.setattr("a1400.backends.cuda.import_cupy", lambda: self.fake)
        self.backend = CUDABackend()
        monkeypatch.setattr(registry, "_instances", lambda: (self.backend,))
        run_kernels(self.fake, self.backend.devices()[0])
        self.copies: list[tuple[int, int]] = []
        copy = self.fake.machine.memcpy

        def counted(target: int, source: int, nbytes: int, kind: int, stream: int) -> None:
            self.copies.append((kind, nbytes))
            copy(target, source, nbytes, kind, stream)

        self.fake.cuda.runtime.memcpyAsync = counted

    def load(self, path: Path, device: int = 0) -> Model:
        return a1400.load(path, device=f"cuda:{device}")


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> Iterator[Gpu]:
    if compiler.compiler() is None:
        pytest.skip("there is no g++ to run the CUDA sources with")
    yield Gpu(monkeypatch)


def rows(seed: int, n: int = 3) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((n, 8)).astype(np.float32)


def step(x: np.ndarray, cache: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    state = cache / 2 + x
    e = np.exp(state - state.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True), state


@pytest.mark.parametrize("n", [3, LARGE])
def test_host_arrays_take_one_synchronisation_and_one_graph(gpu: Gpu, tmp_path: Path, n: int) -> None:
    model = gpu.load(decoder_step(tmp_path / "m.onnx"))
    kept = []
    for i in range(5):
        x, cache = rows(i, n), rows(100 + i, n)
        want = step(x, cache)
        if i:
            gpu.fake.machine.synchronizations = 0
        got = model(x, cache)
        if i:
            assert gpu.fake.machine.synchronizations == 1
        x[:], cache[:] = np.nan, np.nan
        kept.append((got, want))
    for got, want in kept:  # results that the caller keeps stay as they were
        np.testing.assert_allclose(got[0], want[0], rtol=1e-5)
        np.testing.assert_array_equal(got[1], want[1])
        assert got[1].flags.writeable
    assert len(gpu.fake.graphs) == 1 and gpu.fake.graphs[0].launches == 4


def test_graphs_can_be_switched_off(gpu: Gpu, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("A1400_CUDA_GRAPHS", "0")
    model = gpu.load(decoder_step(tmp_path / "m.onnx"))
    for i in range(4):
        np.testing.assert_array_equal(model(rows(i), rows(i + 9))[1], step(rows(i), rows(i + 9))[1])
    assert gpu.fake.graphs == []


def test_pinned_memory_is_bounded_and_reused(gpu: Gpu, tmp_path: Path) -> None:
    model = gpu.load(decoder_step(tmp_path / "m.onnx"))
    x, cache = rows(1, LARGE), rows(2, LARGE)
    kept = [model(x, cache) for _ in range(6)]
    size = x.nbytes
    # staging for two inputs and two outputs, and the results that were given out
    assert len(gpu.fake.machine.pinned) == 4 + 2 * LARGEST_POOL
    assert sum(gpu.fake.machine.pinned.values()) == (4 + 2 * LARGEST_POOL) * size
    pinned = set(gpu.fake.machine.pinned)
    del kept
    again = [model(x, cache)[1].ctypes.data for _ in range(3)]
    assert set(again) <= pinned and set(gpu.fake.machine.pinned) == pinned


def test_without_pinned_memory_it_still_runs(gpu: Gpu, tmp_path: Path) -> None:
    gpu.fake.pinned_limit = 0
    model = gpu.load(decoder_step(tmp_path / "m.onnx"))
    for i in range(3):
        x, cache = rows(i, LARGE), rows(i + 5, LARGE)
        np.testing.assert_array_equal(model(x, cache)[1], step(x, cache)[1])
    assert not gpu.fake.machine.pinned and gpu.fake.released > 0


def test_large_inputs_go_up_in_parts(gpu: Gpu, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("a1400.engine.ports._CHUNK", 16384)
    model = gpu.load(decoder_step(tmp_path / "m.onnx"))
    n = 1300  # 41,600 bytes: two parts and a bit
    for i in range(2):
        np.testing.assert_array_equal(model(rows(i, n), rows(i + 7, n))[1], step(rows(i, n), rows(i + 7, n))[1])
    assert [size for kind, size in gpu.copies if kind == 1][-6:] == [16384, 16384, 8832] * 2


def test_a_state_stays_on_the_device(gpu: Gpu, tmp_path: Path) -> None:
    model = gpu.load(decoder_step(tmp_path / "m.onnx"))
    cache = rows(0)
    state: object = cache
    for i in range(12):
        x = rows(50 + i)
        gpu.copies.clear()
        got = model.run({"x": x, "cache": state}, outputs={"state": "device"})
        want_y, cache = step(x, cache)
        np.testing.assert_allclose(got["y"], want_y, rtol=1e-5)
        state = got["state"]
        assert isinstance(state, DeviceArray) and state.device == "cuda:0"
        if i:
            assert sorted(gpu.copies) == [(1, x.nbytes), (2, x.nbytes)]
    assert isinstance(state, DeviceArray)
    np.testing.assert_array_equal(state.numpy(), cache)
    assert 1 <= len(gpu.fake.graphs) <= 12


def test_states_of_a_training_step_stay_on_the_device(gpu: Gpu) -> None:
    """Nothing but inputs and outputs is copied, and one recording serves every step and what is written in between."""
    device = gpu.backend.open(0)
    step, data, states = mlp_step(16), batches(5), States(device)
    losses, held = step.expected(data)
    for name, array in step.held.items():
        states.allocate(name, array)
    program = Program(step.graph, device, states)
    for i, feeds in enumerate(data):
        gpu.copies.clear()
        gpu.fake.machine.synchronizations = 0
        loss = program.run(feeds)["loss"]
        np.testing.assert_allclose(loss, losses[i], rtol=2e-5)
        if i:
            assert sorted(gpu.copies) == sorted([(1, feeds["x"].nbytes), (1, feeds["t"].nbytes), (2, 4)])
            assert gpu.fake.machine.synchronizations == 1
    for name, array in held.items():
        np.testing.assert_allclose(states.read(name), array, rtol=1e-4, atol=1e-6, err_msg=name)
    assert len(gpu.fake.graphs) == 1
    for name, array in step.held.items():
        states.write(name, array)
    np.testing.assert_allclose(program.run(data[0])["loss"], losses[0], rtol=2e-5)
    assert len(gpu.fake.graphs) == 1


def test_recordings_follow_the_addresses(gpu: Gpu, tmp_path: Path) -> None:
    model = gpu.load(decoder_step(tmp_path / "m.onnx"))
    tensors = [torch.from_numpy(rows(i)) for i in range(3)]
    feeds = [ForeignTensor(gpu.fake, t, 0) for t in tensors]
    for turn in range(4):
        for i, feed in enumerate(feeds):
            tensors[i] += 1  # the memory's contents change, its address does not
            x = rows(turn)
            np.testing.assert_array_equal(model(x, feed)[1], step(x, tensors[i].numpy())[1])
    assert len(gpu.fake.graphs) == 3 and all(g.launches == 3 for g in gpu.fake.graphs)
    kept = [torch.from_numpy(rows(i)) for i in range(50)]
    for i, tensor in enumerate(kept):  # addresses that come once are not recorded
        x = rows(i + 1)
        np.testing.assert_array_equal(model(x, ForeignTensor(gpu.fake, tensor, 0))[1], step(x, tensor.numpy())[1])
    assert len(gpu.fake.graphs) == 3
    for _ in range(2):
        for i, tensor in enumerate(kept[:10]):
            model(rows(i), ForeignTensor(gpu.fake, tensor, 0))
    context = next(iter(model._plans.values()))._idle[0]
    assert len(context._recordings._made) == MOST_RECORDINGS


def test_a_tensor_is_waited_for_and_used_in_place(gpu: Gpu, tmp_path: Path) -> None:
    model = gpu.load(decoder_step(tmp_path / "m.onnx"))
    for i in range(3):
        tensor = torch.full((3, 8), float("nan"))
        value = torch.from_numpy(rows(i))
        feed = ForeignTensor(gpu.fake, tensor, 0, write=lambda t=tensor, v=value: t.copy_(v))
        gpu.copies.clear()
        got = model.run({"x": rows(9), "cache": feed}, outputs={"y": "device", "state": "host"})
        np.testing.assert_array_equal(got["state"], step(rows(9), rows(i))[1])
        assert sorted(gpu.copies) == [(1, 96), (2, 96)]  # x up, state down
        assert feed.streams and all(s in gpu.fake.machine.streams for s in feed.streams)


def test_a_tensor_is_let_go_after_the_run(gpu: Gpu, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = gpu.load(decoder_step(tmp_path / "m.onnx"))
    tensor = torch.from_numpy(rows(2))
    feed = ForeignTensor(gpu.fake, tensor, 0)
    made: list[weakref.ref[dlpack.Tensor]] = []
    take = dlpack.take

    def counted(value: object, stream: int | None = None) -> dlpack.Tensor:
        taken = take(value, stream)
        made.append(weakref.ref(taken))
        return taken

    monkeypatch.setattr(dlpack, "take", counted)
    model(rows(1), feed)
    gc.collect()
    assert len(made) == 1 and made[0]() is None


def test_bfloat16_through_dlpack(gpu: Gpu, tmp_path: Path) -> None:
    model = gpu.load(decoder_step(tmp_path / "m.onnx", onnx.TensorProto.BFLOAT16))
    x = torch.arange(24, dtype=torch.float32).reshape(3, 8).to(torch.bfloat16)
    got = model.run({"x": x, "cache": ForeignTensor(gpu.fake, x * 2, 0)}, outputs="device")
    assert got["state"].dtype == ml_dtypes.bfloat16
    np.testing.assert_array_equal(got["state"].numpy().astype(np.float32), (2 * x).float().numpy())


def test_tensors_that_cannot_be_used_are_named(gpu: Gpu, tmp_path: Path) -> None:
    model = gpu.load(decoder_step(tmp_path / "m.onnx"))
    good = rows(0)
    with pytest.raises(InputError, match=r"'cache' lies on cuda:1 and the model runs on cuda:0 \(NVIDIA.*: move"):
        model(good, ForeignTensor(gpu.fake, torch.from_numpy(rows(1)), 1))
    with pytest.raises(InputError, match=r"'cache' on cuda:0 is not contiguous .*strides \[1, 3\]"):
        model(good, ForeignTensor(gpu.fake, torch.zeros(8, 3).T, 0))
    with pytest.raises(InputError, match="'cache' is float64, the model needs float32"):
        model(good, ForeignTensor(gpu.fake, torch.zeros(3, 8, dtype=torch.float64), 0))
    with pytest.raises(InputError, match=r"shape \[3, 9\]"):
        model(good, ForeignTensor(gpu.fake, torch.zeros(3, 9), 0))
    other = gpu.load(decoder_step(tmp_path / "m.onnx"), 1).run({"x": good, "cache": good}, outputs="device")["state"]
    with pytest.raises(InputError, match="'cache' lies on cuda:1"):
        model(good, other)
    with pytest.raises(InputError, match="no output 'z'"):
        model.run({"x": good, "cache": good}, outputs={"z": "device"})
    with pytest.raises(InputError, match="not 'gpu'"):
        model.run({"x": good, "cache": good}, outputs="gpu")


def test_a_misaligned_tensor_is_copied_on_the_device(gpu: Gpu, tmp_path: Path) -> None:
    model = gpu.load(decoder_step(tmp_path / "m.onnx"))
    tensor = torch.zeros(1 + 24)[1:].reshape(3, 8)
    assert tensor.data_ptr() % 16
    for i in range(3):
        tensor.copy_(torch.from_numpy(rows(i)))
        got = model(rows(9), ForeignTensor(gpu.fake, tensor, 0))
        np.testing.assert_array_equal(got[1], step(rows(9), rows(i))[1])
    assert (3, 96) in gpu.copies


def test_memory_given_to_others_outlives_their_work(gpu: Gpu, tmp_path: Path) -> None:
    model = gpu.load(decoder_step(tmp_path / "m.onnx"))
    state = model.run({"x": rows(0), "cache": rows(1)}, outputs="device")["state"]
    assert state.__dlpack_device__() == (2, 0)
    address = state.buffer.address
    for version in (None, (1, 0)):
        capsule = state.__dlpack__(stream=1, max_version=version)
        del capsule  # nobody took it: the loan ends here
    live = gpu.fake.machine.live[0]
    assert len(gpu.fake.legacy) == 2
    del state
    gc.collect()
    model(rows(0), rows(1))
    assert address in live  # the consumer's stream has not passed
    for event in gpu.fake.legacy:
        event.done = True
    model.run({"x": rows(0), "cache": rows(1)}, outputs="device")
    assert address not in live or not gpu.backend.open(0)._retired
    with pytest.raises(BufferError, match=r"\.numpy\(\)"):
        model.run({"x": rows(0), "cache": rows(1)}, outputs="device")["y"].__dlpack__(dl_device=(1, 0))


def test_what_others_do_to_device_memory_is_waited_for(gpu: Gpu, tmp_path: Path) -> None:
    model = gpu.load(decoder_step(tmp_path / "m.onnx"))
    state = model.run({"x": rows(0), "cache": rows(1)}, outputs="device")["state"]
    want = step(rows(0), rows(1))[1]
    taken = dlpack.Tensor(state.__dlpack__(stream=1, max_version=(1, 0)))  # PyTorch's default stream
    assert (taken.device, taken.shape, taken.address) == ((2, 0), (3, 8), state.buffer.address)
    memory = (ctypes.c_float * 24).from_address(taken.address)

    def double() -> None:
        memory[:] = [2 * v for v in memory]

    gpu.fake.legacy_work.append(double)
    got = model.run({"x": rows(2), "cache": state})
    np.testing.assert_array_equal(got["state"], step(rows(2), 2 * want)[1])
    gpu.fake.legacy_work.append(double)
    np.testing.assert_array_equal(state.numpy(), 4 * want)


def test_a_device_array_steers_a_shape(gpu: Gpu, tmp_path: Path) -> None:
    model = gpu.load(shaped_by_value(tmp_path / "s.onnx"))
    shape = ForeignTensor(gpu.fake, torch.tensor([3, 4]), 0)
    x = np.arange(12, dtype=np.float32)
    np.testing.assert_array_equal(model.run({"x": x, "shape": shape})["y"], -x.reshape(3, 4))


def test_two_models_on_two_devices_in_two_threads(gpu: Gpu, tmp_path: Path) -> None:
    path = mlp(tmp_path / "mlp.onnx")
    x = np.random.default_rng(0).standard_normal((5, 32)).astype(np.float32)
    models = [gpu.load(path, i) for i in range(2)]
    want = models[0](x)
    failures: list[BaseException] = []

    def work(model: Model) -> None:
        try:
            for _ in range(6):
                np.testing.assert_array_equal(model(x), want)
            assert gpu.fake.machine.current == 0  # the thread's own device is left as it was
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(m,)) for m in models for _ in range(2)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not failures, failures[0]
    assert all(gpu.fake.machine.used)
    used = list(gpu.fake.machine.used)
    only_second = gpu.load(path, 1)
    before = gpu.fake.machine.used[0]
    only_second(x)
    assert gpu.fake.machine.used[0] == before and gpu.fake.machine.used[1] > used[1]


def test_contexts_have_streams_of_their_own(gpu: Gpu, tmp_path: Path) -> None:
    model = gpu.load(mlp(tmp_path / "mlp.onnx"))
    x = np.zeros((2, 32), np.float32)
    entry = model._entry(model._check({"x": x}))
    with entry.context() as first, entry.context() as second:
        assert first.stream.handle != second.stream.handle
        assert entry.contexts == 2


def test_a_context_that_does_not_fit_waits_for_another(gpu: Gpu, tmp_path: Path) -> None:
    path = mlp(tmp_path / "mlp.onnx", hidden=512)
    x = np.random.default_rng(0).standard_normal((64, 32)).astype(np.float32)
    model = gpu.load(path)
    want = model(x)
    gpu.fake.set_limit(gpu.fake.machine.used[0] + 4096)  # no room for a second arena
    entry = next(iter(model._plans.values()))
    results: list[np.ndarray] = []
    with entry.context():
        thread = threading.Thread(target=lambda: results.append(model(x)))
        thread.start()
        thread.join(0.3)
        assert thread.is_alive() and not results
    thread.join(20)
    np.testing.assert_array_equal(results[0], want)
    assert entry.contexts == 1


def test_idle_contexts_of_other_shapes_make_room(gpu: Gpu, tmp_path: Path) -> None:
    model = gpu.load(mlp(tmp_path / "mlp.onnx", hidden=512))
    model(np.zeros((128, 32), np.float32))
    gpu.fake.set_limit(gpu.fake.machine.used[0] + 4096)
    model(np.zeros((64, 32), np.float32))
    assert sum(e.contexts for e in model._plans.values()) == 1
    with pytest.raises(DeviceMemoryError, match=r"cuda:0\) cannot allocate [\d,]+ bytes: [\d,]+ of its [\d,]+ bytes"):
        model(np.zeros((4096, 32), np.float32))
    assert model(np.zeros((1, 32), np.float32)).shape == (1, 10)
    assert gpu.fake.released > 0


def test_tensor_maps_reach_kernels_and_follow_their_ports(gpu: Gpu) -> None:
    check_tensor_maps(gpu.fake, gpu.backend.open(1), encoder(gpu.fake))
