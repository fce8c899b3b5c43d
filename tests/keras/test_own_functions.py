"""Losses, metrics, regularizers and cells that users write with ``keras.ops``: the same steps as in Keras."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
from keras import layers, ops

import a1400.keras
from a1400.backends.base import DeviceInfo
from a1400.errors import InputError
from a1400.keras import UnsupportedModel
from a1400.keras.objects import loss_of, metric_of
from tests.keras.forward import check
from tests.keras.test_fit import _pair
from tests.keras.test_masks import train_beside_keras
from tests.train import standin

NUMBERS = np.random.default_rng(3)


def leaning(y_true: Any, y_pred: Any) -> Any:
    """An error that the prediction itself weighs, without a gradient through the weight."""
    weight = ops.stop_gradient(ops.sigmoid(y_pred))
    return ops.mean(weight * ops.square(y_true - y_pred) + ops.where(y_pred > 0.5, 0.1 * y_pred, 0.0), axis=-1)


def closeness(y_true: Any, y_pred: Any, scale: float = 1.0) -> Any:
    return ops.exp(-scale * ops.sum(ops.abs(ops.cast(y_true, "float32") - y_pred), axis=-1))


class Quartic(keras.losses.Loss):
    """A loss as a class, with an argument and a mask of its own."""

    def __init__(self, scale: float, **options: Any) -> None:
        super().__init__(**options)
        self.scale = scale

    def call(self, y_true: Any, y_pred: Any) -> Any:
        error = self.scale * ops.mean((y_true - y_pred) ** 4, axis=-1)
        error._keras_mask = ops.sum(y_true, axis=-1) > 0
        return error


class Fourth(keras.regularizers.Regularizer):
    def __call__(self, x: Any) -> Any:
        return 0.01 * ops.sum(ops.power(x, 4))


def _vectors() -> Any:
    return keras.Sequential([
        keras.Input((5,)), layers.Dense(4, "tanh", kernel_regularizer=Fourth()),
        # no bias of zero, where frameworks differ on the slope of |x|
        layers.Dense(3, activity_regularizer=Fourth(), bias_regularizer=lambda b: 0.1 * ops.sum(ops.abs(b)),
                     bias_initializer="glorot_normal"),
    ])  # fmt: skip


def test_losses_metrics_and_regularizers_of_a_users_own(monkeypatch: pytest.MonkeyPatch) -> None:
    standin.use(monkeypatch)
    x, y = NUMBERS.normal(size=(8, 5)).astype("f"), NUMBERS.integers(-1, 3, (8, 3))
    train_beside_keras(
        _vectors, x, y, None, optimizer="sgd", loss=leaning,
        metrics=[closeness, keras.metrics.MeanMetricWrapper(closeness, name="near", scale=0.5), "mae"],
    )  # fmt: skip
    train_beside_keras(_vectors, x, y.astype("f"), None, optimizer="sgd", loss=Quartic(0.1, reduction="sum"))
    accelerated = a1400.keras.accelerate(_vectors())
    accelerated.compile("sgd", leaning)
    accelerated.train_on_batch(x, y.astype("f"))
    (program,) = accelerated._trainer.runner._programs.values()
    assert not any(node.op == "stop_gradient" for node in program.graph.nodes)  # nothing would be fused across it


class Hits(keras.metrics.Metric):
    """Sums of its own, and metrics of Keras's within."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.inner = keras.metrics.Precision(thresholds=0.4)
        self.hits = self.add_weight(name="hits", shape=(3,), initializer="zeros", dtype="int32")
        self.count = self.add_weight(name="count", initializer="zeros")

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        self.inner.update_state(y_true, ops.sigmoid(y_pred), sample_weight)
        self.hits.assign_add(ops.cast(ops.sum(ops.cast(y_pred > 0.1, "int32") * ops.cast(y_true, "int32"), 0), "int32"))
        self.count.assign(ops.shape(y_true)[0] + self.count)

    def reset_state(self) -> None:
        super().reset_state()
        self.inner.reset_state()

    def result(self) -> Any:
        return {"share": ops.sum(ops.cast(self.hits, "float32")) / self.count, "inner": self.inner.result()}


class Largest(keras.metrics.Metric):
    def __init__(self) -> None:
        super().__init__(name="largest")
        self.top = self.add_weight(name="top", initializer="zeros")

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        self.top.assign(ops.maximum(self.top, ops.max(y_pred)))


def test_metrics_with_variables_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    standin.use(monkeypatch)
    x, y = NUMBERS.normal(size=(8, 5)).astype("f"), NUMBERS.integers(0, 2, (8, 3)).astype("f")
    plain, accelerated = _pair(
        _vectors, optimizer="sgd", loss="mse", metrics=lambda: [Hits(), "mae"], weighted_metrics=lambda: ["mae"]
    )
    options = {"batch_size": 3, "epochs": 2, "shuffle": False, "verbose": 0, "validation_split": 0.25}
    mine, theirs = (m.fit(x, y, **options).history for m in (accelerated, plain))
    assert set(mine) == set(theirs) >= {"share", "val_inner", "weighted_mae"}
    for name, values in theirs.items():
        np.testing.assert_allclose(mine[name], values, rtol=1e-4, atol=1e-6, err_msg=name)
    accelerated.compile("sgd", "mse", metrics=[Largest()])
    with pytest.raises(InputError, match="'largest' does something else to its variable 'top' than to add"):
        accelerated.fit(x, y, verbose=0)


def test_names_and_what_is_refused() -> None:
    assert metric_of(closeness).name == "closeness"  # type: ignore[union-attr]
    assert loss_of(Quartic(1.0, name="fourth")).name == "fourth"
    rate = metric_of(keras.metrics.PrecisionAtRecall(0.4, num_thresholds=5, name="best"))
    assert rate.name == "best" and rate.least == 0.4 and len(rate.thresholds) == 5  # type: ignore[union-attr]
    for given in (
        keras.metrics.MeanIoU(3), keras.metrics.OneHotIoU(3, [1]), keras.metrics.BinaryIoU(), keras.losses.Circle(),
        keras.metrics.LogCoshError(), keras.metrics.PearsonCorrelation(),
    ):  # fmt: skip
        made = loss_of(given) if isinstance(given, keras.losses.Loss) else metric_of(given)
        assert type(made).__name__ == type(given).__name__
        assert isinstance(given, keras.losses.Loss) or made.name == given.name  # type: ignore[union-attr]

    class Counting(keras.metrics.Metric):
        pass

    with pytest.raises(InputError, match="'Counting' is neither a function nor a class with an update_state"):
        metric_of(Counting())
    with pytest.raises(InputError, match="neither one of Keras's own nor a function"):
        loss_of(3)
    learned, x = keras.Variable(1.0), np.zeros((2, 5), "f")
    for loss, text in (
        (lambda t, p: ops.mean(p * learned), "reads a variable"), (lambda t, p: ops.sinc(p), r"sinc.*\(Sinc\)"),
        (lambda t, p: p * keras.random.normal(ops.shape(p)), "draws random numbers"),
    ):  # fmt: skip
        accelerated = a1400.keras.accelerate(_vectors())
        accelerated.compile("sgd", loss)
        with pytest.raises(UnsupportedModel, match=text):
            accelerated.train_on_batch(x, np.zeros((2, 3), "f"))


def test_sequences_are_labelled_with_ctc_as_in_keras(device_info: DeviceInfo) -> None:
    def labeller() -> Any:
        return keras.Sequential([keras.Input((9, 4)), layers.GRU(5, return_sequences=True), layers.Dense(4)])

    def own(y_true: Any, y_pred: Any) -> Any:
        lengths, times = ops.sum(ops.cast(y_true > 0, "int32"), axis=-1), 0 * ops.argmax(y_pred[:, 0], -1) + 7
        return ops.ctc_loss(ops.cast(y_true, "int32"), y_pred, lengths, ops.cast(times, "int32"))

    x = NUMBERS.normal(size=(5, 9, 4)).astype("f")
    y = np.array([[1, 2, 3, 1], [2, 2, 2, 0], [3, 0, 0, 0], [0, 0, 0, 0], [1, 1, 3, 0]], "i4")
    for loss in (keras.losses.CTC(), own):
        train_beside_keras(labeller, x, y, device_info.id, optimizer="adam", loss=loss)


class Leaky(layers.Layer):
    """A cell whose output is not its state, and which begins elsewhere than at zero."""

    def __init__(self, units: int, **options: Any) -> None:
        super().__init__(**options)
        self.state_size, self.output_size = [units, units], units + 1
        self.inner = layers.Dense(units)

    def build(self, shape: Any) -> None:
        self.inner.build((shape[0], shape[-1] + self.state_size[0]))
        self.last = self.add_weight(shape=(self.state_size[0], self.output_size), name="last")

    def get_initial_state(self, batch_size: Any = None) -> Any:
        return [ops.ones((batch_size, n)) * 0.5 for n in self.state_size]

    def call(self, inputs: Any, states: Any, training: bool = False) -> Any:
        slow, fast = states
        new = ops.tanh(self.inner(ops.concatenate([inputs, fast], -1)))
        slow = 0.9 * slow + 0.1 * new
        return ops.matmul(slow * new, self.last), [slow, new]


class Wrapped(layers.Layer):
    """A cell around one of Keras's."""

    def __init__(self, units: int, **options: Any) -> None:
        super().__init__(**options)
        self.state_size = [units, units]
        self.cell = layers.LSTMCell(units)

    def build(self, shape: Any) -> None:
        self.cell.build(shape)

    def call(self, inputs: Any, states: Any) -> Any:
        output, states = self.cell(inputs, states)
        return output + ops.mean(inputs, -1, keepdims=True), states


def test_cells_of_a_users_own(monkeypatch: pytest.MonkeyPatch) -> None:
    x = keras.Input((4, 3))
    every = layers.RNN([layers.GRUCell(2), Leaky(3), Wrapped(2)], return_sequences=True, return_state=True)(x)
    check(keras.Model(x, [*every, layers.RNN(Leaky(2), go_backwards=True)(x)]))
    standin.use(monkeypatch)
    tokens = np.array([[1, 2, 0, 3], [0, 0, 0, 0], [2, 1, 3, 0]])

    def masked() -> Any:
        return keras.Sequential([
            keras.Input((4,), dtype="int32"), layers.Embedding(4, 3, mask_zero=True), layers.RNN(Leaky(3))
        ])  # fmt: skip

    train_beside_keras(masked, tokens, NUMBERS.normal(size=(3, 4)).astype("f"), None, optimizer="sgd", loss="mse")
