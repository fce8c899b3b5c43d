"""Arena planning, views, and the weight store."""

from __future__ import annotations

import gc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from a1400.engine.weight_store import WeightStore
from a1400.memory.planner import plan_arena
from a1400.memory.storage import Storage, View, dense_strides, reshape_strides


@given(st.lists(st.tuples(st.integers(0, 5000), st.integers(0, 30), st.integers(0, 30)), max_size=40))
@settings(max_examples=200, deadline=None)
def test_no_two_living_storages_overlap(items: list[tuple[int, int, int]]) -> None:
    storages = [Storage("arena", size, first=min(a, b), last=max(a, b)) for size, a, b in items]
    plan = plan_arena(storages, 128)
    for i, s in enumerate(storages):
        assert s.offset % 128 == 0 and s.offset + s.nbytes <= plan.total
        for t in storages[:i]:
            together = s.first <= t.last and t.first <= s.last
            apart = s.offset + s.nbytes <= t.offset or t.offset + t.nbytes <= s.offset
            assert not together or apart
    assert plan.total <= sum(-(-max(s.nbytes, 1) // 128) * 128 for s in storages)


def test_a_chain_needs_two_buffers() -> None:
    storages = [Storage("arena", 1024, first=i, last=i + 1) for i in range(50)]
    assert plan_arena(storages, 128).total == 2048


@given(st.data())
@settings(max_examples=200, deadline=None)
def test_reshape_of_a_view_agrees_with_numpy(data: st.DataObject) -> None:
    shape = tuple(data.draw(st.lists(st.sampled_from([1, 2, 3, 4]), min_size=1, max_size=4)))
    perm = data.draw(st.permutations(range(len(shape))))
    array = np.arange(int(np.prod(shape))).reshape(shape).transpose(perm)
    target = tuple(data.draw(st.permutations(array.shape)))
    strides = tuple(s // 8 for s in array.strides)
    found = reshape_strides(array.shape, strides, target)
    if found is None:
        return
    base = np.arange(array.size)
    view = np.lib.stride_tricks.as_strided(base, target, tuple(s * 8 for s in found))
    np.testing.assert_array_equal(view, array.reshape(target))


def test_dense_reshapes_are_always_views() -> None:
    view = View(Storage("arena", 96), np.dtype(np.float32), (2, 3, 4), dense_strides((2, 3, 4)))
    for target in ((24,), (4, 6), (2, 1, 12), (3, 8)):
        reshaped = view.reshape(target)
        assert reshaped is not None and reshaped.is_dense


def test_expanded_axes_need_a_copy_only_when_merged() -> None:
    view = View(Storage("arena", 16), np.dtype(np.float32), (4,), (1,)).expand((3, 4))
    assert view.reshape((12,)) is None
    assert view.reshape((3, 2, 2)) is not None


def test_weights_are_packed_once_and_go_with_their_plans() -> None:
    store = WeightStore()
    source = np.arange(6.0)
    made = []

    def make(a: np.ndarray) -> np.ndarray:
        made.append(1)
        return a * 2

    first = store.get([source], ("double",), make)
    assert store.get([source], ("double",), make) is first and made == [1]
    assert store.get([source], ("other",), make) is not first
    del first
    gc.collect()
    store.get([source], ("double",), make)
    assert len(made) == 3


@pytest.mark.parametrize("kind", ["input", "output", "weight"])
def test_only_arena_storages_are_placed(kind: str) -> None:
    assert plan_arena([Storage(kind, 100, first=0, last=1)], 128).total == 0
