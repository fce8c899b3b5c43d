"""A short run of the fuzzer from a fixed seed, and every case that once was a finding."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.fuzz.campaign import REGRESSIONS, Campaign
from tests.fuzz.case import Case
from tests.fuzz.runner import Runner
from tests.fuzz.seeds import made


@pytest.fixture(scope="module")
def runner() -> Iterator[Runner]:
    """One worker for all."""
    with Runner() as runner:
        yield runner


def test_a_short_run_finds_nothing(runner: Runner) -> None:
    campaign = Campaign(runner, made())
    campaign.batch(1, 100)
    assert not campaign.report.findings, str(campaign.report)
    assert campaign.report.answers and campaign.report.outcomes["refused"] and campaign.report.outcomes["ran"]


@pytest.mark.parametrize("name", sorted(path.name for path in REGRESSIONS.glob("*.json")))
def test_no_finding_comes_back(runner: Runner, name: str) -> None:
    outcome = runner.run(Case.from_json((REGRESSIONS / name).read_text()))
    assert not outcome.finding, outcome
