"""Dynamic loss scaling: gradients in float16 neither vanish nor overflow (Micikevicius and others, 2017).

The loss is multiplied by a scale that is found by trying: it doubles after so many steps with finite gradients, and
halves, the step being skipped, when one is not finite.  All of it is arithmetic in the step's graph.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from a1400.errors import InputError
from a1400.graph.tensor import Tensor


class LossScale:
    """The scale, as a state of float32 [2]: the scale itself, and the steps since it changed.

    ``initial_scale`` and ``dynamic_growth_steps`` are those of ``keras.optimizers.LossScaleOptimizer``.
    """

    def __init__(self, initial_scale: float = 2.0**15, dynamic_growth_steps: int = 2000) -> None:
        if initial_scale <= 0 or dynamic_growth_steps < 1:
            raise InputError("a loss scale and its number of growth steps must be above 0")
        self.initial_scale, self.dynamic_growth_steps = float(initial_scale), int(dynamic_growth_steps)

    def initial_state(self) -> np.ndarray:
        """What the state holds at first."""
        return np.array([self.initial_scale, 0], np.float32)

    def scaled(self, loss: Tensor, state: Tensor) -> Tensor:
        """``loss`` (a scalar) times the scale: what is differentiated."""
        return loss * state.slice([0], [1]).reshape(loss.shape).cast(loss.dtype)

    def factor(self, state: Tensor) -> Tensor:
        """What the gradients of the scaled loss are multiplied with, shape [1]."""
        return 1.0 / state.slice([0], [1])

    def is_finite(self, gradients: Sequence[Tensor]) -> Tensor:
        """Whether every element of all gradients is finite: bool, shape [1]."""
        wrong = [(~g.is_finite()).cast(np.float32).max() for g in gradients]
        total = wrong[0]
        for part in wrong[1:]:
            total = total + part
        return total.reshape((1,)).equal(0.0)

    def next(self, state: Tensor, finite: Tensor) -> Tensor:
        """The state after a step whose gradients were ``finite`` (bool, one element); the scale stays in [1, 2**24]."""
        scale, steps = state.slice([0], [1]), state.slice([1], [1])
        full = steps.equal(float(self.dynamic_growth_steps - 1))
        grown = full.where((scale * 2.0).minimum(2.0**24), scale)
        after = finite.where(grown, (scale * 0.5).maximum(1.0))
        counted = finite.where(full.where(0.0, steps + 1.0), 0.0)
        return after.op("concat", counted, axis=0)
