"""Translators, one module per family; importing this package fills the table."""

from a1400.frontends.onnx.ops import (  # noqa: F401 - importing a family registers its translators
    activation,
    attention,
    control,
    convolution,
    elementwise,
    generators,
    indexing,
    linear,
    logic,
    movement,
    normalization,
    pooling,
    quantization,
    recurrent,
    reduction,
    resampling,
    sequences,
    shapes,
    signal,
)
