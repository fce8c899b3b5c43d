"""Every spec's cases in every variant through the CUDA sources, the threads of a block in two orders.

Of the programs that OpenCL's devices run too, a few of each variant; ``A1400_TEST_CASES=all`` runs them all.
"""

from __future__ import annotations

import pytest

from a1400.kernels.spec import KernelSpec, Variant
from tests.cuda_on_host.backend import ORDERS, HostCudaBackend
from tests.kernels.test_conformance import conform
from tests.nvrtc.test_specs import IDS, PAIRS


@pytest.mark.usefixtures("compiled_ahead")
@pytest.mark.parametrize(("spec", "variant"), PAIRS, ids=IDS)
def test_cases(spec: KernelSpec, variant: Variant, host_backend: HostCudaBackend) -> None:
    # both orders in one test: it compiles each program once, whatever processes share the tests
    conform(spec, variant, [host_backend.open(index) for index in ORDERS], repeats=True)
