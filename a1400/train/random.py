"""Random numbers of a training step: Philox4x32-10 counted by element, so none is stored and none is drawn twice.

A number is a function of (seed, step, stream, element): the seed is the key, and the counter is (number of the element,
stream, step, 0).  Element i takes word 0 of block i - a block for each element, not for four, as work-items compute
their elements alone and would each have to make the whole block anyway; :meth:`RandomSource.normal` takes two words
of it.  Bits and ``uniform`` are the same on every device and in NumPy, bit for bit.

The backward pass reads the same mask as the forward pass; as nothing but numbers goes into it, fusion computes it again
there rather than keep it (:func:`a1400.optimizer.regions.find_regions`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from a1400.errors import GraphError
from a1400.graph.tensor import Tensor

#: name of the state in a step's graph, and its shape: seed (low, high) and step, uint32
STATE = "random"
STATE_SHAPE = (3,)
#: SELU's alpha and scale (Klambauer and others, "Self-normalizing neural networks", 2017)
_SELU_ALPHA, _SELU_SCALE = 1.6732632423543772, 1.0507009873554805


def initial_state(seed: int) -> np.ndarray:
    """The state (uint32 [3]) that ``seed`` begins with, at step 0; any Python integer, 64 bits of it count."""
    seed &= 2**64 - 1
    return np.array([seed & 0xFFFFFFFF, seed >> 32, 0], np.uint32)


def permutation(count: int, seed: int, turn: int = 0) -> np.ndarray:
    """The numbers 0 .. count - 1 (int64) in the random order of pass ``turn``, made on the host."""
    key = np.array([seed & (2**64 - 1), turn & (2**64 - 1)], np.uint64)
    return np.random.Generator(np.random.Philox(key=key)).permutation(count)


class RandomSource:
    """Random tensors of one graph.

    ``state`` is uint32 [3] (:func:`initial_state`), an input or a state of the graph.  Every call takes a new stream
    unless told one, so a network that is traced the same way twice draws the same numbers.
    """

    def __init__(self, state: Tensor) -> None:
        if state.shape != STATE_SHAPE or state.dtype != np.uint32:
            raise GraphError(f"the state of random numbers is uint32 [3], not {state!r}")
        self.state, self.graph = state, state.graph
        self._next = 0

    def stream(self) -> int:
        """A stream that nobody has had yet."""
        self._next += 1
        return self._next - 1

    def advanced(self) -> Tensor:
        """The state of the next step."""
        return self.state + self.state.lift(np.array([0, 0, 1], np.uint32))

    # ---- numbers -------------------------------------------------------------------------------------
    def bits(self, shape: Sequence[int], stream: int | None = None, word: int = 0) -> Tensor:
        """32 random bits per element (uint32); ``word`` (0 to 3) chooses one of four independent tensors."""
        stream = self.stream() if stream is None else stream
        numbers = Tensor(self.graph, self.graph.op("iota", shape=tuple(shape)))
        # as a tensor, not a number of the program's text: all streams run one program
        lane = Tensor(self.graph, self.graph.op("iota", shape=(1,), start=stream))
        key_low, key_high, step = (self.state.slice([i], [1]) for i in range(3))
        made = numbers.op(f"philox{word}", lane, step, 0, key_low, key_high)
        return made.reshape(shape)

    def uniform(
        self, shape: Sequence[int], low: float = 0.0, high: float = 1.0, dtype: np.dtype | type = np.float32,
        stream: int | None = None,
    ) -> Tensor:  # fmt: skip
        """Numbers from [low, high): multiples of 2**-24 between 0 and 1, scaled and shifted."""
        numbers = _fraction(self.bits(shape, stream), dtype)
        if high - low != 1:
            numbers = numbers * (high - low)
        return numbers + low if low else numbers

    def normal(
        self, shape: Sequence[int], mean: float = 0.0, deviation: float = 1.0, dtype: np.dtype | type = np.float32,
        stream: int | None = None,
    ) -> Tensor:  # fmt: skip
        """Normally distributed numbers, by Box and Muller's transform of two words of the element's block."""
        stream = self.stream() if stream is None else stream
        radius = (-2.0 * (1.0 - _fraction(self.bits(shape, stream), dtype)).log()).sqrt()
        angle = _fraction(self.bits(shape, stream, 1), dtype) * (2.0 * math.pi)
        numbers = radius * angle.op("cos")
        if deviation != 1:
            numbers = numbers * deviation
        return numbers + mean if mean else numbers

    def truncated_normal(
        self, shape: Sequence[int], mean: float = 0.0, deviation: float = 1.0, dtype: np.dtype | type = np.float32,
        stream: int | None = None,
    ) -> Tensor:  # fmt: skip
        """Normally distributed numbers within two deviations of the mean, by the inverse of the distribution."""
        numbers = _fraction(self.bits(shape, stream), dtype)
        reach = math.erf(math.sqrt(2.0))  # probability of being within two deviations
        middle = (2.0 * numbers - (1.0 - 2.0**-24)) * reach
        return _inverse_erf_near(middle) * (math.sqrt(2.0) * deviation) + mean

    def bernoulli(self, shape: Sequence[int], probability: float, stream: int | None = None) -> Tensor:
        """True (bool) with ``probability``."""
        return self.uniform(shape, stream=stream) < probability

    # ---- layers --------------------------------------------------------------------------------------
    def dropout(
        self, x: Tensor, rate: float, noise_shape: Sequence[int | None] | None = None, stream: int | None = None
    ) -> Tensor:
        """``x`` with elements set to zero with probability ``rate``, the others scaled by 1 / (1 - rate).

        ``noise_shape`` broadcasts to the shape of ``x`` (None: the size there): what shares a number shares its fate.
        Raises :class:`GraphError` for a rate outside [0, 1].
        """
        _check_rate(rate, 1.0)
        if rate == 0:
            return x
        if rate == 1:
            return x * 0.0
        kept = self.uniform(_noise_shape(x, noise_shape), stream=stream) >= rate
        return x * kept.where(x.lift(1.0 / (1.0 - rate)), 0.0)

    def spatial_dropout(self, x: Tensor, rate: float, stream: int | None = None) -> Tensor:
        """Dropout of whole channels of ``x`` [N, *spatial, C]."""
        return self.dropout(x, rate, (x.shape[0], *(1 for _ in x.shape[1:-1]), x.shape[-1]), stream)

    def alpha_dropout(
        self, x: Tensor, rate: float, noise_shape: Sequence[int | None] | None = None, stream: int | None = None
    ) -> Tensor:
        """Dropout that keeps mean and variance of what SELU gives (Klambauer and others, 2017)."""
        _check_rate(rate)
        if rate == 0:
            return x
        low = -_SELU_ALPHA * _SELU_SCALE
        scale = ((1.0 - rate) * (1.0 + rate * low**2)) ** -0.5
        shift = -scale * low * rate
        kept = self.uniform(_noise_shape(x, noise_shape), stream=stream) >= rate
        factor, addend = kept.where(x.lift(scale), 0.0), kept.where(x.lift(shift), scale * low + shift)
        return x * factor + addend

    def gaussian_dropout(self, x: Tensor, rate: float, stream: int | None = None) -> Tensor:
        """``x`` times normal numbers of mean 1 and variance rate / (1 - rate)."""
        _check_rate(rate)
        if rate == 0:
            return x
        return x * self.normal(x.shape, 1.0, math.sqrt(rate / (1.0 - rate)), stream=stream).cast(x.dtype)

    def gaussian_noise(self, x: Tensor, deviation: float, stream: int | None = None) -> Tensor:
        """``x`` plus normal numbers of mean 0."""
        return x + self.normal(x.shape, 0.0, deviation, stream=stream).cast(x.dtype) if deviation else x


def _fraction(bits: Tensor, dtype: np.dtype | type) -> Tensor:
    """The upper 24 bits as a multiple of 2**-24 in [0, 1): exact in float32."""
    # by way of int32, which every device converts faster than uint32
    return bits.op("shr", 8).cast(np.int32).cast(dtype) * 2.0**-24


def _noise_shape(x: Tensor, given: Sequence[int | None] | None) -> tuple[int, ...]:
    if given is None:
        return x.shape
    if len(given) != x.rank or any(n not in (None, 1, size) for n, size in zip(given, x.shape)):
        raise GraphError(f"a noise shape of {list(given)} does not broadcast to {list(x.shape)}")
    return tuple(size if n is None else n for n, size in zip(given, x.shape))


def _check_rate(rate: float, largest: float = 1 - 2.0**-24) -> None:
    if not 0 <= rate <= largest:
        raise GraphError(f"a dropout rate of {rate} is not between 0 and 1")


#: Giles, "Approximating the erfinv function" (2010), single precision, where -log(1 - x**2) < 5
_ERFINV = (
    2.81022636e-08, 3.43273939e-07, -3.5233877e-06, -4.39150654e-06, 0.00021858087, -0.00125372503, -0.00417768164,
    0.246640727, 1.50140941,
)  # fmt: skip


def _inverse_erf_near(x: Tensor) -> Tensor:
    """The inverse of erf for |x| < 0.99."""
    w = -((1.0 - x) * (1.0 + x)).log() - 2.5
    p = w * _ERFINV[0] + _ERFINV[1]
    for coefficient in _ERFINV[2:]:
        p = p * w + coefficient
    return p * x
