"""One module per op family: how its nodes become kernel launches."""

from a1400.engine.lower import (  # noqa: F401 - importing a family registers its handlers
    attention,
    attention_gradient,
    convolution,
    convolution_gradients,
    coupling,
    indexing,
    joined,
    linear,
    movement,
    nbits,
    normalization,
    pointwise,
    recurrent,
    recurrent_gradient,
    reduction,
    sampling,
    selection,
)
