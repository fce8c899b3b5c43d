"""Schedules against Keras's, at every step of interest."""

from __future__ import annotations

from typing import Any

import pytest

from a1400.errors import InputError
from a1400.train import schedules
from tests.train.reference import array, keras

CASES: list[tuple[str, dict[str, Any]]] = [
    ("ExponentialDecay", {"initial_learning_rate": 0.1, "decay_steps": 10, "decay_rate": 0.7}),
    ("ExponentialDecay", {"initial_learning_rate": 0.1, "decay_steps": 7, "decay_rate": 0.5, "staircase": True}),
    ("PiecewiseConstantDecay", {"boundaries": [5, 12], "values": [1.0, 0.5, 0.1]}),
    ("PolynomialDecay", {"initial_learning_rate": 0.1, "decay_steps": 10, "power": 2.0}),
    ("PolynomialDecay", {"initial_learning_rate": 0.1, "decay_steps": 9, "end_learning_rate": 0.01, "cycle": True}),
    ("InverseTimeDecay", {"initial_learning_rate": 0.1, "decay_steps": 4, "decay_rate": 0.5}),
    ("InverseTimeDecay", {"initial_learning_rate": 0.1, "decay_steps": 4, "decay_rate": 0.5, "staircase": True}),
    ("CosineDecay", {"initial_learning_rate": 0.1, "decay_steps": 20, "alpha": 0.1}),
    ("CosineDecay", {"initial_learning_rate": 0.0, "decay_steps": 15, "warmup_target": 0.2, "warmup_steps": 6}),
    ("CosineDecayRestarts", {"initial_learning_rate": 0.1, "first_decay_steps": 5, "m_mul": 0.8, "alpha": 0.05}),
    ("CosineDecayRestarts", {"initial_learning_rate": 0.1, "first_decay_steps": 6, "t_mul": 1.0}),
]


@pytest.mark.parametrize(("name", "config"), CASES, ids=lambda v: v if isinstance(v, str) else "")
def test_rates(name: str, config: dict[str, Any]) -> None:
    ours, theirs = schedules.from_name(name, **config), getattr(keras.optimizers.schedules, name)(**config)
    for step in (0, 1, 3, 4, 5, 6, 7, 9, 10, 12, 13, 16, 20, 31, 50):
        assert ours(step) == pytest.approx(float(array(theirs(step))), rel=2e-5, abs=1e-8), step


def test_config_and_errors() -> None:
    made = schedules.CosineDecay(0.1, 10, warmup_target=0.2, warmup_steps=3)
    assert vars(schedules.CosineDecay(**made.get_config())) == vars(made)
    assert schedules.Constant(0.3)(99) == 0.3
    for wrong in (lambda: schedules.from_name("linear"), lambda: schedules.CosineDecay(0.1, 0)):
        with pytest.raises(InputError):
            wrong()
    with pytest.raises(InputError, match="boundaries"):
        schedules.PiecewiseConstantDecay([1], [0.1])
