"""The trainer of a Keras model: our trainer's steps, with the device's weights and Keras's variables kept in step."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from a1400.keras.network import KerasNetwork
from a1400.keras.objects import Compiled, optimizer_of
from a1400.keras.slots import KerasSlots, Slots
from a1400.train.binding import Batch, Binder
from a1400.train.history import Sums
from a1400.train.optimizer_multi import MultiOptimizer
from a1400.train.optimizers import Nadam
from a1400.train.trainer import Trainer


class KerasTrainer(Trainer):
    """Runs single batches; the loop around them, with Keras's callbacks, is the accelerated model's.

    The device has its own copy of the weights and of what the optimizer remembers.  :meth:`push` takes over what was
    changed in Keras's variables, :meth:`pull` writes the device's values into them.
    """

    def __init__(self, network: KerasNetwork, compiled: Compiled, keras_optimizer: Any = None, **options: Any) -> None:
        optimizer = compiled.optimizer or "sgd"
        slots = None if keras_optimizer is None or compiled.optimizer is None else KerasSlots(keras_optimizer, network)
        if slots is not None and isinstance(compiled.optimizer, MultiOptimizer):
            slots.build()
            several = optimizer_of(keras_optimizer)
            assert isinstance(several, MultiOptimizer)
            several.choose = lambda name: slots.member(network.parameters.variables[name])
            compiled.optimizer = optimizer = several
        if slots is not None and compiled.optimizer is not None:
            compiled.optimizer.exclude_from_weight_decay(slots.without_decay())
        super().__init__(
            network, compiled.losses or None, optimizer, compiled.metrics or None,
            loss_weights=compiled.loss_weights or None, weighted_metrics=compiled.weighted_metrics or None,
            loss_scale=compiled.loss_scale, **options,
        )  # fmt: skip
        self._steps.moves_unreached = keras.backend.backend() == "jax"  # whose gradients are zeros, never absent
        self._slots = slots
        self._seen = self._host()
        self._seen_slots: Slots = {}
        self._seen_count = 0
        self._pulled = self._pulled_slots = self.step
        self._push_slots()

    def _host(self) -> dict[str, np.ndarray]:
        return {**self.network.parameters, **self.network.buffers}

    def _changed(self) -> dict[str, np.ndarray]:
        """What somebody else has written into Keras's variables."""
        now = self._host()
        return {n: a for n, a in now.items() if not np.array_equal(a, self._seen[n], equal_nan=True)}

    # ---- weights -------------------------------------------------------------------------------------
    def push(self) -> None:
        """Give the device what was written into Keras's variables since they were last read or written here."""
        if self._pulled_slots == self.step:
            self._push_slots()
        if self._pulled != self.step:
            return  # the device is ahead
        changed = self._changed()
        if changed:
            self.set_weights(changed)
            self._seen.update(changed)

    def pull(self, slots: bool = True) -> None:
        """Write the device's weights into Keras's variables, if a training step has changed them.

        A variable that somebody else wrote into in the meantime keeps that, and the device takes it over.  Without
        ``slots`` what the optimizer remembers stays on the device.
        """
        if slots:
            self._pull_slots()
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

    def take_average(self) -> None:
        """As Keras does at the end of ``fit``."""
        super().take_average()
        self._pulled = -1  # the weights were changed by no step

    # ---- the optimizer's variables -------------------------------------------------------------------
    def count(self) -> None:
        """Let Keras's optimizer count the steps, too."""
        if self._slots is not None and self._updates != self._seen_count:
            self._slots.count = self._seen_count = self._updates

    def _push_slots(self) -> None:
        if self._slots is None or not self._slots.built:
            return
        now = self._slots.read(self.runner.slots()) if not self._seen_slots else self._slots.read(self._seen_slots)
        for slot, arrays in now.items():
            seen = self._seen_slots.get(slot, {})
            new = {n: a for n, a in arrays.items() if n not in seen or not np.array_equal(a, seen[n], equal_nan=True)}
            if new:
                self.runner.write_slots({slot: new})
        self._seen_slots = now
        count, scale = self._slots.count, self._slots.read_scale()
        if count != self._seen_count:
            self._updates = self._seen_count = count
        if scale is not None:
            self.runner.write_scale(scale)

    def _pull_slots(self) -> None:
        if self._slots is None or self._pulled_slots == self.step:
            return
        found = self.runner.slots()
        self._slots.write(found)
        self._seen_slots, self._pulled_slots = self._slots.read(found), self.step
        self.count()
        for optimizer in getattr(self.optimizer, "optimizers", (self.optimizer,)):
            if isinstance(optimizer, Nadam):
                self._slots.write_product(optimizer.product(self._updates))
        scale = self.runner.scale_state()
        if scale is not None:
            self._slots.write_scale(scale)

    # ---- batches -------------------------------------------------------------------------------------
    @property
    def binder(self) -> Binder:
        """Makes batches of what a user gives."""
        return self._binder()

    def train_batch(self, batch: Batch, sums: Sums) -> None:
        """One step, its numbers added to ``sums``."""
        if self._slots is not None:
            self._slots.build()  # for what is trained now: some of it may be frozen when it is written
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
