"""The primitive operations: each declared once with its shape rule, NumPy reference and gradient."""

from a1400.ops import (  # noqa: F401 - importing a family registers its ops
    attention,
    batch_norm,
    convolution,
    cross_entropy,
    convolution_gradients,
    indexing,
    joined,
    linear,
    movement,
    normalization,
    numbers,
    pointwise,
    pointwise_gradients,
    recurrent,
    reduction,
    sampling,
    sampling_gradients,
)
from a1400.ops.registry import OPS, OpDef

__all__ = ["OPS", "OpDef"]
