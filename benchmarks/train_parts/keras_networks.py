"""The tasks' networks in plain Keras."""

from __future__ import annotations

from typing import Any

from benchmarks.train_parts.tasks import CLASSES, HEADS, HIDDEN, LAYERS, RATE, SEQUENCE, VOCABULARY, Weights


def build(name: str, weights: Weights) -> Any:
    """The network of task ``name`` with ``weights``."""
    model = {"tutorial_cnn": cnn, "transformer": transformer}[name]()
    model.set_weights(list(weights.values()))
    return model


def compiled(model: Any) -> Any:
    """``model``, compiled for the task: Adam and cross-entropy of logits."""
    import keras

    model.compile(keras.optimizers.Adam(RATE), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    return model


def cnn() -> Any:
    """The tutorial's CNN; logits, so that every engine computes the same loss."""
    from keras import Sequential, layers

    convolutions = [
        layer
        for width in (32, 64, 128)
        for layer in (layers.Conv2D(width, 3, activation="relu"), layers.MaxPooling2D(2))
    ]
    dense = [layers.Flatten(), layers.Dense(128, activation="relu"), layers.Dense(CLASSES)]
    return Sequential([layers.Input((28, 28, 1)), *convolutions, *dense])


def transformer() -> Any:
    """The causal language model."""
    from keras import Input, Model, layers

    tokens = Input((SEQUENCE,), dtype="int32")
    x = layers.Embedding(VOCABULARY, HIDDEN)(tokens)
    for _ in range(LAYERS):
        n = layers.LayerNormalization()(x)
        x = x + layers.MultiHeadAttention(HEADS, HIDDEN // HEADS)(n, n, use_causal_mask=True)
        n = layers.LayerNormalization()(x)
        n = layers.Dense(4 * HIDDEN, activation="gelu")(n)
        x = x + layers.Dense(HIDDEN)(n)
    return Model(tokens, layers.Dense(VOCABULARY)(layers.LayerNormalization()(x)))
