"""Layers and models that users write with ``keras.ops``: the same answers, gradients and steps as in Keras."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers, ops

import a1400.keras
from a1400.errors import InputError
from a1400.graph.graph import evaluate
from a1400.keras import UnsupportedModel
from a1400.keras.network import KerasNetwork
from tests.keras.forward import answers, check, expected, shaken, traced
from tests.keras.test_masks import train_beside_keras
from tests.train import standin


class Mixed(layers.Layer):
    """Variables in an attribute and in a list, alone and beside tensors; a variable that is assigned to."""

    def __init__(self, units: int, **options: Any) -> None:
        super().__init__(**options)
        self.units = units

    def build(self, shape: Any) -> None:
        self.kernel = self.add_weight(shape=(shape[-1], self.units), name="kernel")
        self.scales = [self.add_weight(shape=(self.units,), name=f"scale_{i}") for i in range(2)]
        self.seen = self.add_weight(shape=(), name="seen", trainable=False, initializer="zeros")

    def call(self, x: Any, training: bool = False) -> Any:
        y = ops.matmul(x, self.kernel) + self.scales[0]
        if training:
            self.seen.assign_add(ops.mean(y))
        self.add_loss(0.01 * ops.sum(ops.square(self.kernel)))
        return self.scales[1] * ops.silu(y) - ops.exp(-ops.abs(self.scales[0]))


class Block(layers.Layer):
    """Layers of Keras's within a layer, which takes a mask and hands it on."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.words, self.places = layers.Embedding(8, 4, mask_zero=True), layers.Embedding(9, 4)
        self.attention, self.norm = layers.MultiHeadAttention(2, 3), layers.LayerNormalization()
        self.wide = keras.Sequential([layers.Dense(8, activation="gelu"), layers.Dense(4)])

    def build(self, shape: Any) -> None:
        whole = (*shape, 4)
        self.words.build(shape)
        self.places.build(shape)
        self.attention.build(whole, whole)
        self.norm.build(whole)
        self.wide.build(whole)

    def compute_mask(self, x: Any, previous_mask: Any = None) -> Any:
        return ops.not_equal(x, 0)

    def call(self, x: Any) -> Any:
        y = self.words(x) + self.places(ops.arange(ops.shape(x)[1]))
        y = self.norm(y + self.attention(y, y))
        return y + self.wide(y)


class Many(layers.Layer):
    """One of each: what moves, reduces, compares and activates."""

    def call(self, x: Any) -> Any:
        a, b = ops.split(ops.reshape(x, (ops.shape(x)[0], -1)), 2, axis=-1)
        z = ops.stack([a, ops.flip(b, axis=-1), ops.roll(a, 1, axis=1)], axis=1)
        z = ops.concatenate([z, ops.tile(ops.expand_dims(b, 1), (1, 2, 1))], 1)
        z = ops.where(z > 0.1, ops.log1p(ops.abs(z)), ops.tanh(z))
        z = z / (1e-3 + ops.std(z, axis=-1, keepdims=True)) + ops.cumsum(z, axis=-1)
        top, places = ops.top_k(z, 2)
        q = ops.expand_dims(z, 2)
        moved = [
            ops.take(z, [0, 2, 1], axis=1), ops.take_along_axis(z, places, axis=-1), ops.tril(z),
            ops.pad(z, ((0, 0), (1, 2), (0, 0))), ops.repeat(z, 3, axis=1), ops.moveaxis(z, 1, 2)[..., ::2],
            z[:, None, 0:2], ops.unstack(z, axis=1)[1], ops.zeros_like(z) + ops.ones_like(z), ops.ravel(z)[:3],
            ops.one_hot(ops.argmax(z, axis=-1), 6), ops.broadcast_to(z[:, :1], ops.shape(z)), ops.triu(z, 1),
        ]  # fmt: skip
        summed = [
            ops.logsumexp(z, axis=1), ops.norm(z, axis=-1), ops.prod(z[..., :2], axis=-1), ops.any(z > 1, axis=-1),
            ops.all(z > -2), ops.sum(z > 0, axis=-1), ops.var(z), ops.average(z, axis=1), ops.amin(z, axis=1),
            ops.argmin(z, axis=1), ops.tensordot(z, ops.ones((6, 2)), 1), ops.dot(z, ops.transpose(z[0])),
            ops.outer(z[0, 0], z[0, 1]), *ops.moments(z, [1]),
        ]  # fmt: skip
        single = [
            z // 0.5, z % 0.7, 2.0 - z, ops.round(z), ops.clip(z, -1, 1), ops.cast(z > 0, "int32") + 1, ops.floor(z),
            ops.logical_xor(z > 0, z < 1), ops.isfinite(z), ops.power(ops.abs(z), 1.5),
            ops.divide_no_nan(z, ops.round(z)),
            ops.logaddexp(z, 0.5), ops.arctan2(z, 2.0), ops.expm1(z), ops.log2(ops.abs(z) + 1), ops.maximum(z, 0.2),
        ]  # fmt: skip
        activated = [
            keras.activations.gelu(z), keras.activations.relu(z, max_value=1.0), ops.softmax(z, axis=1), ops.glu(z),
            ops.log_softmax(z), ops.elu(z, 0.5), ops.celu(z, 0.5), ops.hard_shrink(z), ops.normalize(z, axis=-1),
            ops.layer_normalization(z), ops.dot_product_attention(q, q, q, is_causal=True), ops.leaky_relu(z),
        ]  # fmt: skip
        return [top, *moved, *summed, *single, *activated]


def _on_vectors(*stack: Any) -> Any:
    return keras.Sequential([keras.Input((6,)), *stack])


MODELS: dict[str, Callable[[], Any]] = {
    "mixed": lambda: _on_vectors(layers.Dense(5), Mixed(4), layers.Dense(3)),
    "many": lambda: keras.Sequential([keras.Input((3, 4)), Many()]),
    "block": lambda: keras.Sequential([keras.Input((7,), dtype="int32"), Block(), layers.LSTM(3)]),
}


@pytest.mark.parametrize("name", MODELS)
def test_code_of_a_users_own_gives_what_keras_gives(name: str) -> None:
    check(MODELS[name](), 3e-5)


def test_a_layer_of_a_users_own_learns_as_in_keras(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its losses are added, what it assigns lasts, and its attributes are variables again behind the trace."""
    standin.use(monkeypatch)
    numbers = np.random.default_rng(0)
    x, y = numbers.normal(size=(8, 6)).astype("f"), numbers.normal(size=(8, 3)).astype("f")
    train_beside_keras(MODELS["mixed"], x, y, None, optimizer="sgd", loss="mse")
    tokens, kinds = numbers.integers(0, 8, (8, 7)), numbers.integers(0, 3, 8)
    train_beside_keras(
        lambda: keras.Sequential([MODELS["block"](), layers.Dense(3, "softmax")]), tokens, kinds, None,
        optimizer="adam", loss="sparse_categorical_crossentropy",
    )  # fmt: skip


class Own(keras.Model):
    """A model that is code."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.norm, self.own = layers.Dense(6), layers.BatchNormalization(), Mixed(3)

    def call(self, inputs: Any, training: bool = False) -> Any:
        y = self.norm(ops.relu(self.first(inputs["x"])), training=training)
        return {"sum": ops.sum(y, -1, keepdims=True), "own": self.own(y)}


def test_a_model_of_a_users_own(monkeypatch: pytest.MonkeyPatch) -> None:
    standin.use(monkeypatch)
    numbers = np.random.default_rng(0)
    x = {"x": numbers.normal(size=(8, 6)).astype("f")}
    y = {"sum": np.ones((8, 1), "f"), "own": numbers.normal(size=(8, 3)).astype("f")}
    plain, other = Own(), Own()
    for model in (plain, other):
        model(x)
    other.set_weights(plain.get_weights())
    accelerated = a1400.keras.accelerate(other)
    with pytest.raises(InputError, match="is code"):
        _ = accelerated.network
    for model in (plain, accelerated):
        model.compile("sgd", {"sum": "mae", "own": "mse"})
    theirs, mine = (m.fit(x, y, batch_size=4, epochs=2, shuffle=False, verbose=0).history for m in (plain, accelerated))
    np.testing.assert_allclose(mine["loss"], theirs["loss"], rtol=1e-4)
    found, wanted = (m.predict(x, verbose=0) for m in (accelerated, plain))
    for name in ("sum", "own"):
        np.testing.assert_allclose(found[name], wanted[name], rtol=1e-3, atol=1e-4)


class Sampling(layers.Layer):
    """Random numbers in a layer's own code."""

    def call(self, x: Any) -> Any:
        return x + keras.random.normal(ops.shape(x))


def test_random_numbers_are_drawn_at_every_step() -> None:
    model = _on_vectors(Sampling())
    network = KerasNetwork(model)
    graph, made, given = traced(network, [np.zeros((500, 6), "f")], training=True)
    graph.output("y", next(iter(made.outputs.values())).value)
    first = evaluate(graph, given)["y"]
    second = evaluate(graph, {**given, "random": given["random"] + np.array([0, 0, 1], np.uint32)})["y"]
    assert abs(first.mean()) < 0.1 and abs(first.std() - 1) < 0.1 and not np.allclose(first, second)


def test_weights_that_two_layers_share() -> None:
    class Tied(layers.Layer):
        def __init__(self) -> None:
            super().__init__()
            self.words = layers.Embedding(5, 4)

        def build(self, shape: Any) -> None:
            self.words.build(shape)

        def call(self, x: Any) -> Any:
            return ops.matmul(self.words(x), ops.transpose(self.words.embeddings))

    model = keras.Sequential([keras.Input((3,), dtype="int32"), Tied()])
    shaken(model)
    arrays = [np.array([[0, 2, 4]], "i4")]
    np.testing.assert_allclose(answers(model, arrays)[0], expected(model, arrays)[0], rtol=1e-5)
    with pytest.raises(UnsupportedModel, match="randint"):
        KerasNetwork(_on_vectors(layers.Lambda(lambda x: x + ops.cast(keras.random.randint((6,), 0, 2), "float32"))))
