"""Every tile that the engine may choose for a convolution on tensor cores gives right answers."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from a1400.kernels import conv_hopper, conv_tensor, load_all
from a1400.kernels.check import can_run, run_case
from a1400.kernels.spec import KernelSpec, Variant
from tests.cuda_on_host.backend import ORDERS, HostCudaBackend

CONV, TRANSPOSE = load_all()["conv"], load_all()["conv_transpose"]
# the widest and the narrowest copies of 16-bit types, and tf32
KINDS = ("tensor", "tensor_1", "tf32")
SETTINGS = [
    *((s, s.variant(name), tile) for s in (CONV, TRANSPOSE) for name in KINDS for tile in conv_tensor.TILES),
    *((CONV, conv_hopper.VARIANT, {"BM": bm, "BN": bn, "GROUPS": 2}) for bm, bn in conv_hopper.TILES),
]


@pytest.mark.parametrize(
    ("spec", "variant", "tile"), SETTINGS, ids=[f"{s.name}-{v.name}-{t['BM']}x{t['BN']}" for s, v, t in SETTINGS]
)
def test_tile(spec: KernelSpec, variant: Variant, tile: Mapping[str, int], host_backend: HostCudaBackend) -> None:
    """On images with padding, tails of tiles and an epilogue, in whole numbers."""
    ran, found = 0, []
    for case in spec.cases():
        if case.name.startswith("bf16") or (not case.slots and "many tiles" not in case.name):
            continue
        for index in ORDERS:
            device = host_backend.open(index)
            if not can_run(spec, variant, case, device.info):
                continue
            assert variant.fit(device.info, case.types, case.scalars, tile) is not None
            ran += 1
            found += [f"{case.name}: {f.message}" for f in run_case(spec, variant, case, device, True, tile)]
    assert ran and not found, f"{ran} runs: {found[:5]}"
