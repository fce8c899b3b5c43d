"""Constraints on weights, applied behind every update; names, arguments and formulas are ``keras.constraints``'."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from a1400.errors import InputError
from a1400.graph.tensor import Tensor


class Constraint:
    """``constraint(w)`` is the weight that takes the place of ``w``, of the same shape and dtype."""

    def __call__(self, w: Tensor) -> Tensor:
        raise NotImplementedError

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{k}={v!r}' for k, v in vars(self).items())})"


class NonNeg(Constraint):
    """No element below zero."""

    def __call__(self, w: Tensor) -> Tensor:
        return w.maximum(0.0)


class _OfNorm(Constraint):
    """Scales vectors along ``axis`` (one or several) by their Euclidean norms; with ``epsilon`` zeros stay zeros."""

    def __init__(self, axis: int | Sequence[int] = 0, epsilon: float = 1e-7) -> None:
        self.axis, self.epsilon = axis, epsilon

    def _desired(self, norms: Tensor) -> Tensor:
        raise NotImplementedError

    def __call__(self, w: Tensor) -> Tensor:
        axes = [self.axis] if isinstance(self.axis, int) else list(self.axis)
        if any(not -w.rank <= axis < w.rank for axis in axes):
            raise InputError(f"{self!r} does not fit a weight of shape {list(w.shape)}")
        norms = w.square().sum([axis % w.rank for axis in axes], keepdims=True).sqrt()
        return w * (self._desired(norms) / (norms + self.epsilon))


class MaxNorm(_OfNorm):
    """Norms of at most ``max_value``."""

    def __init__(self, max_value: float = 2.0, axis: int | Sequence[int] = 0, epsilon: float = 1e-7) -> None:
        super().__init__(axis, epsilon)
        self.max_value = max_value

    def _desired(self, norms: Tensor) -> Tensor:
        return norms.minimum(self.max_value)


class UnitNorm(_OfNorm):
    """Norms of one."""

    def _desired(self, norms: Tensor) -> Tensor:
        return norms.filled(1.0)


class MinMaxNorm(_OfNorm):
    """Norms between ``min_value`` and ``max_value``, approached by the share ``rate`` of the way at each step."""

    def __init__(
        self, min_value: float = 0.0, max_value: float = 1.0, rate: float = 1.0, axis: int | Sequence[int] = 0,
        epsilon: float = 1e-7,
    ) -> None:  # fmt: skip
        super().__init__(axis, epsilon)
        self.min_value, self.max_value, self.rate = min_value, max_value, rate

    def _desired(self, norms: Tensor) -> Tensor:
        return norms.clip(self.min_value, self.max_value) * self.rate + norms * (1 - self.rate)


_KINDS: dict[str, type[Constraint]] = {
    **{kind.__name__: kind for kind in (MaxNorm, MinMaxNorm, NonNeg, UnitNorm)},
    "max_norm": MaxNorm, "min_max_norm": MinMaxNorm, "non_neg": NonNeg, "unit_norm": UnitNorm,
}  # fmt: skip


def from_name(name: str, **config: Any) -> Constraint:
    """The constraint that Keras calls ``name`` (``max_norm``, ``MaxNorm``); raises :class:`InputError`."""
    if name not in _KINDS:
        known = ", ".join(kind.__name__ for kind in dict.fromkeys(_KINDS.values()))
        raise InputError(f"no constraint is called {name!r}; there are {known}")
    return _KINDS[name](**config)
