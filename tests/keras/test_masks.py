"""Masks go where Keras lets them go: through layers, into recurrent layers and attention, losses and metrics."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import onnxruntime as ort
import pytest
from keras import layers

import a1400.keras
from a1400.backends.base import DeviceInfo
from a1400.export.onnx_file import onnx_model
from a1400.keras.network import KerasNetwork
from tests.keras.forward import answers, expected, shaken
from tests.train import standin

STEPS = 6


def _tokens(kind: str, count: int = 4, seed: int = 5) -> np.ndarray:
    """Token numbers with 0, which is masked, at the end, at the start or anywhere; one row of nothing else."""
    numbers = np.random.default_rng(seed)
    tokens = numbers.integers(1, 8, (count, STEPS)).astype("i4")
    for row, hidden in zip(tokens, (0, 2, 3, STEPS)):
        if kind == "any":
            row[numbers.random(STEPS) < 0.4] = 0
        elif hidden:
            row[slice(-hidden, None) if kind == "end" else slice(hidden)] = 0
    return tokens


def _chain(*rest: Any) -> Any:
    return keras.Sequential([keras.Input((STEPS,), dtype="int32"), layers.Embedding(8, 4, mask_zero=True), *rest])


def _joined(work: Callable[[Any, Any], Any]) -> Any:
    a, b = (keras.Input((STEPS,), dtype="int32") for _ in range(2))
    return keras.Model([a, b], work(*(layers.Embedding(8, 4, mask_zero=True)(x) for x in (a, b))))


def _merged(x: Any, y: Any) -> Any:
    seen = [layers.Add()([x, y]), layers.Multiply()([x, y]), layers.Maximum()([x, y]), layers.Concatenate()([x, y])]
    some = layers.Minimum()([x, layers.Activation("tanh")(y)])
    return [layers.SimpleRNN(2)(z) for z in (*seen, some, layers.Concatenate(axis=1)([x, y]))]


def _attended(x: Any, y: Any) -> Any:
    own = layers.Add()([x, layers.MultiHeadAttention(2, 3)(x, x, use_causal_mask=True)])
    scored, weights = layers.MultiHeadAttention(2, 3)(x, y, return_attention_scores=True)
    return [
        layers.LSTM(2)(own), scored, weights, layers.MultiHeadAttention(2, 3, sliding_window=2)(x, y),
        layers.GroupQueryAttention(4, 4, 2)(x, y), layers.LSTM(2)(layers.Attention()([x, y])),
        layers.Attention(use_scale=True)([x, y], use_causal_mask=True), layers.AdditiveAttention()([x, y]),
        layers.Attention()([x, y, x], use_causal_mask=True),
    ]  # fmt: skip


def _states(x: Any, y: Any) -> Any:
    whole, *last = layers.LSTM(3, return_sequences=True, return_state=True)(x)
    return [whole, *last, layers.LSTM(3)(y, initial_state=last), layers.LSTM(2)(y, mask=keras.ops.any(x > 0.3, -1))]


def _paragraphs() -> Any:
    x = keras.Input((3, STEPS), dtype="int32")
    return keras.Model(x, layers.TimeDistributed(layers.GRU(3))(layers.Embedding(8, 4, mask_zero=True)(x)))


def _masking() -> Any:
    inner = keras.Sequential([keras.Input((STEPS, 3)), layers.Dense(2), layers.GRU(2, return_sequences=True)])
    return keras.Sequential([keras.Input((STEPS, 3)), layers.Masking(), inner, layers.LSTM(2)])


MODELS: dict[str, Callable[[], Any]] = {
    "lstm": lambda: _chain(layers.LSTM(3, return_sequences=True), layers.Dropout(0.5), layers.LSTM(2)),
    "backwards": lambda: _chain(layers.GRU(3, return_sequences=True, go_backwards=True)),
    "zeros": lambda: _chain(layers.GRU(3, return_sequences=True, zero_output_for_mask=True)),
    "zero_at_last": lambda: _chain(layers.SimpleRNN(3, zero_output_for_mask=True)),
    "stepwise": lambda: _chain(layers.LSTM(3, activation="gelu", go_backwards=True, return_sequences=True)),
    "stacked": lambda: _chain(layers.RNN([layers.LSTMCell(3), layers.GRUCell(2)], go_backwards=True)),
    "both_ways": lambda: _chain(layers.Bidirectional(layers.LSTM(3, return_sequences=True))),
    "both_ends": lambda: _chain(layers.Bidirectional(layers.GRU(3), merge_mode="sum")),
    "mean": lambda: _chain(layers.Dense(3, "relu"), layers.LayerNormalization(), layers.GlobalAveragePooling1D()),
    "dropped": lambda: _chain(layers.Reshape((STEPS, 4)), layers.LSTM(2)),
    "merged": lambda: _joined(_merged),
    "attended": lambda: _joined(_attended),
    "states": lambda: _joined(_states),
    "paragraphs": _paragraphs,
    "masking": _masking,
}


def _inputs(model: Any, kind: str) -> list[np.ndarray]:
    if model.inputs[0].dtype == "float32":
        return [np.random.default_rng(3).normal(size=(4, STEPS, 3)).astype("f") * (_tokens(kind) > 0)[..., None]]
    if len(model.inputs[0].shape) == 3:
        return [np.stack([_tokens(kind, seed=s) for s in range(3)], 1)]
    return [_tokens(kind, seed=s) for s in range(len(model.inputs))]


@pytest.mark.filterwarnings("ignore:Layer 'reshape")
@pytest.mark.parametrize("name", MODELS)
def test_a_masked_model_gives_what_keras_gives(name: str) -> None:
    """Also as a file in ONNX Runtime."""
    model = MODELS[name]()
    shaken(model)
    network = KerasNetwork(model)
    session = ort.InferenceSession(onnx_model(network).SerializeToString(), providers=["CPUExecutionProvider"])
    for kind in ("end", "start", "any"):
        arrays = _inputs(model, kind)
        wanted = expected(model, arrays)
        exported = session.run(list(network.outputs), dict(zip(network.inputs, arrays)))
        for found, other, theirs in zip(answers(model, arrays), exported, wanted):
            assert found.shape == theirs.shape
            np.testing.assert_allclose(found, theirs, rtol=1e-5, atol=1e-5, err_msg=kind)
            np.testing.assert_allclose(other, theirs, rtol=1e-4, atol=1e-4, err_msg=kind)


def test_a_layer_that_drops_a_mask_is_named() -> None:
    with pytest.warns(UserWarning, match="Layer 'flat' .* does not support masking"):
        KerasNetwork(_chain(layers.Flatten(name="flat")))


def train_beside_keras(make: Callable[[], Any], x: Any, y: Any, device: str | None, **settings: Any) -> None:
    """Ten steps with the same losses, metrics and, at the end, weights."""
    keras.utils.set_random_seed(0)
    plain, other = make(), make()
    other.set_weights(plain.get_weights())
    accelerated = a1400.keras.accelerate(other, device=device)
    for model in (plain, accelerated):
        model.compile(**settings)
    for step in range(10):
        theirs, mine = plain.train_on_batch(x, y), accelerated.train_on_batch(x, y)
        np.testing.assert_allclose(mine, theirs, rtol=1e-4, atol=1e-6, err_msg=f"step {step}")
    np.testing.assert_allclose(accelerated.test_on_batch(x, y), plain.test_on_batch(x, y), rtol=1e-4)
    for found, wanted in zip(accelerated.model.get_weights(), plain.get_weights()):
        np.testing.assert_allclose(found, wanted, rtol=2e-4, atol=2e-4)


def _tagger() -> Any:
    return _chain(layers.Bidirectional(layers.LSTM(4, return_sequences=True)), layers.Dense(3, "softmax"))


def test_a_tagger_learns_on_a_device_as_in_keras(device_info: DeviceInfo) -> None:
    """Masked positions count neither in the loss nor in the accuracy, and their gradients are none."""
    y = np.random.default_rng(1).integers(0, 3, (4, STEPS))
    train_beside_keras(
        _tagger, _tokens("any"), y, device_info.id, optimizer="adam", loss="sparse_categorical_crossentropy",
        metrics=["accuracy"],
    )  # fmt: skip


def _classifier() -> Any:
    return _chain(
        layers.BatchNormalization(), layers.GRU(4, return_sequences=True, go_backwards=True),
        layers.SimpleRNN(4, activation="gelu", return_sequences=True), layers.GlobalAveragePooling1D(), layers.Dense(3),
    )  # fmt: skip


def test_statistics_and_steps_leave_out_what_is_masked(monkeypatch: pytest.MonkeyPatch) -> None:
    standin.use(monkeypatch)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    train_beside_keras(_classifier, _tokens("any", 3), np.array([0, 2, 1]), None, optimizer="sgd", loss=loss)
