"""The public model: loading, running, shapes, errors, threads, memory."""

from __future__ import annotations

import gc
import threading
from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest

import a1400
from a1400.backends.base import DeviceInfo
from a1400.engine.feeds import as_array
from a1400.engine.model import PLAN_LIMIT
from a1400.errors import BackendNotFoundError, DeviceMemoryError, InputError
from tests.engine.onnx_models import mlp, recurrent, shaped_by_value


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return mlp(tmp_path_factory.mktemp("models") / "mlp.onnx")


def load(path: Path, info: DeviceInfo, **options: object) -> a1400.Model:
    return a1400.load(path, device=info.id, **options)  # type: ignore[arg-type]


def reference(path: Path, x: np.ndarray) -> np.ndarray:
    return ort.InferenceSession(str(path), providers=["CPUExecutionProvider"]).run(None, {"x": x})[0]


def test_run_agrees_with_onnxruntime_for_any_batch(path: Path, device_info: DeviceInfo) -> None:
    model = load(path, device_info)
    for batch in (1, 7, 33):
        x = np.random.default_rng(batch).standard_normal((batch, 32)).astype(np.float32)
        want = reference(path, x)
        np.testing.assert_allclose(model.run({"x": x})["y"], want, rtol=1e-4, atol=1e-6)
        np.testing.assert_allclose(model(x), want, rtol=1e-4, atol=1e-6)
        np.testing.assert_allclose(model(x=x[::-1][::-1]), want, rtol=1e-4, atol=1e-6)


def test_inputs_outputs_and_device(path: Path, device_info: DeviceInfo) -> None:
    model = load(path, device_info)
    assert model.inputs["x"].shape == ("batch", 32) and model.inputs["x"].dtype == np.float32
    assert list(model.outputs) == ["y"] and model.device == device_info and model.name == "mlp"


def test_results_belong_to_the_caller(path: Path, device_info: DeviceInfo) -> None:
    model = load(path, device_info)
    rng = np.random.default_rng(0)
    # large enough to be read and written in place on devices that share memory
    x, z = (rng.standard_normal((2048, 32)).astype(np.float32) for _ in range(2))
    first = model(x)
    kept = first.copy()
    model(z)
    np.testing.assert_array_equal(first, kept)
    x[:] = 0
    np.testing.assert_array_equal(first, kept)


@pytest.mark.parametrize(
    ("feeds", "words"),
    [
        ({}, "'x' is missing"),
        ({"x": np.zeros((1, 32), np.float32), "z": 1}, "no input 'z'"),
        ({"x": np.zeros((1, 32))}, "float64"),
        ({"x": np.zeros((1, 31), np.float32)}, "[1, 31]"),
        ({"x": np.zeros((32,), np.float32)}, "2 dimensions"),
        ({"x": [[0.0] * 32, [0.0]]}, "not an array"),
        ({"x": [[1e300] * 32]}, "out of range"),
        ({"x": None}, "object"),
        ([np.zeros((1, 32), np.float32)], "dict of name to array, not as list"),
        (None, "dict of name to array"),
    ],
)
def test_wrong_inputs_are_named(path: Path, device_info: DeviceInfo, feeds: dict, words: str) -> None:
    with pytest.raises(InputError) as caught:
        load(path, device_info).run(feeds)
    assert words in str(caught.value) and "\n" not in str(caught.value)


def test_python_lists_are_accepted(path: Path, device_info: DeviceInfo) -> None:
    model = load(path, device_info)
    assert model.run({"x": [[0.5] * 32]})["y"].shape == (1, 10)
    np.testing.assert_array_equal(model([[2] * 32]), model(np.full((1, 32), 2, np.float32)))


def test_python_numbers_must_fit_the_inputs_type() -> None:
    x = as_array("x", [1, 255], np.dtype(np.uint8))
    assert x.dtype == np.uint8 and x.tolist() == [1, 255]
    for numbers in ([256], [-1]):
        with pytest.raises(InputError, match="out of range for uint8"):
            as_array("x", numbers, np.dtype(np.uint8))
    assert as_array("x", [0.5], np.dtype(np.int64)).dtype == np.float64  # refused, as an array of floats is
    assert as_array("x", np.float64(0.5), np.dtype(np.float32)).dtype == np.float64
    assert as_array("x", [], np.dtype(np.bool_)).dtype == np.bool_


def test_an_input_that_gives_a_shape(tmp_path: Path, device_info: DeviceInfo) -> None:
    model = load(shaped_by_value(tmp_path / "shaped.onnx"), device_info)
    x = np.arange(12, dtype=np.float32)
    for shape in ([3, 4], [2, 6], [3, 4]):
        np.testing.assert_array_equal(model.run({"x": x, "shape": np.array(shape)})["y"], -x.reshape(shape))


def test_plans_are_bounded_and_share_weights(path: Path, device_info: DeviceInfo) -> None:
    model = load(path, device_info)
    for batch in range(1, PLAN_LIMIT + 5):
        model(np.zeros((batch, 32), np.float32))
    assert len(model._plans) == PLAN_LIMIT
    gc.collect()
    weights = (32 * 64 + 64 + 64 * 10) * 4
    assert model._weights.nbytes <= 2.5 * weights  # packed columns are padded to whole panels


def test_plans_of_recurrent_layers_share_weights(tmp_path: Path, device_info: DeviceInfo) -> None:
    model = load(recurrent(tmp_path / "recurrent.onnx"), device_info)
    held = []
    for steps in (2, 3, 5, 7):
        model(np.zeros((steps, 1, 100), np.float32))
        gc.collect()
        held.append(model._weights.nbytes)
    assert held[-1] < 1.1 * held[0]


def test_many_threads_give_right_answers(path: Path, device_info: DeviceInfo) -> None:
    model = load(path, device_info)
    rng = np.random.default_rng(1)
    xs = [rng.standard_normal((1 + i % 3, 32)).astype(np.float32) for i in range(8)]
    wants = [reference(path, x) for x in xs]
    failures: list[str] = []

    def work(i: int) -> None:
        for _ in range(50):
            got = model(xs[i])
            if not np.allclose(got, wants[i], rtol=1e-4, atol=1e-6):
                failures.append(f"thread {i}")

    threads = [threading.Thread(target=work, args=(i,)) for i in range(len(xs))]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not failures


def test_memory_report_and_limit(path: Path, device_info: DeviceInfo) -> None:
    model = load(path, device_info)
    model(np.zeros((64, 32), np.float32))
    report = model.memory()
    assert 0 < report.arena <= report.naive and report.weights >= (32 * 64 + 640) * 4
    assert report.inputs == 64 * 32 * 4 and report.outputs == 64 * 10 * 4
    with pytest.raises(DeviceMemoryError, match="limit of 1,000 bytes"):
        load(path, device_info, memory_limit=1000)(np.zeros((1, 32), np.float32))
    load(path, device_info, memory_limit=10_000_000)(np.zeros((1, 32), np.float32))


def test_explain_places_every_node(path: Path, device_info: DeviceInfo) -> None:
    story = load(path, device_info).explain()
    facts = story.to_dict()
    assert set(facts["placement"]) == {"first", "bias", "relu", "second", "soft"}
    assert all(p["where"].startswith("device") for p in facts["placement"].values())
    assert facts["host_nodes"] == 0 and facts["launches"] <= 3
    assert "fusion" in str(story) and device_info.name in str(story)


def test_passes_can_be_switched_off(path: Path, device_info: DeviceInfo) -> None:
    x = np.ones((2, 32), np.float32)
    plain = load(path, device_info, disable=["fusion"])
    np.testing.assert_allclose(plain(x), reference(path, x), rtol=1e-4, atol=1e-6)
    assert plain.explain().to_dict()["launches"] > load(path, device_info).explain().to_dict()["launches"]
    with pytest.raises(InputError, match=r"no_such_pass; the passes are .*fusion"):
        load(path, device_info, disable=["no_such_pass"])


def test_prepare_compiles_ahead(path: Path, device_info: DeviceInfo) -> None:
    model = load(path, device_info)
    model.prepare({"x": (5, 32)})
    assert len(model._plans) == 1
    model(np.zeros((5, 32), np.float32))
    assert len(model._plans) == 1


def test_a_device_that_is_not_there(path: Path) -> None:
    for device in ("no_such_device", "²", "9" * 5000):
        with pytest.raises(BackendNotFoundError, match=device):
            a1400.load(path, device=device)
    with pytest.raises(BackendNotFoundError, match="no backend '3'"):
        a1400.load(path, backend=3)  # type: ignore[arg-type]


def test_no_memory_is_an_error_of_ours(path: Path, device_info: DeviceInfo, monkeypatch: pytest.MonkeyPatch) -> None:
    def run(*_: object) -> None:
        raise MemoryError("Unable to allocate 9 TiB")

    model = load(path, device_info)
    for owner, name in ((a1400.engine.executor.ExecutionContext, "run"), (a1400.engine.model, "optimize")):
        with monkeypatch.context() as patch:
            patch.setattr(owner, name, run if name == "run" else lambda *_, **__: run())
            with pytest.raises(DeviceMemoryError, match="9 TiB"):
                model(np.zeros((1 if name == "run" else 2, 32), np.float32))
    assert model(np.zeros((1, 32), np.float32)).shape == (1, 10)


def test_impossible_requests(path: Path, device_info: DeviceInfo) -> None:
    model = load(path, device_info)
    for shape in ((-1, 32), ("a", 32), (1.5, 32), (10**6, 10**6)):
        with pytest.raises(InputError, match="cannot have the shape"):
            model.prepare({"x": shape})
    with pytest.raises(InputError, match="dict"):
        model.prepare((1, 32))  # type: ignore[arg-type]
    for limit in ("1GB", -1, float("nan")):
        with pytest.raises(InputError, match="number of bytes"):
            load(path, device_info, memory_limit=limit)
    load(path, device_info, disable="fusion")


def test_memory_of_results_is_used_again_only_when_let_go(path: Path, device_info: DeviceInfo) -> None:
    model = load(path, device_info)
    x = np.random.default_rng(0).standard_normal((2048, 32)).astype(np.float32)
    kept = [model(x * i) for i in range(5)]
    part = model(x * 5)[7:9, ::2]  # a view keeps the whole result
    wanted = [reference(path, x * i) for i in range(6)]
    for _ in range(4):
        model(-x)
    for got, want in zip(kept, wanted[:5], strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(part, wanted[5][7:9, ::2], rtol=1e-4, atol=1e-6)
    del kept, part, got
    model(x), model(x)
    addresses = {model(x).ctypes.data for _ in range(6)}
    if device_info.unified_memory:
        assert len(addresses) <= 2


def test_an_input_changed_in_place_is_read_again(path: Path, device_info: DeviceInfo) -> None:
    model = load(path, device_info)
    x = np.ones((2048, 32), np.float32)
    first = model(x).copy()
    x *= 0.5
    np.testing.assert_allclose(model(x), reference(path, x), rtol=1e-4, atol=1e-6)
    assert not np.allclose(first, model(x))
