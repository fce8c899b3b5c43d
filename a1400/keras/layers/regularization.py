"""Layers that add noise while training: dropout and its relatives.  They draw from the trainer's random numbers."""

from __future__ import annotations

from collections.abc import Sequence

from a1400.graph.tensor import Tensor
from a1400.keras.layers.windows import channels_first
from a1400.keras.registry import converts
from a1400.keras.tracing import Call


def dropout(c: Call, x: Tensor, rate: float, noise_shape: Sequence[int | None] | None = None) -> Tensor:
    """Zeros with probability ``rate``, everything else scaled up; axes of 1 in ``noise_shape`` share their fate."""
    return c.random.dropout(x, rate, noise_shape) if c.training else x


@converts("Dropout")
def _dropout(c: Call) -> Tensor:
    return dropout(c, c.real, float(c.layer.rate), c.layer.noise_shape)


@converts("SpatialDropout1D", "SpatialDropout2D", "SpatialDropout3D")
def _spatial(c: Call) -> Tensor:
    x = c.real
    channel = 1 if channels_first(c) else x.rank - 1
    return dropout(c, x, float(c.layer.rate), [n if d in (0, channel) else 1 for d, n in enumerate(x.shape)])


@converts("GaussianDropout")
def _gaussian_dropout(c: Call) -> Tensor:
    return c.random.gaussian_dropout(c.real, float(c.layer.rate)) if c.training else c.real


@converts("GaussianNoise")
def _gaussian_noise(c: Call) -> Tensor:
    return c.random.gaussian_noise(c.real, float(c.layer.stddev)) if c.training else c.real


@converts("AlphaDropout")
def _alpha(c: Call) -> Tensor:
    return c.random.alpha_dropout(c.real, float(c.layer.rate), c.layer.noise_shape) if c.training else c.real
