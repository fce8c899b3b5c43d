"""What all tests share: which devices they run on, by the same code as the pytest plugin for other projects.

A test that asks for ``device`` (an opened device) or ``device_info`` runs once per device present, CUDA and OpenCL.
``--a1400-devices`` or ``A1400_TEST_DEVICES`` (comma-separated ids or parts of names, such as ``opencl:0,portable``)
narrows them; ``A1400_OPENCL_PLATFORMS`` keeps other OpenCL platforms out of the process altogether.  With
``--devices-only`` tests that ask for neither are left out: a second platform need not repeat them.
"""

from __future__ import annotations

import os

import pytest

from a1400.backends.base import Device, DeviceInfo

# Loaded here and not by its entry point, which pyproject.toml switches off: that would import an installed copy.
# Imported only in functions below, so that pytest can explain its assertions.
os.environ.setdefault("KERAS_BACKEND", "torch")  # before anything imports Keras, whose own default is TensorFlow
pytest_plugins = ("a1400.pytest_plugin", "pytester")


def pytest_addoption(parser: pytest.Parser) -> None:
    """``--devices-only``."""
    parser.addoption("--devices-only", action="store_true", help="leave out tests that run on no device in particular")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Apply ``--devices-only``."""
    if config.getoption("--devices-only"):
        wanted = [i for i in items if {"device", "device_info"} & set(getattr(i, "fixturenames", ()))]
        kept = set(wanted)
        config.hook.pytest_deselected(items=[i for i in items if i not in kept])
        items[:] = wanted


def pytest_report_header(config: pytest.Config) -> list[str]:
    """Say which devices the run covers."""
    from a1400 import pytest_plugin

    chosen = pytest_plugin.devices(config)
    found = [f"a1400 device {i.id}: {i.name} ({i.platform})" for i in chosen]
    return found or [f"a1400: {pytest_plugin.NO_DEVICE}"]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run tests that need a device on each of them."""
    from a1400 import pytest_plugin

    pytest_plugin.parametrize(metafunc, "device_info")


@pytest.fixture(scope="session")
def device(device_info: DeviceInfo) -> Device:
    """The device under test, opened."""
    from a1400.pytest_plugin import open_device

    return open_device(device_info)
