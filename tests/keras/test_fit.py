"""The accelerated model's own faces: the same curves as Keras, its callbacks, its ways of giving data."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import torch
from keras import layers

import a1400.keras
from a1400.autodiff import gradients
from a1400.backends.base import DeviceInfo
from a1400.errors import InputError, NonFiniteError
from a1400.graph.graph import Graph
from a1400.graph.tensor import Tensor
from a1400.optimizer.winograd import _sought_in
from a1400.train.callbacks import Callback
from tests.train import standin
from tests.train.networks import digits


@pytest.fixture
def numpy_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Programs run through the NumPy references."""
    standin.use(monkeypatch)


def _small(seed: int = 0, name: str = "net") -> Any:
    keras.utils.set_random_seed(seed)
    return keras.Sequential(
        [keras.Input((4,), name="x"), layers.Dense(6, activation="tanh"), layers.BatchNormalization(), layers.Dense(3)],
        name=name,
    )


def _data(count: int = 40) -> tuple[np.ndarray, np.ndarray]:
    numbers = np.random.default_rng(3)
    x = numbers.normal(size=(count, 4)).astype("f")
    return x, (x @ numbers.normal(size=(4, 3))).argmax(1)


def _pair(make: Any = _small, **options: Any) -> tuple[Any, Any]:
    """A model of Keras's and an accelerated one with the same weights, compiled alike."""
    plain, other = make(), make()
    other.set_weights(plain.get_weights())
    accelerated = a1400.keras.accelerate(other)
    for model in (plain, accelerated):
        settings = {name: value() if inspect.isfunction(value) else value for name, value in options.items()}
        model.compile(**settings)
    return plain, accelerated


def _same_weights(plain: Any, accelerated: Any, tolerance: float = 2e-4) -> None:
    for mine, theirs in zip(accelerated.model.get_weights(), plain.get_weights()):
        np.testing.assert_allclose(mine, theirs, rtol=tolerance, atol=tolerance)


def _same_history(mine: Any, theirs: Any) -> None:
    assert type(mine) is type(theirs) and mine.epoch == theirs.epoch
    assert list(mine.history) == list(theirs.history)
    for name, values in theirs.history.items():
        np.testing.assert_allclose(mine.history[name], values, rtol=2e-4, atol=1e-5, err_msg=name)


OPTIMIZERS: dict[str, Any] = {
    "adam": lambda: keras.optimizers.Adam(keras.optimizers.schedules.ExponentialDecay(0.02, 3, 0.8), clipnorm=0.5),
    "sgd": lambda: keras.optimizers.SGD(0.1, momentum=0.9, nesterov=True, weight_decay=0.01),
    "rmsprop": lambda: keras.optimizers.RMSprop(0.01, centered=True, momentum=0.5, global_clipnorm=1.0),
    "adamw": lambda: keras.optimizers.AdamW(0.01, amsgrad=True, clipvalue=0.3),
}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_history_and_weights_are_those_of_keras(name: str, numpy_engine: None) -> None:
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    plain, accelerated = _pair(optimizer=OPTIMIZERS[name], loss=loss, metrics=["accuracy"], weighted_metrics=["acc"])
    x, y = _data()
    weight = np.linspace(0.5, 1.5, len(x)).astype("f")
    options = {"batch_size": 16, "epochs": 3, "shuffle": False, "verbose": 0, "validation_split": 0.2}
    options["sample_weight"] = weight
    _same_history(accelerated.fit(x, y, **options), plain.fit(x, y, **options))
    _same_weights(plain, accelerated)
    assert int(accelerated.optimizer.iterations) == int(plain.optimizer.iterations)
    np.testing.assert_allclose(accelerated.evaluate(x, y, verbose=0), plain.evaluate(x, y, verbose=0), rtol=2e-4)
    mine, theirs = (m.evaluate(x, y, verbose=0, return_dict=True) for m in (accelerated, plain))
    assert set(mine) == set(theirs)
    np.testing.assert_allclose(accelerated.predict(x, verbose=0), plain.predict(x, verbose=0), rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(accelerated.predict_on_batch(x[:3]), plain.predict_on_batch(x[:3]), rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(accelerated.train_on_batch(x, y), plain.train_on_batch(x, y), rtol=2e-4)
    np.testing.assert_allclose(accelerated.test_on_batch(x, y), plain.test_on_batch(x, y), rtol=2e-4)
    _same_weights(plain, accelerated)


def _two_outputs() -> Any:
    keras.utils.set_random_seed(1)
    a, b = keras.Input((4,), name="a"), keras.Input((4,), name="b")
    y = layers.Dense(5, activation="relu", kernel_regularizer="l2")(layers.Add()([a, b]))
    return keras.Model({"a": a, "b": b}, [layers.Dense(3, "softmax", name="kind")(y), layers.Dense(1, name="size")(y)])


def test_several_inputs_and_outputs(numpy_engine: None) -> None:
    plain, accelerated = _pair(
        _two_outputs, optimizer="sgd", loss={"kind": "sparse_categorical_crossentropy", "size": "mse"},
        loss_weights={"kind": 0.5, "size": 2.0}, metrics={"kind": ["accuracy"], "size": ["mae"]},
    )  # fmt: skip
    x, y = _data(48)  # whole batches: over TensorFlow, Keras counts each batch alike in the outputs' own losses
    inputs, targets = {"a": x, "b": x[::-1].copy()}, {"kind": y, "size": x[:, :1] + 1}
    options = {"batch_size": 16, "epochs": 2, "shuffle": False, "verbose": 0}
    mine, theirs = (m.fit(inputs, targets, **options) for m in (accelerated, plain))
    assert set(mine.history) == set(theirs.history)
    for name, values in theirs.history.items():
        np.testing.assert_allclose(mine.history[name], values, rtol=2e-4, err_msg=name)
    for found, wanted in zip(accelerated.predict(inputs, verbose=0), plain.predict(inputs, verbose=0)):
        np.testing.assert_allclose(found, wanted, rtol=1e-3, atol=1e-4)
    _same_weights(plain, accelerated)


@pytest.mark.parametrize("optimizer", ["adamw", "sgd", "lamb"])
def test_parameters_without_a_gradient_stay_as_they_are(optimizer: str, numpy_engine: None) -> None:
    """No decay, no constraint (over JAX there are both); and an output may have metrics without a loss."""

    def loose() -> Any:
        keras.utils.set_random_seed(0)
        x = keras.Input((4,))
        y = layers.Dense(6, activation="tanh", kernel_constraint="max_norm")(x)
        other = layers.Dense(2, kernel_constraint=keras.constraints.UnitNorm(), name="loose")(y)
        return keras.Model(x, {"kind": layers.Dense(3, name="kind")(y), "loose": other})

    made = {
        "adamw": lambda: keras.optimizers.AdamW(0.01, weight_decay=0.1, use_ema=True, ema_momentum=0.5),
        "sgd": lambda: keras.optimizers.SGD(0.1, momentum=0.9, weight_decay=0.1, global_clipnorm=0.5),
        "lamb": lambda: keras.optimizers.Lamb(0.01, weight_decay=0.1),
    }[optimizer]
    loss = {"kind": keras.losses.SparseCategoricalCrossentropy(from_logits=True)}
    plain, accelerated = _pair(
        loose, optimizer=made, loss=loss, metrics={"kind": ["accuracy"], "loose": ["mae", "mae"]},
        weighted_metrics={"kind": ["accuracy"]},
    )  # fmt: skip
    x, y = _data(32)
    options = {"batch_size": 16, "epochs": 2, "shuffle": False, "verbose": 0}
    mine, theirs = (m.fit(x, {"kind": y, "loose": x[:, :2]}, **options) for m in (accelerated, plain))
    assert set(mine.history) == set(theirs.history) >= {"loose_mae_1", "kind_weighted_accuracy"}
    for name, values in theirs.history.items():
        np.testing.assert_allclose(mine.history[name], values, rtol=2e-4, err_msg=name)
    _same_weights(plain, accelerated)


class _Pieces(keras.utils.PyDataset):
    """Batches by number."""

    def __init__(self, x: np.ndarray, y: np.ndarray) -> None:
        super().__init__()
        self.x, self.y = x, y

    def __len__(self) -> int:
        return 3

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        return self.x[index * 16 : index * 16 + 16], self.y[index * 16 : index * 16 + 16]


def test_every_way_of_giving_data_gives_the_same_steps(numpy_engine: None) -> None:
    x, y = _data()

    def endless() -> Any:
        while True:
            yield from (_Pieces(x, y)[i] for i in range(3))

    tensors = torch.utils.data.TensorDataset(torch.from_numpy(x), torch.from_numpy(y))
    ways: list[tuple[Any, dict[str, Any]]] = [
        (x, {"y": y, "batch_size": 16, "shuffle": False}), (_Pieces(x, y), {"shuffle": False}),
        (torch.utils.data.DataLoader(tensors, batch_size=16), {}), (endless(), {"steps_per_epoch": 3}),
    ]  # fmt: skip
    found = []
    for data, options in ways:
        accelerated = a1400.keras.accelerate(_small())
        accelerated.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
        found.append(accelerated.fit(data, epochs=2, verbose=0, **options).history["loss"])
        assert isinstance(found[-1][0], float)
    for history in found[1:]:
        assert history == found[0]
    accelerated.fit(x, y, class_weight={0: 2.0, 1: 1.0, 2: 0.5}, verbose=0)
    accelerated.train_on_batch(x, y, class_weight={0: 2.0})


def test_callbacks_see_the_device_and_may_step_in(tmp_path: Path, numpy_engine: None) -> None:
    x, y = _data()
    seen: list[Any] = []
    accelerated = a1400.keras.accelerate(_small(), seed=3)
    accelerated.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True), metrics=["accuracy"])
    first = accelerated.get_weights()[0]

    class Ours(Callback):
        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            seen.append(("ours", epoch, self.trainer.step, sorted(logs)))
            self.trainer.stop_training = epoch == 3

    def batch_end(batch: int, logs: Any) -> None:
        seen.append(("weights", not np.array_equal(accelerated.get_weights()[0], first), sorted(logs)))

    history = accelerated.fit(
        x, y, batch_size=20, epochs=9, verbose=0, validation_data=(x, y),
        callbacks=[
            keras.callbacks.LambdaCallback(on_train_batch_end=batch_end), Ours(),
            keras.callbacks.ModelCheckpoint(tmp_path / "best.keras", monitor="val_loss", save_best_only=True),
            keras.callbacks.LearningRateScheduler(lambda epoch, rate: 0.1 if epoch == 0 else rate / 2),
            keras.callbacks.CSVLogger(tmp_path / "log.csv"),
        ],
    )  # fmt: skip
    assert history is accelerated.history and history.epoch == [0, 1, 2, 3]  # ours ended it
    ours = [s for s in seen if s[0] == "ours"]
    assert ours[1][1:3] == (1, 4) and {"accuracy", "loss", "val_accuracy", "val_loss"} <= set(ours[1][3])
    assert all(s[1] and s[2] == ["accuracy", "loss"] for s in seen if s[0] == "weights")
    np.testing.assert_allclose(history.history["learning_rate"], [0.1, 0.05, 0.025, 0.0125], rtol=1e-6)
    assert (tmp_path / "log.csv").read_text().count("\n") == 5
    best = keras.saving.load_model(tmp_path / "best.keras")
    np.testing.assert_allclose(best.evaluate(x, y, verbose=0)[0], min(history.history["val_loss"]), rtol=1e-4)

    stop = keras.callbacks.EarlyStopping("loss", mode="max", patience=0, restore_best_weights=True)
    accelerated.optimizer.learning_rate = 0.2
    before = accelerated.evaluate(x, y, verbose=0)
    stopped = accelerated.fit(x, y, batch_size=40, epochs=5, shuffle=False, verbose=0, callbacks=[stop])
    assert len(stopped.epoch) == 2  # the second epoch was better, that is, worse
    after = accelerated.evaluate(x, y, verbose=0)
    assert after != before and after[0] == pytest.approx(accelerated.model.evaluate(x, y, verbose=0)[0], rel=1e-4)


def test_files_and_what_the_wrapped_model_does(tmp_path: Path, numpy_engine: None, capsys: Any) -> None:
    x, y = _data()
    model = _small()
    model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True), metrics=["accuracy"])
    accelerated = a1400.keras.accelerate(model)  # keeps what it was compiled with
    accelerated.fit(x, y, epochs=1, verbose=2)
    accelerated.summary()
    assert "accuracy" in capsys.readouterr().out and accelerated.name == "net" and len(accelerated.layers) == 3
    accelerated.save(tmp_path / "net.keras")
    plain = keras.saving.load_model(tmp_path / "net.keras")
    np.testing.assert_allclose(plain.predict(x, verbose=0), accelerated.predict(x, verbose=0), rtol=1e-4, atol=1e-5)
    accelerated.save_weights(tmp_path / "net.weights.h5")
    accelerated.train_on_batch(x, y)
    accelerated.load_weights(tmp_path / "net.weights.h5")
    np.testing.assert_allclose(plain.predict(x, verbose=0), accelerated.predict(x, verbose=0), rtol=1e-4, atol=1e-5)
    accelerated.train_on_batch(x, y)
    model.layers[-1].set_weights([np.zeros((6, 3)), np.arange(3)])  # while the device is ahead
    np.testing.assert_allclose(accelerated.predict(x[:2], verbose=0), [[0, 1, 2]] * 2, atol=1e-6)


def test_frozen_layers_stay_and_may_thaw(numpy_engine: None) -> None:
    x, y = _data()
    model = _small()
    model.layers[0].trainable = model.layers[1].trainable = False
    accelerated = a1400.keras.accelerate(model)
    accelerated.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    before = accelerated.get_weights()
    accelerated.fit(x, y, verbose=0)
    assert [np.array_equal(a, b) for a, b in zip(before, accelerated.get_weights())] == [True] * 6 + [False] * 2
    model.layers[0].trainable = True
    accelerated.fit(x, y, verbose=0)
    assert not np.array_equal(before[0], accelerated.get_weights()[0])


def test_an_unbuilt_model_is_built_by_its_data(numpy_engine: None) -> None:
    x, y = _data()
    accelerated = a1400.keras.accelerate(keras.Sequential([layers.Dense(3)]))
    accelerated.compile("sgd", "mse", metrics=["mae"])
    with pytest.raises(InputError, match="not built"):
        accelerated.fit(iter([(x, x[:, :3])]), verbose=0)
    assert accelerated.fit(x, x[:, :3], verbose=0).history["loss"][0] > 0
    with pytest.raises(InputError, match="compile"):
        a1400.keras.accelerate(_small()).fit(x, y)


def test_nan_names_the_layer(numpy_engine: None) -> None:
    x, y = _data()
    model = _small()
    accelerated = a1400.keras.accelerate(model)
    accelerated.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    model.layers[0].set_weights([np.full((4, 6), np.nan), np.zeros(6)])
    with pytest.raises(NonFiniteError, match=r"dense.*kernel"):
        accelerated.fit(x, y, verbose=0)


def test_winograd_keeps_away_from_what_a_largest_element_is_sought_in() -> None:
    """Its rounding would say which of equal elements takes the gradient: flat pictures have many."""
    graph = Graph()
    x = Tensor(graph, graph.input("x", (1, 8, 8, 16), np.dtype("f4")))
    options = {"strides": (1, 1), "dilations": (1, 1), "low": (1, 1), "high": (1, 1)}
    w = Tensor(graph, graph.input("w", (16, 16, 3, 3), np.dtype("f4")))
    first = x.op("conv", w, groups=1, **options)
    largest = {"kind": "max", "kernel": (2, 2), "strides": (2, 2), "dilations": (1, 1), "low": (0, 0), "high": (0, 0)}
    pooled = (first + 1.0).op("pool", **largest, out=(4, 4), count_include_pad=False)
    second = pooled.op("conv", w, groups=1, **options)
    gradients(graph, second.sum().value, [graph.inputs["w"]])
    users = graph.users()
    sought = [_sought_in(node, users) for node in graph.nodes if node.op == "conv"]
    assert sought[:2] == [True, False]


def _tutorial() -> Any:
    keras.utils.set_random_seed(7)
    return keras.Sequential([
        keras.Input((20, 20, 1)), layers.Conv2D(8, 3, activation="relu"), layers.MaxPooling2D(),
        layers.Conv2D(16, 3, activation="relu"), layers.MaxPooling2D(), layers.Conv2D(32, 3, activation="relu"),
        layers.Flatten(), layers.Dense(32, activation="relu"), layers.Dense(10, activation="softmax"),
    ])  # fmt: skip


def _noise() -> tuple[np.ndarray, np.ndarray]:
    numbers = np.random.default_rng(0)
    x = np.maximum(numbers.normal(size=(160, 20, 20, 1)), 0).astype("f")  # zeros, as dark pictures have
    x[:, :4] = 0
    return x, numbers.integers(0, 10, 160)


def _real() -> tuple[np.ndarray, np.ndarray]:
    """scikit-learn's digits, twice as large and with a margin."""
    x, y = (array[:160] for array in digits())
    large = x.reshape(160, 8, 8).repeat(2, 1).repeat(2, 2)
    return np.pad(large, ((0, 0), (2, 2), (2, 2)))[..., None], y


def learn_beside_keras(
    device: str, steps: int, optimizer: Any = keras.optimizers.Adam, data: Any = _noise
) -> tuple[Any, np.ndarray]:
    """The tutorial's network, accelerated on ``device``, after ``steps`` steps with Keras's losses; its pictures."""
    x, y = data()
    plain = _tutorial()
    accelerated = a1400.keras.accelerate(_tutorial(), device=device)
    for model in (plain, accelerated):
        model.compile(optimizer(), "sparse_categorical_crossentropy", metrics=["accuracy"])
    for step in range(steps):
        part = slice(step % 5 * 32, step % 5 * 32 + 32)
        mine, theirs = (m.train_on_batch(x[part], y[part]) for m in (accelerated, plain))
        np.testing.assert_allclose(mine, theirs, rtol=1e-4, err_msg=f"step {step}")
    return accelerated, x


def test_real_digits_are_learnt_on_a_device_as_in_keras(device_info: DeviceInfo) -> None:
    """Without Adam, whose float32 correction of its start parts any two engines on these (benchmarks/curves.py)."""
    def optimizer() -> Any:
        return keras.optimizers.SGD(0.03, momentum=0.9)

    accelerated, x = learn_beside_keras(device_info.id, 50, optimizer, _real)
    assert np.ptp(accelerated.predict(x, batch_size=32, verbose=0)) > 0.1


def test_the_tutorials_network_learns_on_a_device_as_in_keras(device_info: DeviceInfo, tmp_path: Path) -> None:
    """Loss after each of the first 50 steps, and what the exported file says in ONNX Runtime."""
    import onnxruntime as ort

    accelerated, x = learn_beside_keras(device_info.id, 50)
    accelerated.export(tmp_path / "net.onnx")
    session = ort.InferenceSession(tmp_path / "net.onnx", providers=["CPUExecutionProvider"])
    found = session.run(None, {session.get_inputs()[0].name: x[:9]})[0]
    np.testing.assert_allclose(found, accelerated.model.predict(x[:9], verbose=0), rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(accelerated.predict(x, batch_size=32, verbose=0)[:9], found, rtol=1e-4, atol=1e-6)
