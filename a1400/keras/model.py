"""The face of an accelerated Keras model: Keras's own ``compile``, ``fit``, ``evaluate``, ``predict`` and the rest."""

from __future__ import annotations

import math
import os
import warnings
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import keras
import numpy as np

from a1400.errors import InputError, NonFiniteError
from a1400.keras.callbacks import callback_list
from a1400.keras.data import Batches, sample_of, split, unpacked, weights_of_classes
from a1400.keras.layers.models import is_graph
from a1400.keras.network import KerasNetwork
from a1400.keras.objects import Compiled, compiled, has_function, has_schedule, rate_of
from a1400.keras.slots import members
from a1400.keras.tracing import UnsupportedModel
from a1400.keras.trainer import KerasTrainer
from a1400.train.history import Sums
from a1400.train.prefetch import Prefetcher

#: attributes of the Keras model that do not hang on its weights: asking for them fetches nothing from the device
_LIGHT = frozenset({"optimizer", "name", "built", "inputs", "outputs", "input_shape", "output_shape", "loss"})
#: those that do, but not on what the optimizer remembers
_WEIGHTS = frozenset(
    {"get_layer", "get_weights", "layers", "non_trainable_weights", "summary", "trainable_weights", "weights"}
)


class AcceleratedModel:
    """A Keras model whose steps run on a device of this package.

    What is not said here is the wrapped model's (``summary``, ``save``, ``layers``, ``get_weights`` ...), and sees the
    weights as they are on the device.  The wrapped model's own weights are up to date after ``fit``, at the end of each
    epoch, and whenever this object is asked for it (``model``) or for anything of it.
    """

    def __init__(self, model: Any, **options: Any) -> None:
        if not isinstance(model, keras.Model):
            raise UnsupportedModel(f"this is no Keras model but a {type(model).__name__}")
        self._model = model
        self.stop_training = self.stop_evaluating = self.stop_predicting = False
        self.history: Any = None
        self._options = options
        self._initial_epoch: int | None = None  # set by keras.callbacks.BackupAndRestore
        self._compiled = Compiled()
        self._is_compiled = False
        self._together = 1  # steps between two calls of callbacks
        self._network: KerasNetwork | None = None
        self._sample: Any = None  # an input of a model that is code, not a graph of layers
        self._trainer: KerasTrainer | None = None
        self._frozen: tuple[int, ...] = ()
        if self._built():
            _ = self.network  # so that what is not supported is told at once

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or "_model" not in self.__dict__:
            raise AttributeError(name)
        if name not in _LIGHT:
            self._pull(slots=name not in _WEIGHTS)
        return getattr(self._model, name)

    @property
    def model(self) -> Any:
        """The wrapped Keras model, with the weights as they are on the device."""
        self._pull()
        return self._model

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """The wrapped model, on Keras's own backend."""
        self._pull()
        return self._model(*args, **kwargs)

    def __repr__(self) -> str:
        return f"<AcceleratedModel of {self._model!r}>"

    # ---- compiling -----------------------------------------------------------------------------------
    def compile(
        self, optimizer: Any = "rmsprop", loss: Any = None, loss_weights: Any = None, metrics: Any = None,
        weighted_metrics: Any = None, run_eagerly: bool = False, steps_per_execution: int = 1,
        jit_compile: Any = "auto", auto_scale_loss: bool = True,
    ) -> None:  # fmt: skip
        """As ``keras.Model.compile``; what is not supported is named at once.

        ``run_eagerly`` and ``jit_compile`` say how Keras's backend would run: not here.  ``steps_per_execution`` says
        how often callbacks are asked.
        """
        self._pull()
        keras_optimizer = keras.optimizers.get(optimizer)
        outputs = self.network.outputs if self._built() else _outputs_by(loss)
        checked = compiled(outputs, keras_optimizer, loss, loss_weights, metrics, weighted_metrics)
        self._model.compile(
            optimizer=keras_optimizer, loss=loss, loss_weights=loss_weights, metrics=metrics,
            weighted_metrics=weighted_metrics, jit_compile=False,
        )  # fmt: skip
        given = (keras_optimizer, loss, loss_weights, metrics, weighted_metrics)
        self._compiled, self._given, self._is_compiled = checked, given, True
        self._trainer, self._together = None, int(steps_per_execution)

    def _built(self) -> bool:
        known = getattr(self._model, "inputs", None) if is_graph(self._model) else self._sample is not None
        return bool(self._model.built and known)

    @property
    def network(self) -> KerasNetwork:
        """The model as this package trains it; :class:`InputError` while the shape of its input is not known."""
        frozen = tuple(id(v) for v in self._model.trainable_weights)
        if self._network is None or frozen != self._frozen:
            if not self._built() and is_graph(self._model):
                raise InputError("the model is not built: give it an Input, call build(), or fit it to arrays")
            # which weights are trained may have been changed since
            self._pull()
            self._network, self._frozen, self._trainer = KerasNetwork(self._model, self._sample), frozen, None
            if self._is_compiled:
                self._compiled = compiled(self._network.outputs, *self._given)
        return self._network

    def _ready(self, x: Any = None, needs_loss: bool = False, ahead: bool = False) -> KerasTrainer:
        """The trainer; device and Keras's variables are brought together, unless the device may be ``ahead``.

        An unbuilt model is built for ``x``.
        """
        if not is_graph(self._model):
            self._call_once(x)
        elif not self._built():
            sample = keras.tree.flatten(x)
            if len(sample) != 1 or not hasattr(sample[0], "shape"):
                raise InputError("the model is not built: give it an Input, or call build() with the input's shape")
            self._model.build((None, *tuple(sample[0].shape)[1:]))
        network = self.network
        if needs_loss and not (self._is_compiled and self._compiled.losses):
            raise InputError("call compile() with a loss before training or evaluating")
        if self._trainer is None:
            self._trainer = KerasTrainer(network, self._compiled, self._model.optimizer, **self._options)
        if not ahead:
            self._trainer.pull()
        self._trainer.push()
        return self._trainer

    def _call_once(self, x: Any) -> None:
        """Let a model that is code be built, and see what it is called on."""
        if self._sample is not None and self._model.built:
            return
        if x is None:
            raise InputError("the model is code, not a graph of layers: it must see data before anything else")
        self._sample = sample_of(x)
        if not self._model.built:
            self._model(keras.tree.map_structure(keras.ops.convert_to_tensor, self._sample))

    def _pull(self, slots: bool = True) -> None:
        trainer = self.__dict__.get("_trainer")
        if trainer is not None:
            trainer.pull(slots)

    def _follow_rate(self, trainer: KerasTrainer) -> None:
        """Callbacks set the learning rate of Keras's optimizer, or a function gives it."""
        optimizer = self._model.optimizer
        ours = getattr(trainer.optimizer, "optimizers", (trainer.optimizer,))
        for own, one in zip(ours, () if optimizer is None else members(optimizer)):
            if not has_schedule(one):
                own.learning_rate = rate_of(one)

    # ---- fit -----------------------------------------------------------------------------------------
    def fit(
        self, x: Any = None, y: Any = None, batch_size: int | None = None, epochs: int = 1, verbose: Any = "auto",
        callbacks: Any = None, validation_split: float = 0.0, validation_data: Any = None, shuffle: Any = True,
        class_weight: Mapping[int, float] | None = None, sample_weight: Any = None, initial_epoch: int = 0,
        steps_per_epoch: int | None = None, validation_steps: int | None = None,
        validation_batch_size: int | None = None, validation_freq: int | Collection[int] = 1,
    ) -> Any:  # fmt: skip
        """As ``keras.Model.fit``; returns ``keras.callbacks.History``.  Callbacks may be Keras's or ours.

        Raises :class:`~a1400.errors.NonFiniteError` with the layer where NaN or infinity began.
        """
        if not isinstance(validation_freq, (int, Collection)) or validation_freq == 0:
            raise InputError(f"validation_freq is a number of epochs or a list of them, not {validation_freq!r}")
        trainer = self._ready(x, needs_loss=True)
        if validation_split and validation_data is None:
            (x, y, sample_weight), validation_data = split((x, y, sample_weight), validation_split)
        data = Batches(
            trainer.binder, x, y, sample_weight, batch_size=batch_size, steps=steps_per_epoch, shuffle=shuffle,
            class_weight=class_weight, steps_per_execution=self._together,
        )  # fmt: skip
        validation = None
        if validation_data is not None:
            validation = Batches(
                trainer.binder, *unpacked(validation_data), batch_size=validation_batch_size or batch_size,
                steps=validation_steps, steps_per_execution=self._together,
            )  # fmt: skip
        calls = callback_list(
            callbacks, self, trainer, history=True, verbose=verbose, epochs=epochs, steps=data.steps
        )
        self.stop_training = trainer.stop_training = False
        logs: dict[str, float] = {}
        try:
            calls.on_train_begin()
            for epoch in range(self._initial_epoch or initial_epoch, epochs):
                logs = self._epoch(trainer, data, calls, epoch, bool(callbacks))
                if callbacks:
                    trainer.pull()  # they may look at what the optimizer remembers
                if validation is not None and _is_due(epoch, validation_freq):
                    found = self._evaluated(trainer, validation, calls)
                    logs.update((f"val_{name}", value) for name, value in found.items())
                trainer.count()
                calls.on_epoch_end(epoch, logs)
                trainer.push()  # a callback may have brought back earlier weights
                if self.stop_training:
                    break
            if trainer.optimizer.use_ema:
                trainer.take_average()
        finally:
            trainer.pull()
        calls.on_train_end(logs)
        return self.history

    def _epoch(
        self, trainer: KerasTrainer, data: Batches, calls: Any, epoch: int, watched: bool
    ) -> dict[str, float]:
        sums, failed = Sums(), dict[str, float]()
        calls.on_epoch_begin(epoch)
        self._follow_rate(trainer)
        watched = watched or any(has_function(one) for one in members(self._model.optimizer))
        with Prefetcher(iter(data)) as batches:
            for begin, batch, end in batches:
                if begin is not None:
                    calls.on_train_batch_begin(begin)
                if watched and begin is not None:  # somebody may have changed weights or the learning rate
                    trainer.count()
                    self._follow_rate(trainer)
                    trainer.push()
                try:
                    trainer.train_batch(batch, sums)
                except NonFiniteError as error:
                    if not any(isinstance(c, keras.callbacks.TerminateOnNaN) for c in calls.callbacks):
                        raise
                    warnings.warn(str(error), stacklevel=3)
                    failed = {"loss": math.nan}
                if end is not None or failed:
                    calls.on_train_batch_end(begin if end is None else end, {**trainer.logs(sums), **failed})
                if self.stop_training:
                    break
        trainer.pull(slots=False)
        return {**trainer.logs(sums), **failed}

    def _evaluated(self, trainer: KerasTrainer, data: Batches, calls: Any) -> dict[str, float]:
        sums = Sums()
        self.stop_evaluating = False
        calls.on_test_begin()
        trainer.push()  # callbacks may put other weights in the model's place, and take them away again
        with Prefetcher(iter(data)) as batches:
            for begin, batch, end in batches:
                if begin is not None:
                    calls.on_test_batch_begin(begin)
                trainer.test_batch(batch, sums)
                if end is not None:
                    calls.on_test_batch_end(end, trainer.logs(sums))
                if self.stop_evaluating:
                    break
        logs = trainer.logs(sums)
        calls.on_test_end(logs)
        trainer.push()
        return logs

    # ---- evaluate, predict ---------------------------------------------------------------------------
    def evaluate(
        self, x: Any = None, y: Any = None, batch_size: int | None = None, verbose: Any = "auto",
        sample_weight: Any = None, steps: int | None = None, callbacks: Any = None, return_dict: bool = False,
    ) -> Any:  # fmt: skip
        """As ``keras.Model.evaluate``: the loss, or a list of loss and metrics, or a dict."""
        trainer = self._ready(x, needs_loss=True)
        data = Batches(
            trainer.binder, x, y, sample_weight, batch_size=batch_size, steps=steps, steps_per_execution=self._together
        )
        calls = callback_list(callbacks, self, trainer, history=False, verbose=verbose, epochs=1, steps=data.steps)
        return _given(self._evaluated(trainer, data, calls), return_dict)

    def predict(
        self, x: Any, batch_size: int | None = None, verbose: Any = "auto", steps: int | None = None,
        callbacks: Any = None,
    ) -> Any:  # fmt: skip
        """As ``keras.Model.predict``: arrays in the structure of the model's outputs."""
        trainer = self._ready(x)
        data = Batches(
            trainer.binder, x, batch_size=batch_size, steps=steps, targets=False, steps_per_execution=self._together
        )
        calls = callback_list(callbacks, self, trainer, history=False, verbose=verbose, epochs=1, steps=data.steps)
        self.stop_predicting = False
        found: list[dict[str, np.ndarray]] = []
        told = 0
        calls.on_predict_begin()
        trainer.push()
        with Prefetcher(iter(data)) as batches:
            for begin, batch, end in batches:
                if begin is not None:
                    calls.on_predict_batch_begin(begin)
                found.append(trainer.predict_batch(batch))
                if end is not None:
                    calls.on_predict_batch_end(end, {"outputs": self._structured(_joined(found[told:]))})
                    told = len(found)
                if self.stop_predicting:
                    break
        calls.on_predict_end()
        if not found:
            raise InputError("the data gave no batch")
        return self._structured(_joined(found))

    def _structured(self, outputs: Mapping[str, np.ndarray]) -> Any:
        """Outputs by name in the structure that the model gives them in."""
        arrays = list(outputs.values())
        structure = self.network.structure
        if structure is None:
            return arrays[0] if len(arrays) == 1 else arrays
        return keras.tree.pack_sequence_as(structure, arrays)

    # ---- single batches ------------------------------------------------------------------------------
    def train_on_batch(
        self, x: Any, y: Any = None, sample_weight: Any = None, class_weight: Any = None, return_dict: bool = False
    ) -> Any:
        """As ``keras.Model.train_on_batch``; the weights stay on the device until this object is asked for them."""
        trainer = self._ready(x, needs_loss=True, ahead=True)
        if class_weight is not None:
            if sample_weight is not None:
                raise InputError("give sample_weight or class_weight, not both")
            sample_weight = weights_of_classes(y, class_weight)
        sums = Sums()
        self._follow_rate(trainer)
        trainer.train_batch(trainer.binder.bind(x, y, sample_weight), sums)
        trainer.count()
        return _given(trainer.logs(sums), return_dict)

    def test_on_batch(self, x: Any, y: Any = None, sample_weight: Any = None, return_dict: bool = False) -> Any:
        """As ``keras.Model.test_on_batch``."""
        trainer = self._ready(x, needs_loss=True)
        sums = Sums()
        trainer.test_batch(trainer.binder.bind(x, y, sample_weight), sums)
        return _given(trainer.logs(sums), return_dict)

    def predict_on_batch(self, x: Any) -> Any:
        """As ``keras.Model.predict_on_batch``."""
        trainer = self._ready(x)
        return self._structured(trainer.predict_batch(trainer.binder.bind(x)))

    # ---- weights and files ---------------------------------------------------------------------------
    def export(self, path: str | os.PathLike[str], *args: Any, format: str | None = None, **options: Any) -> None:
        """Write the model to ``path``: as ONNX where that ends in ``.onnx``, else in Keras's own ways.

        ``options`` of ONNX: ``batch`` (a fixed one) and ``shapes`` (input name to sizes that the model leaves open).
        """
        self._pull()
        if format == "onnx" or (format is None and os.fspath(path).endswith(".onnx")):
            from a1400.export import export_onnx

            export_onnx(self.network, path, *args, **options)
        else:
            self._model.export(path, *args, **({} if format is None else {"format": format}), **options)


def _joined(parts: Sequence[Mapping[str, np.ndarray]]) -> Mapping[str, np.ndarray]:
    """The outputs of several batches as those of one."""
    if len(parts) == 1:
        return parts[0]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _outputs_by(loss: Any) -> tuple[str, ...]:
    """Names of outputs that are not known yet, from what the losses are given by."""
    if isinstance(loss, Mapping):
        return tuple(loss)
    count = len(loss) if isinstance(loss, (list, tuple)) else 1
    return ("output",) if count == 1 else tuple(f"output_{i + 1}" for i in range(count))


def _given(logs: dict[str, float], return_dict: bool) -> Any:
    if return_dict:
        return logs
    values = list(logs.values())
    return values[0] if len(values) == 1 else values


def _is_due(epoch: int, frequency: int | Collection[int]) -> bool:
    """Whether ``epoch`` (from 0) ends with validation."""
    number = epoch + 1
    return number % frequency == 0 if isinstance(frequency, int) else number in frequency
