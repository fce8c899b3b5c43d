"""Callbacks: what they decide on given curves, what they write, what they remember."""

from __future__ import annotations

import csv
import struct
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from a1400.errors import InputError
from a1400.train.callbacks import (
    Callback,
    CallbackList,
    EarlyStopping,
    LearningRateScheduler,
    ModelCheckpoint,
    ReduceLROnPlateau,
)
from a1400.train.loggers import CSVLogger, TensorBoard
from a1400.train.trainer import Trainer
from tests.train.networks import digits, mlp


def watched(callback: Any, curve: list[float], name: str = "val_loss") -> SimpleNamespace:
    """``callback`` over epochs whose ``name`` is ``curve``; a trainer's stand-in with what it was told to do."""
    trainer = SimpleNamespace(stop_training=False, learning_rate=1.0, epochs=0, rates=[], put=None)
    trainer.weights = lambda: {"w": np.array([float(trainer.epochs)])}
    trainer.set_weights = lambda weights: setattr(trainer, "put", weights)
    callback.set_trainer(trainer)
    callback.on_train_begin({})
    for epoch, value in enumerate(curve):
        trainer.epochs = epoch
        callback.on_epoch_end(epoch, {name: value})
        trainer.rates.append(trainer.learning_rate)
        if trainer.stop_training:
            break
    callback.on_train_end({})
    return trainer


@pytest.mark.parametrize(
    ("options", "curve", "last"),
    [
        ({}, [3, 2, 2.5, 1], 2),
        ({"patience": 2}, [3, 2, 2.5, 1, 1.5, 1.2, 1.1], 5),
        ({"patience": 2, "min_delta": 0.5}, [3, 2.8, 2.6, 2.4], 2),
        ({"patience": 1, "start_from_epoch": 3}, [1, 2, 3, 2, 3, 2], 4),
        ({"patience": 2, "baseline": 0.5}, [3, 2, 2.5, 1], 2),
        ({"mode": "max", "patience": 1}, [1, 2, 1.5, 3], 2),
    ],
)
def test_early_stopping(options: dict[str, Any], curve: list[float], last: int) -> None:
    callback = EarlyStopping(**options)
    trainer = watched(callback, curve)
    assert trainer.stop_training and trainer.epochs == callback.stopped_epoch == last


def test_early_stopping_puts_the_best_weights_back() -> None:
    callback = EarlyStopping("val_accuracy", patience=2, restore_best_weights=True)
    trainer = watched(callback, [0.1, 0.7, 0.6, 0.5, 0.9], "val_accuracy")
    assert trainer.epochs == 3 and trainer.put["w"] == 1


def test_a_number_that_is_not_there_is_named() -> None:
    with pytest.warns(UserWarning, match="watches 'val_loss', but there is only loss"):
        assert not watched(EarlyStopping(), [1, 2], "loss").stop_training


def test_the_learning_rate_falls_on_a_plateau() -> None:
    callback = ReduceLROnPlateau(factor=0.5, patience=2, cooldown=1, min_lr=0.2)
    assert watched(callback, [1, 1, 1, 1, 1, 1, 1, 0.5, 0.5, 0.5, 0.5]).rates == [
        1, 1, 0.5, 0.5, 0.25, 0.25, 0.2, 0.2, 0.2, 0.2, 0.2,
    ]  # fmt: skip


def test_callbacks_that_save_come_last_and_foreign_ones_get_the_model() -> None:
    calls: list[str] = []

    class Foreign:
        def set_model(self, model: Any) -> None:
            calls.append(f"model {model}")

        def on_epoch_end(self, epoch: int, logs: Any) -> None:
            calls.append("foreign")

    class Saver(Callback):
        saves = True

        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            calls.append("saver")

    trainer: Any = SimpleNamespace()
    made = CallbackList([Saver(), Foreign()], trainer, "the model", {})
    made.call("epoch_begin", 0, {})
    made.call("epoch_end", 0, {})
    assert calls == ["model the model", "foreign", "saver"]


def test_memories_go_to_callbacks_of_their_class_in_order() -> None:
    trainer: Any = SimpleNamespace()
    before = [EarlyStopping("loss"), ReduceLROnPlateau(), EarlyStopping("val_loss")]
    before[0].best, before[2].best = 1.0, 2.0
    state = CallbackList(before, trainer, None, {}).state()
    after = [EarlyStopping("loss"), EarlyStopping("val_loss")]
    CallbackList(after, trainer, None, {}).restore(state)
    assert [c.best for c in after] == [1.0, 2.0]


def trained(epochs: int = 2, **more: Any) -> Trainer:
    x, y = digits()
    trainer = Trainer(mlp(), "sparse_categorical_crossentropy", metrics=["accuracy"], seed=1)
    trainer.fit(x[:96], y[:96], epochs=epochs, verbose=0, validation_split=0.25, **more)
    return trainer


@pytest.mark.usefixtures("on_numpy")
def test_a_schedule_sets_each_epochs_rate() -> None:
    seen: list[float] = []

    class Look(Callback):
        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            seen.append(self.trainer.learning_rate)

    trained(3, callbacks=[LearningRateScheduler(lambda epoch, rate: rate * 0.5), Look()])
    assert seen == [0.0005] * 3 + [0.00025] * 3 + [0.000125] * 3


@pytest.mark.usefixtures("on_numpy")
def test_csv_rows_are_the_history(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    history = trained(callbacks=[CSVLogger(path)]).history
    with open(path, newline="") as file:
        rows = list(csv.DictReader(file))
    assert [r["epoch"] for r in rows] == ["0", "1"]
    for name, values in history.history.items():
        assert [float(r[name]) for r in rows] == values


@pytest.mark.usefixtures("on_numpy")
def test_tensorboard_reads_the_curves(tmp_path: Path) -> None:
    from tensorboardX.proto.event_pb2 import Event

    history = trained(callbacks=[TensorBoard(tmp_path, update_freq=2)]).history.history
    found: dict[tuple[str, str, int], float] = {}
    for kind in ("train", "validation"):
        (path,) = (tmp_path / kind).iterdir()
        data = path.read_bytes()
        while data:  # TFRecord: length, its checksum, the event, its checksum
            (length,) = struct.unpack("<Q", data[:8])
            event = Event.FromString(data[12 : 12 + length])
            found.update({(kind, v.tag, event.step): v.simple_value for v in event.summary.value})
            data = data[16 + length :]
    for name, values in history.items():
        kind = "validation" if name.startswith("val_") else "train"
        got = [found[kind, f"epoch_{name.removeprefix('val_')}", epoch] for epoch in range(2)]
        np.testing.assert_allclose(got, values, rtol=1e-6)
    assert {step for _, tag, step in found if tag == "batch_loss"} == {2, 4, 6}


@pytest.mark.usefixtures("on_numpy")
def test_checkpoints_of_epochs_and_of_the_best(tmp_path: Path) -> None:
    each = ModelCheckpoint(tmp_path / "{epoch:02d}-{val_loss:.3f}.safetensors")
    steps = ModelCheckpoint(tmp_path / "step", save_freq=4)
    best = ModelCheckpoint(tmp_path / "best", save_best_only=True)
    losses = trained(3, callbacks=[each, steps, best]).history.history["val_loss"]
    assert losses == sorted(losses, reverse=True), "the network is meant to learn here"
    names = {p.name for p in tmp_path.iterdir()}
    assert names == {"step", "best", *(f"{i + 1:02d}-{loss:.3f}.safetensors" for i, loss in enumerate(losses))}
    again = Trainer(mlp(), "sparse_categorical_crossentropy", metrics=["accuracy"])
    again.resume(tmp_path / "step")
    assert (again.step, again.epoch, again.batch) == (8, 2, 2)
    again.resume(tmp_path / "best")
    assert (again.step, again.epoch, again.batch) == (9, 3, 0) and again.history.history["val_loss"] == losses
    with pytest.raises(InputError, match="filepath names 'nothing'"):
        trained(1, callbacks=[ModelCheckpoint(tmp_path / "{nothing}")])
