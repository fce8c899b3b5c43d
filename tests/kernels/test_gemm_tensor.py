"""Which tensor-core variant and tile a product gets, and the tensor maps of Hopper's."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from a1400 import dtypes
from a1400.backends.base import DeviceInfo
from a1400.kernels import load_all
from a1400.kernels.gemm_cases import type_variables
from a1400.kernels.gemm_choice import plan_product
from tests.nvrtc.compiler import device

GEMM = load_all()["gemm"]


def product(m: int, n: int, k: int, *, along_n: bool = False, **changes: int) -> dict[str, Any]:
    """A dense product's scalars; ``along_n``: B's rows are contiguous, else its columns."""
    scalars = {
        "M": m, "N": n, "K": k, "nb0": 1, "nb1": 1, "a_off": 0, "a_b0": 0, "a_b1": 0, "a_m": k, "a_k": 1,
        "b_off": 0, "b_b0": 0, "b_b1": 0, "b_k": n if along_n else 1, "b_n": 1 if along_n else k,
        "c_off": 0, "c_b0": 0, "c_b1": 0, "c_m": n,
    }  # fmt: skip
    return {**scalars, **changes}


def chosen(info: DeviceInfo, types: str, scalars: dict[str, Any], **more: Any) -> tuple[str, dict[str, int]]:
    variant, tunables = plan_product(GEMM, info, type_variables(types), scalars, **more)
    assert variant.supports(scalars)
    assert not tunables or variant.fit(info, type_variables(types), scalars, tunables) is not None
    return variant.name, tunables


@pytest.mark.parametrize(
    ("architecture", "name"), [("sm_75", "gpu"), ("sm_80", "tensor"), ("sm_86", "tensor"), ("sm_90a", "hopper")]
)
@pytest.mark.parametrize("types", ["f16", "bf16", "bf16,bf16,f32,f32"])
@pytest.mark.parametrize("along_n", [False, True], ids=["columns", "rows"])
def test_large_products_get_the_best_the_device_has(architecture: str, name: str, types: str, along_n: bool) -> None:
    info = device(architecture)
    got, tile = chosen(info, types, product(8192, 8192, 8192, along_n=along_n))
    assert got == (name if name == "gpu" else name + ("_n" if along_n else "_t"))
    if name == "hopper":
        assert (tile["BM"], tile["BN"], tile["GROUPS"]) == (128, 256, info.compute_units)
    elif name == "tensor":
        assert (tile["BM"], tile["BN"]) == (128, 128)


def test_small_products_get_small_tiles() -> None:
    for architecture in ("sm_80", "sm_90a"):
        info = device(architecture)
        name, tile = chosen(info, "f16", product(1, 4096, 4096))
        assert name == "tensor_t" and tile["BM"] == 16
        name, tile = chosen(info, "f16", product(128, 768, 768))
        assert name == "tensor_t" and tile["BM"] * tile["BN"] < 64 * 64


@pytest.mark.parametrize(
    "scalars",
    [
        product(64, 64, 77),
        product(64, 64, 64, a_off=1),
        product(64, 64, 64, a_m=65),
        product(64, 64, 64, b_n=66),
        product(64, 64, 64, b_off=4),
        product(64, 64, 64, a_m=1, a_k=64),
        product(64, 64, 64, nb1=2, a_b1=100, b_b1=4096),
    ],
    ids=["odd depth", "offset", "odd rows", "even columns", "half a unit", "columns of A", "batch"],
)
def test_what_units_cannot_read_still_gets_tensor_cores(scalars: dict[str, Any]) -> None:
    for architecture in ("sm_80", "sm_90a"):
        assert chosen(device(architecture), "bf16", scalars)[0] == "tensor_any"


def test_a_prologue_needs_elements_in_registers() -> None:
    large = product(4096, 4096, 4096)
    assert chosen(device("sm_90a"), "f16", large, slots=("PROLOGUE",))[0] == "tensor_any"
    assert chosen(device("sm_90a"), "f16", large, slots=("EPILOGUE",))[0] == "hopper_t"


def test_tf32_only_when_allowed() -> None:
    for architecture in ("sm_80", "sm_90a"):
        info, large = device(architecture), product(4096, 4096, 4096)
        assert chosen(info, "f32", large)[0] == "gpu"
        assert chosen(info, "f32", large, allow=("tf32",))[0] == "tf32_t"
        assert chosen(info, "f32", product(64, 77, 77, along_n=True), allow=("tf32",))[0] == "tf32_any"
    assert chosen(device("sm_75"), "f32", product(4096, 4096, 4096), allow=("tf32",))[0] == "gpu"
    assert chosen(device("sm_80"), "f64", product(4096, 4096, 4096), allow=("tf32",))[0] == "gpu"
    assert chosen(device("sm_80"), "f16,f32,f32,f32", product(4096, 4096, 4096), allow=("tf32",))[0] == "gpu"


def test_tensor_maps_of_heads() -> None:
    """[batch, row, head, element] read as rows of each head, and one B for all batches."""
    variant = GEMM.variant("hopper_t")
    scalars = product(
        300, 96, 64, nb0=2, nb1=12, a_off=64, a_b0=300 * 768, a_b1=64, a_m=768, b_b1=96 * 64, b_b0=0
    )  # fmt: skip
    types = type_variables("bf16")
    assert variant.requires(device("sm_90a"), types) and variant.supports(scalars)
    (_, _, a_rule), (_, _, b_rule) = variant.tensor_maps
    a, b = (rule(types, scalars, variant.settings()) for rule in (a_rule, b_rule))
    assert (a.dims, a.strides, a.box) == ((64, 300, 12, 2), (1536, 128, 300 * 1536), (64, 128, 1, 1))
    assert (a.offset, a.swizzle, a.dtype) == (128, 128, dtypes.bfloat16)
    assert (b.dims, b.strides[:2], b.box) == ((64, 96, 12, 1), (128, 96 * 128), (64, 256, 1, 1))
    rows = GEMM.variant("hopper_n")
    b = rows.tensor_maps[1][2](types, product(300, 96, 64, along_n=True), rows.settings())
    assert (b.dims[:2], b.strides[0], b.box) == ((96, 64), 192, (64, 64, 1, 1))
    for made in (a, b):
        assert all(s % 16 == 0 and s > 0 for s in made.strides) and made.offset % 16 == 0
        assert max(made.box) <= 256 and made.box[0] * made.dtype.itemsize == made.swizzle


def test_hopper_takes_cut_rows_where_warp_copies_do_not() -> None:
    """A tensor map ends rows at any element; rows must still begin at units."""
    info, scalars = device("sm_90a"), product(4096, 4096, 4091, a_m=4096, b_n=4096)
    assert chosen(info, "f16", scalars)[0] == "hopper_t"
    assert not GEMM.variant("tensor_t").supports(scalars)


def test_other_devices_choose_as_before() -> None:
    cpu = DeviceInfo(
        **{**{f: getattr(device("sm_80"), f) for f in DeviceInfo.__dataclass_fields__}, "backend": "opencl",
           "extensions": frozenset()}
    )  # fmt: skip
    types = {k: np.dtype(v) for k, v in type_variables("f16").items()}
    assert plan_product(GEMM, cpu, types, product(64, 64, 64)) == (GEMM.variant("gpu"), {})
