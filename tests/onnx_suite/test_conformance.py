"""ONNX's test-suite: every case passes, or stands in known_failures.txt with its reason and fails."""

from __future__ import annotations

from importlib.metadata import version

import pytest

from a1400.backends.base import DeviceInfo
from tests.onnx_suite import known, runner

#: the release whose cases known_failures.txt is about
ONNX = "1.23.2"
PARTS = 4


@pytest.mark.parametrize("part", range(PARTS))
def test_the_suite(device_info: DeviceInfo, part: int) -> None:
    if version("onnx") != ONNX:
        pytest.skip(f"the list of known failures is for onnx {ONNX}, not {version('onnx')}")
    results = runner.run(device_info.id, part=(part, PARTS))
    assert len(results) == 2024 // PARTS
    surprises = known.surprises(results)
    assert not surprises, f"{len(surprises)} surprises:\n" + "\n".join(surprises)


def test_every_exclusion_has_a_reason() -> None:
    listed = known.read()
    assert all(listed.values())
    assert sum(reason == known.RANDOM for reason in listed.values()) == 10
