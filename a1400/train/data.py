"""Where batches come from: arrays, sequences of batches, iterables and generators, each from any batch on.

The order of shuffled samples is a function of the seed and the pass alone, so a run that is resumed in the middle of an
epoch goes on with the very batch that an uninterrupted one would have taken.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from a1400.errors import InputError
from a1400.train.binding import Arrays, Batch, Binder
from a1400.train.random import permutation

#: samples in a batch unless somebody says otherwise
BATCH_SIZE = 32


@dataclass(frozen=True)
class Shuffle:
    """The orders of ``fit`` number ``run`` of a trainer: ``shuffle(count, turn)`` is that of pass ``turn``."""

    seed: int
    run: int = 0

    def __call__(self, count: int, turn: int) -> np.ndarray:
        return permutation(count, self.seed, (self.run << 32) + turn)


class Source(Protocol):
    """Batches of one epoch after another."""

    @property
    def steps(self) -> int | None:
        """Batches in an epoch, where that is known before."""
        ...

    def batches(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        """Those of ``epoch`` from number ``start`` on."""
        ...


class ArraySource:
    """Whole arrays, cut into batches; the last one of a pass may be smaller.

    With ``steps``, an epoch is so many batches, and passes follow each other across epochs.
    """

    def __init__(
        self, binder: Binder, inputs: Arrays, targets: Arrays, weights: Arrays, batch_size: int,
        shuffle: Shuffle | None = None, steps: int | None = None,
    ) -> None:  # fmt: skip
        self._binder, self._tables = binder, (inputs, targets, weights)
        self.samples = binder.check(inputs, targets, weights)
        if self.samples == 0:
            raise InputError("there are no samples")
        if batch_size < 1:
            raise InputError(f"batch_size is at least 1, not {batch_size}")
        self._size, self._shuffle = int(batch_size), shuffle
        self._each = -(-self.samples // self._size)
        self.steps: int = steps or self._each

    def batches(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        """Those of ``epoch`` from number ``start`` on."""
        turn, order = -1, None
        for number in range(epoch * self.steps + start, (epoch + 1) * self.steps):
            if turn != number // self._each:
                turn = number // self._each
                order = None if self._shuffle is None else self._shuffle(self.samples, turn)
            low = number % self._each * self._size
            high = min(low + self._size, self.samples)
            take = slice(low, high) if order is None else order[low:high]
            yield self._binder.convert(*({n: a[take] for n, a in table.items()} for table in self._tables))


class SequenceSource:
    """An object that gives batch ``i`` for ``sequence[i]`` and their number for ``len`` (``keras.utils.Sequence``).

    Shuffling changes the order of the batches.  ``on_epoch_end`` is called where there is one.
    """

    def __init__(
        self, binder: Binder, sequence: Any, shuffle: Shuffle | None = None, steps: int | None = None
    ) -> None:
        self._binder, self._sequence, self._shuffle = binder, sequence, shuffle
        self._each = len(sequence)
        if self._each < 1:
            raise InputError("the sequence of batches is empty")
        self.steps: int = steps or self._each

    def batches(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        """Those of ``epoch`` from number ``start`` on."""
        turn, order = -1, None
        for number in range(epoch * self.steps + start, (epoch + 1) * self.steps):
            if turn != number // self._each:
                turn = number // self._each
                order = None if self._shuffle is None else self._shuffle(self._each, turn)
            place = number % self._each
            yield self._binder.bind(*unpack(self._sequence[place if order is None else int(order[place])]))
            if place == self._each - 1 and hasattr(self._sequence, "on_epoch_end"):
                self._sequence.on_epoch_end()


class IterableSource:
    """Anything that gives batches one after the other: ``tf.data``, a data loader, a list of batches, a generator.

    Without ``steps``, an epoch is one walk from the beginning to the end.  With ``steps``, epochs follow each other on
    one walk, which starts again where it ends.  A run that is resumed skips what it has consumed already, so the
    iterable must give the same batches again; a generator, those from its own beginning.
    """

    def __init__(self, binder: Binder, iterable: Iterable[Any], steps: int | None = None) -> None:
        self._binder, self._iterable, self.steps = binder, iterable, steps
        self._once = isinstance(iterable, Iterator)
        self._walk: Iterator[Any] | None = None
        self._consumed = 0  # batches taken from a walk that goes on across epochs
        self._epochs = 0

    def _begin(self) -> Iterator[Any]:
        whole: Any = self._iterable
        return iter(whole.as_numpy_iterator() if hasattr(whole, "as_numpy_iterator") else whole)

    def batches(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        """Those of ``epoch`` from number ``start`` on."""
        if self.steps is None:
            return self._whole(start)
        return self._part(epoch * self.steps + start, (epoch + 1) * self.steps)

    def _whole(self, start: int) -> Iterator[Batch]:
        walk = self._begin()
        for _ in itertools.islice(walk, start):
            pass
        count = start
        for item in walk:
            count += 1
            yield self._binder.bind(*unpack(item))
        if not count:
            again = "; it gives its batches only once: give steps_per_epoch, or an iterable" if self._epochs else ""
            raise InputError(f"the data gave no batch{again}")
        self._epochs += 1

    def _part(self, first: int, last: int) -> Iterator[Batch]:
        if first < self._consumed:  # from the beginning again, as evaluations do; what gives once goes on instead
            self._walk, self._consumed = (self._walk, first) if self._once else (None, 0)
        while self._consumed < last:
            if self._walk is None:
                self._walk, empty = self._begin(), True
            else:
                empty = False
            item = next(self._walk, _END)
            if item is _END:
                self._walk = None
                if self._once or empty:
                    raise InputError(f"the data ended after {self._consumed} batches, {last} were needed")
                continue
            self._consumed += 1
            if self._consumed > first:
                yield self._binder.bind(*unpack(item))


_END = object()


def unpack(item: Any) -> tuple[Any, Any, Any]:
    """(x, y, sample weights) of what an iterable gives for a batch: x alone, or a tuple (or list) of up to three."""
    if isinstance(item, (tuple, list)):
        if not 1 <= len(item) <= 3:
            raise InputError(f"a batch is (x,), (x, y) or (x, y, sample_weight), not {len(item)} things")
        return (*item, None, None)[:3]
    return item, None, None


def is_arrays(x: Any) -> bool:
    """Whether ``x`` is data itself, and not something that gives batches."""
    if isinstance(x, (list, tuple)):
        return not (x and isinstance(x[0], (tuple, list)) and any(hasattr(part, "shape") for part in x[0]))
    return isinstance(x, Mapping) or hasattr(x, "__array__") or hasattr(x, "shape")


def make_source(
    binder: Binder, x: Any, y: Any = None, sample_weight: Any = None, *, batch_size: int | None = None,
    shuffle: Shuffle | None = None, steps: int | None = None,
) -> Source:  # fmt: skip
    """The source for what ``fit``, ``evaluate`` or ``predict`` was given as x, y and sample weights."""
    if steps is not None and steps < 1:
        raise InputError(f"an epoch has at least one step, not {steps}")
    if is_arrays(x):
        tables = binder.name_inputs(x), binder.name_outputs(y, "y"), binder.name_outputs(sample_weight, "sample_weight")
        return ArraySource(binder, *tables, BATCH_SIZE if batch_size is None else batch_size, shuffle, steps)
    if y is not None or sample_weight is not None:
        raise InputError("where x gives batches, it gives y and sample_weight with them: leave those out")
    if hasattr(x, "__getitem__") and hasattr(x, "__len__") and not isinstance(x, Sequence):
        return SequenceSource(binder, x, shuffle, steps)
    if isinstance(x, Iterable):
        return IterableSource(binder, x, steps)
    raise InputError(f"x is arrays, a sequence of batches or an iterable of batches, not {type(x).__name__}")


def split(x: Any, y: Any, sample_weight: Any, fraction: float) -> tuple[tuple[Any, Any, Any], tuple[Any, Any, Any]]:
    """The first part of the samples and the last ``fraction`` of them, each as (x, y, sample_weight)."""
    if not 0 < fraction < 1:
        raise InputError(f"validation_split lies between 0 and 1, it is {fraction}")
    if not is_arrays(x):
        raise InputError("validation_split is for arrays; give validation_data")
    parts = [x, y, sample_weight]
    first = next(a for a in _leaves(x))
    at = int(np.shape(first)[0] * (1 - fraction))
    if at == 0 or at == np.shape(first)[0]:
        raise InputError(f"validation_split {fraction} of {np.shape(first)[0]} samples leaves one part empty")
    before, behind = ([_cut(p, piece) for p in parts] for piece in (slice(0, at), slice(at, None)))
    return (before[0], before[1], before[2]), (behind[0], behind[1], behind[2])


def _leaves(value: Any) -> Iterator[Any]:
    if isinstance(value, Mapping):
        for part in value.values():
            yield from _leaves(part)
    elif isinstance(value, (list, tuple)) and value and hasattr(value[0], "shape"):
        yield from value
    else:
        yield value


def _cut(value: Any, piece: slice) -> Any:
    if value is None:
        return None
    if isinstance(value, Mapping):
        return {n: _cut(v, piece) for n, v in value.items()}
    if isinstance(value, (list, tuple)) and value and hasattr(value[0], "shape"):
        return [_cut(v, piece) for v in value]
    return value.iloc[piece] if hasattr(value, "iloc") else value[piece]
