"""Sequences whose mask may have holes anywhere, for ops that know only lengths.

A recurrent layer leaves its state alone at a masked step, so it may as well never see one: the steps that count are
moved to the front of their row, and what the layer gives for them is read back from there.
"""

from __future__ import annotations

import numpy as np

from a1400.graph.tensor import Tensor

_I32 = np.dtype(np.int32)


class MaskedSteps:
    """Where the steps of a mask [B, T] go; ``lengths`` [B] (int32) is how many of each row count."""

    def __init__(self, mask: Tensor) -> None:
        self.mask = mask
        self.batch, self.count = mask.shape
        ones = mask.cast(_I32)
        self._before = ones.op("cumulate", kind="sum", axis=1, exclusive=True, reverse=False)
        self._upto = self._before + ones
        self.lengths = ones.sum((1,))

    def together(self, x: Tensor) -> Tensor:
        """[B, T, C] with the steps that count in front; what stands behind them means nothing."""
        # the place of the j-th step that counts is how many places have no more than j of them up to there
        numbers = self.mask.graph.constant(np.arange(self.count, dtype=_I32).reshape(1, self.count, 1))
        reached = self._upto.reshape((self.batch, 1, self.count)) <= Tensor(self.mask.graph, numbers)
        return self._read(x, reached.cast(_I32).sum((2,)).minimum(self.count - 1))

    def apart(self, y: Tensor, backwards: bool, zero: bool) -> Tensor:
        """Results [B, T, H] of the steps put together, each at its own time again.

        A masked step has zeros where ``zero`` says so, else what the layer gave before it (``backwards``: behind it),
        or zeros where it had not begun.
        """
        place = self._before if backwards else self._upto - 1
        valid = self.mask
        if not zero:
            valid = place < self.lengths.reshape((self.batch, 1)) if backwards else place >= 0
        found = self._read(y, place.maximum(0).minimum(self.count - 1))
        return valid.reshape((self.batch, self.count, 1)).where(found, 0.0)

    def _read(self, x: Tensor, place: Tensor) -> Tensor:
        """Rows of [B, T, C] by their places [B, T]."""
        return x.op("gather_nd", place.expand_dims(-1), batch_dims=1)
