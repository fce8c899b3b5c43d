"""Translators, one module per family; importing this package fills the table."""

from a1400.frontends.torch.ops import (  # noqa: F401 - importing a family registers its translators
    activation,
    attention,
    convolution,
    creation,
    distances,
    elementwise,
    indexing,
    linear,
    movement,
    normalization,
    pooling,
    randomness,
    reduction,
    sampling,
    shapes,
    special,
)
