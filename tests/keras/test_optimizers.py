"""Keras's optimizers: half a run here and half in plain Keras is a run in plain Keras, whichever half comes first."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers, optimizers

import a1400.keras
from tests.train import standin

LOSS = keras.losses.SparseCategoricalCrossentropy(from_logits=True)


@keras.saving.register_keras_serializable()
class Halving(optimizers.schedules.LearningRateSchedule):
    """A user's own schedule."""

    def __call__(self, step: Any) -> Any:
        return 0.1 * 0.5 ** keras.ops.cast(step, "float32")

    def get_config(self) -> dict[str, Any]:
        return {}


OPTIMIZERS: dict[str, Any] = {
    "SGD": lambda: optimizers.SGD(0.05, momentum=0.9, loss_scale_factor=8.0),
    "SGD with a schedule": lambda: optimizers.SGD(Halving(), momentum=0.9, nesterov=True),
    "Adam": lambda: optimizers.Adam(0.02, use_ema=True, ema_momentum=0.8, ema_overwrite_frequency=4),
    "AdamW": lambda: optimizers.AdamW(0.02, weight_decay=0.1, gradient_accumulation_steps=2, clipnorm=0.1),
    "Adamax": lambda: optimizers.Adamax(0.02),
    "Nadam": lambda: optimizers.Nadam(0.02),
    "RMSprop": lambda: optimizers.RMSprop(0.01, momentum=0.5, centered=True),
    "Adagrad": lambda: optimizers.Adagrad(0.1),
    "Adadelta": lambda: optimizers.Adadelta(1.0),
    "Adafactor": lambda: optimizers.Adafactor(0.05),
    "Ftrl": lambda: optimizers.Ftrl(0.1),
    "Lion": lambda: optimizers.Lion(0.005, gradient_accumulation_steps=3, use_ema=True, ema_momentum=0.7),
    "Lamb": lambda: optimizers.Lamb(0.05, weight_decay=0.01),
    "Muon": lambda: optimizers.Muon(0.02, exclude_layers=["top"], weight_decay=0.1),
    "ScheduleFreeAdamW": lambda: optimizers.ScheduleFreeAdamW(0.02, warmup_steps=4),
    "MultiOptimizer": lambda: optimizers.MultiOptimizer(optimizers.OptimizerMap(
        optimizers.SGD(0.05, momentum=0.9, weight_decay=0.1),
        {".*conv.*kernel": optimizers.Adam(0.02, clipnorm=0.1), ".*bias": optimizers.Nadam(Halving())},
    )),
    "LossScaleOptimizer": lambda: optimizers.LossScaleOptimizer(
        optimizers.Adam(0.02), initial_scale=16.0, dynamic_growth_steps=3
    ),
}


def _model() -> Any:
    """Weights of one, two and four axes, some with constraints."""
    keras.utils.set_random_seed(2)
    return keras.Sequential(
        [
            keras.Input((4, 4, 2)),
            layers.Conv2D(4, 3, activation="tanh", kernel_constraint=keras.constraints.MaxNorm(0.8, [0, 1, 2])),
            layers.Flatten(),
            layers.Dense(6, "tanh", kernel_constraint=keras.constraints.MinMaxNorm(0.4, 0.9, 0.3)),
            layers.Dense(3, kernel_constraint="unit_norm", bias_constraint="non_neg", name="top"),
        ]
    )


def _small() -> Any:
    """One matrix, for optimizers that treat every element alike."""
    keras.utils.set_random_seed(2)
    return keras.Sequential([keras.Input((4, 4, 2)), layers.Flatten(), layers.Dense(3, name="top")])


def _batches(count: int) -> list[tuple[np.ndarray, np.ndarray]]:
    numbers = np.random.default_rng(5)
    return [(numbers.normal(size=(8, 4, 4, 2)).astype("f"), numbers.integers(0, 3, 8)) for _ in range(count)]


def _losses(model: Any, batches: list[Any]) -> list[float]:
    return [float(np.ravel(model.train_on_batch(x, y))[0]) for x, y in batches]


def _variables(model: Any) -> list[np.ndarray]:
    return [np.asarray(keras.ops.convert_to_numpy(v)) for v in model.optimizer.variables]


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_run_may_change_hands(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Five steps here, five in plain Keras from the file, and five here again from the next file."""
    standin.use(monkeypatch)
    make = _model if name in ("Adafactor", "Adam", "AdamW", "Lamb", "MultiOptimizer", "Muon") else _small
    plain, model = make(), make()
    model.set_weights(plain.get_weights())
    for one in (plain, model):
        one.compile(OPTIMIZERS[name](), LOSS)
    batches, found = _batches(15), []
    wanted = _losses(plain, batches)
    for part in range(3):
        if part:
            model = keras.saving.load_model(tmp_path / "part.keras")
        one = model if part == 1 else a1400.keras.accelerate(model)
        found += _losses(one, batches[5 * part : 5 * part + 5])
        one.save(tmp_path / "part.keras")
    np.testing.assert_allclose(found, wanted, rtol=2e-6, atol=1e-6)
    for mine, theirs in zip(model.get_weights(), plain.get_weights()):
        np.testing.assert_allclose(mine, theirs, rtol=2e-5, atol=2e-6)
    mine, theirs = _variables(model), _variables(plain)
    assert len(mine) == len(theirs)
    if name != "Adafactor":  # Keras keeps an array of what it computes from two others at each step
        for one, other in zip(mine, theirs):
            np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-6)


def test_parameters_left_out_of_weight_decay(monkeypatch: pytest.MonkeyPatch) -> None:
    standin.use(monkeypatch)
    plain, model = _model(), _model()
    model.set_weights(plain.get_weights())
    for one in (plain, model):
        optimizer = optimizers.SGD(0.1, weight_decay=0.5)
        optimizer.exclude_from_weight_decay(var_list=[one.layers[-1].kernel], var_names=["bias"])
        one.compile(optimizer, LOSS)
    batches = _batches(3)
    accelerated = a1400.keras.accelerate(model)
    np.testing.assert_allclose(_losses(accelerated, batches), _losses(plain, batches), rtol=2e-6)
    assert {layout.name for layout in accelerated._trainer.runner.steps.layouts} == {
        "float32:constrained", "float32:no decay", "float32:no decay constrained",
    }  # fmt: skip


def test_frozen_layers_keep_what_the_optimizer_remembers_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    standin.use(monkeypatch)
    plain, model = _model(), _model()
    model.set_weights(plain.get_weights())
    accelerated, batches, found = a1400.keras.accelerate(model), _batches(6), []
    for one, wrapped in ((plain, plain), (model, accelerated)):
        optimizer, losses = optimizers.Adam(0.02), []
        for part in range(3):  # all are trained, the first is not, all are
            one.layers[0].trainable = part != 1
            wrapped.compile(optimizer, LOSS)
            losses += _losses(wrapped, batches[2 * part : 2 * part + 2])
        found.append(losses)
    np.testing.assert_allclose(found[1], found[0], rtol=2e-6)
    for mine, theirs in zip(_variables(accelerated.model), _variables(plain)):
        np.testing.assert_allclose(mine, theirs, rtol=1e-4, atol=1e-6)
