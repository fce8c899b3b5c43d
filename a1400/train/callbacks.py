"""What may look on while a network is trained, and step in.

The methods and their order are Keras's; what a callback remembers travels in checkpoints (``state``, ``restore``), so
that a resumed run stops, slows down and saves where an uninterrupted one would have.
"""

from __future__ import annotations

import operator
import warnings
from collections.abc import Callable, Mapping, Sequence
from os import PathLike
from typing import TYPE_CHECKING, Any

import numpy as np

from a1400.errors import InputError

if TYPE_CHECKING:
    from a1400.train.trainer import Trainer

Logs = Mapping[str, float]
_LARGER = ("acc", "auc", "precision", "recall", "f1", "f_score", "r2", "iou", "top_k")


class Callback:
    """Base of all callbacks: every method does nothing.  ``trainer`` is set before training begins."""

    trainer: Trainer
    params: dict[str, Any]

    def set_trainer(self, trainer: Trainer) -> None:
        """Called once before training."""
        self.trainer = trainer

    def set_params(self, params: dict[str, Any]) -> None:
        """``params``: epochs, steps, verbose."""
        self.params = params

    def state(self) -> dict[str, Any]:
        """What a checkpoint keeps of it: numbers, strings, arrays, lists and dicts."""
        return {}

    def restore(self, state: dict[str, Any]) -> None:
        """Take up what :meth:`state` gave."""

    def on_train_begin(self, logs: Logs | None = None) -> None:
        """Before the first epoch."""

    def on_train_end(self, logs: Logs | None = None) -> None:
        """After the last epoch."""

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        """Before an epoch, counted from 0; again when a run is resumed inside it."""

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        """After an epoch and its validation; ``logs`` has loss, metrics and their ``val_`` forms."""

    def on_train_batch_begin(self, batch: int, logs: Logs | None = None) -> None:
        """Before a step."""

    def on_train_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        """After a step; ``logs`` are the means over the epoch so far."""

    def on_test_begin(self, logs: Logs | None = None) -> None:
        """Before an evaluation."""

    def on_test_end(self, logs: Logs | None = None) -> None:
        """After an evaluation."""

    def on_test_batch_begin(self, batch: int, logs: Logs | None = None) -> None:
        """Before a batch of an evaluation."""

    def on_test_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        """After a batch of an evaluation."""

    def on_predict_begin(self, logs: Logs | None = None) -> None:
        """Before a prediction."""

    def on_predict_end(self, logs: Logs | None = None) -> None:
        """After a prediction."""

    def on_predict_batch_begin(self, batch: int, logs: Logs | None = None) -> None:
        """Before a batch of a prediction."""

    def on_predict_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        """After a batch of a prediction."""


class CallbackList:
    """Calls callbacks in order, but those that save after all others, so that they save what the others decided.

    Any object with Keras's methods will do; one without ``set_trainer`` is given ``model`` by ``set_model``.
    """

    def __init__(self, callbacks: Sequence[Any], trainer: Trainer, model: Any, params: dict[str, Any]) -> None:
        self.callbacks = sorted(callbacks, key=lambda c: bool(getattr(c, "saves", False)))
        for callback in self.callbacks:
            if hasattr(callback, "set_params"):
                callback.set_params(params)
            if hasattr(callback, "set_trainer"):
                callback.set_trainer(trainer)
            elif hasattr(callback, "set_model"):
                callback.set_model(model)

    def call(self, event: str, *arguments: Any) -> None:
        """``on_EVENT(*arguments)`` of each."""
        for callback in self.callbacks:
            method = getattr(callback, f"on_{event}", None)
            if method is not None:
                method(*arguments)

    def state(self) -> list[Any]:
        """What each remembers, with its class's name."""
        return [[type(c).__name__, c.state() if isinstance(c, Callback) else {}] for c in self.callbacks]

    def restore(self, state: Sequence[Any]) -> None:
        """Give each what one of its class remembered, in order; those that were not there begin afresh."""
        left = [list(entry) for entry in state]
        for callback in self.callbacks:
            for entry in left:
                if entry[0] == type(callback).__name__ and isinstance(callback, Callback):
                    callback.restore(entry[1])
                    left.remove(entry)
                    break


class Monitor(Callback):
    """Base of callbacks that watch one number of ``logs`` for getting better: ``mode`` is auto, min or max."""

    def __init__(self, monitor: str = "val_loss", mode: str = "auto", min_delta: float = 0.0) -> None:
        if mode not in ("auto", "min", "max"):
            raise InputError(f"mode is 'auto', 'min' or 'max', not {mode!r}")
        self.monitor = monitor
        larger = mode == "max" or (mode == "auto" and any(part in monitor for part in _LARGER))
        self._better: Callable[[float, float], bool] = operator.gt if larger else operator.lt
        self._delta = abs(min_delta) if larger else -abs(min_delta)
        self.best = -np.inf if larger else np.inf
        self._worst = self.best

    def current(self, logs: Logs | None) -> float | None:
        """The number watched, or None with a warning where it is not among ``logs``."""
        value = (logs or {}).get(self.monitor)
        if value is None:
            there = ", ".join(logs or {}) or "nothing"
            warnings.warn(f"{type(self).__name__} watches {self.monitor!r}, but there is only {there}", stacklevel=2)
        return None if value is None else float(value)

    def improved(self, value: float, reference: float) -> bool:
        """Whether ``value`` is better than ``reference`` by ``min_delta``."""
        return self._better(value - self._delta, reference)


class EarlyStopping(Monitor):
    """Stop when ``monitor`` has not got better for ``patience`` epochs.

    ``restore_best_weights`` puts back those of the best epoch; ``baseline`` is what must be reached at all;
    ``start_from_epoch`` epochs pass before it begins to look.
    """

    def __init__(
        self, monitor: str = "val_loss", min_delta: float = 0.0, patience: int = 0, mode: str = "auto",
        baseline: float | None = None, restore_best_weights: bool = False, start_from_epoch: int = 0,
    ) -> None:  # fmt: skip
        super().__init__(monitor, mode, min_delta)
        self.patience, self.baseline, self.start_from_epoch = patience, baseline, start_from_epoch
        self.restore_best_weights = restore_best_weights
        self.best_weights: dict[str, np.ndarray] | None = None
        self.wait, self.best_epoch, self.stopped_epoch = 0, 0, 0

    def state(self) -> dict[str, Any]:
        """Best so far, with its weights."""
        kept = ("wait", "best", "best_epoch", "stopped_epoch", "best_weights")
        return {name: getattr(self, name) for name in kept}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from there."""
        vars(self).update(state)

    def on_train_begin(self, logs: Logs | None = None) -> None:
        """Forget earlier runs."""
        self.wait, self.best, self.best_epoch, self.stopped_epoch, self.best_weights = 0, self._worst, 0, 0, None

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        """Look, and perhaps stop."""
        value = self.current(logs)
        if value is None or epoch < self.start_from_epoch:
            return
        if self.restore_best_weights and self.best_weights is None:
            self.best_weights, self.best_epoch = self.trainer.weights(), epoch
        self.wait += 1
        if self.improved(value, self.best):
            self.best, self.best_epoch = value, epoch
            if self.restore_best_weights:
                self.best_weights = self.trainer.weights()
            if self.baseline is None or self.improved(value, self.baseline):
                self.wait = 0
            return
        if self.wait >= self.patience and epoch > 0:
            self.stopped_epoch = epoch
            self.trainer.stop_training = True

    def on_train_end(self, logs: Logs | None = None) -> None:
        """Put the best weights back."""
        if self.restore_best_weights and self.best_weights is not None:
            self.trainer.set_weights(self.best_weights)


class ModelCheckpoint(Monitor):
    """Save a checkpoint after each epoch, or every ``save_freq`` steps.

    ``filepath`` may hold ``{epoch}`` and names of ``logs``.  ``save_best_only`` keeps the best by ``monitor``.
    """

    saves = True

    def __init__(
        self, filepath: str | PathLike[str], monitor: str = "val_loss", save_best_only: bool = False,
        mode: str = "auto", save_freq: str | int = "epoch",
    ) -> None:  # fmt: skip
        super().__init__(monitor, mode)
        if save_freq != "epoch" and not (isinstance(save_freq, int) and save_freq > 0):
            raise InputError(f"save_freq is 'epoch' or a number of steps, not {save_freq!r}")
        self.filepath, self.save_best_only, self.save_freq = filepath, save_best_only, save_freq
        self._epoch = 0

    def state(self) -> dict[str, Any]:
        """Best so far."""
        return {"best": self.best}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from there."""
        self.best = state["best"]

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        """Know the epoch."""
        self._epoch = epoch

    def on_train_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        """Save every so many steps."""
        if isinstance(self.save_freq, int) and self.trainer.step % self.save_freq == 0:
            self._save(self._epoch, logs)

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        """Save."""
        if self.save_freq == "epoch":
            self._save(epoch, logs)

    def _save(self, epoch: int, logs: Logs | None) -> None:
        if self.save_best_only:
            value = self.current(logs)
            if value is None or not self.improved(value, self.best):
                return
            self.best = value
        try:
            path = str(self.filepath).format(epoch=epoch + 1, **(logs or {}))
        except KeyError as error:
            raise InputError(f"filepath names {error}, which is not among {', '.join(logs or {})}") from None
        self.trainer.save(path)


class Saving(Callback):
    """Saves to one path after every epoch, and every so many steps."""

    saves = True

    def __init__(self, path: str | PathLike[str], every: int | None) -> None:
        if every is not None and every < 1:
            raise InputError(f"checkpoint_every is a number of steps, not {every}")
        self._path, self._every = path, every

    def on_train_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        """Save every so many steps."""
        if self._every and self.trainer.step % self._every == 0:
            self.trainer.save(self._path)

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        """Save."""
        self.trainer.save(self._path)


class LearningRateScheduler(Callback):
    """``schedule(epoch, learning_rate)`` gives the learning rate of each epoch."""

    def __init__(self, schedule: Callable[[int, float], float]) -> None:
        self.schedule = schedule
        self._done = -1

    def state(self) -> dict[str, Any]:
        """The last epoch it set: inside that one, a resumed run has its learning rate already."""
        return {"_done": self._done}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from there."""
        vars(self).update(state)

    def on_train_begin(self, logs: Logs | None = None) -> None:
        """Forget earlier runs."""
        self._done = -1

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        """Set the learning rate."""
        if epoch != self._done:
            self.trainer.learning_rate = float(self.schedule(epoch, self.trainer.learning_rate))
            self._done = epoch


class ReduceLROnPlateau(Monitor):
    """Multiply the learning rate by ``factor`` when ``monitor`` has not got better for ``patience`` epochs."""

    def __init__(
        self, monitor: str = "val_loss", factor: float = 0.1, patience: int = 10, mode: str = "auto",
        min_delta: float = 1e-4, cooldown: int = 0, min_lr: float = 0.0,
    ) -> None:  # fmt: skip
        super().__init__(monitor, mode, min_delta)
        if not 0 <= factor < 1:
            raise InputError(f"factor lies in [0, 1), it is {factor}")
        self.factor, self.patience, self.cooldown, self.min_lr = factor, patience, cooldown, min_lr
        self.wait, self.cooldown_counter = 0, 0

    def state(self) -> dict[str, Any]:
        """Best so far and the counters."""
        return {name: getattr(self, name) for name in ("best", "wait", "cooldown_counter")}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from there."""
        vars(self).update(state)

    def on_train_begin(self, logs: Logs | None = None) -> None:
        """Forget earlier runs."""
        self.best, self.wait, self.cooldown_counter = self._worst, 0, 0

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        """Look, and perhaps reduce."""
        value = self.current(logs)
        if value is None:
            return
        if self.cooldown_counter > 0:
            self.cooldown_counter -= 1
            self.wait = 0
        if self.improved(value, self.best):
            self.best, self.wait = value, 0
        elif self.cooldown_counter == 0:
            self.wait += 1
            old = self.trainer.learning_rate
            if self.wait >= self.patience and old > self.min_lr:
                self.trainer.learning_rate = max(old * self.factor, self.min_lr)
                self.cooldown_counter, self.wait = self.cooldown, 0
