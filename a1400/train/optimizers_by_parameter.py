"""Optimizers whose step looks at each parameter as a whole: at its norm, at its rows and columns, at it as a matrix."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from a1400.graph.tensor import Tensor
from a1400.train.optimizer import Optimizer, Slots, TwoMoments, adam_rate, norm
from a1400.train.schedules import Schedule


class Lamb(TwoMoments):
    """You and others, "Large batch optimization for deep learning" (2019): Adam with steps as long as the parameter."""

    def by_parameter(self, group: str) -> bool:
        """Always."""
        return True

    def _hyper(self, step: int, rate: float) -> list[float]:
        count = np.float32(step + 1)
        return [rate, *(float(1 - np.power(np.float32(beta), count)) for beta in (self.beta_1, self.beta_2))]

    def _step(self, p: Tensor, g: Tensor, s: Slots, h: Iterator[Tensor]) -> tuple[Tensor, Slots]:
        rate, first, second = (next(h) for _ in range(3))
        m, v = self._first(g, s), self._second(g, s)
        move = (m / first) / ((v / second).sqrt() + self.epsilon)
        length, own = norm([p]), norm([move])
        ratio = ((length > 0.0) & (own > 0.0)).where(length / own, 1.0)
        return p - move * (ratio * rate), {"momentum": m, "velocity": v}


class Adafactor(Optimizer):
    """Shazeer and Stern, "Adafactor" (2018): squared gradients remembered by row and by column."""

    def __init__(
        self, learning_rate: float | Schedule = 0.001, beta_2_decay: float = -0.8, epsilon_1: float = 1e-30,
        epsilon_2: float = 1e-3, clip_threshold: float = 1.0, relative_step: bool = True, **common: Any,
    ) -> None:  # fmt: skip
        super().__init__(learning_rate, **common)
        self.beta_2_decay, self.epsilon_1, self.epsilon_2 = beta_2_decay, epsilon_1, epsilon_2
        self.clip_threshold, self.relative_step = clip_threshold, relative_step

    def _slots(self) -> dict[str, float | None]:
        return {"row": 0.0, "column": 0.0, "velocity": 0.0}

    def by_parameter(self, group: str) -> bool:
        """Always."""
        return True

    def slot_shape(self, slot: str, name: str, shape: tuple[int, ...]) -> tuple[int, ...] | None:
        """Rows and columns of the last two axes for matrices and more, all elements for vectors."""
        if slot in ("row", "column") and len(shape) < 2:
            return None
        if slot == "velocity" and len(shape) >= 2:
            return None
        return {"row": shape[:-1], "column": (*shape[:-2], *shape[-1:])}.get(slot, shape)

    def _hyper(self, step: int, rate: float) -> list[float]:
        # as in Keras, where relative_step makes no difference: the rate is bounded in either case
        return [min(rate, 1 / math.sqrt(step + 1)), 1 - (step + 1) ** self.beta_2_decay]

    def _step(self, p: Tensor, g: Tensor, s: Slots, h: Iterator[Tensor]) -> tuple[Tensor, Slots]:
        rate, kept = next(h), next(h)
        square, updated = g.square() + self.epsilon_1, {}

        def mixed(slot: str, new: Tensor) -> Tensor:
            old = s[slot]
            share = kept.reshape((1,) * old.rank)
            updated[slot] = share * old + (1.0 - share) * new
            return updated[slot]

        if p.rank >= 2:
            row, column = mixed("row", square.mean([-1 % p.rank])), mixed("column", square.mean([p.rank - 2]))
            share = row / row.mean([row.rank - 1], keepdims=True)
            v = share.expand_dims(p.rank - 1) * column.expand_dims(p.rank - 2)
        else:
            v = mixed("velocity", square)
        move = g / v.sqrt()
        count = max(p.rank and int(np.prod(p.shape)), 1)
        above = (norm([move]) * (1 / math.sqrt(count * self.clip_threshold**2))).maximum(1.0)
        size = (norm([p]) * (1 / math.sqrt(count))).maximum(self.epsilon_2)
        return p - move * (size / above * rate), updated


class Muon(Optimizer):
    """Jordan and others, "Muon" (2024): matrices step along the nearest orthogonal matrix, all else as in Adam.

    ``exclude_layers`` are regular expressions of parameters that step as in Adam, too; ``rms_rate``: Liu and others,
    "Muon is scalable for LLM training" (2025).
    """

    def __init__(
        self, learning_rate: float | Schedule = 0.001, adam_beta_1: float = 0.9, adam_beta_2: float = 0.999,
        adam_weight_decay: float | None = 0.004, epsilon: float = 1e-7, weight_decay: float | None = 0.004,
        exclude_layers: Sequence[str] | None = None, exclude_embeddings: bool = True, muon_a: float = 3.4445,
        muon_b: float = -4.7750, muon_c: float = 2.0315, adam_lr_ratio: float = 1.0, momentum: float = 0.95,
        ns_steps: int = 5, nesterov: bool = True, rms_rate: float | None = 0.2, **common: Any,
    ) -> None:  # fmt: skip
        super().__init__(learning_rate, weight_decay=weight_decay, **common)
        self.adam_beta_1, self.adam_beta_2, self.epsilon = adam_beta_1, adam_beta_2, epsilon
        self.adam_weight_decay, self.adam_lr_ratio = adam_weight_decay, adam_lr_ratio
        self.exclude_layers, self.exclude_embeddings = list(exclude_layers or ()), exclude_embeddings
        self.muon_a, self.muon_b, self.muon_c = muon_a, muon_b, muon_c
        self.momentum, self.ns_steps, self.nesterov, self.rms_rate = momentum, ns_steps, nesterov, rms_rate

    def _slots(self) -> dict[str, float | None]:
        return {"momentum": 0.0, "velocity": 0.0}

    def _group(self, name: str, shape: tuple[int, ...]) -> str:
        excluded = self.exclude_embeddings and "embedding" in name.lower()
        excluded = excluded or any(re.search(pattern, name) for pattern in self.exclude_layers)
        return "matrix" if len(shape) == 2 and not excluded else "other"

    def _decays(self) -> dict[str, float]:
        table = {"matrix": self.weight_decay, "other": self.adam_weight_decay}
        return {group: decay for group, decay in table.items() if decay is not None}

    def by_parameter(self, group: str) -> bool:
        """Matrices one by one."""
        return group.startswith("matrix")

    def slot_shape(self, slot: str, name: str, shape: tuple[int, ...]) -> tuple[int, ...] | None:
        """Adam's second moment is for others than matrices."""
        return None if slot == "velocity" and self._group(name, shape) == "matrix" else shape

    def _hyper(self, step: int, rate: float) -> list[float]:
        return [rate, adam_rate(step, rate * self.adam_lr_ratio, self.adam_beta_1, self.adam_beta_2)]

    def _step(self, p: Tensor, g: Tensor, s: Slots, h: Iterator[Tensor]) -> tuple[Tensor, Slots]:
        rate, adam = next(h), next(h)
        if "velocity" in s:
            m = s["momentum"] + (g - s["momentum"]) * (1 - self.adam_beta_1)
            v = s["velocity"] + (g.square() - s["velocity"]) * (1 - self.adam_beta_2)
            return p - m * adam / (v.sqrt() + self.epsilon), {"momentum": m, "velocity": v}
        m = s["momentum"] + (g + s["momentum"] * (self.momentum - 1))
        size = 1.0 if self.rms_rate is None else math.sqrt(max(p.shape)) * self.rms_rate
        move = self._orthogonal(g + m * self.momentum if self.nesterov else m)
        return p - move * rate * size, {"momentum": m}

    def _orthogonal(self, x: Tensor) -> Tensor:
        """Newton and Schulz's iteration, a polynomial of fifth order, towards the matrix's orthogonal part."""
        tall = x.shape[0] > x.shape[1]
        x = x.swap(0, 1) if tall else x
        x = x / (norm([x]) + 1e-7)
        for _ in range(self.ns_steps):
            gram = x @ x.swap(0, 1)
            x = x * self.muon_a + (gram * self.muon_b + (gram @ gram) * self.muon_c) @ x
        return x.swap(0, 1) if tall else x
