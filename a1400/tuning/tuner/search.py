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
#: the best neighbour each time, then another start: of kernel_tuner's, with two others, the one that found the best of
#: spaces of 100 to 130 settings in 60 trials from each of 12 seeds (docs/tuning.md)
_LARGE = "mls"
_MISSING = "a1400 tune needs kernel_tuner for the search: pip install 'a1400[tune]'"
#: they want several goals, packages that kernel_tuner does not bring, or the device of its own runner
_UNFIT = {"nsga2", "nsga3", "pyatf_strategies", "skopt", "bayes_opt"}
_POPULATIONS = {"diff_evo", "firefly_algorithm", "genetic_algorithm", "pso"}
_WALKS = {"mls", "greedy_mls", "greedy_ils"}
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
    options = _options(chosen, space, start)
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
            strategy_map[chosen].tune(found, _runner(space, start, measure), tuning)
    except (IndexError, KeyError, ValueError, ArithmeticError) as error:
        words = " ".join(str(error).split())[:200]
        raise A1400Error(
            f"the strategy {chosen} cannot search the {space.size} settings of {space.spec.name}/{space.variant.name} "
            f"({type(error).__name__}: {words}); choose another"
        ) from error
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])


def _options(strategy: str, space: Space, start: Mapping[str, int]) -> dict[str, Any]:
    """What a strategy of kernel_tuner is told beside the space."""
    if strategy == "brute_force":
        return {}
    if strategy == "random_sample":
        return {"fraction": 1.0}
    options: dict[str, Any] = {"max_fevals": space.size}
    if strategy in _WALKS:
        options["neighbor"] = "adjacent"
        if space.allows(start):
            options["x0"] = tuple(start[name] for name in space.values)
    if strategy in _POPULATIONS:
        options["popsize"] = max(4, min(16, space.size // 2))
    if strategy == "diff_evo":
        options["popsize_times_dimensions"] = False
    return options


def _runner(space: Space, start: Mapping[str, int], measure: Measure) -> Any:
    """A runner of kernel_tuner that asks ``measure``."""
    from kernel_tuner.runners.runner import Runner
    from kernel_tuner.util import InvalidConfig, RuntimeFailedConfig, StopCriterionReached

    names = list(space.values)

    class OurRunner(Runner):
        """Settings nearest to the start come first, so that a budget that ends too soon has seen those.

        Some strategies also ask for settings that are not in the space: they are answered without being measured.
        """

        def __init__(self) -> None:
            super().__init__()
            self.known: dict[tuple[int, ...], float | None] = {}
            self.outside = 0

        def get_device_info(self) -> Any:
            return None

        def get_environment(self, tuning_options: Any) -> dict[str, Any]:
            return {}

        def run(self, parameter_space: Iterable[Any], tuning_options: Any) -> list[dict[str, Any] | None]:
            wanted = [tuple(int(v) for v in element) for element in parameter_space]
            budget: TuningBudget = tuning_options.budget
            if len(self.known) - self.outside == space.size:
                raise StopCriterionReached("every setting is known")
            for key in sorted(wanted, key=lambda k: sum(v != start[n] for n, v in zip(names, k))):
                if key not in self.known and not space.allows(dict(zip(names, key))):
                    self.known[key] = None
                    self.outside += 1
                if key not in self.known and not budget.is_done():
                    budget.add_evaluations(1)
                    self.known[key] = measure(dict(zip(names, key)))
            return [self._result(key) if key in self.known else None for key in wanted]

        def _result(self, key: tuple[int, ...]) -> dict[str, Any]:
            seconds = self.known[key]
            setting: dict[str, Any] = dict(zip(names, key))
            if seconds is not None:
                return {**setting, "time": seconds * 1e3}
            return {**setting, "__error__": RuntimeFailedConfig() if space.allows(setting) else InvalidConfig()}

    return OurRunner()
