"""Every tile that the engine may choose for a product on tensor cores gives right answers."""

from __future__ import annotations

import pytest

from a1400.kernels import load_all
from a1400.kernels.check import can_run, run_case
from a1400.kernels.gemm_choice import Setting, settings
from a1400.kernels.gemm_tensor import TENSOR_VARIANTS
from a1400.kernels.spec import Variant
from tests.cuda_on_host.backend import ORDERS, HostCudaBackend

GEMM = load_all()["gemm"]
PAIRS = [(v, s) for v in TENSOR_VARIANTS for s in settings(v)]


@pytest.mark.parametrize(
    ("variant", "setting"), PAIRS, ids=[f"{v.name}-{s.tunables['BM']}x{s.tunables['BN']}" for v, s in PAIRS]
)
def test_tile(variant: Variant, setting: Setting, host_backend: HostCudaBackend) -> None:
    """On products with edges and tails, in whole numbers."""
    ran, found = 0, []
    for case in GEMM.cases():
        if case.types["TC"] != case.types["TA"] or not any(w in case.name for w in ("x", "epilogue", "tails", "batch")):
            continue
        tunables = setting.for_type(case.types["TA"])
        for index in ORDERS:
            device = host_backend.open(index)
            if not can_run(GEMM, variant, case, device.info):
                continue
            assert variant.fit(device.info, case.types, case.scalars, tunables) is not None
            ran += 1
            found += [f"{case.name}: {f.message}" for f in run_case(GEMM, variant, case, device, True, tunables)]
    assert ran and not found, f"{ran} runs: {found[:5]}"
