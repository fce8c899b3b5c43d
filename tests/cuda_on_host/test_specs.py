"""Every spec's cases in every variant through the CUDA sources, the threads of a block in two orders."""

from __future__ import annotations

import pytest

from a1400.kernels.spec import KernelSpec, Variant
from tests.cuda_on_host.backend import HostCudaDevice
from tests.kernels import test_conformance
from tests.nvrtc.test_specs import IDS, PAIRS


@pytest.mark.usefixtures("compiled_ahead")
@pytest.mark.parametrize(("spec", "variant"), PAIRS, ids=IDS)
def test_cases(spec: KernelSpec, variant: Variant, host_device: HostCudaDevice) -> None:
    test_conformance.test_cases(spec, variant, host_device)
