"""In its training form a model gives Keras's outputs, statistics, penalties and gradients (through the references)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
import torch
from keras import layers

from a1400.autodiff import gradients
from a1400.graph.graph import evaluate
from a1400.keras.network import KerasNetwork
from tests.keras.forward import feeds, shaken, traced


def _images() -> Any:
    return keras.Sequential([
        keras.Input((8, 7, 3)),
        layers.Conv2D(4, 3, activation="relu", kernel_regularizer=keras.regularizers.L1L2(0.1, 0.2)),
        layers.BatchNormalization(momentum=0.7), layers.MaxPooling2D(2), layers.DepthwiseConv2D(3, padding="same"),
        layers.Flatten(), layers.Dense(3, activation="softmax", activity_regularizer="l2"),
    ])  # fmt: skip


def _transposed() -> Any:
    return keras.Sequential([
        keras.Input((4, 4, 4)), layers.SeparableConv2D(4, 3, padding="same", activation="elu"),
        layers.Conv2DTranspose(2, 3, strides=2, padding="same"), layers.GroupNormalization(2), layers.PReLU(),
        layers.AveragePooling2D(2),
    ])  # fmt: skip


def _tokens() -> Any:
    x = keras.Input((6,), dtype="int32")
    y = layers.Embedding(5, 4)(x)
    y = y + layers.MultiHeadAttention(2, 3)(y, y, use_causal_mask=True)
    y = layers.LayerNormalization()(y)
    return keras.Model(x, y + layers.Dense(4)(layers.Dense(8, activation="gelu")(y)))


def _sequences() -> Any:
    x = keras.Input((4, 3))
    y = layers.Bidirectional(layers.LSTM(3, return_sequences=True))(x)
    y = layers.GRU(3, return_sequences=True)(y)
    frozen = layers.Dense(2, trainable=False)
    return keras.Model(x, [frozen(layers.SimpleRNN(3)(y)), layers.GRU(2, reset_after=False)(y)])


MODELS: dict[str, Callable[[], Any]] = {
    "images": _images, "transposed": _transposed, "tokens": _tokens, "sequences": _sequences,
}  # fmt: skip


@pytest.mark.parametrize("name", MODELS)
def test_gradients_and_updates_are_those_of_keras(name: str) -> None:
    model = MODELS[name]()
    shaken(model)
    arrays = feeds(model)
    network = KerasNetwork(model)
    graph, made, given = traced(network, arrays, training=True)
    numbers = np.random.default_rng(5)
    factors = [numbers.normal(size=t.shape).astype("f") for t in made.outputs.values()]
    loss = sum((t * f).sum() for t, f in zip(made.outputs.values(), factors))
    for penalty in made.penalties:
        loss = loss + penalty
    parameters = [graph.inputs[f"parameter {n}"] for n in network.parameters]
    graph.output("loss", loss.value)
    for label, value in zip(network.parameters, gradients(graph, loss.value, parameters)):
        assert value is not None
        graph.output(f"gradient {label}", value)
    for label, tensor in made.updates.items():
        graph.output(f"update {label}", tensor.value)
    found = evaluate(graph, given)

    outputs = keras.tree.flatten(model(arrays[0], training=True))
    total = sum((y * torch.tensor(f)).sum() for y, f in zip(outputs, factors)) + sum(model.losses)
    total.backward()
    np.testing.assert_allclose(found["loss"], total.detach().numpy(), rtol=2e-5)
    assert all(not v.trainable for v in network.buffers.variables.values())
    for label, variable in network.parameters.variables.items():
        mine = network.parameters.keras_order(label, found[f"gradient {label}"])
        theirs = variable.value.grad.numpy()
        np.testing.assert_allclose(mine, theirs, rtol=1e-4, atol=2e-5 * max(1, np.abs(theirs).max()), err_msg=label)
    for label in made.updates:
        np.testing.assert_allclose(found[f"update {label}"], network.buffers[label], rtol=1e-5, err_msg=label)


def test_relu_at_zero_has_no_gradient() -> None:
    """Dark pictures give exact zeros behind a convolution: half a gradient there would be another curve."""
    model = keras.Sequential([keras.Input((2,)), layers.Dense(2, use_bias=False), layers.ReLU(), layers.Dense(1)])
    network = KerasNetwork(model)
    graph, made, given = traced(network, [np.zeros((3, 2), "f")], training=True)
    loss = next(iter(made.outputs.values())).sum()
    bias = [n for n in network.parameters if n.endswith("kernel")][1]
    (value,) = gradients(graph, loss.value, [graph.inputs[f"parameter {bias}"]])
    assert value is not None
    graph.output("g", value)
    np.testing.assert_array_equal(evaluate(graph, given)["g"], 0)


def test_dropout_drops_only_while_training() -> None:
    model = keras.Sequential([keras.Input((4, 500)), layers.SpatialDropout1D(0.25), layers.Dropout(0.5)])
    network = KerasNetwork(model)
    graph, made, given = traced(network, [np.ones((3, 4, 500), "f")], training=True)
    graph.output("y", next(iter(made.outputs.values())).value)
    y = evaluate(graph, given)["y"]
    assert set(np.unique(y.round(4))) == {0.0, np.float32(2 / 0.75).round(4)}
    whole = (y == 0).all(axis=1).mean()  # channels that the first of the two dropped
    assert 0.2 < whole - 0.75 * 0.5**4 < 0.3 and 0.58 < (y == 0).mean() < 0.67


@pytest.mark.parametrize(
    "layer",
    [
        layers.RandomFlip("horizontal"), layers.RandomRotation((0.25, 0.25)), layers.RandomTranslation((0.5, 0.5), 0.0),
        layers.RandomZoom((-0.5, -0.5)), layers.RandomBrightness((0.25, 0.25), value_range=(0, 1)),
        layers.RandomContrast((0.0, 0.999), value_range=(-9, 9)), layers.RandomCrop(2, 2),
    ],
    ids=lambda layer: type(layer).__name__,
)  # fmt: skip
def test_augmentation_does_what_it_says(layer: Any) -> None:
    picture = np.arange(16, dtype="f").reshape(1, 4, 4, 1) / 16
    model = keras.Sequential([keras.Input((4, 4, 1)), layer])
    graph, made, given = traced(KerasNetwork(model), [np.repeat(picture, 8, 0)], training=True)
    graph.output("y", next(iter(made.outputs.values())).value)
    found = evaluate(graph, given)["y"][..., 0]
    p, name = picture[0, :, :, 0], type(layer).__name__
    if name == "RandomFlip":
        kinds = [any(np.array_equal(y, w) for y in found) for w in (p, p[:, ::-1])]
        assert all(kinds) and all(np.array_equal(y, p) or np.array_equal(y, p[:, ::-1]) for y in found)
    elif name == "RandomRotation":
        np.testing.assert_allclose(found, np.repeat(np.rot90(p)[None], 8, 0), atol=1e-5)
    elif name == "RandomTranslation":
        np.testing.assert_allclose(found, np.repeat(np.concatenate([p[1::-1], p[:2]])[None], 8, 0), atol=1e-5)
    elif name == "RandomZoom":
        np.testing.assert_allclose(found.mean(axis=(1, 2)), p.mean(), atol=1e-5)
        np.testing.assert_allclose(np.ptp(found, axis=(1, 2)), np.ptp(p) / 2, atol=1e-5)
    elif name == "RandomBrightness":
        np.testing.assert_allclose(found, np.repeat(np.clip(p + 0.25, 0, 1)[None], 8, 0), atol=1e-6)
    elif name == "RandomContrast":
        ratio = (found - p.mean()) / (p - p.mean())
        assert np.ptp(ratio, axis=(1, 2)).max() < 1e-5 and ratio.min() >= 1 and ratio.max() < 2 and np.ptp(ratio) > 0.2
    else:
        assert found.shape == (8, 2, 2) and all(np.array_equal(y, found[0]) for y in found)
        assert any(np.array_equal(found[0], p[i : i + 2, j : j + 2]) for i in range(3) for j in range(3))
