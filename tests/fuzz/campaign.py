"""Draw cases, run them, shrink what fails and keep it.

Hypothesis draws every choice of a mutation, so it can shrink a failing case to few and simple ones.
"""

from __future__ import annotations

import random
import re
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import onnx
from google.protobuf.message import Error as ProtobufError
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from hypothesis.errors import HypothesisException

from tests.fuzz import mutate_files, mutate_structure, mutate_values  # noqa: F401 - they register their mutations
from tests.fuzz.case import MODEL, Case
from tests.fuzz.mutate import Draft, mutate
from tests.fuzz.runner import Outcome, Runner
from tests.fuzz.seeds import Seed

REGRESSIONS = Path(__file__).parent / "regressions"
#: cases that one start of Hypothesis draws
BATCH = 100


class Found(AssertionError):
    """A case that ended in neither an answer nor an error of ours."""


class _Enough(BaseException):
    """There is no more time, for more cases or for shrinking one: Hypothesis lets it through."""


@dataclass
class Report:
    """What became of the cases: counts by outcome and by kind of error, and the findings with what made them."""

    outcomes: Counter[str] = field(default_factory=Counter)
    errors: Counter[str] = field(default_factory=Counter)
    answers: int = 0  # cases whose answer was known, and was right
    findings: dict[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        lines = [f"{sum(self.outcomes.values())} cases"]
        lines += [f"  {count:7d} {name}" for name, count in self.outcomes.most_common()]
        lines += [f"  {self.answers:7d} of them with the right answer, which was known"]
        lines += [f"  {count:7d} {name}" for name, count in self.errors.most_common()]
        lines += [f"{len(self.findings)} findings"] + [f"  {k}: {v}" for k, v in self.findings.items()]
        return "\n".join(lines)


class Campaign:
    """Cases from ``seeds`` on a runner; findings go to ``folder`` (None: nowhere)."""

    def __init__(
        self, runner: Runner, seeds: Sequence[Seed], folder: Path | None = None, patience: float = 15.0
    ) -> None:
        self._runner, self._seeds, self._folder, self._patience = runner, seeds, folder, patience
        self._expected: dict[str, list[np.ndarray] | None] = {}
        self.report = Report()

    def batch(self, number: int, count: int = BATCH, until: float = float("inf")) -> None:
        """Run ``count`` cases that follow from ``number``, or as many as there is time for."""
        state = _Batch(until)

        @seed(number)
        @settings(
            max_examples=count, deadline=None, database=None, phases=(Phase.generate, Phase.shrink), print_blob=False,
            suppress_health_check=list(HealthCheck), report_multiple_bugs=False,
        )
        @given(st.sampled_from(range(len(self._seeds))), st.randoms(use_true_random=False))
        def attempt(which: int, r: random.Random) -> None:
            if time.perf_counter() > state.until:
                raise _Enough
            self._attempt(state, self._seeds[which], r)

        try:
            attempt()
        except (Found, _Enough, HypothesisException) as error:
            if state.smallest is None and isinstance(error, _Enough):
                return
            if state.smallest is None:
                raise
            case, finding = state.smallest
            self.report.findings[finding] = f"seed {number}: {case.note}"
            if self._folder is not None:
                self._folder.mkdir(exist_ok=True)
                name = re.sub(r"[^a-z0-9]+", "-", finding.lower()).strip("-")[:70]
                case.note = f"{finding}; seed {number}: {case.note}"
                (self._folder / f"{name}.json").write_text(case.to_json())

    def _attempt(self, state: _Batch, origin: Seed, r: random.Random) -> None:
        if state.smallest is not None and time.perf_counter() > state.shrink_until:
            raise _Enough
        draft = Draft(onnx.ModelProto.FromString(origin.model.SerializeToString()), dict(origin.feeds))
        try:
            keeping, done = mutate(draft, r)
            content = draft.content()
        except (ValueError, TypeError, UnicodeError, ProtobufError):
            return  # what cannot even be written down
        if len(content) > 1 << 20:
            return
        expected = self.expected(origin) if keeping else None
        case = draft.case(expected, f"{origin.name}: {done}")
        key = hash((content, tuple(a.tobytes() for a in draft.feeds.values()), tuple(sorted(draft.files.items()))))
        finding = state.known.get(key)
        if finding is None:
            outcome = self._runner.run(case)
            self._count(outcome, expected is not None, state.smallest is not None)
            finding = outcome.finding
            state.known[key] = finding
        if not finding or finding in self.report.findings or (state.smallest and finding != state.smallest[1]):
            return
        if state.smallest is None:
            state.shrink_until = time.perf_counter() + self._patience
        if state.smallest is None or len(content) <= len(state.smallest[0].files[MODEL]):
            state.smallest = (case, finding)
        raise Found(finding)

    def _count(self, outcome: Outcome, known: bool, shrinking: bool) -> None:
        if shrinking:
            return
        self.report.outcomes[outcome.kind] += 1
        if outcome.kind == "refused":
            self.report.errors[outcome.error.partition(":")[0]] += 1
        self.report.answers += known and not outcome.finding

    def expected(self, origin: Seed) -> list[np.ndarray] | None:
        """ONNX Runtime's answer, or the one that came with the seed; None for what the library does not take."""
        if origin.name not in self._expected:
            answer = _onnxruntime(origin) or origin.outputs
            plain = Case({MODEL: origin.model.SerializeToString()}, dict(origin.feeds), {}, answer)
            if answer is not None and self._runner.run(plain).finding:
                answer = None  # not supported, or another's random numbers: the conformance tests judge that
            self._expected[origin.name] = answer
        return self._expected[origin.name]


@dataclass
class _Batch:
    """What is known while a batch runs."""

    until: float
    known: dict[int, str] = field(default_factory=dict)
    smallest: tuple[Case, str] | None = None
    shrink_until: float = 0.0


def _onnxruntime(origin: Seed) -> list[np.ndarray] | None:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level, options.intra_op_num_threads = 4, 1
    try:
        session = onnxruntime.InferenceSession(
            origin.model.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
        answer = session.run(None, origin.feeds)
    except Exception:  # whatever it throws: it has no answer then
        return None
    return answer if all(isinstance(a, np.ndarray) for a in answer) else None


def long_run(
    runner: Runner, seeds: Sequence[Seed], minutes: float, first: int, tell: Callable[[str], None],
    folder: Path | None = REGRESSIONS,
) -> Report:  # fmt: skip
    """Batches one after the other for ``minutes``; findings are saved."""
    campaign = Campaign(runner, seeds, folder)
    until = time.perf_counter() + minutes * 60
    number = first
    while time.perf_counter() < until:
        before = len(campaign.report.findings)
        campaign.batch(number, until=until)
        for finding, how in list(campaign.report.findings.items())[before:]:
            tell(f"FOUND {finding} ({how})")
        number += 1
    tell(f"seeds {first} to {number - 1}")
    return campaign.report
