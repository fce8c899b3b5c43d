"""Optimizers whose step treats every element alike, and all of them by name.

Names, arguments, defaults and formulas (where epsilon goes, what is corrected when) are those of ``keras.optimizers``.
What they have in common is :class:`a1400.train.optimizer.Optimizer`; those that look at a parameter as a whole lie in
:mod:`a1400.train.optimizers_by_parameter`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from a1400.errors import InputError
from a1400.graph.tensor import Tensor
from a1400.train.optimizer import Optimizer, Slots, TwoMoments, adam_rate
from a1400.train.optimizer_multi import MultiOptimizer as MultiOptimizer
from a1400.train.optimizers_by_parameter import Adafactor, Lamb, Muon
from a1400.train.schedules import Schedule


class SGD(Optimizer):
    """Gradient descent with momentum, Nesterov's where asked for."""

    def __init__(
        self, learning_rate: float | Schedule = 0.01, momentum: float = 0.0, nesterov: bool = False, **common: Any
    ) -> None:
        super().__init__(learning_rate, **common)
        if not 0 <= momentum <= 1:
            raise InputError(f"momentum must be between 0 and 1, not {momentum}")
        self.momentum, self.nesterov = momentum, nesterov

    def _slots(self) -> dict[str, float | None]:
        return {"momentum": 0.0} if self.momentum else {}

    def _step(self, p: Tensor, g: Tensor, s: Slots, h: Iterator[Tensor]) -> tuple[Tensor, Slots]:
        step = g * next(h)
        if not self.momentum:
            return p - step, {}
        m = s["momentum"] * self.momentum - step
        return p + (m * self.momentum - step if self.nesterov else m), {"momentum": m}


class Adam(TwoMoments):
    """Kingma and Ba, "Adam" (2014); ``amsgrad``: Reddi and others, "On the convergence of Adam and beyond" (2018)."""

    def __init__(
        self, learning_rate: float | Schedule = 0.001, beta_1: float = 0.9, beta_2: float = 0.999,
        epsilon: float = 1e-7, amsgrad: bool = False, **common: Any,
    ) -> None:  # fmt: skip
        super().__init__(learning_rate, beta_1, beta_2, epsilon, **common)
        self.amsgrad = amsgrad

    def _slots(self) -> dict[str, float | None]:
        return {**super()._slots(), **({"velocity_hat": 0.0} if self.amsgrad else {})}

    def _hyper(self, step: int, rate: float) -> list[float]:
        return [adam_rate(step, rate, self.beta_1, self.beta_2)]

    def _step(self, p: Tensor, g: Tensor, s: Slots, h: Iterator[Tensor]) -> tuple[Tensor, Slots]:
        m = self._first(g, s)
        v = largest = self._second(g, s)
        updated = {"momentum": m, "velocity": v}
        if self.amsgrad:
            largest = updated["velocity_hat"] = s["velocity_hat"].maximum(v)
        return p - m * next(h) / (largest.sqrt() + self.epsilon), updated


class AdamW(Adam):
    """Loshchilov and Hutter, "Decoupled weight decay regularization" (2017)."""

    def __init__(
        self, learning_rate: float | Schedule = 0.001, weight_decay: float | None = 0.004, beta_1: float = 0.9,
        beta_2: float = 0.999, epsilon: float = 1e-7, amsgrad: bool = False, **common: Any,
    ) -> None:  # fmt: skip
        super().__init__(learning_rate, beta_1, beta_2, epsilon, amsgrad, weight_decay=weight_decay, **common)


class Adamax(TwoMoments):
    """Adam with the largest gradient of late in place of their root mean square (Kingma and Ba, 2014)."""

    def _slots(self) -> dict[str, float | None]:
        return {"momentum": 0.0, "norm": 0.0}

    def _hyper(self, step: int, rate: float) -> list[float]:
        return [rate / (1 - self.beta_1 ** (step + 1))]

    def _step(self, p: Tensor, g: Tensor, s: Slots, h: Iterator[Tensor]) -> tuple[Tensor, Slots]:
        m = self._first(g, s)
        u = (s["norm"] * self.beta_2).maximum(g.abs())
        return p - m * next(h) / (u + self.epsilon), {"momentum": m, "norm": u}


class Nadam(TwoMoments):
    """Dozat, "Incorporating Nesterov momentum into Adam" (2016), with Keras's schedule of the momentum."""

    def __init__(
        self, learning_rate: float | Schedule = 0.001, beta_1: float = 0.9, beta_2: float = 0.999,
        epsilon: float = 1e-7, **common: Any,
    ) -> None:  # fmt: skip
        super().__init__(learning_rate, beta_1, beta_2, epsilon, **common)
        self._products = [1.0]

    def _share(self, step: int) -> float:
        return self.beta_1 * (1 - 0.5 * 0.96**step)

    def product(self, steps: int) -> float:
        """The product of the momenta of the first ``steps`` steps."""
        while len(self._products) <= steps:
            self._products.append(self._products[-1] * self._share(len(self._products)))
        return self._products[steps]

    def _hyper(self, step: int, rate: float) -> list[float]:
        product, now, after = self.product(step + 1), self._share(step + 1), self._share(step + 2)
        return [rate, after / (1 - product * after), (1 - now) / (1 - product), 1 / (1 - self.beta_2 ** (step + 1))]

    def _step(self, p: Tensor, g: Tensor, s: Slots, h: Iterator[Tensor]) -> tuple[Tensor, Slots]:
        rate, of_m, of_g, of_v = (next(h) for _ in range(4))
        m, v = self._first(g, s), self._second(g, s)
        return p - (m * of_m + g * of_g) * rate / ((v * of_v).sqrt() + self.epsilon), {"momentum": m, "velocity": v}


class RMSprop(Optimizer):
    """Hinton's lecture 6e of "Neural networks for machine learning" (2012); ``centered`` subtracts the squared mean."""

    def __init__(
        self, learning_rate: float | Schedule = 0.001, rho: float = 0.9, momentum: float = 0.0, epsilon: float = 1e-7,
        centered: bool = False, **common: Any,
    ) -> None:  # fmt: skip
        super().__init__(learning_rate, **common)
        self.rho, self.momentum, self.epsilon, self.centered = rho, momentum, epsilon, centered

    def _slots(self) -> dict[str, float | None]:
        names = ["velocity"] + ["momentum"] * (self.momentum > 0) + ["average_gradient"] * self.centered
        return dict.fromkeys(names, 0.0)

    def _step(self, p: Tensor, g: Tensor, s: Slots, h: Iterator[Tensor]) -> tuple[Tensor, Slots]:
        v = s["velocity"] * self.rho + g.square() * (1 - self.rho)
        updated, below = {"velocity": v}, v
        if self.centered:
            a = updated["average_gradient"] = s["average_gradient"] * self.rho + g * (1 - self.rho)
            below = v - a.square()
        step = g * next(h) / (below + self.epsilon).sqrt()
        if self.momentum > 0:
            step = updated["momentum"] = s["momentum"] * self.momentum + step
        return p - step, updated


class Adagrad(Optimizer):
    """Duchi, Hazan and Singer, "Adaptive subgradient methods" (2011)."""

    def __init__(
        self, learning_rate: float | Schedule = 0.001, initial_accumulator_value: float = 0.1, epsilon: float = 1e-7,
        **common: Any,
    ) -> None:  # fmt: skip
        super().__init__(learning_rate, **common)
        self.initial_accumulator_value, self.epsilon = initial_accumulator_value, epsilon

    def _slots(self) -> dict[str, float | None]:
        return {"accumulator": self.initial_accumulator_value}

    def _step(self, p: Tensor, g: Tensor, s: Slots, h: Iterator[Tensor]) -> tuple[Tensor, Slots]:
        a = s["accumulator"] + g.square()
        return p - g * next(h) / (a + self.epsilon).sqrt(), {"accumulator": a}


class Adadelta(Optimizer):
    """Zeiler, "ADADELTA" (2012)."""

    def __init__(
        self, learning_rate: float | Schedule = 0.001, rho: float = 0.95, epsilon: float = 1e-7, **common: Any
    ) -> None:
        super().__init__(learning_rate, **common)
        self.rho, self.epsilon = rho, epsilon

    def _slots(self) -> dict[str, float | None]:
        return {"accumulated_gradient": 0.0, "accumulated_step": 0.0}

    def _step(self, p: Tensor, g: Tensor, s: Slots, h: Iterator[Tensor]) -> tuple[Tensor, Slots]:
        of_g = s["accumulated_gradient"] * self.rho + g.square() * (1 - self.rho)
        step = (s["accumulated_step"] + self.epsilon).sqrt() * g / (of_g + self.epsilon).sqrt()
        of_step = s["accumulated_step"] * self.rho + step.square() * (1 - self.rho)
        return p - step * next(h), {"accumulated_gradient": of_g, "accumulated_step": of_step}


class Ftrl(Optimizer):
    """McMahan and others, "Ad click prediction" (2013), with shrinkage."""

    def __init__(
        self, learning_rate: float | Schedule = 0.001, learning_rate_power: float = -0.5,
        initial_accumulator_value: float = 0.1, l1_regularization_strength: float = 0.0,
        l2_regularization_strength: float = 0.0, l2_shrinkage_regularization_strength: float = 0.0,
        beta: float = 0.0, **common: Any,
    ) -> None:  # fmt: skip
        super().__init__(learning_rate, **common)
        if initial_accumulator_value < 0 or learning_rate_power > 0:
            raise InputError("initial_accumulator_value must not be below, nor learning_rate_power above 0")
        self.learning_rate_power, self.initial_accumulator_value = learning_rate_power, initial_accumulator_value
        self.l1_regularization_strength = l1_regularization_strength
        self.l2_regularization_strength = l2_regularization_strength
        self.l2_shrinkage_regularization_strength = l2_shrinkage_regularization_strength
        self.beta = beta

    def _slots(self) -> dict[str, float | None]:
        return {"accumulator": self.initial_accumulator_value, "linear": 0.0}

    def _hyper(self, step: int, rate: float) -> list[float]:
        return [1 / rate if rate else math.inf, 2 * self.l2_regularization_strength + (self.beta / rate if rate else 0)]

    def _power(self, accumulator: Tensor) -> Tensor:
        return accumulator.sqrt() if self.learning_rate_power == -0.5 else accumulator**-self.learning_rate_power

    def _step(self, p: Tensor, g: Tensor, s: Slots, h: Iterator[Tensor]) -> tuple[Tensor, Slots]:
        inverse, l2 = next(h), next(h)
        shrunk = g
        if self.l2_shrinkage_regularization_strength:
            shrunk = g + p * (2 * self.l2_shrinkage_regularization_strength)
        a = s["accumulator"] + g.square()
        power = self._power(a)
        z = s["linear"] + (shrunk - (power - self._power(s["accumulator"])) * inverse * p)
        l1 = self.l1_regularization_strength
        clipped = z.clip(-l1, l1) - z if l1 else -z
        return clipped / (power * inverse + l2), {"accumulator": a, "linear": z}


class Lion(Optimizer):
    """Chen and others, "Symbolic discovery of optimization algorithms" (2023)."""

    def __init__(
        self, learning_rate: float | Schedule = 0.001, beta_1: float = 0.9, beta_2: float = 0.99, **common: Any
    ) -> None:
        super().__init__(learning_rate, **common)
        self.beta_1, self.beta_2 = beta_1, beta_2

    def _slots(self) -> dict[str, float | None]:
        return {"momentum": 0.0}

    def _step(self, p: Tensor, g: Tensor, s: Slots, h: Iterator[Tensor]) -> tuple[Tensor, Slots]:
        m = s["momentum"]
        direction = (m * self.beta_1 + g * (1 - self.beta_1)).sign()
        return p - direction * next(h), {"momentum": m * self.beta_2 + g * (1 - self.beta_2)}


class ScheduleFreeAdamW(TwoMoments):
    """Defazio and others, "The road less scheduled" (2024): parameters between a point that steps and its average."""

    def __init__(
        self, learning_rate: float | Schedule = 0.0025, beta_1: float = 0.9, beta_2: float = 0.999,
        epsilon: float = 1e-8, warmup_steps: int = 0, **common: Any,
    ) -> None:  # fmt: skip
        super().__init__(learning_rate, beta_1, beta_2, epsilon, **common)
        self.warmup_steps = warmup_steps
        #: take the average out of the point that has stepped already: Keras does over TensorFlow and PyTorch
        self.steps_first = False

    def _slots(self) -> dict[str, float | None]:
        return {"momentum": None, "velocity": 0.0}

    def _hyper(self, step: int, rate: float) -> list[float]:
        warm = min((step + 1) / self.warmup_steps, 1.0) if self.warmup_steps else 1.0
        second = np.float32(1) - np.power(np.float32(self.beta_2), np.float32(step + 1))
        return [rate * warm, float(second), 1 / (step + 1)]

    def _step(self, p: Tensor, g: Tensor, s: Slots, h: Iterator[Tensor]) -> tuple[Tensor, Slots]:
        rate, correction, weight = (next(h) for _ in range(3))
        z, own = s["momentum"], 1 - self.beta_1
        v = self._second(g, s)
        after = z - rate * g / ((v / correction).sqrt() + self.epsilon)
        mean = (p - (after if self.steps_first else z) * own) / self.beta_1
        mean = (1.0 - weight) * mean + weight * after
        return after * own + mean * self.beta_1, {"momentum": after, "velocity": v}


_NAMES: dict[str, type[Optimizer]] = {
    kind.__name__.lower(): kind
    for kind in (
        SGD, Adam, AdamW, Adamax, Nadam, RMSprop, Adagrad, Adadelta, Adafactor, Ftrl, Lion, Lamb, Muon,
        ScheduleFreeAdamW,
    )
}  # fmt: skip


def from_name(name: str, **config: Any) -> Optimizer:
    """The optimizer that Keras calls ``name`` (``adam``, ``RMSprop``); raises :class:`InputError` for any other."""
    kind = _NAMES.get(name.replace("_", "").lower())
    if kind is None:
        raise InputError(f"no optimizer is called {name!r}; there are {', '.join(k.__name__ for k in _NAMES.values())}")
    return kind(**config)
