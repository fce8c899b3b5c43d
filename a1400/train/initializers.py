"""First values of parameters, made on the host by NumPy's Philox: the same seed gives the same numbers everywhere.

Names, arguments and distributions are those of ``keras.initializers``; the numbers themselves are not Keras's, which
depend on what runs below it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from a1400.errors import InputError

#: standard deviation of a normal distribution cut off at two deviations
_CUT_DEVIATION = 0.87962566103423978


class Initializer:
    """``initializer(shape, dtype, stream)`` is an array; equal seeds, shapes and streams give equal arrays.

    ``stream`` tells apart parameters that share one initializer.
    """

    def __init__(self, seed: int | None = None) -> None:
        self.seed = seed

    def __call__(self, shape: Sequence[int], dtype: Any = np.float32, stream: int = 0) -> np.ndarray:
        return np.asarray(self._values(tuple(shape), self._generator(stream))).astype(dtype)

    def _generator(self, stream: int) -> np.random.Generator:
        if self.seed is None:
            return np.random.default_rng()
        key = np.array([self.seed & (2**64 - 1), stream], np.uint64)
        return np.random.Generator(np.random.Philox(key=key))

    def _values(self, shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
        raise NotImplementedError


class Constant(Initializer):
    """``value`` everywhere."""

    def __init__(self, value: float = 0.0) -> None:
        super().__init__()
        self.value = value

    def _values(self, shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
        return np.full(shape, self.value)


class Zeros(Constant):
    """0 everywhere."""

    def __init__(self) -> None:
        super().__init__(0.0)


class Ones(Constant):
    """1 everywhere."""

    def __init__(self) -> None:
        super().__init__(1.0)


class Identity(Initializer):
    """``gain`` on the diagonal of a matrix, 0 elsewhere."""

    def __init__(self, gain: float = 1.0) -> None:
        super().__init__()
        self.gain = gain

    def _values(self, shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
        if len(shape) != 2:
            raise InputError(f"only a matrix can be an identity, not {list(shape)}")
        return self.gain * np.eye(*shape)


class RandomNormal(Initializer):
    """Normal numbers."""

    def __init__(self, mean: float = 0.0, stddev: float = 0.05, seed: int | None = None) -> None:
        super().__init__(seed)
        self.mean, self.stddev = mean, stddev

    def _values(self, shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
        return rng.normal(self.mean, self.stddev, shape)


class TruncatedNormal(RandomNormal):
    """Normal numbers, drawn again where they are more than two deviations from the mean."""

    def _values(self, shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
        return self.mean + self.stddev * _cut_normal(shape, rng)


class RandomUniform(Initializer):
    """Uniform numbers from [minval, maxval)."""

    def __init__(self, minval: float = -0.05, maxval: float = 0.05, seed: int | None = None) -> None:
        super().__init__(seed)
        self.minval, self.maxval = minval, maxval

    def _values(self, shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
        return rng.uniform(self.minval, self.maxval, shape)


def _cut_normal(shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    x = rng.standard_normal(shape)
    while (far := np.abs(x) > 2).any():
        x[far] = rng.standard_normal(int(far.sum()))
    return x


class VarianceScaling(Initializer):
    """Numbers of variance ``scale`` / n, n being the inputs of a unit (``fan_in``), its outputs or their mean.

    ``distribution`` is ``truncated_normal``, ``untruncated_normal`` or ``uniform``.
    """

    def __init__(
        self, scale: float = 1.0, mode: str = "fan_in", distribution: str = "truncated_normal", seed: int | None = None
    ) -> None:
        super().__init__(seed)
        if scale <= 0 or mode not in ("fan_in", "fan_out", "fan_avg"):
            raise InputError(f"no variance scaling by {scale} over {mode!r}")
        if distribution not in ("truncated_normal", "untruncated_normal", "uniform"):
            raise InputError(f"no distribution is called {distribution!r}")
        self.scale, self.mode, self.distribution = scale, mode, distribution

    def _values(self, shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
        fan_in, fan_out = fans(shape)
        fan = {"fan_in": fan_in, "fan_out": fan_out, "fan_avg": (fan_in + fan_out) / 2}[self.mode]
        variance = self.scale / max(1.0, fan)
        if self.distribution == "uniform":
            reach = math.sqrt(3 * variance)
            return rng.uniform(-reach, reach, shape)
        if self.distribution == "untruncated_normal":
            return rng.normal(0.0, math.sqrt(variance), shape)
        return _cut_normal(shape, rng) * (math.sqrt(variance) / _CUT_DEVIATION)


def fans(shape: Sequence[int]) -> tuple[float, float]:
    """Inputs and outputs of a unit with weights of ``shape``: [in, out], or [*kernel, in, out] of a convolution."""
    if len(shape) < 2:
        return (float(shape[0]),) * 2 if shape else (1.0, 1.0)
    kernel = math.prod(shape[:-2])
    return float(shape[-2] * kernel), float(shape[-1] * kernel)


class GlorotUniform(VarianceScaling):
    """Glorot and Bengio, "Understanding the difficulty of training deep feedforward neural networks" (2010)."""

    def __init__(self, seed: int | None = None) -> None:
        super().__init__(1.0, "fan_avg", "uniform", seed)


class GlorotNormal(VarianceScaling):
    """:class:`GlorotUniform`, normal."""

    def __init__(self, seed: int | None = None) -> None:
        super().__init__(1.0, "fan_avg", "truncated_normal", seed)


class HeUniform(VarianceScaling):
    """He and others, "Delving deep into rectifiers" (2015)."""

    def __init__(self, seed: int | None = None) -> None:
        super().__init__(2.0, "fan_in", "uniform", seed)


class HeNormal(VarianceScaling):
    """:class:`HeUniform`, normal."""

    def __init__(self, seed: int | None = None) -> None:
        super().__init__(2.0, "fan_in", "truncated_normal", seed)


class LecunUniform(VarianceScaling):
    """LeCun and others, "Efficient backprop" (1998)."""

    def __init__(self, seed: int | None = None) -> None:
        super().__init__(1.0, "fan_in", "uniform", seed)


class LecunNormal(VarianceScaling):
    """:class:`LecunUniform`, normal."""

    def __init__(self, seed: int | None = None) -> None:
        super().__init__(1.0, "fan_in", "truncated_normal", seed)


class Orthogonal(Initializer):
    """Orthogonal rows or columns, whichever are fewer (Saxe, McClelland and Ganguli, 2013), times ``gain``."""

    def __init__(self, gain: float = 1.0, seed: int | None = None) -> None:
        super().__init__(seed)
        self.gain = gain

    def _values(self, shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
        if len(shape) < 2:
            raise InputError(f"only tensors of two axes or more can be orthogonal, not {list(shape)}")
        rows, columns = math.prod(shape[:-1]), shape[-1]
        q, r = np.linalg.qr(rng.standard_normal((max(rows, columns), min(rows, columns))))
        q = q * np.sign(np.diag(r))
        return self.gain * (q.T if rows < columns else q).reshape(shape)


_KINDS: tuple[type[Initializer], ...] = (
    Constant, Zeros, Ones, Identity, RandomNormal, TruncatedNormal, RandomUniform, VarianceScaling, GlorotUniform,
    GlorotNormal, HeUniform, HeNormal, LecunUniform, LecunNormal, Orthogonal,
)  # fmt: skip


def from_name(name: str, **config: Any) -> Initializer:
    """The initializer that Keras calls ``name`` (``glorot_uniform``, ``HeNormal``); raises :class:`InputError`."""
    for kind in _KINDS:
        if kind.__name__.lower() == name.replace("_", "").lower():
            return kind(**config)
    raise InputError(f"no initializer is called {name!r}; there are {', '.join(k.__name__ for k in _KINDS)}")
