"""Peaks: measured once per device and kept; what a file says is believed only where it is whole and of the device."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from a1400.backends.base import Device
from a1400.profile import calibrate
from a1400.profile.roofline import Roofline, roofline
from tests.profile.conftest import PEAKS


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A calibration of milliseconds, with a cache folder of its own."""
    monkeypatch.setenv("A1400_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(calibrate, "_SIZES", (1 << 18, 1 << 20))
    monkeypatch.setattr(calibrate, "_SECONDS", 0.0)
    monkeypatch.setattr(calibrate, "_REPEATS", 1)
    monkeypatch.setattr(calibrate, "_ENOUGH", 0.0)
    return tmp_path


def test_measured_once(device: Device, quick: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = roofline(device)
    assert 1e6 < first.flops["f32"] < 1e16 and all(1e5 < rate < 1e15 for _, rate in first.bandwidth)
    assert [size for size, _ in first.bandwidth] == [1 << 18, 1 << 20]
    (path,) = quick.glob("roofline-*.json")
    measured = []
    slow = {"f32": 5.0, "f64": 9e17}, ((1 << 18, 7.0),)
    monkeypatch.setattr(calibrate, "calibrate", lambda d: measured.append(d) or slow)
    assert roofline(device) == first and not measured
    raised = roofline(device, again=True)
    assert raised.flops == {"f32": first.flops["f32"], "f64": 9e17} and measured == [device]
    assert raised.bandwidth == first.bandwidth[:1]
    assert roofline(device) == raised and len(measured) == 1

    document = json.loads(path.read_text())
    damaged = [
        "", "[]", "{", "[" * 100_000, json.dumps(document | {"format": 0}), json.dumps(document | {"device": "other"}),
        json.dumps(document | {"flops": {}}), json.dumps(document | {"flops": {"f32": -1}}),
        json.dumps(document | {"flops": {"f32": "many"}}), json.dumps(document | {"bandwidth": []}),
        json.dumps(document | {"bandwidth": [[1]]}), json.dumps(document | {"bandwidth": [[1, float("nan")]]}),
        json.dumps(document | {"date": None}),
    ]  # fmt: skip
    for number, text in enumerate(damaged, 2):
        path.write_text(text)
        assert roofline(device).flops == slow[0]
        assert len(measured) == number, text[:80]


def test_a_folder_that_cannot_be_written(device: Device, quick: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calibrate, "calibrate", lambda d: ({"f32": 5.0}, ((1, 7.0),)))
    file = quick / "file"
    file.write_text("")
    monkeypatch.setenv("A1400_CACHE_DIR", str(file / "below"))
    assert roofline(device).flops == {"f32": 5.0}


def test_least_times() -> None:
    assert PEAKS.seconds(2e11, 0) == 1
    assert PEAKS.seconds(0, 1 << 20) == pytest.approx((1 << 20) / 1.5e11)  # a larger launch had a better bandwidth
    assert PEAKS.seconds(0, 3e10) == pytest.approx(1)  # larger than anything measured: the largest's
    assert PEAKS.seconds(1e11, 0, "f64") == 1
    # weights that a large run has driven out of the cache come from memory
    assert PEAKS.seconds(0, 3e5, "f32", 2e5, 1e9) == pytest.approx(1e5 / 1.5e11 + 2e5 / 3e10)
    assert PEAKS.flop_rate("f16") == PEAKS.flop_rate("f32")
    assert replace(PEAKS, flops={"f32": 1.0, "f16": 4.0}).flop_rate("f16") == 4
    assert isinstance(PEAKS, Roofline)
