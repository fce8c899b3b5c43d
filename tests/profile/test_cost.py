"""What launches cost at least: every kernel can tell, for the roofline."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from a1400 import dtypes
from a1400.kernels import expr, load_all
from a1400.kernels import spec as kernels
from a1400.kernels.cost import Cost, cost, expression_flops
from a1400.kernels.spec import KernelCall, Operand, SlotArgument, SlotCode
from a1400.memory.storage import Ref, Storage

F32, F16 = np.dtype(np.float32), np.dtype(np.float16)
SPECS = load_all()


@pytest.mark.parametrize("name", SPECS)
def test_every_kernel_tells_its_cost(name: str) -> None:
    spec = SPECS[name]
    told = []
    for case in spec.cases():
        flops, nbytes = spec.flops(case.scalars), spec.bytes(case.scalars)
        counts = [slot.count(case.scalars) for slot in spec.slots]
        assert min(flops, nbytes, *counts, 0) == 0, f"{case.name}: a cost below zero"
        told.append((flops, nbytes, *counts))
    slots = [f"slot {slot.name}'s count" for slot in spec.slots]
    for what, values in zip(["flops", "bytes", *slots], zip(*told)):
        if what.startswith("slot"):
            assert any(values), f"kernel {name} does not say {what}"


def product(types: dict[str, np.dtype], slots: dict | None = None) -> KernelCall:
    """C[6, 10] = A[6, 20] B[20, 10] by the ``gemm`` kernel."""
    m, n, k = 6, 10, 20
    sizes = {"a": m * k, "b": k * n, "c": m * n}
    kinds = {"a": "TA", "b": "TB", "c": "TC"}
    buffers = {}
    for key, size in sizes.items():
        nbytes = size * types[kinds[key]].itemsize
        buffers[key] = Ref(Storage("arena", nbytes), 0, nbytes)
    scalars = {p.name: 0 for p in SPECS["gemm"].params if p.kind == "scalar"}
    scalars |= {"M": m, "N": n, "K": k, "nb0": 1, "nb1": 1, "a_m": k, "a_k": 1, "b_k": n, "b_n": 1, "c_m": n}
    spec = SPECS["gemm"]
    return kernels.call(spec, spec.variant("simple"), types, buffers, scalars, slots=slots)


def test_product() -> None:
    single = {"TA": F32, "TB": F32, "TC": F32, "ACC": F32}
    assert cost(product(single)) == Cost(2 * 6 * 10 * 20, 4 * (120 + 200 + 60))
    half = cost(product({**single, "TA": F16, "TB": F16, "TC": F16}))
    assert (half.flops, half.bytes) == (2400, 2 * 380)
    mixed = cost(product({**single, "TB": F16}))
    assert mixed.bytes == pytest.approx(4 * 120 + 2 * 200 + 4 * 60)


def test_slots_and_their_operands() -> None:
    single = {"TA": F32, "TB": F32, "TC": F32, "ACC": F32}
    bias = SlotCode(expr.apply("add", expr.arg(0, F32), expr.arg(1, F32)), (Operand(F32, 1),))
    plain = cost(product(single))
    row = SlotArgument(Ref(Storage("weight", 40), 0, 40), 0, (0, 0, 1))
    with_bias = cost(product(single, {"EPILOGUE": (bias, [row])}))
    assert (with_bias.flops - plain.flops, with_bias.bytes - plain.bytes) == (60, 40)
    # a part of something large: as many elements as are read
    part = replace(row, buffer=Ref(Storage("arena", 40_000), 0, 40_000), strides=(0, 100, 1))
    with_residual = cost(product(single, {"EPILOGUE": (bias, [part])}))
    assert with_residual.bytes - plain.bytes == 240


def test_expressions() -> None:
    x = expr.arg(0, F32)
    square = expr.apply("mul", x, x)
    assert expression_flops(x) == 0
    assert expression_flops(square) == 1
    assert expression_flops(expr.apply("add", square, square)) == 2  # what is shared counts once
    assert expression_flops(expr.cast(expr.apply("exp", square), dtypes.from_short("f16"))) == 9
