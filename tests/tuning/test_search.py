"""The search: spaces hold what is allowed, every strategy stays inside and within its budget, nothing twice."""

from __future__ import annotations

import builtins
import sys
import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from a1400.errors import A1400Error, InputError
from a1400.kernels import load_all
from a1400.kernels.spec import Tunable
from a1400.tuning.space import Space, bound_scalars, row_for
from a1400.tuning.tuner.search import search, strategies
from tests.tuning.test_tuning import INFO, SCALARS, SPEC, TEAM, TYPES

SPACE = Space(SPEC, TEAM, INFO, TYPES, SCALARS)
START = {"LANES": 32, "TEAMS": 8}
BEST = {"LANES": 64, "TEAMS": 2}


def cost(setting: Mapping[str, int]) -> float:
    """One valley, in steps of the tunables' powers of two."""
    return 1e-3 * (1 + sum(abs(np.log2(setting[name] / BEST[name])) for name in BEST))


def test_a_space_holds_what_fits_together_and_on_the_device() -> None:
    assert SPACE.values == {"LANES": (4, 8, 16, 32, 64, 128, 256), "TEAMS": (1, 2, 4, 8, 16, 32, 64)}
    assert all(s["LANES"] * s["TEAMS"] <= 256 for s in SPACE.settings())
    small = Space(SPEC, TEAM, replace(INFO, max_group_size=64), TYPES, SCALARS)
    assert {s["LANES"] * s["TEAMS"] for s in small.settings()} == {4, 8, 16, 32, 64} and small.size < SPACE.size
    worth = replace(TEAM, worth=lambda types, s, t: t["LANES"] <= s["n"] // 8)
    assert {s["LANES"] for s in Space(SPEC, worth, INFO, TYPES, {**SCALARS, "n": 300}).settings()} == {4, 8, 16, 32}
    fixed = replace(TEAM, tunables=(Tunable("LANES", 32, (32,)), Tunable("TEAMS", 1, (1, 2))))
    space = Space(SPEC, fixed, INFO, TYPES, SCALARS)
    assert list(space.settings()) == [{"TEAMS": 1}, {"TEAMS": 2}] and space.whole({"TEAMS": 2})["LANES"] == 32
    ruled = replace(TEAM, tunables=(Tunable("LANES", 32, (16, 32), searched=False), Tunable("TEAMS", 1, (1, 2))))
    space = Space(SPEC, ruled, INFO, TYPES, SCALARS, {"LANES": 48, "TEAMS": 2})
    assert list(space.values) == ["TEAMS"] and space.whole({"TEAMS": 1}) == {"LANES": 48, "TEAMS": 1}
    assert Space(SPEC, replace(TEAM, tunables=()), INFO, TYPES, SCALARS).size == 0


def test_a_row_is_bound_to_sizes_and_not_to_offsets() -> None:
    assert bound_scalars(SPEC, SCALARS) == {"rows": 64, "n": 256, "x_row": 256}
    assert bound_scalars(replace(SPEC, sizes=("n",)), SCALARS) == {"n": 256}
    row = row_for(SPACE, BEST, "a test")
    assert row.device == {"key": INFO.key} and row.tunables == BEST
    assert row.names(INFO) and row.covers(TYPES, {**SCALARS, "x_off": 99})
    assert not row.covers(TYPES, {**SCALARS, "rows": 65})


@pytest.mark.parametrize("spec", load_all().values(), ids=lambda s: s.name)
def test_declared_values_are_distinct_and_hold_the_default(spec: Any) -> None:
    for variant in spec.variants:
        for t in variant.tunables:
            assert len(set(t.values)) == len(t.values), (spec.name, variant.name, t.name)
            assert t.default in t.values, (spec.name, variant.name, t.name)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # overflows inside kernel_tuner's annealing
@pytest.mark.parametrize("strategy", strategies())
def test_every_strategy_searches_inside_and_nothing_twice(strategy: str) -> None:
    asked: list[tuple[int, ...]] = []

    def measure(setting: dict[str, int]) -> float | None:
        assert SPACE.allows(setting), setting
        asked.append(tuple(setting.values()))
        return None if setting["LANES"] == 256 else cost(setting)

    search(SPACE, START, measure, strategy, 20.0)
    assert asked and len(set(asked)) == len(asked)
    if strategy in ("auto", "brute_force"):
        assert len(asked) == SPACE.size and asked[0] == tuple(START.values())


def test_walking_finds_the_best_of_a_large_space_with_few_settings() -> None:
    lanes = tuple(2**i for i in range(10))
    wide = replace(TEAM, tunables=(Tunable("LANES", 1, lanes), Tunable("TEAMS", 1, lanes)), constraint=lambda t: True)
    space = Space(SPEC, wide, replace(INFO, max_group_size=1 << 20), TYPES, SCALARS)
    assert space.size == 100
    seen: dict[tuple[int, ...], float] = {}

    def measure(setting: dict[str, int]) -> float:
        if len(seen) > 60:
            return 1.0
        seen[tuple(setting.values())] = cost(setting)
        return cost(setting)

    search(space, {"LANES": 1, "TEAMS": 1}, measure, "auto", 20.0)
    assert min(seen, key=lambda key: seen[key]) == (64, 2)


def test_the_budget_ends_a_search() -> None:
    count = 0

    def measure(setting: dict[str, int]) -> float:
        nonlocal count
        count += 1
        time.sleep(0.1)
        return 1.0

    search(SPACE, START, measure, "brute_force", 0.35)
    assert 1 <= count <= 6 < SPACE.size
    search(SPACE, START, lambda s: pytest.fail("there is no time"), "brute_force", 0.0)


def test_a_search_leaves_random_numbers_as_they_were() -> None:
    np.random.seed(3)
    expected = np.random.random(2)
    np.random.seed(3)
    first = np.random.random()
    search(SPACE, START, cost, "random_sample", 5.0)
    assert [first, np.random.random()] == list(expected)


def test_an_unknown_strategy_and_a_missing_library_are_told_in_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match="there is no strategy 'luck'; choose one of auto, brute_force"):
        search(SPACE, START, cost, "luck", 1.0)
    real = builtins.__import__

    def without(name: str, *arguments: Any, **more: Any) -> Any:
        if name.startswith("kernel_tuner"):
            raise ImportError(name)
        return real(name, *arguments, **more)

    for name in [name for name in sys.modules if name.startswith("kernel_tuner")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(A1400Error, match=r"^a1400 tune needs kernel_tuner .*: pip install 'a1400\[tune\]'$"):
        strategies()
