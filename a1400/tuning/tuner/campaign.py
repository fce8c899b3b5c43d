"""The parent's side of a tuning: which calls are worth it, the search of each, and what goes into the table."""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Protocol

import a1400
from a1400 import dtypes
from a1400.errors import A1400Error, InputError
from a1400.kernels import load_all
from a1400.tuning import store
from a1400.tuning.choice import user_path
from a1400.tuning.space import Space, row_for
from a1400.tuning.table import FORMAT, Row
from a1400.tuning.tuner.results import CRASH, HANG, OK, CallFound, Trial, Tuning, Whole, setting_text
from a1400.tuning.tuner.search import AUTO, search
from a1400.tuning.tuner.session import Session
from a1400.verify.arrays import save_arrays
from a1400.verify.child import Ending
from a1400.verify.find import Found
from a1400.verify.models import Asked
from a1400.verify.tracing import TOLERANCE

#: a setting must be faster by this factor, in turn with the default, to be taken
MARGIN = 1.03
#: of settings this close to the best one that other calls use already wins: a program less to compile
_NEAR = 1.015
#: part of the whole time that a setting must save: it is a program more to compile
WORTH = 0.001
_FINALISTS = 3
#: a setting that other calls use already also runs if it is among so many
_MOST = 8
_ROUNDS = 15
#: a setting slower than the best by this factor is timed once
_HOPELESS = 1.5
#: a call whose settings ended so many processes is given up
_PER_CALL = 3
#: part of the whole time below which a call is left out
SHARE = 0.01


@dataclass(frozen=True)
class Options:
    """How long, how and what to search.

    ``budget`` is seconds for the search, which calls share by their part of the time; ``kernels`` are patterns of names
    (none: all); ``every`` also takes calls of less than 1 % of the time; ``dry`` stops before the search.
    """

    budget: float = 300.0
    strategy: str = AUTO
    kernels: tuple[str, ...] = ()
    every: bool = False
    dry: bool = False
    timeout: float = 60.0
    crashes: int = 20
    plugins: tuple[str, ...] = ()


class Watcher(Protocol):
    """Someone who looks on (a progress bar)."""

    def planned(self, tuning: Tuning, calls: Sequence[CallFound]) -> None:
        """These calls will be searched."""

    def trial(self, call: CallFound, trial: Trial) -> None:
        """A setting was tried."""

    def done(self, call: CallFound) -> None:
        """A call's search is over."""


@dataclass
class Campaign:
    """One model's tuning on one device."""

    asked: Asked
    found: Found
    options: Options
    watcher: Watcher
    tuning: Tuning = field(init=False)
    _used: dict[tuple[str, str], list[dict[str, int]]] = field(default_factory=dict)
    _kind: str = "f32"

    def __post_init__(self) -> None:
        info = self.found.info
        self.tuning = Tuning(str(self.asked.path), info.id, info.name, self.options.strategy)

    def go(self) -> Tuning:
        """Search, check the whole model, and write the table; raises :class:`A1400Error` where nothing can be done."""
        begin = time.perf_counter()
        load_all()
        with tempfile.TemporaryDirectory(prefix="a1400-tune-") as folder:
            job = _job(self.asked, self.options, Path(folder))
            cache = Path(folder, "cache")
            cache.mkdir()
            with Session(self.found, job, cache, self.options.timeout, self.options.crashes) as session:
                wanted = self._plan(session)
                self.watcher.planned(self.tuning, wanted)
                if not self.options.dry:
                    self._search_all(session, wanted)
                    self._keep(session, wanted)
        self.tuning.seconds = time.perf_counter() - begin
        return self.tuning

    def _plan(self, session: Session) -> list[CallFound]:
        plan = session.plan()
        self._kind = plan["kind"]
        calls = [CallFound(**{**c, "rejected": []}) for c in plan["calls"]]
        self.tuning.calls = calls
        for call in calls:
            if call.space < 2:
                call.note = "it has no tunables to choose"
            elif self.options.kernels and not any(fnmatchcase(call.kernel, p) for p in self.options.kernels):
                call.note = "not asked for"
            elif call.share < SHARE and not self.options.every:
                call.note = f"less than {SHARE:.0%} of the time (--all-shapes searches it too)"
        return [call for call in calls if not call.note]

    # ---- the search ----------------------------------------------------------------------------------
    def _search_all(self, session: Session, wanted: Sequence[CallFound]) -> None:
        deadline = time.monotonic() + self.options.budget
        for place, call in enumerate(wanted):
            left = deadline - time.monotonic()
            if left <= 0:
                call.note = "the budget was spent before its turn"
                continue
            share = call.share / sum(c.share for c in wanted[place:])
            try:
                self._search(session, call, max(left * share, min(left, 1.0)))
            except InputError:
                raise
            except A1400Error as error:
                call.note = str(error)
                self.tuning.notes.append(f"stopped at {call.kernel}/{call.variant}: {error}")
                return
            finally:
                self.watcher.done(call)

    def _search(self, session: Session, call: CallFound, seconds: float) -> None:
        begin = time.monotonic()
        opened = session.open(call.number)
        if isinstance(opened, Ending):
            call.note = f"its default setting ended the process: {opened.detail}"
            return
        if "note" in opened:
            call.note = opened["note"]
            return
        call.checked = opened["checked"]
        trials: dict[tuple[int, ...], Trial] = {}
        known = Trial(dict(call.default), OK, opened["seconds"])
        trials[tuple(call.default.values())] = known
        state: dict[str, float] = {"best": opened["seconds"], "ended": 0}

        def measure(setting: dict[str, int]) -> float | None:
            key = tuple(setting[name] for name in call.default)
            if key not in trials:
                if state["ended"] >= _PER_CALL:
                    return None
                trials[key] = trial = self._try(session, call, setting, state["best"] * _HOPELESS)
                state["ended"] += trial.outcome in (CRASH, HANG)
                if trial.seconds is not None:
                    state["best"] = min(state["best"], trial.seconds)
            return trials[key].seconds

        # the last words, a race, take some of the time
        left = 0.85 * seconds - (time.monotonic() - begin)
        search(self._space(call), call.default, measure, self.options.strategy, max(left, 0.1))
        call.tried = len(trials)
        if state["ended"] >= _PER_CALL:
            call.note = f"given up after {_PER_CALL} settings that ended their process"
        self._decide(session, call, [t for t in trials.values() if t is not known])

    def _try(self, session: Session, call: CallFound, setting: dict[str, int], give_up: float) -> Trial:
        answer = session.try_(setting, give_up)
        if isinstance(answer, Ending):
            trial = Trial(setting, HANG if answer.how == "hang" else CRASH, None, answer.detail)
        else:
            trial = Trial(**answer)
        if trial.outcome != OK:
            call.rejected.append(trial)
        self.watcher.trial(call, trial)
        return trial

    def _decide(self, session: Session, call: CallFound, trials: Sequence[Trial]) -> None:
        """Let the fastest run against the default in turn; what wins by the margin is the best."""
        call.best = dict(call.default)
        used = self._used.setdefault((call.kernel, call.variant), [])
        timed = sorted((t for t in trials if t.seconds is not None), key=lambda t: t.seconds or 0.0)
        if not timed:
            return
        fast = timed[:_FINALISTS] + [t for t in timed[_FINALISTS:_MOST] if t.tunables in used]
        settings = [call.default, *(t.tunables for t in fast)]
        times = session.race(settings, _ROUNDS)
        if isinstance(times, Ending):
            call.note = f"the last comparison ended its process: {times.detail}"
            return
        call.default_seconds = times[0]
        best = min(times[1:])
        near = [i for i in range(1, len(times)) if times[i] <= best * _NEAR]
        index = next((i for i in near if settings[i] in used), times.index(best, 1))
        saved = call.share * (1 - times[index] / times[0])
        if times[0] >= times[index] * MARGIN and (saved >= WORTH or self.options.every or settings[index] in used):
            call.best, call.best_seconds = dict(settings[index]), times[index]
        else:
            call.best_seconds = times[0]
        used.append(call.best)

    # ---- the table -----------------------------------------------------------------------------------
    def _space(self, call: CallFound) -> Space:
        spec = load_all()[call.kernel]
        types = {name: dtypes.from_short(short) for name, short in call.types.items()}
        return Space(spec, spec.variant(call.variant), self.found.info, types, call.scalars, call.fixed)

    def _keep(self, session: Session, wanted: Sequence[CallFound]) -> None:
        """Write the rows if the whole model computes the same with them, and is not slower."""
        path = user_path()
        self.tuning.table = str(path)
        raced = [call for call in wanted if call.default_seconds]
        new = [self._row(call) for call in raced if call.improved]
        gone = [self._row(call) for call in raced if not call.improved]
        if new:
            table = {"format": FORMAT, "rows": [store.row_json(row) for row in new]}
            whole = self.tuning.whole = Whole(**session.whole(json.dumps(table)))
            if not whole.difference <= TOLERANCE[self._kind]:
                self.tuning.notes.append(f"nothing is kept: the model's outputs change by {whole.difference:.2g}")
                return
            if whole.after >= whole.before:
                self.tuning.notes.append("nothing is kept: the whole model is no faster with what was found")
                return
        if new or gone:
            change = store.merge(path, new, gone)
            self.tuning.notes += change.notes
            self.tuning.kept, self.tuning.added = bool(new), change.added

    def _row(self, call: CallFound) -> Row:
        day = datetime.now(timezone.utc).date().isoformat()
        source = (
            f"{(call.best_seconds or 0) * 1e6:.4g} us against {(call.default_seconds or 0) * 1e6:.4g} us with "
            f"{setting_text(call.default)}; {self.found.info.name}, {self.found.info.platform} "
            f"{self.found.info.driver}; a1400 {a1400.__version__}, {day}"
        )
        return row_for(self._space(call), call.best or call.default, source)


def _job(asked: Asked, options: Options, folder: Path) -> Mapping[str, Any]:
    _, _, arrays = asked.feeds[0]
    file = folder / "feed"
    feed = {"file": str(file), "arrays": save_arrays(file, arrays)}
    return {
        "model": str(asked.path), "feeds": [feed], "disable": list(asked.settings.disable),
        "precision": asked.settings.precision, "plugins": list(options.plugins),
    }  # fmt: skip
