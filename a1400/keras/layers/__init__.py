"""Converters of Keras's layers, one module per family; importing this package enters them all."""

from a1400.keras.layers import (  # noqa: F401 - imported for what they register
    activations,
    attention,
    augmentation,
    convolution,
    core,
    merging,
    models,
    normalization,
    operations,
    operations_moving,
    operations_nn,
    pooling,
    preprocessing,
    recurrent,
    regularization,
    reshaping,
)
