"""Keras's callbacks and ours in one list: ours are handed the trainer, Keras's the accelerated model."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras

from a1400.keras.trainer import KerasTrainer

_EVENTS = tuple(
    f"{event}_{end}" for event in ("train", "test", "predict", "epoch", "train_batch", "test_batch", "predict_batch")
    for end in ("begin", "end")
)  # fmt: skip


class _Ours(keras.callbacks.Callback):
    """One of our callbacks as one of Keras's."""

    def __init__(self, callback: Any, trainer: KerasTrainer) -> None:
        super().__init__()
        self._callback, self._trainer = callback, trainer
        callback.set_trainer(trainer)
        for event in _EVENTS:
            method = getattr(callback, f"on_{event}", None)
            if method is not None:
                setattr(self, f"on_{event}", self._forwarded(method))

    def set_params(self, params: dict[str, Any]) -> None:
        """Both get them."""
        super().set_params(params)
        if hasattr(self._callback, "set_params"):
            self._callback.set_params(params)

    def _forwarded(self, method: Callable[..., Any]) -> Callable[..., None]:
        def call(*arguments: Any, **named: Any) -> None:
            method(*arguments, **named)
            if self._trainer.stop_training and self.model is not None:
                self.model.stop_training = True

        return call


def callback_list(
    given: Any, model: Any, trainer: KerasTrainer, *, history: bool, verbose: Any, epochs: int, steps: int | None
) -> Any:
    """A ``keras.callbacks.CallbackList`` of callbacks of both kinds; a list made before is taken as it is."""
    if isinstance(given, keras.callbacks.CallbackList):
        return given
    callbacks = [
        _Ours(callback, trainer) if hasattr(callback, "set_trainer") else callback
        for callback in keras.tree.flatten(given or [])
    ]
    made = keras.callbacks.CallbackList(
        callbacks, add_history=history, add_progbar=verbose != 0, verbose=verbose, epochs=epochs, steps=steps,
        model=model,
    )  # fmt: skip
    for callback in callbacks:
        if isinstance(callback, keras.callbacks.TensorBoard) and callback.write_graph:
            # it tells a model with a graph of layers by the name of its class
            callback._model = model.model
            callback._write_keras_model_summary()
            callback._model = model
    return made
