"""Optimizers as arithmetic on flat tensors: fusion makes one launch of a step, the new values in the old ones' place.

Names, arguments, defaults and formulas (where epsilon goes, what is corrected when) are those of ``keras.optimizers``.
What changes from step to step is computed on the host in float64 and handed in as one small float32 vector:
:meth:`Optimizer.hyper`.  The slots are flat arrays of the parameters' layout, so a step does not know where one
parameter ends and the next begins; only ``clipnorm`` does (:meth:`Optimizer.clip_each`).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from a1400.errors import InputError
from a1400.graph.tensor import Tensor
from a1400.train.schedules import Schedule

Slots = dict[str, Tensor]


class Optimizer:
    """What all optimizers have in common.

    ``learning_rate`` is a number or a schedule, and may be set between steps.  ``weight_decay`` is decoupled: before
    the step every parameter loses ``weight_decay * learning_rate`` of itself.  Of ``clipnorm`` (norm of each gradient),
    ``clipvalue`` (each element) and ``global_clipnorm`` (norm of all gradients) at most one is given.  ``use_ema``
    keeps a moving average of the parameters in the slot ``average``, and every ``ema_overwrite_frequency`` steps puts
    it in the parameters' place.  Raises :class:`InputError` for arguments that do not fit.
    """

    def __init__(
        self, learning_rate: float | Schedule = 0.001, weight_decay: float | None = None,
        clipnorm: float | None = None, clipvalue: float | None = None, global_clipnorm: float | None = None,
        use_ema: bool = False, ema_momentum: float = 0.99, ema_overwrite_frequency: int | None = None,
        loss_scale_factor: float | None = None, gradient_accumulation_steps: int | None = None,
        name: str | None = None,
    ) -> None:  # fmt: skip
        if sum(c is not None for c in (clipnorm, clipvalue, global_clipnorm)) > 1:
            raise InputError("only one of clipnorm, clipvalue and global_clipnorm may be given")
        if gradient_accumulation_steps is not None or loss_scale_factor is not None:
            raise InputError("gradient_accumulation_steps and loss_scale_factor are not supported; see LossScale")
        if not 0 <= ema_momentum <= 1:
            raise InputError(f"ema_momentum must be between 0 and 1, not {ema_momentum}")
        self.learning_rate, self.weight_decay = learning_rate, weight_decay
        self.clipnorm, self.clipvalue, self.global_clipnorm = clipnorm, clipvalue, global_clipnorm
        self.use_ema, self.ema_momentum = use_ema, ema_momentum
        self.ema_overwrite_frequency = ema_overwrite_frequency if use_ema else None
        self.name = name or type(self).__name__.lower()

    # ---- for subclasses ------------------------------------------------------------------------------
    def _slots(self) -> dict[str, float]:
        """Names of the slots and the number that fills each at first."""
        return {}

    def _hyper(self, step: int, rate: float) -> list[float]:
        """What :meth:`_step` takes from the hyper vector, for the step after ``step`` others."""
        return [rate]

    def _step(self, p: Tensor, g: Tensor, s: Slots, h: Iterator[Tensor]) -> tuple[Tensor, Slots]:
        raise NotImplementedError

    # ---- on the host ---------------------------------------------------------------------------------
    @property
    def slots(self) -> dict[str, float]:
        """Names of the flat states that a step updates, and the number that fills each at first."""
        return {**self._slots(), **({"average": 0.0} if self.use_ema else {})}

    def rate(self, step: int) -> float:
        """The learning rate of the step after ``step`` others."""
        return float(self.learning_rate(step) if callable(self.learning_rate) else self.learning_rate)

    def hyper(self, step: int) -> np.ndarray:
        """The hyper vector (float32, always of one length) of the step after ``step`` others."""
        rate = self.rate(step)
        values = self._hyper(step, rate)
        if self.weight_decay is not None:
            values.append(rate * self.weight_decay)
        if self.use_ema:
            values.append(self.ema_momentum if step else 0.0)
        if self.ema_overwrite_frequency:
            values.append(float((step + 1) % self.ema_overwrite_frequency == 0))
        return np.array(values, np.float32)

    @property
    def hyper_size(self) -> int:
        """Length of the hyper vector."""
        return len(self.hyper(0))

    # ---- in the graph --------------------------------------------------------------------------------
    def clip_each(self, gradients: Sequence[Tensor]) -> list[Tensor]:
        """The gradients of single parameters, each with its norm clipped where ``clipnorm`` says so."""
        if not self.clipnorm or self.clipnorm <= 0:
            return list(gradients)
        return [g * (self.clipnorm / _norm([g]).maximum(self.clipnorm)) for g in gradients]

    def global_factor(self, gradients: Sequence[Tensor]) -> Tensor | None:
        """What ``global_clipnorm`` multiplies all gradients with (NaN if their norm is not finite), shape []."""
        if not self.global_clipnorm or self.global_clipnorm <= 0:
            return None
        norm = _norm(gradients)
        return norm.is_finite().where((self.global_clipnorm / norm).minimum(1.0), math.nan)

    def update(
        self, parameter: Tensor, gradient: Tensor, slots: Mapping[str, Tensor], hyper: Tensor,
        factor: Tensor | None = None, decay: bool = True, finite: Tensor | None = None,
    ) -> tuple[Tensor, Slots]:  # fmt: skip
        """One step: the new parameter and slots, of the same shapes and dtypes.

        ``gradient`` is multiplied by ``factor`` (one element: :meth:`global_factor`, or the inverse of a loss scale);
        ``decay`` False leaves out the weight decay; where ``finite`` (bool, one element) is False all stays as it was.
        """
        h = (hyper.slice([i], [1]).cast(parameter.dtype) for i in range(hyper.shape[0]))
        g = gradient.cast(parameter.dtype)
        if factor is not None:
            g = g * factor.cast(g.dtype)
        if self.clipvalue and self.clipvalue > 0:
            g = g.clip(-self.clipvalue, self.clipvalue)
        before = dict(slots)
        average = before.pop("average", None)
        own = [next(h) for _ in self._hyper(0, 0.5)]
        p = parameter
        if self.weight_decay is not None:
            share = next(h)
            p = p - p * share if decay else p
        new, updated = self._step(p, g, before, iter(own))
        if self.use_ema:
            assert average is not None
            momentum = next(h)
            mean = updated["average"] = momentum * average + (1.0 - momentum) * new
            if self.ema_overwrite_frequency:
                new = (next(h) > 0.5).where(mean, new)
        if finite is not None:
            new = finite.where(new, parameter)
            updated = {name: finite.where(value, slots[name]) for name, value in updated.items()}
        return new, updated


def _norm(gradients: Sequence[Tensor]) -> Tensor:
    """Euclidean norm of all elements, shape []."""
    parts = [g.reduce("sum_square") for g in gradients]
    total = parts[0]
    for part in parts[1:]:
        total = total + part
    return total.sqrt()


class SGD(Optimizer):
    """Gradient descent with momentum, Nesterov's where asked for."""

    def __init__(
        self, learning_rate: float | Schedule = 0.01, momentum: float = 0.0, nesterov: bool = False, **common: Any
    ) -> None:
        super().__init__(learning_rate, **common)
        if not 0 <= momentum <= 1:
            raise InputError(f"momentum must be between 0 and 1, not {momentum}")
        self.momentum, self.nesterov = momentum, nesterov

    def _slots(self) -> dict[str, float]:
        return {"momentum": 0.0} if self.momentum else {}

    def _step(self, p: Tensor, g: Tensor, s: Slots, h: Iterator[Tensor]) -> tuple[Tensor, Slots]:
        step = g * next(h)
        if not self.momentum:
            return p - step, {}
        m = s["momentum"] * self.momentum - step
        return p + (m * self.momentum - step if self.nesterov else m), {"momentum": m}


class Adam(Optimizer):
    """Kingma and Ba, "Adam" (2014); ``amsgrad``: Reddi and others, "On the convergence of Adam and beyond" (2018)."""

    def __init__(
        self, learning_rate: float | Schedule = 0.001, beta_1: float = 0.9, beta_2: float = 0.999,
        epsilon: float = 1e-7, amsgrad: bool = False, **common: Any,
    ) -> None:  # fmt: skip
        super().__init__(learning_rate, **common)
        self.beta_1, self.beta_2, self.epsilon, self.amsgrad = beta_1, beta_2, epsilon, amsgrad

    def _slots(self) -> dict[str, float]:
        return {"momentum": 0.0, "velocity": 0.0, **({"velocity_hat": 0.0} if self.amsgrad else {})}

    def _hyper(self, step: int, rate: float) -> list[float]:
        """In float32, as Keras has it: 1 - 0.999 is off by 1e-5 there, and curves would part by as much."""
        one, count = np.float32(1), np.float32(step + 1)
        first, second = (one - np.power(np.float32(beta), count) for beta in (self.beta_1, self.beta_2))
        return [float(np.float32(rate) * np.sqrt(second) / first)]

    def _step(self, p: Tensor, g: Tensor, s: Slots, h: Iterator[Tensor]) -> tuple[Tensor, Slots]:
        m = s["momentum"] + (g - s["momentum"]) * (1 - self.beta_1)
        v = largest = s["velocity"] + (g.square() - s["velocity"]) * (1 - self.beta_2)
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


class Adamax(Optimizer):
    """Adam with the largest gradient of late in place of their root mean square (Kingma and Ba, 2014)."""

    def __init__(
        self, learning_rate: float | Schedule = 0.001, beta_1: float = 0.9, beta_2: float = 0.999,
        epsilon: float = 1e-7, **common: Any,
    ) -> None:  # fmt: skip
        super().__init__(learning_rate, **common)
        self.beta_1, self.beta_2, self.epsilon = beta_1, beta_2, epsilon

    def _slots(self) -> dict[str, float]:
        return {"momentum": 0.0, "norm": 0.0}

    def _hyper(self, step: int, rate: float) -> list[float]:
        return [rate / (1 - self.beta_1 ** (step + 1))]

    def _step(self, p: Tensor, g: Tensor, s: Slots, h: Iterator[Tensor]) -> tuple[Tensor, Slots]:
        m = s["momentum"] + (g - s["momentum"]) * (1 - self.beta_1)
        u = (s["norm"] * self.beta_2).maximum(g.abs())
        return p - m * next(h) / (u + self.epsilon), {"momentum": m, "norm": u}


class Nadam(Optimizer):
    """Dozat, "Incorporating Nesterov momentum into Adam" (2016), with Keras's schedule of the momentum."""

    def __init__(
        self, learning_rate: float | Schedule = 0.001, beta_1: float = 0.9, beta_2: float = 0.999,
        epsilon: float = 1e-7, **common: Any,
    ) -> None:  # fmt: skip
        super().__init__(learning_rate, **common)
        self.beta_1, self.beta_2, self.epsilon = beta_1, beta_2, epsilon
        self._products = [1.0]

    def _slots(self) -> dict[str, float]:
        return {"momentum": 0.0, "velocity": 0.0}

    def _share(self, step: int) -> float:
        return self.beta_1 * (1 - 0.5 * 0.96**step)

    def _hyper(self, step: int, rate: float) -> list[float]:
        while len(self._products) <= step + 1:
            self._products.append(self._products[-1] * self._share(len(self._products)))
        product, now, after = self._products[step + 1], self._share(step + 1), self._share(step + 2)
        return [rate, after / (1 - product * after), (1 - now) / (1 - product), 1 / (1 - self.beta_2 ** (step + 1))]

    def _step(self, p: Tensor, g: Tensor, s: Slots, h: Iterator[Tensor]) -> tuple[Tensor, Slots]:
        rate, of_m, of_g, of_v = (next(h) for _ in range(4))
        m = s["momentum"] + (g - s["momentum"]) * (1 - self.beta_1)
        v = s["velocity"] + (g.square() - s["velocity"]) * (1 - self.beta_2)
        return p - (m * of_m + g * of_g) * rate / ((v * of_v).sqrt() + self.epsilon), {"momentum": m, "velocity": v}


class RMSprop(Optimizer):
    """Hinton's lecture 6e of "Neural networks for machine learning" (2012); ``centered`` subtracts the squared mean."""

    def __init__(
        self, learning_rate: float | Schedule = 0.001, rho: float = 0.9, momentum: float = 0.0, epsilon: float = 1e-7,
        centered: bool = False, **common: Any,
    ) -> None:  # fmt: skip
        super().__init__(learning_rate, **common)
        self.rho, self.momentum, self.epsilon, self.centered = rho, momentum, epsilon, centered

    def _slots(self) -> dict[str, float]:
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

    def _slots(self) -> dict[str, float]:
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

    def _slots(self) -> dict[str, float]:
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

    def _slots(self) -> dict[str, float]:
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

    def _slots(self) -> dict[str, float]:
        return {"momentum": 0.0}

    def _step(self, p: Tensor, g: Tensor, s: Slots, h: Iterator[Tensor]) -> tuple[Tensor, Slots]:
        m = s["momentum"]
        direction = (m * self.beta_1 + g * (1 - self.beta_1)).sign()
        return p - direction * next(h), {"momentum": m * self.beta_2 + g * (1 - self.beta_2)}


_NAMES: dict[str, type[Optimizer]] = {
    kind.__name__.lower(): kind
    for kind in (SGD, Adam, AdamW, Adamax, Nadam, RMSprop, Adagrad, Adadelta, Ftrl, Lion)
}  # fmt: skip


def from_name(name: str, **config: Any) -> Optimizer:
    """The optimizer that Keras calls ``name`` (``adam``, ``RMSprop``); raises :class:`InputError` for any other."""
    kind = _NAMES.get(name.replace("_", "").lower())
    if kind is None:
        raise InputError(f"no optimizer is called {name!r}; there are {', '.join(k.__name__ for k in _NAMES.values())}")
    return kind(**config)
