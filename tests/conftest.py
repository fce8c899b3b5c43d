"""What all tests share: which devices they run on.

A test that asks for ``device`` (an opened device) or ``device_info`` runs once per device present, CUDA and OpenCL.
``A1400_TEST_DEVICES`` (comma-separated ids or parts of names, such as ``opencl:0,portable``) narrows them;
``A1400_OPENCL_PLATFORMS`` keeps other OpenCL platforms out of the process altogether.
"""

from __future__ import annotations

import os

import pytest

from a1400.backends import registry
from a1400.backends.base import Device, DeviceInfo

NO_DEVICE = "no device is here, or none that A1400_TEST_DEVICES names; `a1400 doctor` says how to get one"


def devices() -> list[DeviceInfo]:
    """The devices to test on, in the registry's order."""
    found = registry.list_devices()
    parts = [part.strip().lower() for part in os.environ.get("A1400_TEST_DEVICES", "").split(",") if part.strip()]
    if not parts:
        return found
    return [i for i in found if any(p == i.id or p in f"{i.name} {i.platform}".lower() for p in parts)]


def pytest_report_header() -> list[str]:
    """Say which devices the run covers."""
    chosen = devices()
    return [f"a1400 device {i.id}: {i.name} ({i.platform})" for i in chosen] or [f"a1400: {NO_DEVICE}"]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run tests that need a device on each of them."""
    if "device_info" not in metafunc.fixturenames:
        return
    chosen = devices()
    if chosen:
        metafunc.parametrize("device_info", chosen, ids=[i.id for i in chosen], scope="session")
    else:
        nothing = pytest.param(None, marks=pytest.mark.skip(reason=NO_DEVICE))
        metafunc.parametrize("device_info", [nothing], scope="session")


@pytest.fixture(scope="session")
def device(device_info: DeviceInfo) -> Device:
    """The device under test, opened."""
    return registry.all_backends()[device_info.backend].open(device_info.index)
