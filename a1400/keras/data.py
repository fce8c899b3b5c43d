"""Keras's ways of giving data: arrays, ``tf.data``, ``PyDataset``, data loaders, generators - as NumPy batches.

Keras's own adapters do the work, so that order, shuffling, class weights and what is refused are Keras's.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import keras
import numpy as np

# Keras has no public name for these
from keras.src.trainers.data_adapters import array_slicing, data_adapter_utils
from keras.src.trainers.epoch_iterator import EpochIterator

from a1400.errors import InputError
from a1400.train.binding import Batch, Binder

#: what one step gets: the number that callbacks are told before it, the batch, and the one they are told behind it;
#: None where callbacks are not asked because several steps make one execution
Numbered = tuple[int | None, Batch, int | None]


class Batches:
    """One epoch after another of what ``fit`` (or ``evaluate``, ``predict``) was given."""

    def __init__(
        self, binder: Binder, x: Any, y: Any = None, sample_weight: Any = None, *, batch_size: int | None = None,
        steps: int | None = None, shuffle: Any = False, class_weight: Any = None, targets: bool = True,
        steps_per_execution: int = 1,
    ) -> None:  # fmt: skip
        self._binder, self._targets = binder, targets
        self._epochs = EpochIterator(
            x=x, y=y, sample_weight=sample_weight, batch_size=batch_size, steps_per_epoch=steps, shuffle=shuffle,
            class_weight=class_weight, steps_per_execution=steps_per_execution,
        )  # fmt: skip
        self._epochs.reset()

    @property
    def steps(self) -> int | None:
        """Batches in an epoch, where that is known."""
        found: int | None = self._epochs.num_batches
        return found

    def __iter__(self) -> Iterator[Numbered]:
        for begin, end, some in self._epochs:
            for index, data in enumerate(some):
                x, y, weight = data_adapter_utils.unpack_x_y_sample_weight(data)
                batch = self._binder.bind(x, y, weight) if self._targets else self._binder.bind(x)
                yield None if index else begin, batch, end if index == len(some) - 1 else None


def split(arrays: Any, part: float) -> tuple[Any, Any]:
    """The arrays without their last ``part``, and that part."""
    first, last = array_slicing.train_validation_split(arrays, validation_split=part)
    return first, last


def sample_of(x: Any) -> Any:
    """One sample of the inputs that ``fit`` (or ``predict``) was given, as arrays in the structure they come in.

    Raises :class:`InputError` where looking at a sample would take it away.
    """
    if all(hasattr(part, "shape") for part in keras.tree.flatten(x)):
        found = x
    elif isinstance(x, keras.utils.PyDataset):
        found = unpacked(x[0])[0]
    elif hasattr(x, "__iter__") and not hasattr(x, "__next__"):
        found = unpacked(tuple(next(iter(x))))[0]
    else:
        raise InputError("a model that is code must see a sample first: call predict on one batch of arrays")
    return keras.tree.map_structure(lambda part: np.array(keras.ops.convert_to_numpy(part[:1])), found)


def unpacked(data: Any) -> tuple[Any, Any, Any]:
    """Inputs, targets and sample weights of a tuple of up to three; the last two may be None."""
    x, y, weight = data_adapter_utils.unpack_x_y_sample_weight(data)
    return x, y, weight


def weights_of_classes(y: Any, class_weight: Any) -> np.ndarray:
    """Sample weights from the weights of classes."""
    return np.asarray(data_adapter_utils.class_weight_to_sample_weights(y, class_weight))
