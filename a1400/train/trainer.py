"""The trainer: a network, a loss and an optimizer, run over data on one device."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack
from typing import Any

import numpy as np

from a1400.errors import CheckpointError, InputError, NonFiniteError
from a1400.train import compilation
from a1400.train.binding import Batch, Binder
from a1400.train.callbacks import CallbackList, Saving
from a1400.train.checkpoint import Checkpoint, join, read_checkpoint, separate, write_checkpoint
from a1400.train.data import Shuffle, Source, make_source, split
from a1400.train.history import History, Sums
from a1400.train.interrupts import Interrupts
from a1400.train.loss_scale import LossScale
from a1400.train.network import Network
from a1400.train.onnx_network import OnnxNetwork
from a1400.train.optimizer import AVERAGE
from a1400.train.prefetch import Prefetcher
from a1400.train.progress import Display, display
from a1400.train.runner import Runner
from a1400.train.step import LOSS, Steps
from a1400.train.update import FINITE

#: below this, making the loss scale smaller still would not help
_SMALLEST_SCALE = 1.0


class Trainer:
    """Trains a network (or the ONNX model in a file) on a device.

    ``loss`` and ``metrics`` are names that Keras knows, objects of :mod:`a1400.train.losses` and
    :mod:`a1400.train.metrics`, functions of (target, prediction), or, for several outputs, dicts (or lists) of them;
    ``weighted_metrics`` see sample weights.  ``optimizer`` is a name or an object of :mod:`a1400.train.optimizers`.
    ``backend``, ``device``, ``precision``, ``memory_limit`` and ``disable`` are as for :func:`a1400.load`; fp16 and
    bf16 keep parameters in float32, and fp16 scales the loss (``loss_scale`` says how, and scales it in any precision).
    ``gradient_accumulation_steps`` is the optimizer's; ``constraints`` (names or objects of
    :mod:`a1400.train.constraints` by parameter, or by a pattern such as ``"dense*.w"``) hold after every step.  The
    same ``seed`` gives the same weights, bit for bit.

    Attributes: ``network``, ``optimizer``, ``epoch`` and ``batch`` (where the run stands), ``step`` (batches trained
    ever), ``history``, ``stop_training`` (set it to end after this batch), ``resumed`` (the run goes on from a
    checkpoint).
    """

    def __init__(
        self, network: Network | str | os.PathLike[str] | bytes, loss: Any = None, optimizer: Any = "adam",
        metrics: Any = None, *, loss_weights: Any = None, weighted_metrics: Any = None, backend: str | None = None,
        device: str | int | None = None, seed: int = 0, precision: str = "fp32", memory_limit: int | None = None,
        disable: Collection[str] = (), gradient_accumulation_steps: int | None = None,
        constraints: Mapping[str, Any] | None = None, loss_scale: LossScale | None = None,
    ) -> None:  # fmt: skip
        from a1400.backends.registry import choose

        self.network: Network = OnnxNetwork(network) if isinstance(network, (str, bytes, os.PathLike)) else network
        self.seed, self.precision = int(seed), precision
        self.optimizer = compilation.optimizer(optimizer, gradient_accumulation_steps)
        bounds = compilation.constraints(constraints, self.network)
        outputs = tuple(self.network.outputs)
        losses = compilation.losses(loss, outputs)
        self._metrics = compilation.Metrics(metrics, weighted_metrics, losses, outputs)
        self._steps = Steps(
            self.network, (), losses, compilation.loss_weights(loss_weights, losses), self._metrics.by_output,
            self.optimizer, loss_scale or (LossScale() if precision == "fp16" else None), constraints=bounds,
        )  # fmt: skip
        self._runner = Runner(self._steps, choose(backend, device), self.seed, precision, memory_limit, disable)
        self.epoch = self.batch = self.step = 0
        self.stop_training = self.resumed = False
        self.history = History()
        self._updates = 0  # steps that the optimizer took: those with finite gradients
        self._first = self._runs = 0  # the first epoch of this run of fit, and how many runs there were before
        self._sums = Sums()
        self._callbacks: CallbackList | None = None
        self._left: list[Any] = []  # what callbacks are to remember of the run that is resumed

    # ---- looking -------------------------------------------------------------------------------------
    @property
    def learning_rate(self) -> float:
        """The learning rate of the next step; setting it replaces a schedule."""
        return self.optimizer.rate(self._updates)

    @learning_rate.setter
    def learning_rate(self, value: float) -> None:
        self.optimizer.learning_rate = float(value)

    @property
    def runner(self) -> Runner:
        """What runs on the device: its programs and states."""
        return self._runner

    def weights(self) -> dict[str, np.ndarray]:
        """Parameters and buffers by name, as they are on the device now."""
        return {**self._runner.parameters(), **self._runner.buffers()}

    def set_weights(self, weights: Mapping[str, np.ndarray]) -> None:
        """Replace those parameters and buffers that are named."""
        self._runner.write(weights)

    def take_average(self) -> None:
        """Put the optimizer's moving average in the parameters' place, as :meth:`fit` does at its end."""
        average = self._runner.slots().get(AVERAGE)
        if average is None:
            raise InputError("there is no moving average; make the optimizer with use_ema=True")
        if self._updates:
            self.set_weights(average)

    def synchronise(self) -> None:
        """Put the weights of the device into the network's own arrays."""
        for table, arrays in (
            (self.network.parameters, self._runner.parameters()), (self.network.buffers, self._runner.buffers()),
        ):  # fmt: skip
            for name, array in arrays.items():
                table[name] = array

    # ---- single batches ------------------------------------------------------------------------------
    def train_on_batch(
        self, x: Any, y: Any = None, sample_weight: Any = None, class_weight: Mapping[int, float] | None = None
    ) -> dict[str, float]:
        """One step on one batch; its loss and metrics."""
        sums = Sums()
        with Interrupts() as interrupts:  # a step is done whole or not at all
            self._train(self._binder(class_weight).bind(x, y, sample_weight), sums)
        if interrupts.asked:
            raise KeyboardInterrupt
        return self._logs(sums)

    def test_on_batch(self, x: Any, y: Any = None, sample_weight: Any = None) -> dict[str, float]:
        """Loss and metrics of one batch."""
        sums = Sums()
        self._evaluate(self._binder().bind(x, y, sample_weight), sums)
        return self._logs(sums)

    def predict_on_batch(self, x: Any) -> Any:
        """Outputs for one batch: an array, or a dict of them where there are several."""
        return self._bare(self._predict(self._binder().bind(x)))

    # ---- fit -----------------------------------------------------------------------------------------
    def fit(
        self, x: Any, y: Any = None, *, batch_size: int | None = None, epochs: int = 1, verbose: str | int = "auto",
        callbacks: Sequence[Any] = (), validation_split: float = 0.0, validation_data: Any = None,
        shuffle: bool = True, class_weight: Mapping[int, float] | None = None, sample_weight: Any = None,
        initial_epoch: int = 0, steps_per_epoch: int | None = None, validation_steps: int | None = None,
        validation_batch_size: int | None = None, validation_freq: int | Collection[int] = 1,
        checkpoint: str | os.PathLike[str] | None = None, checkpoint_every: int | None = None, model: Any = None,
    ) -> History:  # fmt: skip
        """Train for ``epochs`` epochs (counted from the first one ever, as ``initial_epoch`` is); returns the curves.

        ``x`` and ``y`` are arrays (or dicts or lists of them), or ``x`` alone gives batches (x, y[, sample_weight]): a
        sequence with ``len``, an iterable such as ``tf.data`` or a data loader, a generator.  Targets may be integers
        (taken as int32) or floats (float32).

        After :meth:`resume` the run goes on where it was saved and ``initial_epoch`` does not count; give the same
        arguments again.  ``checkpoint`` is where to save after every epoch, every ``checkpoint_every`` steps, and when
        Ctrl-C ends the run: the step is finished, all is saved, and the curves so far come back with ``interrupted``
        set.  ``model`` is what callbacks of other kinds are given as theirs.

        Raises :class:`NonFiniteError` with the layer where NaN or infinity began; the weights stay as they were before.
        """
        show = display(verbose)
        if validation_split:
            if validation_data is not None:
                raise InputError("give validation_split or validation_data, not both")
            (x, y, sample_weight), validation_data = split(x, y, sample_weight, validation_split)
        run = self._runs if self.resumed else self._runs + 1
        source = make_source(
            self._binder(class_weight), x, y, sample_weight, batch_size=batch_size, steps=steps_per_epoch,
            shuffle=Shuffle(self.seed, run) if shuffle else None,
        )  # fmt: skip
        validation = None
        if validation_data is not None:
            parts = validation_data if isinstance(validation_data, tuple) else (validation_data,)
            size = validation_batch_size or batch_size
            validation = make_source(self._binder(), *parts, batch_size=size, steps=validation_steps)
        if not self.resumed:
            self.epoch = self._first = initial_epoch
            self.batch, self._runs = 0, run
            self._sums.clear()
            self.history = History()
        self.history.params = {"epochs": epochs, "steps": source.steps, "verbose": verbose}
        self.history.interrupted = self.stop_training = False
        extra = [] if checkpoint is None else [Saving(checkpoint, checkpoint_every)]
        calls = self._callbacks = CallbackList([*callbacks, *extra], self, model or self, self.history.params)
        with ExitStack() as stack:
            interrupts = stack.enter_context(Interrupts())
            stack.callback(show.close)
            calls.call("train_begin", {})
            if self.resumed:
                calls.restore(self._left)
            logs: dict[str, float] = {}
            while self.epoch < epochs and not self.stop_training and not interrupts.asked:
                wanted = validation if _is_due(self.epoch, validation_freq) else None
                logs = self._epoch(source, wanted, epochs, calls, show, interrupts)
            if interrupts.asked:
                self.history.interrupted = True
                if checkpoint is not None:
                    self.save(checkpoint)
                show.close()
                show.say(f"Interrupted after step {self.step}" + (f"; saved to {checkpoint}" if checkpoint else ""))
            calls.call("train_end", logs)
        if self.optimizer.use_ema and not self.history.interrupted:
            self.take_average()
        self.resumed, self._callbacks, self._left = False, None, []
        self.synchronise()
        return self.history

    def _epoch(
        self, source: Source, validation: Source | None, epochs: int, calls: CallbackList, show: Display,
        interrupts: Interrupts,
    ) -> dict[str, float]:  # fmt: skip
        """The rest of the current epoch."""
        epoch = self.epoch
        calls.call("epoch_begin", epoch, {})
        show.begin_epoch(f"Epoch {epoch + 1}/{epochs}", source.steps, self.batch)
        coming = source.batches(epoch - self._first, self.batch)
        with Prefetcher(coming, interrupted=lambda: interrupts.asked) as batches:
            for batch in batches:
                calls.call("train_batch_begin", self.batch, {})
                self._train(batch, self._sums)
                self.batch += 1
                logs = self._logs(self._sums)
                calls.call("train_batch_end", self.batch - 1, logs)
                show.step(self.batch, batch.size, logs)
                if interrupts.asked or self.stop_training:
                    break
        if interrupts.asked:
            return self._logs(self._sums)
        logs = self._logs(self._sums)
        if validation is not None:
            found = self._over(validation, "test", calls, interrupts)
            if interrupts.asked:
                return logs
            logs.update({f"val_{name}": value for name, value in found.items()})
        self.history.add(epoch, logs)
        self.epoch, self.batch = epoch + 1, 0
        self._sums.clear()
        calls.call("epoch_end", epoch, logs)
        show.end_epoch(logs)
        return logs

    def _train(self, batch: Batch, sums: Sums) -> None:
        """One step, its numbers added to ``sums``."""
        if not self._steps.losses:
            raise InputError("there is no loss; give one when the trainer is made")
        found = self._runner.run("train", batch, self._updates)
        finite = bool(found.pop(FINITE))
        if not finite and not self._skips(found):
            loss = float(found[LOSS])
            what = "loss" if not np.isfinite(loss) else "gradients"
            raise NonFiniteError(
                f"the {what} of step {self.step + 1} (epoch {self.epoch + 1}) held NaN or infinity: "
                f"{self._runner.blame(batch)}; the weights are those before this step"
            )
        self._updates += finite
        self.step += 1
        self._add(found, batch.size, sums)

    def _skips(self, found: Mapping[str, np.ndarray]) -> bool:
        """Whether a step that is not finite is no mistake: a loss scale was too large and has been made smaller."""
        scale = self._runner.scale
        return scale is not None and scale > _SMALLEST_SCALE and bool(np.isfinite(found[LOSS]))

    # ---- evaluate, predict ---------------------------------------------------------------------------
    def evaluate(
        self, x: Any, y: Any = None, *, batch_size: int | None = None, verbose: str | int = "auto",
        sample_weight: Any = None, steps: int | None = None, callbacks: Sequence[Any] = (), model: Any = None,
    ) -> dict[str, float]:  # fmt: skip
        """Loss and metrics over all of the data, which comes as for :meth:`fit`."""
        source = make_source(self._binder(), x, y, sample_weight, batch_size=batch_size, steps=steps)
        calls = CallbackList(callbacks, self, model or self, {"steps": source.steps, "verbose": verbose})
        show = display(verbose)
        with ExitStack() as stack:
            stack.callback(show.close)
            show.begin_epoch("Evaluation", source.steps)
            logs = self._over(source, "test", calls, None, show)
            show.end_epoch(logs)
        return logs

    def _over(
        self, source: Source, event: str, calls: CallbackList, interrupts: Interrupts | None,
        show: Display | None = None,
    ) -> dict[str, float]:  # fmt: skip
        """Evaluate one walk over ``source``."""
        sums = Sums()
        calls.call(f"{event}_begin", {})
        for number, batch in enumerate(_walk(source, interrupts)):
            calls.call(f"{event}_batch_begin", number, {})
            self._evaluate(batch, sums)
            calls.call(f"{event}_batch_end", number, self._logs(sums))
            if show is not None:
                show.step(number + 1, batch.size, self._logs(sums))
        logs = self._logs(sums)
        calls.call(f"{event}_end", logs)
        return logs

    def _evaluate(self, batch: Batch, sums: Sums) -> None:
        self._add(self._runner.run("evaluate", batch), batch.size, sums)

    def predict(
        self, x: Any, *, batch_size: int | None = None, verbose: str | int = 0, steps: int | None = None,
        callbacks: Sequence[Any] = (), model: Any = None,
    ) -> Any:  # fmt: skip
        """Outputs for all of the data: an array, or a dict of them where there are several."""
        source = make_source(self._binder(), x, batch_size=batch_size, steps=steps)
        calls = CallbackList(callbacks, self, model or self, {"steps": source.steps, "verbose": verbose})
        show, parts = display(verbose), list[dict[str, np.ndarray]]()
        with ExitStack() as stack:
            stack.callback(show.close)
            show.begin_epoch("Prediction", source.steps)
            calls.call("predict_begin", {})
            for number, batch in enumerate(_walk(source, None)):
                calls.call("predict_batch_begin", number, {})
                parts.append(self._predict(batch))
                calls.call("predict_batch_end", number, {"outputs": parts[-1]})
                show.step(number + 1, batch.size, {})
            calls.call("predict_end", {})
            show.end_epoch({})
        return self._bare({name: np.concatenate([p[name] for p in parts]) for name in self.network.outputs})

    def _predict(self, batch: Batch) -> dict[str, np.ndarray]:
        found = self._runner.run("predict", Batch(batch.inputs))
        return {name: found[f"output:{name}"] for name in self.network.outputs}

    def _bare(self, outputs: dict[str, np.ndarray]) -> Any:
        return next(iter(outputs.values())) if len(outputs) == 1 else outputs

    # ---- numbers -------------------------------------------------------------------------------------
    def _binder(self, class_weight: Mapping[int, float] | None = None) -> Binder:
        return Binder(self.network.inputs, self._metrics.targets, class_weight, tuple(self.network.outputs))

    def _add(self, found: Mapping[str, np.ndarray], size: int, sums: Sums) -> None:
        """A batch's numbers; a loss counts as often as its batch has samples."""
        losses = {n: float(a) * size for n, a in found.items() if n == LOSS or n.startswith("loss:")}
        sums.add({"samples": float(size), **losses, **{n: a for n, a in found.items() if n.startswith("metric:")}})

    def _logs(self, sums: Sums) -> dict[str, float]:
        table = sums.table
        if "samples" not in table:
            return {}
        logs = {LOSS: float(table[LOSS] / table["samples"])}
        for name in self._steps.losses if len(self._steps.losses) > 1 else ():
            logs[f"{name}_loss"] = float(table[f"loss:{name}"] / table["samples"])
        logs.update(self._metrics.results(table))
        return logs

    # ---- files ---------------------------------------------------------------------------------------
    def save(self, path: str | os.PathLike[str]) -> None:
        """Write everything that the run needs to go on into one ``safetensors`` file, at once or not at all."""
        tensors = self._runner.tensors()
        rate = self.optimizer.learning_rate
        kept = {
            "epoch": self.epoch, "batch": self.batch, "step": self.step, "updates": self._updates,
            "first": self._first, "runs": self._runs, "seed": self.seed,
            "learning_rate": None if callable(rate) else float(rate),
            "optimizer": type(self.optimizer).__name__, "sums": self._sums.state(), "metrics": self._metrics.state(),
            "history": [self.history.epoch, self.history.history],
            "callbacks": self._left if self._callbacks is None else self._callbacks.state(),
        }  # fmt: skip
        state = separate(kept, "callback", tensors)
        write_checkpoint(path, Checkpoint(tensors, state))

    def resume(self, path: str | os.PathLike[str]) -> None:
        """Take up what :meth:`save` wrote: the next :meth:`fit` goes on from there, in the middle of an epoch too.

        The curve and the weights are then those of a run that was never interrupted, bit for bit.  Raises
        :class:`~a1400.errors.CheckpointError` for a file that is missing, damaged, or of another network or optimizer.
        """
        found = read_checkpoint(path)
        try:
            kept = join(found.state, found.tensors)
            if kept["optimizer"] != type(self.optimizer).__name__:
                raise CheckpointError(f"the checkpoint {str(path)!r} is of the optimizer {kept['optimizer']}")
            sums, metrics, history = dict(kept["sums"]), dict(kept["metrics"]), kept["history"]
            numbers = [int(kept[n]) for n in ("epoch", "batch", "step", "updates", "first", "runs", "seed")]
            rate, callbacks = kept["learning_rate"], list(kept["callbacks"])
        except (KeyError, TypeError, ValueError, IndexError) as error:
            raise CheckpointError(f"{str(path)!r} is damaged: its metadata lacks {error}") from None
        self._runner.restore(found.tensors)
        self.epoch, self.batch, self.step, self._updates, self._first, self._runs, self.seed = numbers
        if rate is not None:
            self.optimizer.learning_rate = rate
        self._sums.restore(sums)
        self._metrics.restore(metrics)
        self.history = History()
        self.history.epoch, self.history.history = list(history[0]), {n: list(v) for n, v in history[1].items()}
        self._left, self.resumed = callbacks, True
        self.synchronise()

    def export(self, path: str | os.PathLike[str]) -> None:
        """Write the trained network as an ONNX model; one read from ONNX keeps its own form."""
        export = getattr(self.network, "export", None)
        if export is None:
            from a1400.export import export_onnx

            export_onnx(self.network, path, weights=self.weights())
        else:
            export(path, self.weights())


def _walk(source: Source, interrupts: Interrupts | None) -> Iterator[Batch]:
    """The batches of one walk, prepared ahead; ends early when Ctrl-C came."""
    asked = (lambda: interrupts.asked) if interrupts is not None else None
    with Prefetcher(source.batches(0), interrupted=asked) as batches:
        for batch in batches:
            yield batch
            if asked is not None and asked():
                return


def _is_due(epoch: int, frequency: int | Collection[int]) -> bool:
    """Whether ``epoch`` (from 0) ends with validation."""
    number = epoch + 1
    return number in frequency if isinstance(frequency, Collection) else number % frequency == 0
