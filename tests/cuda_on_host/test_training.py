"""Training through the CUDA sources: a Keras network's losses, step by step."""

from __future__ import annotations

import pytest

from a1400.backends import registry
from tests.cuda_on_host.backend import HostCudaBackend, HostCudaDevice
from tests.keras.test_fit import learn_beside_keras


def test_the_tutorials_network_learns_as_in_keras(
    host_device: HostCudaDevice, host_backend: HostCudaBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registry, "_instances", lambda: (host_backend,))
    learn_beside_keras(host_device.info.id, 3)
