"""The loop: the curve of an interrupted run, what is not finite, errors of the data, several outputs."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from a1400.errors import CheckpointError, GradientError, InputError, NonFiniteError
from a1400.graph.tensor import Tensor
from a1400.train.callbacks import Callback, EarlyStopping, LearningRateScheduler, ReduceLROnPlateau
from a1400.train.history import History
from a1400.train.network import FunctionNetwork, Traced, layer
from a1400.train.optimizers import Adam
from a1400.train.schedules import ExponentialDecay
from a1400.train.trainer import Trainer
from tests.train.networks import digits, mlp

pytestmark = pytest.mark.usefixtures("on_numpy")
LOSS = "sparse_categorical_crossentropy"


class Killed(Exception):
    """As if the process had ended there."""


class Die(Callback):
    """Raises after so many steps."""

    def __init__(self, step: int, how: Any = Killed) -> None:
        self._step, self._how = step, how

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Perhaps raise."""
        if self.trainer.step == self._step:
            if self._how is Killed:
                raise Killed
            self._how()


def make(**more: Any) -> Trainer:
    return Trainer(mlp(dropout=0.2), LOSS, Adam(ExponentialDecay(0.01, 5, 0.9)), ["accuracy"], seed=3, **more)


def callbacks() -> list[Any]:
    return [EarlyStopping("loss", patience=3, restore_best_weights=True)]


def data(kind: str) -> dict[str, Any]:
    """200 digits in the form that is asked for; batches of 32, the last of 8."""
    x, y = digits()
    whole = [(x[i : min(i + 32, 200)], y[i : min(i + 32, 200)]) for i in range(0, 200, 32)]
    if kind == "arrays":
        return {"x": x[:200], "y": y[:200], "validation_split": 0.3}
    if kind == "steps":
        return {"x": x[:200], "y": y[:200], "steps_per_epoch": 5}
    if kind == "iterable":
        return {"x": whole}
    if kind == "sequence":

        class Batches:
            def __len__(self) -> int:
                return len(whole)

            def __getitem__(self, i: int) -> Any:
                return whole[i]

        return {"x": Batches()}

    def endless() -> Iterator[Any]:
        while True:
            yield from whole

    return {"x": endless(), "steps_per_epoch": 5}


def same(one: Trainer, other: Trainer) -> None:
    mine, theirs = one.runner.tensors(), other.runner.tensors()
    assert list(mine) == list(theirs)
    for name, array in mine.items():
        assert np.array_equal(array, theirs[name]), name


@pytest.mark.parametrize("kind", ["arrays", "steps", "iterable", "sequence", "generator"])
def test_a_resumed_run_is_the_uninterrupted_one(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "run"
    straight = make()
    curve = straight.fit(**data(kind), epochs=3, verbose=0, callbacks=callbacks()).history
    steps = straight.step // 3
    for end in (2, steps, steps + 3, 2 * steps + 1):
        broken = make()
        with pytest.raises(Killed):
            broken.fit(
                **data(kind), epochs=3, verbose=0, checkpoint=path, checkpoint_every=2,
                callbacks=[*callbacks(), Die(end)],
            )  # fmt: skip
        if not path.exists():
            assert end == 2, "nothing had been saved yet"
            continue
        resumed = make()
        resumed.resume(path)
        assert resumed.step < straight.step and resumed.resumed
        got = resumed.fit(**data(kind), epochs=3, verbose=0, callbacks=callbacks())
        assert got.history == curve and got.epoch == [0, 1, 2]
        same(resumed, straight)


def test_what_callbacks_remember_survives(tmp_path: Path) -> None:
    def run(trainer: Trainer, extra: Any = (), **more: Any) -> History:
        watching = [
            ReduceLROnPlateau("loss", factor=0.5, patience=1, min_delta=10), EarlyStopping("loss", -9, patience=4),
            LearningRateScheduler(lambda epoch, rate: rate * 0.9),
        ]  # fmt: skip
        x, y = digits()
        return trainer.fit(x[:64], y[:64], epochs=8, verbose=0, callbacks=[*watching, *extra], **more)

    path = tmp_path / "run"
    straight, resumed = (Trainer(mlp(), LOSS, "sgd") for _ in range(2))
    curve = run(straight)
    with pytest.raises(Killed):
        run(Trainer(mlp(), LOSS, "sgd"), [Die(6)], checkpoint=path, checkpoint_every=1)
    resumed.resume(path)
    assert (resumed.epoch, resumed.batch) == (2, 1)
    assert run(resumed).history == curve.history and resumed.learning_rate == straight.learning_rate
    same(resumed, straight)


def test_a_second_fit_goes_on_with_other_orders() -> None:
    x, y = digits()
    twice, once = make(), make()
    first = twice.fit(x[:64], y[:64], epochs=2, verbose=0).history["loss"]
    second = twice.fit(x[:64], y[:64], epochs=2, verbose=0).history["loss"]
    assert len(second) == 2 and second[-1] < first[0] and twice.step == 8
    whole = once.fit(x[:64], y[:64], epochs=4, verbose=0).history["loss"]
    assert whole[:2] == first and whole[2:] != second


def test_ctrl_c_finishes_the_step_and_leaves_a_checkpoint(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "run"
    straight = make()
    curve = straight.fit(**data("arrays"), epochs=3, verbose=0).history
    stopped = make()
    before = signal.getsignal(signal.SIGINT)
    history = stopped.fit(
        **data("arrays"), epochs=3, verbose=2, checkpoint=path,
        callbacks=[Die(7, lambda: os.kill(os.getpid(), signal.SIGINT))],
    )  # fmt: skip
    assert history.interrupted and history.epoch == [0] and stopped.step == 7
    assert "Interrupted after step 7; saved to" in capsys.readouterr().out
    assert signal.getsignal(signal.SIGINT) is before
    assert not any(t.name == "a1400-batches" for t in threading.enumerate())
    resumed = make()
    resumed.resume(path)
    assert resumed.fit(**data("arrays"), epochs=3, verbose=0).history == curve
    same(resumed, straight)


def test_an_error_of_the_data_ends_the_run_and_the_thread() -> None:
    def broken() -> Iterator[Any]:
        x, y = digits()
        yield x[:8], y[:8]
        raise OSError("the disk is gone")

    trainer = make()
    with pytest.raises(OSError, match="the disk is gone"):
        trainer.fit(broken(), steps_per_epoch=5, verbose=0)
    assert trainer.step == 1 and not any(t.name == "a1400-batches" for t in threading.enumerate())


# ---- not finite ------------------------------------------------------------------------------------------
def network(middle: Any) -> FunctionNetwork:
    """x @ w, ``middle`` of it, times v."""

    def write(inputs: Any, parameters: Any, buffers: Any, training: bool, random: Any) -> Any:
        x = inputs["x"]
        with layer(x.graph, "first"):
            h = x @ parameters["w"]
        with layer(x.graph, "mask"):  # infinite on purpose, and finite again behind the softmax
            hidden = (h > 1e9).where(h, -np.inf).op("max", h)
        with layer(x.graph, "middle"):
            h = middle(hidden)
        with layer(x.graph, "last"):
            return h @ parameters["v"]

    ones = {"w": np.ones((3, 4), np.float32), "v": np.ones((4, 2), np.float32)}
    return FunctionNetwork(write, {"x": ((None, 3), np.float32)}, ones)


@pytest.mark.parametrize(
    ("middle", "message"),
    [
        (lambda h: (h * 0.0 - 1.0).log(), r"the loss of step 1 \(epoch 1\) .* it begins in middle \(operation 'log'\)"),
        (lambda h: (h * 0.0).sqrt(), r"the gradients of step 1 .* but not the gradient in middle \(operation"),
    ],
)
def test_the_layer_where_it_began_is_named_and_the_weights_stay(middle: Any, message: str, tmp_path: Path) -> None:
    trainer = Trainer(network(middle), "mse")
    before = trainer.runner.tensors()
    with pytest.raises(NonFiniteError, match=message):
        trainer.fit(np.ones((4, 3)), np.ones((4, 2)), verbose=0)
    for name, array in trainer.runner.tensors().items():
        assert np.array_equal(array, before[name]), name


def test_data_that_are_not_finite_are_named() -> None:
    x = np.ones((4, 3))
    x[2, 1] = np.nan
    with pytest.raises(NonFiniteError, match="in the data already, in input 'x'"):
        Trainer(network(Tensor.tanh), "mse").fit(x, np.ones((4, 2)), verbose=0)


def test_a_loss_scale_that_is_too_large_costs_steps_and_no_run() -> None:
    trainer = Trainer(network(Tensor.tanh), "mse", "sgd", precision="fp16")
    scale = trainer.runner.scale
    trainer.runner.states.write("loss_scale", np.array([1e38, 0], np.float32))
    for _ in range(2):
        trainer.train_on_batch(np.ones((4, 3)), np.zeros((4, 2)))  # gradients up to 4
    assert scale == 2**15 and trainer.runner.scale == np.float32(5e37) and trainer._updates == 1 and trainer.step == 2


# ---- the rest of the face --------------------------------------------------------------------------------
def test_validation_metrics_and_weights() -> None:
    x, y = digits()
    trainer = Trainer(mlp(), LOSS, Adam(0.01), ["accuracy"], weighted_metrics=["accuracy"], seed=1)
    weight = np.where(y[:100] < 5, 2.0, 0.0)
    history = trainer.fit(
        x[:100], y[:100], sample_weight=weight, validation_data=(x[100:150], y[100:150], np.ones(50)), epochs=4,
        validation_freq=2, verbose=0,
    ).history  # fmt: skip
    assert len(history["loss"]) == 4 and len(history["val_loss"]) == 2
    found = trainer.evaluate(x[100:150], y[100:150], verbose=0, batch_size=20)
    probabilities = trainer.predict(x[100:150], batch_size=16)
    assert probabilities.shape == (50, 10)
    right = (probabilities.argmax(-1) == y[100:150]).mean()
    nats = -np.log(probabilities[np.arange(50), y[100:150]]).mean()
    assert found["accuracy"] == pytest.approx(right) == history["val_accuracy"][-1]
    assert found["loss"] == pytest.approx(nats, rel=1e-5)
    assert probabilities[:, 5:].mean() < 0.7 * probabilities[:, :5].mean(), "classes without weight are not learned"
    assert history["weighted_accuracy"] != history["accuracy"]


def test_class_weights_act_as_sample_weights() -> None:
    x, y = digits()
    weights = {1: 3.0, 2: 0.0}
    per_sample = np.array([weights.get(int(c), 1.0) for c in y[:64]])
    one, other = make(), make()
    one.fit(x[:64], y[:64], class_weight=weights, verbose=0)
    other.fit(x[:64], y[:64], sample_weight=per_sample, verbose=0)
    same(one, other)


def test_single_batches() -> None:
    x, y = digits()
    one, other = make(), make()
    for _ in range(3):
        logs = one.train_on_batch(x[:50], y[:50])
    other.fit(x[:50], y[:50], batch_size=50, shuffle=False, epochs=3, verbose=0)
    same(one, other)
    assert logs == {"loss": other.history.history["loss"][-1], "accuracy": other.history.history["accuracy"][-1]}
    assert one.test_on_batch(x[:50], y[:50]) == other.evaluate(x[:50], y[:50], batch_size=50, verbose=0)
    assert np.array_equal(one.predict_on_batch(x[:50]), other.predict(x[:50], batch_size=50))


def two_heads(inputs: Any, parameters: Any, buffers: Any, training: bool, random: Any) -> Traced:
    h = (inputs["a"] + inputs["b"]) @ parameters["w"]
    count = buffers["count"] + 1.0
    return Traced({"p": h, "q": h.sum((1,))}, {"count": count}, [parameters["w"].square().sum() * 0.1])


def test_several_outputs_buffers_and_penalties() -> None:
    network = FunctionNetwork(
        two_heads, {"a": ((None, 3), np.float32), "b": ((None, 3), np.float32)}, {"w": np.ones((3, 2), np.float32)},
        {"count": np.zeros((), np.float32)}, ("p", "q"),
    )  # fmt: skip
    trainer = Trainer(network, {"p": "mse", "q": "mae"}, "sgd", {"q": "mae"}, loss_weights={"q": 0.5})
    x = {"a": np.ones((4, 3)), "b": np.ones((4, 3))}
    logs = trainer.train_on_batch(x, {"p": np.zeros((4, 2)), "q": np.zeros(4)})
    assert logs == pytest.approx({"loss": 36 + 6 + 0.6, "p_loss": 36, "q_loss": 12, "q_mae": 12})
    # d/dw of mean(p**2) + 0.5 |q| + 0.1 |w|**2, with p = 6: 6 * 2 + 0.5 * 2 + 0.2
    np.testing.assert_allclose(trainer.weights()["w"], 1 - 0.01 * (12 + 1 + 0.2), rtol=1e-6)
    assert trainer.weights()["count"] == 1
    trainer.synchronise()
    assert network.buffers["count"] == 1 and set(trainer.predict(x)) == {"p", "q"}
    trainer.set_weights({"w": np.zeros((3, 2))})
    assert trainer.predict(x)["p"].any() == False  # noqa: E712


def test_checkpoints_of_others_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "run"
    make().save(path)
    with pytest.raises(CheckpointError, match=r"of another network, optimizer or precision: parameter/b1, .* differ"):
        Trainer(mlp(8), LOSS, "adam").resume(path)
    with pytest.raises(CheckpointError, match="is of the optimizer Adam"):
        Trainer(mlp(), LOSS, "sgd").resume(path)


@pytest.mark.parametrize(
    ("arguments", "fit", "message"),
    [
        ({"loss": "nonsense"}, {}, "no loss is called 'nonsense'"),
        ({"loss": {"z": "mse"}}, {}, "no output is called z"),
        ({"loss": None}, {}, "there is no loss"),
        ({"optimizer": 3}, {}, "the optimizer is a name or"),
        ({"metrics": ["nonsense"]}, {}, "no metric is called 'nonsense'"),
        ({}, {"batch_size": 0}, "batch_size"),
        ({}, {"validation_split": 1.5}, "between 0 and 1"),
        ({}, {"steps_per_epoch": 0}, "at least one step"),
        ({}, {"verbose": 9}, "verbose is"),
    ],
)
def test_mistakes_are_named(arguments: Any, fit: Any, message: str) -> None:
    x, y = digits()
    with pytest.raises(InputError, match=message):
        Trainer(mlp(), **{"loss": LOSS, **arguments}).fit(**{"x": x[:8], "y": y[:8], "verbose": 0, **fit})


def test_a_loss_that_no_parameter_reaches_is_an_error() -> None:
    network = FunctionNetwork(
        lambda i, p, b, t, r: i["x"] * 2.0, {"x": ((None, 2), np.float32)}, {"w": np.ones(2, np.float32)}
    )
    with pytest.raises(GradientError, match="none of the network's parameters"):
        Trainer(network, "mse").fit(np.ones((2, 2)), np.ones((2, 2)), verbose=0)
