"""Each converted layer gives what Keras gives, outside training."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers

import a1400.keras.layers  # noqa: F401 - enters the converters
from a1400.keras.registry import converted
from tests.keras.forward import check

IMAGE, LINE, ROW = (7, 6, 4), (7, 4), (5,)


def _images(**options: Any) -> list[Any]:
    first = {"data_format": "channels_first"}
    return [
        layers.Conv2D(3, (3, 2), padding="same", strides=2, activation="relu", **options),
        layers.Conv2D(4, 3, groups=2, dilation_rate=2, use_bias=False, padding="same"),
        layers.DepthwiseConv2D(3, depth_multiplier=2, padding="same", activation="silu"),
        layers.SeparableConv2D(5, 3, depth_multiplier=2, strides=2, padding="same"),
        layers.Conv2DTranspose(3, 3, strides=2, padding="same"),
        layers.Conv2DTranspose(3, (2, 3), strides=3, padding="valid"),
        layers.Conv2DTranspose(2, 3, strides=2, padding="same", output_padding=1),
        layers.MaxPooling2D((3, 2), strides=2, padding="same"),
        layers.AveragePooling2D(3, strides=1, padding="same"),
        layers.MaxPooling2D(2, **first),
        layers.GlobalAveragePooling2D(keepdims=True),
        layers.GlobalMaxPooling2D(),
        layers.AdaptiveAveragePooling2D((3, 2)),
        layers.AdaptiveMaxPooling2D((2, 4)),
        layers.BatchNormalization(),
        layers.BatchNormalization(axis=1, scale=False),
        layers.GroupNormalization(2),
        layers.GroupNormalization(-1, axis=2, center=False),
        layers.LayerNormalization(axis=[1, 2, 3]),
        layers.LayerNormalization(axis=[1, 3]),
        layers.UnitNormalization(axis=[1, 3]),
        layers.UpSampling2D((2, 3)),
        layers.UpSampling2D(2, interpolation="bilinear"),
        layers.ZeroPadding2D(((1, 2), (0, 3))),
        layers.Cropping2D(((1, 2), (0, 3))),
        layers.Flatten(**first),
        layers.Permute((3, 1, 2)),
        layers.Reshape((-1, 2)),
        layers.Rescaling(0.5, offset=[1.0, 2.0, 3.0, 4.0]),
        layers.Normalization(mean=[1.0, 2.0, 3.0, 4.0], variance=[0.5, 1.0, 2.0, 0.0]),
        layers.Resizing(5, 9),
        layers.Resizing(4, 4, interpolation="nearest", crop_to_aspect_ratio=True),
        layers.CenterCrop(4, 3),
        layers.PReLU(shared_axes=[1, 2]),
        layers.Softmax(axis=[1, 2]),
        layers.SpatialDropout2D(0.5),
        *(layers.RandomFlip(), layers.RandomRotation(0.2), layers.RandomZoom(0.2), layers.RandomTranslation(0.2, 0.1)),
        *(layers.RandomContrast(0.3), layers.RandomBrightness(0.3), layers.RandomCrop(4, 4)),
    ]


def _lines() -> list[Any]:
    return [
        layers.Conv1D(3, 3, padding="causal", dilation_rate=2, activation="tanh"),
        layers.Conv1DTranspose(3, 4, strides=2, padding="same"),
        layers.DepthwiseConv1D(3),
        layers.SeparableConv1D(3, 2, padding="same"),
        layers.MaxPooling1D(2, padding="same"),
        layers.AveragePooling1D(2),
        layers.GlobalAveragePooling1D(),
        layers.GlobalMaxPooling1D(),
        layers.AdaptiveAveragePooling1D(3),
        layers.AdaptiveMaxPooling1D(3),
        layers.UpSampling1D(3),
        layers.ZeroPadding1D((1, 2)),
        layers.Cropping1D((1, 2)),
        layers.SpatialDropout1D(0.5),
        layers.LSTM(3),
        layers.LSTM(3, return_sequences=True, go_backwards=True, use_bias=False, recurrent_activation="hard_sigmoid"),
        layers.GRU(3, return_sequences=True),
        layers.GRU(3, reset_after=False, activation="relu"),
        layers.GRU(3, reset_after=False, activation="gelu", go_backwards=True),
        layers.GRU(3, activation="gelu", return_sequences=True),
        layers.SimpleRNN(3, activation="mish"),
        layers.SimpleRNN(3),
        layers.RNN([layers.LSTMCell(3), layers.GRUCell(2)], return_sequences=True),
        layers.Bidirectional(layers.LSTM(3, return_sequences=True)),
        layers.Bidirectional(layers.GRU(3), merge_mode="ave"),
        layers.Bidirectional(layers.SimpleRNN(3, activation="gelu", return_sequences=True), merge_mode="sum"),
        layers.TimeDistributed(layers.Dense(3, activation="softmax")),
        layers.Dense(3, activation=layers.LeakyReLU(0.3)),
        layers.EinsumDense("abc,cde->abde", output_shape=(None, 3, 2), bias_axes="de"),
        layers.EinsumDense("...x,xy->...y", output_shape=5),
        layers.RMSNormalization(),
        layers.LayerNormalization(center=False),
        layers.UnitNormalization(),
        layers.Identity(),
        layers.Masking(0.0),
        layers.Lambda(lambda x: keras.ops.flip(x, 1) * 2.0 - 1.0),
    ]


def _rows() -> list[Any]:
    return [
        layers.Dense(3),
        layers.RepeatVector(3),
        layers.ELU(0.7),
        layers.LeakyReLU(),
        layers.ReLU(max_value=1.0, negative_slope=0.1, threshold=0.2),
        layers.Dropout(0.5),
        layers.GaussianDropout(0.5),
        layers.GaussianNoise(0.5),
        layers.AlphaDropout(0.5),
        layers.ActivityRegularization(0.1),
        *(layers.Activation(name) for name in ACTIVATIONS),
    ]


ACTIVATIONS = (
    "celu", "elu", "exponential", "gelu", "hard_shrink", "hard_sigmoid", "hard_silu", "hard_tanh", "leaky_relu",
    "linear", "log_sigmoid", "log_softmax", "mish", "relu6", "selu", "sigmoid", "silu", "soft_shrink", "softmax",
    "softplus", "softsign", "sparse_plus", "sparse_sigmoid", "sparsemax", "squareplus", "tanh", "tanh_shrink",
)  # fmt: skip


def _volumes() -> list[Any]:
    return [
        layers.Conv3D(2, 2, activation="relu"),
        layers.Conv3DTranspose(2, 2, strides=2),
        layers.MaxPooling3D(2),
        layers.AveragePooling3D(2, padding="same"),
        layers.GlobalAveragePooling3D(),
        layers.GlobalMaxPooling3D(),
        layers.UpSampling3D(2),
        layers.ZeroPadding3D(1),
        layers.Cropping3D(1),
        layers.SpatialDropout3D(0.5),
        layers.AdaptiveAveragePooling3D(2),
        layers.AdaptiveMaxPooling3D(2),
    ]


SINGLE = [
    *((IMAGE, layer) for layer in _images()), *((LINE, layer) for layer in _lines()),
    *((ROW, layer) for layer in _rows()), *(((4, 3, 4, 2), layer) for layer in _volumes()),
]  # fmt: skip


@pytest.mark.parametrize("shape, layer", SINGLE, ids=lambda value: getattr(value, "name", None) or str(value))
def test_one_layer_gives_what_keras_gives(shape: tuple[int, ...], layer: Any) -> None:
    check(keras.Sequential([keras.Input(shape), layer]))


def _two(merge: Any, first: tuple[int, ...] = (4, 3), second: tuple[int, ...] = (4, 3)) -> Any:
    a, b = keras.Input(first), keras.Input(second)
    return keras.Model([a, b], merge([a, b]))


def _attention(layer: Any, **options: Any) -> Any:
    q, v = keras.Input((4, 6)), keras.Input((5, 6))
    return keras.Model([q, v], layer(q, v, **options))


def _states() -> Any:
    x = keras.Input((5, 3))
    y, *states = layers.LSTM(4, return_sequences=True, return_state=True)(x)
    z = layers.LSTM(4)(y, initial_state=states)
    return keras.Model(x, [z, *layers.GRU(2, return_state=True)(y)])


def _both_ways() -> Any:
    x = keras.Input((5, 3))
    return keras.Model(x, list(layers.Bidirectional(layers.LSTM(4, return_state=True), merge_mode="mul")(x)))


def _tokens() -> Any:
    x = keras.Input((6,), dtype="int32")
    y = layers.Embedding(5, 4)(x)
    codes = layers.CategoryEncoding(4, output_mode="multi_hot")(x)
    return keras.Model(x, [y, codes, layers.CategoryEncoding(4, output_mode="count")(x)])


def _nested() -> Any:
    inner = keras.Sequential([keras.Input((5,)), layers.Dense(4, activation="relu"), layers.BatchNormalization()])
    x = keras.Input((5,))
    twice = inner(x, training=False) + inner(x * 2.0 - 1.0)
    branch = keras.Model(x, {"b": layers.Dense(2)(twice), "a": layers.Dense(1)(x)})
    z = keras.Input((5,), name="z")
    parts = branch(z)
    return keras.Model({"z": z}, {"second": parts["a"], "first": keras.ops.tanh(parts["b"])})


def _operations() -> Any:
    x = keras.Input((4, 6))
    ops = keras.ops
    y = ops.concatenate([x[:, 1:3], ops.relu(-x[:, ::2, :])], axis=1)
    y = ops.where(y > 0.1, ops.sqrt(ops.abs(y)) / 2, y**2)
    y = ops.matmul(y, ops.transpose(x, (0, 2, 1)))
    z = ops.einsum("bij,bkj->bik", y, y) + ops.expand_dims(ops.mean(x, axis=[1, 2]), (1, 2))
    return keras.Model(x, [ops.reshape(z, (-1, 16)), ops.max(ops.softmax(z), axis=-1, keepdims=True), z[..., 0, None]])


MODELS: dict[str, Callable[[], Any]] = {
    "add": lambda: _two(layers.Add()),
    "add_ranks": lambda: _two(layers.Add(), (4, 3), (3,)),
    "subtract": lambda: _two(layers.Subtract()),
    "multiply": lambda: _two(layers.Multiply()),
    "average": lambda: _two(layers.Average()),
    "maximum": lambda: _two(layers.Maximum()),
    "minimum": lambda: _two(layers.Minimum()),
    "concatenate": lambda: _two(layers.Concatenate(axis=1), (4, 3), (2, 3)),
    "dot": lambda: _two(layers.Dot(axes=(1, 2), normalize=True), (4, 3), (5, 4)),
    "dot_rows": lambda: _two(layers.Dot(axes=1), (4,), (4,)),
    "attention": lambda: _two(layers.Attention(), (4, 6), (5, 6)),
    "attention_scaled": lambda: _two(layers.Attention(use_scale=True, score_mode="concat"), (4, 6), (5, 6)),
    "additive_attention": lambda: _two(layers.AdditiveAttention(), (4, 6), (5, 6)),
    "multi_head": lambda: _attention(layers.MultiHeadAttention(2, 3, value_dim=4, output_shape=5)),
    "multi_head_causal": lambda: _attention(
        layers.MultiHeadAttention(2, 3), use_causal_mask=True, attention_mask=np.arange(20).reshape(1, 4, 5) % 3 != 1
    ),
    "multi_head_scores": lambda: _attention(layers.MultiHeadAttention(2, 3), return_attention_scores=True),
    "grouped_query": lambda: _attention(layers.GroupQueryAttention(4, 4, 2), use_causal_mask=True),
    "states": _states,
    "both_ways": _both_ways,
    "tokens": _tokens,
    "nested": _nested,
    "operations": _operations,
    "glu": lambda: keras.Sequential([keras.Input((6,)), layers.Activation("glu")]),
    "padded": lambda: keras.Sequential([
        keras.Input((3, 6, 5)), layers.ZeroPadding2D(1, data_format="channels_first"),
        layers.Conv2D(2, 3, data_format="channels_first"),
    ]),
}  # fmt: skip


@pytest.mark.parametrize("name", MODELS)
def test_a_model_gives_what_keras_gives(name: str) -> None:
    check(MODELS[name]())


def test_every_converted_layer_is_among_these() -> None:
    seen: set[str] = set()
    models = [keras.Sequential([keras.Input(shape), layer]) for shape, layer in SINGLE]
    for model in [*models, *(make() for make in MODELS.values())]:
        for layer in model._flatten_layers():
            seen.add(type(layer).__name__)
    # what refuses, and the class of models that are neither functional nor sequential
    assert set(converted()[0]) - seen - {"Model", "SpectralNormalization"} == set()
