"""The trainer of a Keras model: our trainer's steps, with the device's weights and Keras's variables kept in step."""

from __future__ import annotations

from typing import Any

import numpy as np

from a1400.keras.network import KerasNetwork
from a1400.keras.objects import Compiled
from a1400.train.binding import Batch, Binder
from a1400.train.history import Sums
from a1400.train.trainer import Trainer


class KerasTrainer(Trainer):
    """Runs single batches; the loop around them, with Keras's callbacks, is the accelerated model's.

    The device has its own copy of the weights.  :meth:`push` takes over what was changed in Keras's variables,
    :meth:`pull` writes the device's weights into them.
    """

    def __init__(self, network: KerasNetwork, compiled: Compiled, **options: Any) -> None:
        super().__init__(
            network, compiled.losses or None, compiled.optimizer or "sgd", compiled.metrics or None,
            loss_weights=compiled.loss_weights or None, weighted_metrics=compiled.weighted_metrics or None, **options,
        )  # fmt: skip
        self._seen = self._host()
        self._pulled = self.step

    def _host(self) -> dict[str, np.ndarray]:
        return {**self.network.parameters, **self.network.buffers}

    def _changed(self) -> dict[str, np.ndarray]:
        """What somebody else has written into Keras's variables."""
        now = self._host()
        return {n: a for n, a in now.items() if not np.array_equal(a, self._seen[n], equal_nan=True)}

    # ---- weights -------------------------------------------------------------------------------------
    def push(self) -> None:
        """Give the device what was written into Keras's variables since they were last read or written here."""
        if self._pulled != self.step:
            return  # the device is ahead
        changed = self._changed()
        if changed:
            self.set_weights(changed)
            self._seen.update(changed)

    def pull(self) -> None:
        """Write the device's weights into Keras's variables, if a training step has changed them.

        A variable that somebody else wrote into in the meantime keeps that, and the device takes it over.
        """
        if self._pulled == self.step:
            return
        changed = self._changed()
        if changed:
            self.set_weights(changed)
            self._seen.update(changed)
        found = self.weights()
        for table in (self.network.parameters, self.network.buffers):
            for name in table:
                if not np.array_equal(found[name], self._seen[name], equal_nan=True):
                    table[name] = found[name]
        self._seen, self._pulled = found, self.step

    # ---- batches -------------------------------------------------------------------------------------
    @property
    def binder(self) -> Binder:
        """Makes batches of what a user gives."""
        return self._binder()

    def train_batch(self, batch: Batch, sums: Sums) -> None:
        """One step, its numbers added to ``sums``."""
        self._train(batch, sums)

    def test_batch(self, batch: Batch, sums: Sums) -> None:
        """Loss and metrics of a batch, added to ``sums``."""
        self._evaluate(batch, sums)

    def predict_batch(self, batch: Batch) -> dict[str, np.ndarray]:
        """The outputs for a batch, by name."""
        return self._predict(batch)

    def logs(self, sums: Sums) -> dict[str, float]:
        """The figures that ``sums`` stand for, by Keras's names."""
        return self._logs(sums)
