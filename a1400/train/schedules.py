"""Learning rates that change: a schedule gives the rate of a step, in float64 on the host.

Names, arguments and formulas are those of ``keras.optimizers.schedules``.  Steps count from 0.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from a1400.errors import InputError


class Schedule:
    """``schedule(step)`` is the learning rate of that step."""

    def __call__(self, step: int) -> float:
        raise NotImplementedError

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{k}={v!r}' for k, v in self.get_config().items())})"

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {name.lstrip("_"): value for name, value in vars(self).items()}


def _positive(name: str, value: float) -> None:
    if value <= 0:
        raise InputError(f"{name} must be above 0, not {value}")


class Constant(Schedule):
    """The same rate at every step."""

    def __init__(self, learning_rate: float, name: str | None = None) -> None:
        self.learning_rate = float(learning_rate)

    def __call__(self, step: int) -> float:
        return self.learning_rate


class _Decay(Schedule):
    """A rate that depends on ``step / decay_steps``, which ``staircase`` rounds down."""

    def __init__(
        self, initial_learning_rate: float, decay_steps: int, decay_rate: float, staircase: bool = False,
        name: str | None = None,
    ) -> None:  # fmt: skip
        _positive("decay_steps", decay_steps)
        self.initial_learning_rate, self.decay_steps = float(initial_learning_rate), decay_steps
        self.decay_rate, self.staircase = decay_rate, staircase

    def _turns(self, step: int) -> float:
        turns = step / self.decay_steps
        return math.floor(turns) if self.staircase else turns


class ExponentialDecay(_Decay):
    """``initial_learning_rate * decay_rate ** (step / decay_steps)``; ``staircase`` rounds the exponent down."""

    def __call__(self, step: int) -> float:
        return self.initial_learning_rate * self.decay_rate ** self._turns(step)


class PiecewiseConstantDecay(Schedule):
    """``values[0]`` up to and including step ``boundaries[0]``, then ``values[1]`` ..."""

    def __init__(self, boundaries: Sequence[int], values: Sequence[float], name: str | None = None) -> None:
        if len(boundaries) != len(values) - 1:
            raise InputError(f"{len(values)} rates need {len(values) - 1} boundaries, not {len(boundaries)}")
        self.boundaries, self.values = list(boundaries), list(values)

    def __call__(self, step: int) -> float:
        return float(self.values[sum(step > boundary for boundary in self.boundaries)])


class PolynomialDecay(Schedule):
    """From ``initial_learning_rate`` to ``end_learning_rate`` within ``decay_steps``, along a power of what is left.

    ``cycle`` starts again, each time for so many steps more as it has taken; else the end rate stays.
    """

    def __init__(
        self, initial_learning_rate: float, decay_steps: int, end_learning_rate: float = 0.0001, power: float = 1.0,
        cycle: bool = False, name: str | None = None,
    ) -> None:  # fmt: skip
        _positive("decay_steps", decay_steps)
        self.initial_learning_rate, self.decay_steps = float(initial_learning_rate), decay_steps
        self.end_learning_rate, self.power, self.cycle = end_learning_rate, power, cycle

    def __call__(self, step: int) -> float:
        steps = self.decay_steps * (max(math.ceil(step / self.decay_steps), 1) if self.cycle else 1)
        left = 1 - min(step, steps) / steps
        return (self.initial_learning_rate - self.end_learning_rate) * left**self.power + self.end_learning_rate


class InverseTimeDecay(_Decay):
    """``initial_learning_rate / (1 + decay_rate * step / decay_steps)``; ``staircase`` rounds the quotient down."""

    def __call__(self, step: int) -> float:
        return self.initial_learning_rate / (1 + self.decay_rate * self._turns(step))


class CosineDecay(Schedule):
    """Half a cosine from the initial rate to ``alpha`` times it (Loshchilov and Hutter, "SGDR", 2016).

    With ``warmup_target`` the rate first rises to it in ``warmup_steps`` equal steps, and falls from there.
    """

    def __init__(
        self, initial_learning_rate: float, decay_steps: int, alpha: float = 0.0, name: str | None = None,
        warmup_target: float | None = None, warmup_steps: int = 0,
    ) -> None:  # fmt: skip
        _positive("decay_steps", decay_steps)
        self.initial_learning_rate, self.decay_steps, self.alpha = float(initial_learning_rate), decay_steps, alpha
        self.warmup_target, self.warmup_steps = warmup_target, warmup_steps

    def __call__(self, step: int) -> float:
        top, begin = self.initial_learning_rate, 0
        if self.warmup_target is not None:
            top, begin = float(self.warmup_target), self.warmup_steps
            if step < begin:
                return self.initial_learning_rate + (top - self.initial_learning_rate) * step / begin
        done = min(step - begin, self.decay_steps) / self.decay_steps
        return top * ((1 - self.alpha) * 0.5 * (1 + math.cos(math.pi * done)) + self.alpha)


class CosineDecayRestarts(Schedule):
    """:class:`CosineDecay` again and again: each turn ``t_mul`` times as long, its rates ``m_mul`` times as high."""

    def __init__(
        self, initial_learning_rate: float, first_decay_steps: int, t_mul: float = 2.0, m_mul: float = 1.0,
        alpha: float = 0.0, name: str | None = None,
    ) -> None:  # fmt: skip
        _positive("first_decay_steps", first_decay_steps)
        self.initial_learning_rate, self.first_decay_steps = float(initial_learning_rate), first_decay_steps
        self.t_mul, self.m_mul, self.alpha = t_mul, m_mul, alpha

    def __call__(self, step: int) -> float:
        begin, length, turn = 0.0, float(self.first_decay_steps), 0
        if self.t_mul == 1:
            turn = int(step // length)
            begin = turn * length
        else:
            while step >= begin + length:
                begin, length, turn = begin + length, length * self.t_mul, turn + 1
        wave = 0.5 * self.m_mul**turn * (1 + math.cos(math.pi * (step - begin) / length))
        return self.initial_learning_rate * ((1 - self.alpha) * wave + self.alpha)


_NAMES: dict[str, type[Schedule]] = {
    kind.__name__.lower(): kind
    for kind in (
        Constant, ExponentialDecay, PiecewiseConstantDecay, PolynomialDecay, InverseTimeDecay, CosineDecay,
        CosineDecayRestarts,
    )
}  # fmt: skip


def from_name(name: str, **config: Any) -> Schedule:
    """The schedule that Keras calls ``name`` (``CosineDecay`` or ``cosine_decay``); raises :class:`InputError`."""
    kind = _NAMES.get(name.replace("_", "").lower())
    if kind is None:
        raise InputError(f"no schedule is called {name!r}; there are {', '.join(k.__name__ for k in _NAMES.values())}")
    return kind(**config)
