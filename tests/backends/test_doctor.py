"""The doctor's probes survive broken drivers."""

from __future__ import annotations

import sys

import pytest

from a1400.backends import doctor


def python(code: str) -> list[str]:
    return [sys.executable, "-c", code]


def test_each_device_computes(info):
    result = doctor.probe(info.id)
    assert result.ok, result.detail
    assert result.device == info.id


@pytest.mark.parametrize(
    ("code", "status", "detail"),
    [
        ("import os; os.abort()", "crashed", "signal 6"),
        ("import sys; sys.exit('no luck')", "crashed", "no luck"),
        ("import time; time.sleep(60)", "timeout", "no answer"),
        ('print(\'noise\'); print(\'{"status": "wrong", "detail": "1 of 2"}\'); print(\'5\')', "wrong", "1 of 2"),
        ("import os; os.write(1, bytes([255, 254, 10]))", "crashed", "status 0"),
    ],
)
def test_child_that_dies_or_hangs_is_reported(code, status, detail):
    result = doctor.probe("opencl:0", timeout=2, command=python(code))
    assert result.status == status
    assert detail in result.detail
    assert not result.ok


def test_child_that_cannot_start():
    assert doctor.probe("opencl:0", command=["/no/such/program"]).status == "error"


def test_unknown_device_is_an_error_not_a_crash():
    result = doctor.probe("opencl:999")
    assert result.status == "error"
    assert "opencl:999" in result.detail


def test_packages_and_system():
    found = {package.name: package for package in doctor.packages()}
    assert found["numpy"].version
    for package in found.values():
        assert package.purpose
    assert found["cupy"].command
    assert "cupy-cuda13x" in found["cupy"].command
    assert doctor.system()["python"].startswith("3.")
