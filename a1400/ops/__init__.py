"""The primitive operations: each declared once with its shape rule, NumPy reference and gradient."""

from a1400.ops import (  # noqa: F401 - importing a family registers its ops
    attention,
    batch_norm,
    convolution,
    convolution_gradients,
    coupling,
    cross_entropy,
    ctc,
    indexing,
    joined,
    linear,
    movement,
    nbits,
    normalization,
    numbers,
    pointwise,
    pointwise_gradients,
    recurrent,
    recurrent_gradient,
    reduction,
    sampling,
    sampling_gradients,
    selection,
)
from a1400.ops.registry import OPS, OpDef

__all__ = ["OPS", "OpDef"]
