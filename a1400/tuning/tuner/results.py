"""What a tuning found: plain data, as it is shown and written as JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

OK, WRONG, ERROR, CRASH, HANG = "ok", "wrong", "error", "crash", "hang"


@dataclass(frozen=True)
class Trial:
    """One setting that was tried: seconds of a launch, or what came of it and why (``message``)."""

    tunables: dict[str, int]
    outcome: str
    seconds: float | None = None
    message: str = ""


@dataclass
class CallFound:
    """Launches of a plan that one row of a table covers, and what the search found for them.

    ``number`` is the plan's launch that stands for them, the slowest; ``count`` how many there are, ``seconds`` their
    device time in one run and ``share`` that of the whole.  ``space`` is how many settings there are, and ``fixed``
    holds the tunables that are not searched.  ``default`` is the setting in use without a table, ``best`` what was
    found (equal where nothing is better by the margin); ``default_seconds`` and ``best_seconds`` are medians of
    interleaved repetitions.  ``checked`` says what outputs were compared with.  ``note`` says why a call was not
    searched, or was given up.
    """

    number: int
    kernel: str
    variant: str
    types: dict[str, str]
    scalars: dict[str, int | float]
    slots: list[str]
    count: int
    seconds: float
    share: float
    default: dict[str, int]
    space: int = 0
    fixed: dict[str, int] = field(default_factory=dict)
    best: dict[str, int] = field(default_factory=dict)
    default_seconds: float | None = None
    best_seconds: float | None = None
    tried: int = 0
    rejected: list[Trial] = field(default_factory=list)
    checked: str = ""
    note: str = ""

    @property
    def improved(self) -> bool:
        """Whether a better setting was found."""
        return bool(self.best) and self.best != self.default

    @property
    def gain(self) -> float:
        """How many times faster the best setting is than the default; 1 where nothing was found."""
        if not self.improved or not self.default_seconds or not self.best_seconds:
            return 1.0
        return self.default_seconds / self.best_seconds


@dataclass
class Whole:
    """The model without and with what was found: median seconds of a run, distinct programs, largest difference."""

    before: float
    after: float
    programs_before: int
    programs_after: int
    difference: float


@dataclass
class Tuning:
    """A whole tuning: ``kept`` says whether its rows went into the table at ``table``."""

    model: str
    device: str
    device_name: str
    strategy: str
    seconds: float = 0.0
    calls: list[CallFound] = field(default_factory=list)
    whole: Whole | None = None
    kept: bool = False
    added: int = 0
    table: str = ""
    notes: list[str] = field(default_factory=list)


def setting_text(setting: Mapping[str, int]) -> str:
    """A setting for people: ``MR=8 KC=256``."""
    return " ".join(f"{name}={value}" for name, value in setting.items()) or "none"
