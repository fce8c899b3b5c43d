"""What hangs on what Keras runs on: ``tf.data``, and the same curves over TensorFlow and JAX as over PyTorch.

The test run has Keras on PyTorch; ``.ci/run`` runs this file and ``test_fit.py`` again on TensorFlow and on JAX.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers

import a1400.keras
from tests.train import standin


@pytest.fixture(autouse=True)
def numpy_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Programs run through the NumPy references."""
    standin.use(monkeypatch)


def _model() -> Any:
    keras.utils.set_random_seed(0)
    x = {"a": keras.Input((4,), name="a"), "b": keras.Input((4,), name="b")}
    y = layers.Dense(6, activation="tanh", kernel_constraint="max_norm")(layers.Concatenate()([x["a"], x["b"]]))
    return keras.Model(x, layers.Dense(3)(y))


def _arrays() -> tuple[dict[str, np.ndarray], np.ndarray, np.ndarray]:
    numbers = np.random.default_rng(3)
    x = {name: numbers.normal(size=(40, 4)).astype("f") for name in "ab"}
    return x, numbers.integers(0, 3, 40), numbers.uniform(0.5, 1.5, 40).astype("f")


def _pair() -> tuple[Any, Any]:
    plain, other = _model(), _model()
    other.set_weights(plain.get_weights())
    accelerated = a1400.keras.accelerate(other)
    for model in (plain, accelerated):
        model.compile(
            keras.optimizers.Adam(0.01), keras.losses.SparseCategoricalCrossentropy(from_logits=True),
            metrics=["accuracy"], run_eagerly=False, steps_per_execution=1, auto_scale_loss=True,
        )  # fmt: skip
    return plain, accelerated


def _same(mine: Any, theirs: Any) -> None:
    assert mine.epoch == theirs.epoch and list(mine.history) == list(theirs.history)
    for name, values in theirs.history.items():
        np.testing.assert_allclose(mine.history[name], values, rtol=1e-4, atol=1e-6, err_msg=name)


def test_tf_data() -> None:
    reason = "TensorFlow is not installed; .ci/run tries tf.data where it runs Keras on TensorFlow"
    tf = pytest.importorskip("tensorflow", reason=reason)
    x, y, weight = _arrays()
    whole = tf.data.Dataset.from_tensor_slices((x, y, weight))
    options: dict[str, Any] = {"epochs": 3, "verbose": 0, "validation_data": whole.batch(8), "validation_freq": [1, 3]}
    plain, accelerated = _pair()
    _same(*(m.fit(whole.batch(16), **options) for m in (accelerated, plain)))
    endless = whole.batch(16).repeat()
    _same(*(m.fit(endless, steps_per_epoch=4, epochs=5, initial_epoch=3, verbose=0) for m in (accelerated, plain)))
    np.testing.assert_allclose(
        accelerated.evaluate(whole.batch(7), verbose=0), plain.evaluate(whole.batch(7), verbose=0), rtol=1e-4
    )
    only = tf.data.Dataset.from_tensor_slices(x).batch(16)
    np.testing.assert_allclose(
        accelerated.predict(only, verbose=0), plain.predict(only, verbose=0), rtol=1e-4, atol=1e-5
    )


class _Broken(keras.callbacks.Callback):
    """Power fails in the third epoch."""

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        if epoch == 2:
            raise KeyboardInterrupt


def test_callbacks_make_the_same_history(tmp_path: Path) -> None:
    """Among them a run that is broken off and goes on from its backup, the optimizer's momenta included."""
    x, y, weight = _arrays()
    found = []
    for index, model in enumerate(_pair()):
        folder = tmp_path / str(index)

        def callbacks(folder: Path = folder) -> list[Any]:
            return [
                keras.callbacks.BackupAndRestore(folder / "backup", double_checkpoint=True),
                keras.callbacks.ReduceLROnPlateau("loss", factor=0.5, patience=1, min_delta=0.5, cooldown=0),
                keras.callbacks.EarlyStopping("val_loss", patience=3, min_delta=1.0, restore_best_weights=True),
                keras.callbacks.TerminateOnNaN(),
                keras.callbacks.ModelCheckpoint(folder / "w{epoch}.weights.h5", save_weights_only=True, save_freq=2),
            ]

        options = {
            "batch_size": 16, "epochs": 8, "shuffle": False, "verbose": 0, "sample_weight": weight,
            "validation_split": 0.2,
        }  # fmt: skip
        with pytest.raises(KeyboardInterrupt):
            model.fit(x, y, callbacks=[*callbacks(), _Broken()], **options)
        found.append((model.fit(x, y, callbacks=callbacks(), **options), model.get_weights(), sorted(
            p.name for p in folder.iterdir())))  # fmt: skip
    (theirs, their_weights, their_files), (mine, my_weights, my_files) = found
    _same(mine, theirs)
    assert mine.epoch[0] == 2 and len(mine.epoch) < 6 and my_files == their_files and len(my_files) > 2
    for one, other in zip(my_weights, their_weights):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-6)


def test_tensorboard_gets_what_keras_gives_it(tmp_path: Path) -> None:
    """Scalars of batches and epochs, the model's graph, histograms, pictures and embeddings of its weights."""
    reason = "tensorflow and tensorboard are not installed; .ci/run tries this where it runs Keras on TensorFlow"
    pytest.importorskip("tensorboard", reason=reason)
    pytest.importorskip("tensorflow", reason=reason)
    from tensorflow.python.summary.summary_iterator import summary_iterator

    x, y, _ = _arrays()
    found: list[set[tuple[str, str, int]]] = []
    for index, model in enumerate(_pair()):
        callback = keras.callbacks.TensorBoard(
            tmp_path / str(index), histogram_freq=2, write_images=True, write_steps_per_second=True, update_freq=2,
            embeddings_freq=1,
        )  # fmt: skip
        model.fit(x, y, batch_size=16, epochs=3, validation_split=0.2, verbose=0, callbacks=[callback])
        found.append({
            (path.parent.name, re.sub(r"_\d+", "", value.tag), event.step)
            for path in sorted((tmp_path / str(index)).rglob("events*"))
            for event in summary_iterator(str(path)) for value in event.summary.value
        })  # fmt: skip
    assert found[0] == found[1] and ("train", "keras", 0) in found[1] and ("train", "batch_loss", 4) in found[1]
    assert ("validation", "epoch_loss", 2) in found[1] and any(tag.endswith("histogram") for _, tag, _ in found[1])


def test_the_learning_rate_may_be_a_function() -> None:
    x, y, _ = _arrays()
    histories = []
    for model in _pair():
        rate = [0.1]

        def smaller(batch: int, logs: Any, rate: list[float] = rate) -> None:
            rate[0] *= 0.7

        model.compile(
            keras.optimizers.SGD(lambda rate=rate: rate[0]),
            keras.losses.SparseCategoricalCrossentropy(from_logits=True), metrics=["accuracy"],
            run_eagerly=True, jit_compile=False,
        )  # fmt: skip
        callback = keras.callbacks.LambdaCallback(on_train_batch_end=smaller)
        histories.append(model.fit(x, y, batch_size=8, epochs=2, shuffle=False, verbose=0, callbacks=[callback]))
    _same(histories[1], histories[0])
