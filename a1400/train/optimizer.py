"""What all optimizers have in common: arithmetic on flat tensors, so that fusion makes one launch of a step, in place.

What changes from step to step is computed on the host in float64 and handed in as one small float32 vector:
:meth:`Optimizer.hyper`.  The slots are flat arrays of the parameters' layout, so a step does not know where one
parameter ends and the next begins; only ``clipnorm`` does (:meth:`Optimizer.clip_each`), and the optimizers that say so
(:meth:`Optimizer.by_parameter`).
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from a1400.errors import InputError
from a1400.graph.tensor import Tensor
from a1400.train.schedules import Schedule

Slots = dict[str, Tensor]
#: slots that are no optimizer's own: the moving average of the parameters, and the sum of gradients not yet used
AVERAGE, GATHERED = "average", "gradient_accumulator"


class Pieces(Protocol):
    """How a flat tensor of parameters, or of a slot, is made of single ones."""

    def split(self, flat: Tensor, slot: str | None = None) -> dict[str, Tensor]:
        """Single tensors by the parameter's name, with the axes as the network's author has them."""
        ...

    def join(self, parts: Mapping[str, Tensor], slot: str | None = None) -> Tensor:
        """The flat tensor of what :meth:`split` gave."""
        ...

    def chosen(self, flat: Tensor, names: Collection[str]) -> Tensor:
        """Whether an element of ``flat``, a tensor of all parameters, belongs to one of ``names``; bool."""
        ...


class Optimizer:
    """The face of all optimizers.

    ``learning_rate`` is a number or a schedule, and may be set between steps.  ``weight_decay`` is decoupled: before
    the step every parameter loses ``weight_decay * learning_rate`` of itself.  Of ``clipnorm`` (norm of each gradient),
    ``clipvalue`` (each element) and ``global_clipnorm`` (norm of all gradients) at most one is given.  ``use_ema``
    keeps a moving average of the parameters in the slot ``average``, and every ``ema_overwrite_frequency`` steps puts
    it in the parameters' place.  ``gradient_accumulation_steps`` batches make one step, of the mean of their gradients.
    ``loss_scale_factor`` multiplies the loss, and the gradients are divided by it.  Raises :class:`InputError` for
    arguments that do not fit.
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
        if gradient_accumulation_steps is not None and gradient_accumulation_steps < 2:
            raise InputError(f"gradient_accumulation_steps must be 2 or more, not {gradient_accumulation_steps}")
        if loss_scale_factor is not None and loss_scale_factor <= 0:
            raise InputError(f"loss_scale_factor must be above 0, not {loss_scale_factor}")
        if not 0 <= ema_momentum <= 1:
            raise InputError(f"ema_momentum must be between 0 and 1, not {ema_momentum}")
        self.learning_rate, self.weight_decay = learning_rate, weight_decay
        self.clipnorm, self.clipvalue, self.global_clipnorm = clipnorm, clipvalue, global_clipnorm
        self.use_ema, self.ema_momentum = use_ema, ema_momentum
        self.ema_overwrite_frequency = ema_overwrite_frequency if use_ema else None
        self.loss_scale_factor, self.gradient_accumulation_steps = loss_scale_factor, gradient_accumulation_steps
        self.name = name or type(self).__name__.lower()
        self._keeps: Callable[[str], bool] = lambda _: False

    # ---- for subclasses ------------------------------------------------------------------------------
    def _slots(self) -> dict[str, float | None]:
        """Names of the slots and the number that fills each at first; None: the parameter's own value."""
        return {}

    def _hyper(self, step: int, rate: float) -> list[float]:
        """What :meth:`_step` takes from the hyper vector, for the step after ``step`` others."""
        return [rate]

    def _decays(self) -> dict[str, float]:
        """The weight decay of each group (:meth:`group`) that has one."""
        return {} if self.weight_decay is None else {"": self.weight_decay}

    def _group(self, name: str, shape: tuple[int, ...]) -> str:
        """Parameters that are not stepped alike differ in this."""
        return ""

    def _step(self, p: Tensor, g: Tensor, s: Slots, h: Iterator[Tensor]) -> tuple[Tensor, Slots]:
        raise NotImplementedError

    def by_parameter(self, group: str) -> bool:
        """Whether :meth:`_step` must see the parameters of a group one by one, each in its own shape."""
        return False

    def slot_shape(self, slot: str, name: str, shape: tuple[int, ...]) -> tuple[int, ...] | None:
        """The shape of a slot for a parameter of ``shape``; None where it has none."""
        return shape

    # ---- on the host ---------------------------------------------------------------------------------
    @property
    def slots(self) -> dict[str, float | None]:
        """Names of the flat states that a step updates, and the number that fills each at first.

        None stands for the parameter's own value.
        """
        gathered = {GATHERED: 0.0} if self.gradient_accumulation_steps else {}
        return {**self._slots(), **({AVERAGE: 0.0} if self.use_ema else {}), **gathered}

    def exclude_from_weight_decay(self, var_list: Collection[str] = (), var_names: Collection[str] = ()) -> None:
        """Let parameters be: those named in ``var_list``, and those whose name holds one of ``var_names`` (regexes)."""
        whole, patterns = frozenset(var_list), [re.compile(pattern) for pattern in var_names]
        self._keeps = lambda name: name in whole or any(pattern.search(name) for pattern in patterns)

    def group(self, name: str, shape: tuple[int, ...]) -> str:
        """A label for the parameters that are treated as this one is: they lie side by side."""
        label = self._group(name, shape)
        return f"{label} no decay".strip() if self._decays() and self._keeps(name) else label

    def rate(self, step: int) -> float:
        """The learning rate of the batch after ``step`` others."""
        return float(self.learning_rate(step) if callable(self.learning_rate) else self.learning_rate)

    def uses(self, step: int) -> bool:
        """Whether the batch after ``step`` others changes the parameters, and does not only add to the gradients."""
        return (step + 1) % (self.gradient_accumulation_steps or 1) == 0

    def hyper(self, step: int) -> np.ndarray:
        """The hyper vector (float32, always of one length) of the batch after ``step`` others."""
        rate = self.rate(step)
        step //= self.gradient_accumulation_steps or 1
        values = self._hyper(step, rate)
        values += [rate * decay for decay in self._decays().values()]
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
        if not self.clips_each:
            return list(gradients)
        assert self.clipnorm is not None
        return [g * (self.clipnorm / norm([g]).maximum(self.clipnorm)) for g in gradients]

    @property
    def clips_each(self) -> bool:
        """Whether :meth:`clip_each` does anything."""
        return bool(self.clipnorm and self.clipnorm > 0)

    def global_factor(self, gradients: Sequence[Tensor]) -> Tensor | None:
        """What ``global_clipnorm`` multiplies all gradients with (NaN if their norm is not finite), shape []."""
        if not self.global_clipnorm or self.global_clipnorm <= 0:
            return None
        total = norm(gradients)
        return total.is_finite().where((self.global_clipnorm / total).minimum(1.0), math.nan)

    def update(
        self, parameter: Tensor, gradient: Tensor, slots: Mapping[str, Tensor], hyper: Tensor,
        factor: Tensor | None = None, finite: Tensor | None = None, group: str = "", pieces: Pieces | None = None,
        constrain: Callable[[Tensor], Tensor] | None = None, still: Collection[str] = (),
    ) -> tuple[Tensor, Slots]:  # fmt: skip
        """One step: the new parameter and slots, of the same shapes and dtypes.

        ``gradient`` is multiplied by ``factor`` (one element: :meth:`global_factor`, or the inverse of a loss scale);
        where ``finite`` (bool, one element) is False all stays as it was.  The parameters are of one ``group``, and
        :meth:`by_parameter` asks for ``pieces``; ``constrain`` is applied to the new parameters.  Those in ``still``
        have no gradient and are left as they are, without decay; this needs ``pieces``, too.
        """
        h = _numbers(hyper, parameter)
        g = gradient.cast(parameter.dtype)
        if factor is not None:
            g = g * factor.cast(g.dtype)
        if self.clipvalue and self.clipvalue > 0:
            g = g.clip(-self.clipvalue, self.clipvalue)
        mine = {name: slot for name, slot in slots.items() if name not in (AVERAGE, GATHERED)}
        own = [next(h) for _ in self._hyper(0, 0.5)]
        p = parameter
        for label in self._decays():
            share = next(h)
            p = p - p * share if label == group else p
        if pieces is not None and self.by_parameter(group):
            new, updated = self._each(p, g, mine, own, pieces, still)
        else:
            new, updated = self._step(p, g, mine, iter(own))
        if still and pieces is not None:
            stays = pieces.chosen(parameter, still)
            new = stays.where(parameter, new)
            if not self.by_parameter(group):
                updated = {name: stays.where(mine[name], value) for name, value in updated.items()}
        if GATHERED in slots:
            updated[GATHERED] = slots[GATHERED].filled(0.0)
        return self._settled(parameter, slots, new, updated, h, finite, constrain)

    def gather(
        self, parameter: Tensor, gradient: Tensor, slots: Mapping[str, Tensor], hyper: Tensor,
        finite: Tensor | None = None, constrain: Callable[[Tensor], Tensor] | None = None,
    ) -> tuple[Tensor, Slots]:  # fmt: skip
        """What a batch does that only adds to the gradients; as :meth:`update`, with those slots that change."""
        h = _numbers(hyper, parameter)
        for _ in (*self._hyper(0, 0.5), *self._decays()):
            next(h)
        updated = {GATHERED: slots[GATHERED] + gradient.cast(parameter.dtype)}
        return self._settled(parameter, slots, parameter, updated, h, finite, constrain)

    def _each(
        self, p: Tensor, g: Tensor, slots: Slots, own: Sequence[Tensor], pieces: Pieces, still: Collection[str] = ()
    ) -> tuple[Tensor, Slots]:
        """:meth:`_step` of one parameter after the other, but not of those in ``still``."""
        gradients, split = pieces.split(g), {slot: pieces.split(flat, slot) for slot, flat in slots.items()}
        made: dict[str, Tensor] = {}
        updated: dict[str, dict[str, Tensor]] = {slot: {} for slot in slots}
        for name, single in pieces.split(p).items():
            mine = {slot: parts[name] for slot, parts in split.items() if name in parts}
            made[name], new = single, mine
            if name not in still:
                made[name], new = self._step(single, gradients[name], mine, iter(own))
            for slot, value in new.items():
                updated[slot][name] = value
        return pieces.join(made), {slot: pieces.join(parts, slot) for slot, parts in updated.items()}

    def _settled(
        self, before: Tensor, slots: Mapping[str, Tensor], new: Tensor, updated: Slots, h: Iterator[Tensor],
        finite: Tensor | None, constrain: Callable[[Tensor], Tensor] | None,
    ) -> tuple[Tensor, Slots]:  # fmt: skip
        """What follows a step: moving average, constraints, and nothing at all where the gradients are not finite."""
        if self.use_ema:
            momentum = next(h)
            mean = updated[AVERAGE] = momentum * slots[AVERAGE] + (1.0 - momentum) * new
            if self.ema_overwrite_frequency:
                new = (next(h) > 0.5).where(mean, new)
        if constrain is not None:
            new = constrain(new)
        if finite is not None and new is not before:
            new = finite.where(new, before)
        if finite is not None:
            updated = {name: finite.where(value, slots[name]) for name, value in updated.items()}
        return new, updated


class TwoMoments(Optimizer):
    """Those that remember a mean of the gradients and one of their squares, as Adam does."""

    def __init__(
        self, learning_rate: float | Schedule = 0.001, beta_1: float = 0.9, beta_2: float = 0.999,
        epsilon: float = 1e-7, **common: Any,
    ) -> None:  # fmt: skip
        super().__init__(learning_rate, **common)
        self.beta_1, self.beta_2, self.epsilon = beta_1, beta_2, epsilon

    def _slots(self) -> dict[str, float | None]:
        return {"momentum": 0.0, "velocity": 0.0}

    def _first(self, g: Tensor, s: Slots) -> Tensor:
        """The mean of the gradients, with ``g`` in it."""
        return s["momentum"] + (g - s["momentum"]) * (1 - self.beta_1)

    def _second(self, g: Tensor, s: Slots) -> Tensor:
        """The mean of their squares."""
        return s["velocity"] + (g.square() - s["velocity"]) * (1 - self.beta_2)


def _numbers(hyper: Tensor, like: Tensor) -> Iterator[Tensor]:
    return (hyper.slice([i], [1]).cast(like.dtype) for i in range(hyper.shape[0]))


def norm(tensors: Sequence[Tensor]) -> Tensor:
    """Euclidean norm of all elements, shape []."""
    parts = [t.reduce("sum_square") for t in tensors]
    total = parts[0]
    for part in parts[1:]:
        total = total + part
    return total.sqrt()


def adam_rate(step: int, rate: float, beta_1: float, beta_2: float) -> float:
    """Adam's step size, with what its averages lack at first made up for.

    In float32, as Keras has it: 1 - 0.999 is off by 1e-5 there, and curves would part by as much.
    """
    one, count = np.float32(1), np.float32(step + 1)
    first, second = (one - np.power(np.float32(beta), count) for beta in (beta_1, beta_2))
    return float(np.float32(rate) * np.sqrt(second) / first)
