"""The trainer on each device: curves against the NumPy references, same bits twice, and after a kill."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest

from a1400.backends.base import DeviceInfo
from a1400.errors import NonFiniteError
from a1400.train import optimizers
from a1400.train.callbacks import Callback
from a1400.train.constraints import MaxNorm
from a1400.train.losses import SparseCategoricalCrossentropy
from a1400.train.onnx_network import OnnxNetwork
from a1400.train.optimizers import SGD
from a1400.train.trainer import Trainer
from tests.train import standin
from tests.train.networks import digits, mlp, onnx_cnn

LOSS = "sparse_categorical_crossentropy"


def trainer(network: Any, device: str | None, **more: Any) -> Trainer:
    return Trainer(network, LOSS, "adam", ["accuracy"], device=device, seed=5, **more)


def pictures(count: int) -> tuple[np.ndarray, np.ndarray]:
    x, y = digits()
    return x[:count].reshape(-1, 1, 8, 8), y[:count]


def test_curves_are_those_of_the_references(device_info: DeviceInfo, monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = digits()
    arguments: dict[str, Any] = {"epochs": 3, "verbose": 0, "validation_data": (x[400:450], y[400:450])}
    runs = [trainer(mlp(dropout=0.1), device_info.id) for _ in range(2)]
    curves = [run.fit(x[:200], y[:200], **arguments).history for run in runs]
    assert curves[0] == curves[1]
    for name, array in runs[0].weights().items():
        assert np.array_equal(array, runs[1].weights()[name]), f"{name}: the same seed gave other bits"
    standin.use(monkeypatch)
    wanted = trainer(mlp(dropout=0.1), None).fit(x[:200], y[:200], **arguments).history
    for name, values in wanted.items():
        np.testing.assert_allclose(curves[0][name], values, rtol=1e-4, err_msg=name)


def test_an_onnx_model_learns_and_runs_elsewhere(device_info: DeviceInfo, tmp_path: Path) -> None:
    x, y = pictures(320)
    network = OnnxNetwork(onnx_cnn(), freeze=["conv.b"])
    assert list(network.parameters) == ["conv.w", "norm.scale", "norm.shift", "top.w", "top.b"]
    made = trainer(network, device_info.id)
    made.learning_rate = 0.02
    history = made.fit(x[:256], y[:256], batch_size=64, epochs=5, verbose=0).history
    assert history["loss"][-1] < 0.5 * history["loss"][0] and history["accuracy"][-1] > 0.8
    assert not np.array_equal(made.weights()["norm.mean"], np.zeros(8))
    made.export(tmp_path / "trained.onnx")
    session = onnxruntime.InferenceSession(str(tmp_path / "trained.onnx"), providers=["CPUExecutionProvider"])
    np.testing.assert_allclose(made.predict(x), session.run(None, {"x": x})[0], rtol=1e-4, atol=1e-5)


def test_losses_of_an_exported_model_are_pytorchs(device_info: DeviceInfo, tmp_path: Path) -> None:
    """Embeddings of pixels, LayerNorm, attention, GELU and a residual, trained by both for eight steps."""
    import torch
    from torch import nn

    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed, self.place = nn.Linear(8, 16), nn.Parameter(torch.randn(8, 16) * 0.1)
            self.norm, self.attention = nn.LayerNorm(16), nn.MultiheadAttention(16, 2, batch_first=True)
            self.wide, self.narrow, self.top = nn.Linear(16, 32), nn.Linear(32, 16), nn.Linear(16, 10)

        def forward(self, x: Any) -> Any:
            h = self.embed(x) + self.place
            n = self.norm(h)
            h = h + self.attention(n, n, n, need_weights=False)[0]
            h = h + self.narrow(nn.functional.gelu(self.wide(h)))
            return self.top(h.mean(1))

    torch.manual_seed(0)
    model = Block().eval()
    nn.init.normal_(model.attention.out_proj.bias, std=0.1)  # the exporter leaves out a bias of zeros
    x, y = digits()
    rows = [(torch.tensor(x[i : i + 24].reshape(-1, 8, 8)), torch.tensor(y[i : i + 24])) for i in range(0, 192, 24)]
    path = tmp_path / "block.onnx"
    torch.onnx.export(
        model, (rows[0][0],), path, dynamo=True, input_names=["x"], output_names=["y"],
        dynamic_shapes=({0: torch.export.Dim("n")},), verbose=False,
    )  # fmt: skip
    loss = SparseCategoricalCrossentropy(from_logits=True)
    made = Trainer(path, loss, SGD(0.5, momentum=0.9), device=device_info.id)
    assert sum(a.size for a in made.weights().values()) == sum(p.numel() for p in model.parameters())
    optimizer, wanted = torch.optim.SGD(model.parameters(), 0.5, 0.9), []
    for row, classes in rows:
        optimizer.zero_grad()
        value = nn.functional.cross_entropy(model(row), classes)
        value.backward()
        optimizer.step()
        wanted.append(value.item())
    got = [made.train_on_batch(*row)["loss"] for row in rows]
    np.testing.assert_allclose(got, wanted, rtol=1e-4)


def test_the_layer_that_gives_nan_first_is_named(device_info: DeviceInfo) -> None:
    x, y = pictures(64)
    network = OnnxNetwork(onnx_cnn())
    network.parameters["norm.scale"][3] = 3e38  # overflows where the normalised picture is above 1.13
    made = trainer(network, device_info.id)
    before = made.runner.tensors()
    with pytest.raises(NonFiniteError, match=r"the loss of step 1 \(epoch 1\) .* it begins in norm \(operation"):
        made.fit(x, y, verbose=0)
    for name, array in made.runner.tensors().items():
        assert np.array_equal(array, before[name]), name


class Wait(Callback):
    """After so many steps, tell the parent and wait to be killed."""

    def __init__(self, step: int, path: Path) -> None:
        self._step, self._path = step, path

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Perhaps wait."""
        if self.trainer.step == self._step:
            self._path.write_text("ready")
            time.sleep(60)


def train(device: str, checkpoint: Path, extra: tuple[Any, ...] = ()) -> Trainer:
    """Three epochs of seven steps, saved every second step; goes on from ``checkpoint`` where there is one."""
    x, y = digits()
    made = trainer(mlp(dropout=0.1), device)
    if checkpoint.exists():
        made.resume(checkpoint)
    made.fit(x[:200], y[:200], epochs=3, verbose=0, checkpoint=checkpoint, checkpoint_every=2, callbacks=extra)
    return made


def test_a_killed_run_resumes_to_the_same_weights(device_info: DeviceInfo, tmp_path: Path) -> None:
    checkpoint, ready = tmp_path / "run", tmp_path / "ready"
    child = subprocess.Popen(
        [sys.executable, "-c", "import sys; from tests.train.test_on_devices import main; main(*sys.argv[1:])",
         device_info.id, str(checkpoint), str(ready)],
        cwd=Path(__file__).parents[2],
    )  # fmt: skip
    deadline = time.monotonic() + 120
    while not ready.exists() and child.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)
    assert ready.exists(), f"the child ended with {child.poll()}"
    os.kill(child.pid, signal.SIGKILL)
    assert child.wait() == -signal.SIGKILL
    resumed = train(device_info.id, checkpoint)
    straight = train(device_info.id, tmp_path / "other")
    assert resumed.step == straight.step == 21 and resumed.history.history == straight.history.history
    for name, array in straight.runner.tensors().items():
        assert np.array_equal(array, resumed.runner.tensors()[name]), name


def main(device: str, checkpoint: str, ready: str) -> None:
    """What the child does: dies in the middle of the second epoch, one step after it saved."""
    train(device, Path(checkpoint), (Wait(11, Path(ready)),))


def test_a_run_resumed_amid_gathered_gradients_gives_the_same_bits(device_info: DeviceInfo, tmp_path: Path) -> None:
    """Three batches make a step; the file is written after the first of them, and the run breaks off at the next."""

    class Broken(Exception):
        pass

    class Break(Callback):
        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            if self.trainer.step == 5:
                raise Broken

    x, y = (part[:64] for part in digits())
    path, given = tmp_path / "run", {"batch_size": 16, "epochs": 3, "verbose": 0}
    straight, broken, resumed = (
        Trainer(mlp(8, 0.1), LOSS, "adam", device=device_info.id, seed=5, gradient_accumulation_steps=3)
        for _ in range(3)
    )
    curve = straight.fit(x, y, **given).history
    with pytest.raises(Broken):
        broken.fit(x, y, checkpoint=path, checkpoint_every=4, callbacks=[Break()], **given)
    resumed.resume(path)
    assert resumed.step == 4 and any(np.any(a) for n, a in resumed.runner.tensors().items() if "accumul" in n)
    assert resumed.fit(x, y, **given).history == curve and resumed.step == straight.step == 12
    for name, array in straight.runner.tensors().items():
        assert np.array_equal(array, resumed.runner.tensors()[name]), name


@pytest.mark.parametrize("name", ["Muon", "Adafactor"])
def test_gathered_and_constrained_steps_on_the_device(
    name: str, device_info: DeviceInfo, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two batches make a step, parameters are stepped one by one and held in bounds: as with NumPy."""
    x, y = (part[:64] for part in digits())
    found = []
    for where in (device_info.id, None):
        if where is None:
            standin.use(monkeypatch)
        optimizer = optimizers.from_name(name, learning_rate=0.05, clipnorm=0.5)
        trainer = Trainer(
            mlp(8), "sparse_categorical_crossentropy", optimizer, device=where, gradient_accumulation_steps=2,
            constraints={"w*": MaxNorm(1.0), "b2": "non_neg"},
        )  # fmt: skip
        history = trainer.fit(x, y, batch_size=16, epochs=2, verbose=0)
        assert trainer.step == 8 and np.linalg.norm(trainer.weights()["w1"], axis=0).max() <= 1.0001
        found.append((history.history["loss"], trainer.weights()))
    (losses, weights), (wanted, theirs) = found
    np.testing.assert_allclose(losses, wanted, rtol=1e-5)
    for weight, array in theirs.items():
        np.testing.assert_allclose(weights[weight], array, rtol=2e-4, atol=2e-5, err_msg=weight)
