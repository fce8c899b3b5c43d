"""Fixtures that run a test on every OpenCL device present.

``A1400_TEST_DEVICES`` (comma-separated ids or parts of names, such as ``opencl:0,portable``) limits the devices.
"""

from __future__ import annotations

import os

import pytest

from a1400.backends import registry
from a1400.backends.base import Device, DeviceInfo, Stream


def _chosen() -> list[DeviceInfo]:
    devices = registry.all_backends()["opencl"].devices()
    parts = [part.strip().lower() for part in os.environ.get("A1400_TEST_DEVICES", "").split(",") if part.strip()]
    if not parts:
        return devices
    return [i for i in devices if any(p == i.id or p in f"{i.name} {i.platform}".lower() for p in parts)]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "info" not in metafunc.fixturenames:
        return
    devices = _chosen()
    if devices:
        metafunc.parametrize("info", devices, ids=[info.id for info in devices], scope="session")
    else:
        reason = "no OpenCL device is here, or none that A1400_TEST_DEVICES names"
        metafunc.parametrize("info", [pytest.param(None, marks=pytest.mark.skip(reason=reason))], scope="session")


@pytest.fixture(scope="session")
def device(info: DeviceInfo) -> Device:
    return registry.all_backends()[info.backend].open(info.index)


@pytest.fixture
def stream(device: Device) -> Stream:
    return device.stream()
