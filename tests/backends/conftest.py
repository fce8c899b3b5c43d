"""Fixtures that run a test on every OpenCL device present, or those that are named (see ``tests/conftest.py``)."""

from __future__ import annotations

import pytest

from a1400 import pytest_plugin
from a1400.backends.base import Device, DeviceInfo, Stream


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    pytest_plugin.parametrize(metafunc, "info", "opencl")


@pytest.fixture(scope="session")
def device(info: DeviceInfo) -> Device:
    return pytest_plugin.open_device(info)


@pytest.fixture
def stream(device: Device) -> Stream:
    return device.stream()
