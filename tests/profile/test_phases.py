"""The parts of a run add up to it, and idle time goes to whoever was waited for."""

from __future__ import annotations

import pytest

from a1400.backends.base import Span
from a1400.profile.measure import _run


def test_parts_add_up() -> None:
    times = [100.0, 101.0, 103.0, 130.0, 134.0]  # began, inputs bound, outputs chosen, launches done, results there
    spans = [
        Span(103.0, 104.0, 106.0, 110.0),
        Span(104.0, 105.0, 112.0, 115.0),  # enqueued long before: the driver's gap of 2
        Span(117.0, 118.0, 120.0, 121.0),  # the host came 3 after the device was free, the driver took another 2
        Span(118.0, 125.0, 121.0, 128.0),  # ran at once, though the call came back late
    ]
    run = _run(times, spans)
    assert run.phases == pytest.approx({
        "inputs": 1, "outputs": 2, "start": 3, "kernels": 4 + 3 + 1 + 7, "late": 3, "gaps": 2 + 2, "finish": 2,
        "results": 4,
    })  # fmt: skip
    assert sum(run.phases.values()) == pytest.approx(times[-1] - times[0]) == run.moments.end
    assert (run.spans[0].start, run.spans[-1].end) == (6.0, 28.0)


def test_no_launches() -> None:
    run = _run([1.0, 1.5, 2.0, 2.25, 3.0], [])
    assert sum(run.phases.values()) == pytest.approx(2.0) and run.phases["kernels"] == 0
