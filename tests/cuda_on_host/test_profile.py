"""Profiles on the CUDA sources: launches timed by events around each."""

from __future__ import annotations

from pathlib import Path

import pytest

from a1400.backends import registry
from tests.cuda_on_host.backend import HostCudaBackend, HostCudaDevice
from tests.profile import test_measure
from tests.profile.conftest import MODELS, PEAKS


@pytest.fixture(autouse=True)
def only_the_executor(monkeypatch: pytest.MonkeyPatch, host_backend: HostCudaBackend) -> None:
    monkeypatch.setattr(registry, "_instances", lambda: (host_backend,))
    monkeypatch.setattr("a1400.profile.roofline.roofline", lambda device, again=False: PEAKS)


@pytest.mark.parametrize("name", MODELS)
def test_every_launch_once(name: str, host_device: HostCudaDevice, tmp_path: Path) -> None:
    test_measure.test_every_launch_once(name, host_device.info, tmp_path, PEAKS)


def test_known_costs(host_device: HostCudaDevice, tmp_path: Path) -> None:
    test_measure.test_known_costs(host_device.info, tmp_path, PEAKS)
