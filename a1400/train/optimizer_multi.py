"""Several optimizers side by side, each for parameters of its own (Keras's ``MultiOptimizer``)."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence

import numpy as np

from a1400.errors import InputError
from a1400.graph.tensor import Tensor
from a1400.train.optimizer import Optimizer, Pieces, Slots


class MultiOptimizer(Optimizer):
    """``choose(name)`` says which of ``optimizers`` a parameter is for, by number; each counts every step.

    The learning rate is each optimizer's own.  What must see all gradients or all parameters together -
    ``global_clipnorm``, ``use_ema``, ``gradient_accumulation_steps`` - raises :class:`InputError`.
    """

    def __init__(
        self, optimizers: Sequence[Optimizer], choose: Callable[[str], int], loss_scale_factor: float | None = None,
        name: str | None = None,
    ) -> None:  # fmt: skip
        super().__init__(0.0, loss_scale_factor=loss_scale_factor, name=name)
        self.optimizers, self.choose = list(optimizers), choose
        for one in self.optimizers:
            for option in ("global_clipnorm", "use_ema", "gradient_accumulation_steps", "loss_scale_factor"):
                if getattr(one, option):
                    raise InputError(
                        f"{type(one).__name__} has {option}, which is not supported for one optimizer among several; "
                        "leave it out"
                    )

    # ---- on the host ---------------------------------------------------------------------------------
    @property
    def slots(self) -> dict[str, float | None]:
        """All optimizers' slots, each behind its optimizer's number."""
        return {f"{i} {slot}": first for i, one in enumerate(self.optimizers) for slot, first in one.slots.items()}

    def exclude_from_weight_decay(self, var_list: Collection[str] = (), var_names: Collection[str] = ()) -> None:
        """Of each optimizer."""
        for one in self.optimizers:
            one.exclude_from_weight_decay(var_list, var_names)

    def group(self, name: str, shape: tuple[int, ...]) -> str:
        """The optimizer's number and its own group."""
        number = self.choose(name)
        return f"{number} {self.optimizers[number].group(name, shape)}".strip()

    def slot_shape(self, slot: str, name: str, shape: tuple[int, ...]) -> tuple[int, ...] | None:
        """None for the slots of other optimizers."""
        number, own = _apart(slot)
        return self.optimizers[number].slot_shape(own, name, shape) if number == self.choose(name) else None

    def rate(self, step: int) -> float:
        """There is none."""
        raise InputError("several optimizers have learning rates of their own; look at those")

    def hyper(self, step: int) -> np.ndarray:
        """All optimizers' vectors."""
        return np.concatenate([one.hyper(step) for one in self.optimizers])

    # ---- in the graph --------------------------------------------------------------------------------
    def update(
        self, parameter: Tensor, gradient: Tensor, slots: Mapping[str, Tensor], hyper: Tensor,
        factor: Tensor | None = None, finite: Tensor | None = None, group: str = "", pieces: Pieces | None = None,
        constrain: Callable[[Tensor], Tensor] | None = None, still: Collection[str] = (),
    ) -> tuple[Tensor, Slots]:  # fmt: skip
        """As the group's optimizer does."""
        number, own = _apart(group)
        one = self.optimizers[number]
        start = sum(before.hyper_size for before in self.optimizers[:number])
        mine = {_apart(slot)[1]: tensor for slot, tensor in slots.items() if _apart(slot)[0] == number}
        if one.clips_each and pieces is not None:
            parts = pieces.split(gradient)
            gradient = pieces.join(dict(zip(parts, one.clip_each(list(parts.values())))))
        renamed = None if pieces is None else _Renamed(pieces, number)
        new, updated = one.update(
            parameter, gradient, mine, hyper.slice([start], [one.hyper_size]), factor, finite, own, renamed, constrain,
            still,
        )  # fmt: skip
        return new, {f"{number} {slot}": tensor for slot, tensor in updated.items()}


class _Renamed:
    """Pieces for one optimizer, which does not know its number."""

    def __init__(self, pieces: Pieces, number: int) -> None:
        self._pieces, self._number = pieces, number

    def _slot(self, slot: str | None) -> str | None:
        return None if slot is None else f"{self._number} {slot}"

    def split(self, flat: Tensor, slot: str | None = None) -> dict[str, Tensor]:
        """As :meth:`Pieces.split`."""
        return self._pieces.split(flat, self._slot(slot))

    def join(self, parts: Mapping[str, Tensor], slot: str | None = None) -> Tensor:
        """As :meth:`Pieces.join`."""
        return self._pieces.join(parts, self._slot(slot))

    def chosen(self, flat: Tensor, names: Collection[str]) -> Tensor:
        """As :meth:`Pieces.chosen`."""
        return self._pieces.chosen(flat, names)


def _apart(label: str) -> tuple[int, str]:
    """The optimizer's number, and what is behind it."""
    number, _, own = label.partition(" ")
    return int(number), own
