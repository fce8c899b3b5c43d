"""Batches from arrays, sequences, iterables and generators, their checks, and the thread that prepares them."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from a1400.errors import InputError
from a1400.train.binding import Binder
from a1400.train.data import Shuffle, make_source, split
from a1400.train.prefetch import Prefetcher

X = np.arange(22, dtype=np.float32).reshape(11, 2)
Y = np.arange(11)


def binder(**more: Any) -> Binder:
    return Binder({"x": ((None, 2), np.dtype(np.float32))}, ("y",), **more)


def firsts(batches: Any) -> list[list[int]]:
    """The samples of each batch, by number."""
    return [(b.inputs["x"][:, 0] / 2).astype(int).tolist() for b in batches]


def test_arrays_are_cut_into_batches_of_the_step_graph_dtypes() -> None:
    source = make_source(binder(), X.astype(np.float64), Y, np.ones((11, 1)), batch_size=4)
    batches = list(source.batches(0))
    assert source.steps == 3 and firsts(batches) == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10]]
    last = batches[-1]
    assert (last.inputs["x"].dtype, last.targets["y"].dtype, last.weights["y"].dtype) == ("f4", "i4", "f4")
    assert last.weights["y"].shape == (3,) and last.size == 3
    assert list(last.feeds()) == ["input:x", "target:y", "weight:y"]


@pytest.mark.parametrize("steps", [None, 2, 5])
def test_any_batch_of_any_epoch_is_reached_directly(steps: int | None) -> None:
    def source() -> Any:
        return make_source(binder(), X, Y, batch_size=4, shuffle=Shuffle(7), steps=steps)

    whole = [firsts(source().batches(epoch)) for epoch in range(4)]
    assert whole[0] != whole[1]
    for epoch in range(4):
        for start in range(source().steps):
            assert firsts(source().batches(epoch, start)) == whole[epoch][start:]
    flat = [n for epoch in whole for batch in epoch for n in batch]
    assert sorted(flat[:11]) == list(range(11))  # a pass sees every sample once, across epochs if need be


def test_shuffled_orders_differ_between_runs_and_seeds() -> None:
    orders = {tuple(Shuffle(seed, run)(50, turn)) for seed in (1, 2) for run in (1, 2) for turn in (0, 1)}
    assert len(orders) == 8


def test_a_sequence_is_taken_in_shuffled_order_and_told_of_the_end() -> None:
    class Batches:
        ends = 0

        def __len__(self) -> int:
            return 3

        def __getitem__(self, i: int) -> Any:
            return X[4 * i : 4 * i + 4], Y[4 * i : 4 * i + 4]

        def on_epoch_end(self) -> None:
            self.ends += 1

    given = Batches()
    source = make_source(binder(), given, shuffle=Shuffle(0))
    whole = firsts(source.batches(0))
    assert sorted(whole) == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10]] and given.ends == 1
    assert firsts(source.batches(0, 2)) == whole[2:]


def test_an_iterable_begins_again_and_a_generator_goes_on() -> None:
    def walk() -> Iterator[Any]:
        for i in range(0, 11, 2):
            yield X[i : i + 2], Y[i : i + 2]

    class Iterable:
        def as_numpy_iterator(self) -> Iterator[Any]:
            return walk()

        def __iter__(self) -> Iterator[Any]:
            raise AssertionError("tf.data is asked for arrays")

    again = make_source(binder(), Iterable())
    assert firsts(again.batches(0)) == firsts(again.batches(1)) and firsts(again.batches(1, 5)) == [[10]]
    steps = make_source(binder(), Iterable(), steps=4)
    assert firsts(steps.batches(0)) == [[0, 1], [2, 3], [4, 5], [6, 7]]
    assert firsts(steps.batches(1)) == [[8, 9], [10], [0, 1], [2, 3]]
    assert firsts(steps.batches(0)) == [[0, 1], [2, 3], [4, 5], [6, 7]], "an evaluation begins again"
    once = make_source(binder(), walk(), steps=2)
    assert firsts(once.batches(0)) == [[0, 1], [2, 3]] and firsts(once.batches(1)) == [[4, 5], [6, 7]]
    with pytest.raises(InputError, match="ended after 6 batches, 8 were needed"):
        list(once.batches(3))
    resumed = make_source(binder(), walk(), steps=2)
    assert firsts(resumed.batches(1, 1)) == [[6, 7]]
    spent = make_source(binder(), walk())
    assert len(list(spent.batches(0))) == 6
    with pytest.raises(InputError, match="only once: give steps_per_epoch"):
        list(spent.batches(1))


def test_class_weights_multiply_sample_weights() -> None:
    given = make_source(binder(class_weight={0: 2.0, 3: 0.5}), X, Y % 4, np.full(11, 3.0), batch_size=11)
    (batch,) = given.batches(0)
    np.testing.assert_array_equal(batch.weights["y"], [6, 3, 3, 1.5, 6, 3, 3, 1.5, 6, 3, 3])
    hot = binder(class_weight={1: 5.0}).bind(X[:2], np.eye(3)[[1, 2]])
    np.testing.assert_array_equal(hot.weights["y"], [5, 1])


def test_several_inputs_and_outputs_come_by_name_or_in_order() -> None:
    shape = ((None, 2), np.dtype(np.float32))
    several = Binder({"a": shape, "b": shape}, ("p", "q"))
    by_name = several.bind({"b": X, "a": -X}, {"q": Y, "p": Y + 1}, {"q": np.ones(11)})
    in_order = several.bind([-X, X], [Y + 1, Y])
    for got in (by_name, in_order):
        np.testing.assert_array_equal(got.inputs["a"], -X)
        np.testing.assert_array_equal(got.targets["p"], Y + 1)
    assert list(by_name.weights) == ["q"]
    assert set(several.bind([X, X], [Y, Y], np.ones(11)).weights) == {"p", "q"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((X[:, :1], Y), r"input 'x' has shape \[11, 1\], the network takes \[\?, 2\]"),
        ((X, Y[:5]), "the targets of 'y' have shape"),
        (({"z": X}, Y), "the inputs given are z; the network's are x"),
        ((X, {"w": Y}), "no output is called w; there are"),
        ((X, Y + 2**40), "beyond 32 bits"),
        ((X, np.array(["a"] * 11)), "not numbers"),
        (([[1, 2], [3]], Y), "not an array"),
    ],
)
def test_what_does_not_fit_is_refused(arguments: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        list(make_source(binder(), *arguments).batches(0))


def test_fractions_are_no_indices() -> None:
    with pytest.raises(InputError, match="holds fractions"):
        Binder({"x": ((None, 2), np.dtype(np.int32))}, ("y",)).bind(X + 0.5, Y)


def test_validation_takes_the_last_samples() -> None:
    (x, y, w), (vx, vy, vw) = split([X, X], Y, None, 0.2)
    assert len(x[0]) == len(y) == 8 and vy.tolist() == [8, 9, 10] and len(vx[1]) == 3 and w is vw is None
    with pytest.raises(InputError, match="leaves one part empty"):
        split(X[:1], Y[:1], None, 0.5)


# ---- the thread ------------------------------------------------------------------------------------------
def workers() -> int:
    return sum(t.name == "a1400-batches" for t in threading.enumerate())


def test_batches_are_prepared_ahead_but_not_far() -> None:
    made: list[int] = []

    def slow() -> Iterator[int]:
        for i in range(100):
            made.append(i)
            yield i

    with Prefetcher(slow(), depth=2) as batches:
        assert next(iter(batches)) == 0
        time.sleep(0.05)
        assert 3 <= len(made) <= 4
    assert workers() == 0 and len(made) <= 5


def test_an_error_comes_where_its_batch_would_have() -> None:
    def broken() -> Iterator[int]:
        yield 1
        raise OSError("the disk is gone")

    got = []
    with pytest.raises(OSError, match="the disk is gone"), Prefetcher(broken()) as batches:
        for item in batches:
            got.append(item)
    assert got == [1] and workers() == 0


def test_waiting_for_a_batch_ends_on_an_interrupt() -> None:
    release = threading.Event()

    def stuck() -> Iterator[int]:
        release.wait(5)
        yield 1

    asked = iter([False, True])
    with Prefetcher(stuck(), interrupted=lambda: next(asked)) as batches:
        assert list(batches) == []
        release.set()
    assert workers() == 0
