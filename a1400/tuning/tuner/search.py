"""The search itself: kernel_tuner's search spaces, strategies and budget over a measuring function of ours.

``kernel_tuner.tune_kernel`` would also compile, launch and time; docs/tuning.md shows why that part is ours.  Its
strategies ask a *runner* for the time of settings, and the runner here asks a process of its own.
"""

from __future__ import annotations

import contextlib
import random
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from a1400.errors import A1400Error, InputError
from a1400.tuning.space import Space

if TYPE_CHECKING:
    from kernel_tuner.util import TuningBudget

AUTO = "auto"
#: spaces of up to so many settings are searched whole by ``auto``
SMALL = 48
_LARGE = "greedy_mls"
_MISSING = "a1400 tune needs kernel_tuner for the search: pip install 'a1400[tune]'"
#: they want several goals, or packages that kernel_tuner does not bring
_UNFIT = {"nsga2", "nsga3", "pyatf_strategies", "skopt"}
#: seconds of a setting, or None for one that cannot be used
Measure = Callable[[dict[str, int]], float | None]


def strategies() -> list[str]:
    """Names of the search strategies; raises :class:`A1400Error` where kernel_tuner is missing."""
    try:
        from kernel_tuner.interface import strategy_map
    except ImportError:
        raise A1400Error(_MISSING) from None
    return [AUTO, *(name for name in strategy_map if name not in _UNFIT)]


def check_strategy(name: str) -> None:
    """Raise :class:`InputError` for a strategy that there is not, :class:`A1400Error` without kernel_tuner."""
    if name not in (known := strategies()):
        raise InputError(f"there is no strategy {name!r}; choose one of {', '.join(known)}")


def search(
    space: Space, start: Mapping[str, int], measure: Measure, strategy: str, seconds: float, seed: int = 0
) -> None:
    """Have ``strategy`` try settings of ``space`` for at most ``seconds``; ``measure`` keeps what it found.

    ``start`` is where a strategy that walks begins.  No setting is measured twice.
    """
    check_strategy(strategy)
    from kernel_tuner.interface import Options, strategy_map
    from kernel_tuner.searchspace import Searchspace
    from kernel_tuner.util import StopCriterionReached, TuningBudget

    if not space.size or seconds <= 0:
        return
    chosen = strategy if strategy != AUTO else "brute_force" if space.size <= SMALL else _LARGE
    names = list(space.values)
    options: dict[str, Any] = {}
    if chosen not in ("brute_force", "random_sample"):
        options["max_fevals"] = space.size
        first = tuple(start[name] for name in names)
        if space.allows(start) and chosen == _LARGE:
            options["x0"] = first
    elif chosen == "random_sample":
        options["fraction"] = 1.0
    states = random.getstate(), np.random.get_state()
    random.seed(seed)
    np.random.seed(seed)
    try:
        # the settings are known one by one, restrictions applied; kernel_tuner takes such a list as "from a cache"
        listed = {str(number): setting for number, setting in enumerate(space.settings())}
        params = {name: list(values) for name, values in space.values.items()}
        found = Searchspace(None, None, None, from_cache={"tune_params": params, "cache": listed})
        tuning = Options(
            budget=TuningBudget(seconds, space.size), strategy_options=Options(options), objective=["time"],
            objective_higher_is_better=[False], tune_params=found.tune_params, restrictions=found.restrictions,
            cache={}, cachefile=None, verbose=False, metrics=None, simulation_mode=False, seed=seed,
        )  # fmt: skip
        with contextlib.suppress(StopCriterionReached):
            strategy_map[chosen].tune(found, _runner(names, measure, start), tuning)
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])


def _runner(names: list[str], measure: Measure, start: Mapping[str, int]) -> Any:
    """A runner of kernel_tuner that asks ``measure``."""
    from kernel_tuner.runners.runner import Runner
    from kernel_tuner.util import RuntimeFailedConfig

    class OurRunner(Runner):
        """Settings nearest to the start come first, so that a budget that ends too soon has seen those."""

        def __init__(self) -> None:
            super().__init__()
            self.known: dict[tuple[int, ...], float | None] = {}

        def get_device_info(self) -> Any:
            return None

        def get_environment(self, tuning_options: Any) -> dict[str, Any]:
            return {}

        def run(self, parameter_space: Iterable[Any], tuning_options: Any) -> list[dict[str, Any] | None]:
            wanted = [tuple(int(v) for v in element) for element in parameter_space]
            budget: TuningBudget = tuning_options.budget
            for key in sorted(wanted, key=lambda k: sum(v != start[n] for n, v in zip(names, k))):
                if key not in self.known and not budget.is_done():
                    budget.add_evaluations(1)
                    self.known[key] = measure(dict(zip(names, key)))
            return [self._result(key) if key in self.known else None for key in wanted]

        def _result(self, key: tuple[int, ...]) -> dict[str, Any]:
            seconds = self.known[key]
            goal = {"time": seconds * 1e3} if seconds is not None else {"__error__": RuntimeFailedConfig()}
            return {**dict(zip(names, key)), **goal}

    return OurRunner()
