"""What is not supported is named, with its layer, before anything runs: all of it in one message."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
from keras import layers

import a1400.keras
from a1400.keras import UnsupportedModel


class Doubled(layers.Layer):
    """A layer of a user's own, with an operation that has no counterpart."""

    def call(self, x: Any) -> Any:
        return keras.ops.sinc(x * 2)


class Peeking(layers.Layer):
    """One that reads its variable behind the back of ``keras.ops``."""

    def build(self, shape: Any) -> None:
        self.scale = keras.Variable(1.0, name="scale")

    def call(self, x: Any) -> Any:
        return x * float(self.scale)


class Bounded(keras.constraints.Constraint):
    """A constraint of a user's own."""


def test_every_layer_that_is_refused_is_named_at_once() -> None:
    keras.utils.clear_session()  # operations are numbered over all tests
    x = keras.Input((6,), batch_size=2, dtype="int32")
    y = layers.Embedding(5, 4, name="words")(x)
    y = layers.LSTM(4, stateful=True, return_sequences=True, name="keeps")(layers.Masking()(y))
    y = Peeking(name="peeks")(Doubled(name="mine")(y))
    y = layers.LSTM(3, stateful=False, name="fine")(y, mask=None)
    inner = keras.Sequential([keras.Input((3,)), layers.Dense(3, activation=lambda v: v, name="odd")], name="inner")
    y = layers.Dense(2, kernel_constraint=Bounded(), name="bound")(inner(y))
    with pytest.raises(UnsupportedModel) as error:
        a1400.keras.accelerate(keras.Model(x, y, name="net"))
    text = str(error.value)
    named = ("keeps (LSTM): stateful", "mine/sinc (Sinc)", "peeks (Peeking)", "inner/odd (Dense): its activation")
    for part in (*named, "Bounded"):
        assert part in text, text
    assert "fine" not in text and "'net'" in text


def test_what_comes_behind_a_layer_of_unknown_shape_is_not_guessed() -> None:
    class Unknown(layers.Layer):
        def call(self, x: Any) -> Any:
            return keras.ops.heaviside(x, 0.5)  # whose shape Keras cannot tell for a number

    x = keras.Input((6,))
    with pytest.raises(UnsupportedModel, match=r"\(Heaviside\)(.|\n)*could not be looked at"):
        a1400.keras.accelerate(keras.Model(x, layers.Dense(2)(Unknown()(x))))


class Counting(keras.metrics.Metric):
    """A metric of a user's own that is no function."""


class Own(keras.optimizers.Optimizer):
    """An optimizer of a user's own."""


def test_losses_metrics_and_optimizers_are_named_at_once() -> None:
    accelerated = a1400.keras.accelerate(keras.Sequential([keras.Input((3,)), layers.Dense(2)]))
    with pytest.raises(UnsupportedModel) as error:
        accelerated.compile(
            Own(0.1), loss=3, metrics=["mse", Counting(), keras.metrics.AUC(multi_label=True)]
        )
    text = str(error.value)
    assert "optimizer: the optimizer 'Own' is not one of Keras's own" in text
    assert "the loss" in text and "'Counting'" in text and "several labels" in text


def test_other_dtypes_and_other_models_are_refused() -> None:
    with pytest.raises(UnsupportedModel, match="computes in float16"):
        a1400.keras.accelerate(keras.Sequential([keras.Input((3,)), layers.Dense(2, dtype="mixed_float16")]))
    with pytest.raises(UnsupportedModel, match="no Keras model but a int"):
        a1400.keras.accelerate(3)

    class Own(keras.Model):
        def call(self, x: Any) -> Any:
            return keras.ops.sinc(x)

    with pytest.raises(UnsupportedModel, match=r"sinc.*Sinc"):
        a1400.keras.accelerate(Own()).predict(np.ones((2, 3), "f"), verbose=0)
