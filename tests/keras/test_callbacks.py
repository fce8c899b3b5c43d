"""Callbacks that put other weights in the model's place, end a run, or are asked once in several steps."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest

import a1400.keras
from a1400.errors import InputError
from a1400.keras import UnsupportedModel
from tests.keras.test_fit import _data, _pair, _same_history, _same_weights, _small
from tests.train import standin


@pytest.fixture(autouse=True)
def numpy_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Programs run through the NumPy references."""
    standin.use(monkeypatch)


def _entropy() -> Any:
    return keras.losses.SparseCategoricalCrossentropy(from_logits=True)


@pytest.mark.parametrize("each_epoch", [False, True])
def test_averages_are_swapped_in_for_validation(each_epoch: bool) -> None:
    x, y = _data()
    plain, accelerated = _pair(
        optimizer=lambda: keras.optimizers.SGD(0.1, momentum=0.9, use_ema=True, ema_momentum=0.8), loss=_entropy()
    )
    histories = [
        model.fit(
            x, y, batch_size=16, epochs=3, shuffle=False, verbose=0, validation_data=(x, y),
            callbacks=[keras.callbacks.SwapEMAWeights(swap_on_epoch=each_epoch)],
        )
        for model in (accelerated, plain)
    ]  # fmt: skip
    _same_history(*histories)
    _same_weights(plain, accelerated)


def test_terminate_on_nan_ends_the_run_in_place_of_an_error() -> None:
    x, y = _data()
    accelerated = a1400.keras.accelerate(_small())
    accelerated.compile(keras.optimizers.SGD(1e30), _entropy())
    with pytest.warns(UserWarning, match="held NaN or infinity: it begins in dense"):
        history = accelerated.fit(
            x, y, batch_size=8, epochs=3, shuffle=False, verbose=0, callbacks=[keras.callbacks.TerminateOnNaN()]
        )
    assert history.epoch == [0] and np.isnan(history.history["loss"][0])
    assert all(np.isfinite(w).all() for w in accelerated.get_weights())  # those before that step


def test_callbacks_are_asked_once_an_execution() -> None:
    x, y = _data()
    seen: list[Any] = []

    class Seeing(keras.callbacks.Callback):
        def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
            seen.append(batch)

        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            seen.append((batch, int(self.model.optimizer.iterations)))

        def on_test_batch_end(self, batch: int, logs: Any = None) -> None:
            seen.append(batch)

        def on_predict_batch_end(self, batch: int, logs: Any = None) -> None:
            seen.append((batch, logs["outputs"].shape))

    accelerated = a1400.keras.accelerate(_small())
    accelerated.compile("sgd", _entropy(), steps_per_execution=2)
    accelerated.fit(x, y, batch_size=16, verbose=0, callbacks=[Seeing()])
    accelerated.evaluate(x, y, batch_size=8, verbose=0, callbacks=[Seeing()])
    whole = accelerated.predict(x, batch_size=16, verbose=0, callbacks=[Seeing()])
    assert whole.shape == (40, 3)
    # as Keras counts where steps are left over: the number of the last step that the execution might have had
    assert [s for s in seen if not isinstance(s, tuple)] == [0, 2, 1, 3, 5]
    assert [s for s in seen if isinstance(s, tuple)][2:] == [(1, (32, 3)), (3, (8, 3))]
    assert [s[0] for s in seen if isinstance(s, tuple)][:2] == [1, 3]


def test_what_is_wrong_with_an_argument_is_told_in_a_sentence() -> None:
    x, y = _data()
    accelerated = a1400.keras.accelerate(_small())
    for given, text in (
        ("twice", "'twice'; give a number"), ([1.0, 2.0], "2 for 1 outputs"), ({"nothing": 1.0}, "no output nothing")
    ):
        with pytest.raises(UnsupportedModel, match=text):
            accelerated.compile("sgd", _entropy(), loss_weights=given)
    accelerated.compile("sgd", _entropy())
    with pytest.raises(InputError, match="validation_freq is a number of epochs"):
        accelerated.fit(x, y, validation_data=(x, y), validation_freq=0.5)
