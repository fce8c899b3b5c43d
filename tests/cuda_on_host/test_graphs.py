"""Lowering, planning and execution on the CUDA sources: every small graph, and the whole architectures."""

from __future__ import annotations

import pytest

from a1400.backends import registry
from tests.cuda_on_host.backend import HostCudaBackend, HostCudaDevice
from tests.engine import test_lowering
from tests.engine.graphs import GRAPHS
from tests.models import test_models
from tests.models.export import NAMES


@pytest.mark.parametrize("optimised", [False, True], ids=["plain", "optimised"])
@pytest.mark.parametrize("name", GRAPHS)
def test_graph(name: str, optimised: bool, host_device: HostCudaDevice) -> None:
    test_lowering.test_graph(name, optimised, host_device)


@pytest.mark.parametrize("name", NAMES)
def test_architecture(
    name: str, host_device: HostCudaDevice, host_backend: HostCudaBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registry, "_instances", lambda: (host_backend,))
    test_models.test_architecture(name, host_device.info)
