"""Which settings are taken, with a session that answers from a script."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from a1400.tuning.tuner import campaign
from a1400.tuning.tuner.campaign import Campaign, Options
from a1400.tuning.tuner.results import CallFound
from a1400.verify.child import Ending
from tests.tuning.test_tuning import INFO, SCALARS

DEFAULT = {"LANES": 32, "TEAMS": 8}
Speed = Callable[[Mapping[str, int]], float]


class Session:
    """Answers by ``speed`` (milliseconds); ``bad`` settings end the process or are wrong; ``race`` may differ."""

    def __init__(self, speed: Speed, bad: Mapping[int, Any] | None = None, race: Speed | None = None) -> None:
        self._speed, self._bad, self._race = speed, bad or {}, race or speed
        self.tried: list[dict[str, int]] = []

    def open(self, number: int) -> Any:
        return {"seconds": self._speed(DEFAULT) * 1e-3, "checked": "a script"}

    def try_(self, tunables: dict[str, int], give_up: float | None) -> Any:
        self.tried.append(tunables)
        if (bad := self._bad.get(tunables["LANES"])) is not None:
            return bad if isinstance(bad, Ending) else {"tunables": tunables, "outcome": "wrong", "message": bad}
        return {"tunables": tunables, "outcome": "ok", "seconds": self._speed(tunables) * 1e-3}

    def race(self, settings: list[dict[str, int]], rounds: int) -> Any:
        return [self._race(setting) * 1e-3 for setting in settings]


class Quiet:
    def planned(self, *_: object) -> None: ...
    def trial(self, *_: object) -> None: ...
    def done(self, *_: object) -> None: ...


def made(**options: Any) -> Campaign:
    asked: Any = SimpleNamespace(path=Path("m.onnx"), settings=SimpleNamespace(precision=None))
    found: Any = SimpleNamespace(info=INFO)
    return Campaign(asked, found, Options(**options), Quiet())


def call(share: float = 0.5) -> CallFound:
    types = {"T": "f32", "OUT": "f32"}
    return CallFound(0, "layer_norm", "team", types, dict(SCALARS), [], 1, 1e-3, share, dict(DEFAULT), 14)


def searched(session: Session, one: CallFound | None = None, owner: Campaign | None = None) -> CallFound:
    one = one or call()
    (owner or made())._search(session, one, 20.0)  # type: ignore[arg-type]
    return one


def best_is(lanes: int, teams: int, gain: float) -> Speed:
    return lambda s: 1 / gain if (s["LANES"], s["TEAMS"]) == (lanes, teams) else 1.0 if s == DEFAULT else 2.0


def test_the_fastest_is_taken_and_every_setting_tried_once() -> None:
    session = Session(best_is(64, 2, 1.25))
    found = searched(session)
    assert found.best == {"LANES": 64, "TEAMS": 2} and found.gain == pytest.approx(1.25)
    assert found.tried == 28 and len(session.tried) == 27 and DEFAULT not in session.tried
    assert found.checked == "a script"


@pytest.mark.parametrize(("gain", "share", "every", "taken"), [
    (1.02, 0.5, False, False),  # within the noise
    (1.04, 0.5, False, True),
    (1.04, 0.02, False, False),  # not worth a program
    (1.04, 0.02, True, True),
])  # fmt: skip
def test_a_setting_must_win_by_a_margin_and_save_something(gain: float, share: float, every: bool, taken: bool) -> None:
    found = searched(Session(best_is(64, 2, gain)), call(share), made(every=every))
    assert found.improved is taken
    assert found.best == ({"LANES": 64, "TEAMS": 2} if taken else DEFAULT)


def test_the_race_counts_and_not_the_search() -> None:
    lucky = searched(Session(best_is(64, 2, 2.0), race=lambda s: 1.0))
    assert lucky.best == DEFAULT and not lucky.improved and lucky.default_seconds == lucky.best_seconds == 1e-3


def test_a_setting_that_others_use_wins_where_it_is_as_good() -> None:
    owner = made()
    speeds = {(64, 2): 0.500, (64, 1): 0.495}

    def speed(s: Mapping[str, int]) -> float:
        return speeds.get((s["LANES"], s["TEAMS"]), 1.0)

    assert searched(Session(best_is(64, 2, 2.0)), call(), owner).best == {"LANES": 64, "TEAMS": 2}
    assert searched(Session(speed), call(), owner).best == {"LANES": 64, "TEAMS": 2}
    speeds[64, 1] = 0.450
    assert searched(Session(speed), call(), owner).best == {"LANES": 64, "TEAMS": 1}
    speeds[64, 1] = 0.495
    assert searched(Session(speed)).best == {"LANES": 64, "TEAMS": 1}  # nobody uses anything yet


def test_what_is_wrong_or_ends_the_process_is_never_taken() -> None:
    ending = Ending("crash", "it was killed")
    found = searched(Session(best_is(64, 2, 2.0), {64: "y differs", 256: ending}))
    assert found.best == DEFAULT and not found.note
    assert sorted((t.tunables["LANES"], t.outcome, t.message) for t in found.rejected) == [
        (64, "wrong", "y differs"), (64, "wrong", "y differs"), (64, "wrong", "y differs"),
        (256, "crash", "it was killed"),
    ]  # fmt: skip


def test_a_call_is_given_up_after_a_few_endings() -> None:
    session = Session(best_is(64, 2, 2.0), {16: Ending("hang", "silence")})
    found = searched(session)
    assert [t.outcome for t in found.rejected] == ["hang"] * campaign._PER_CALL
    assert found.note == "given up after 3 settings that ended their process"
    assert sum(s["LANES"] == 16 for s in session.tried) == campaign._PER_CALL


def test_a_race_that_ends_the_process_takes_nothing() -> None:
    session = Session(best_is(64, 2, 2.0))
    session.race = lambda settings, rounds: Ending("crash", "it was killed")  # type: ignore[method-assign]
    found = searched(session)
    assert not found.improved and found.note == "the last comparison ended its process: it was killed"
