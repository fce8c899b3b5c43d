"""Which kernels convolutions become on CUDA devices of different capability; the tiles chosen for them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import a1400.engine.lower  # noqa: F401 - enters the lowering of every op
from a1400 import dtypes
from a1400.backends.base import DeviceInfo
from a1400.engine.lowering import Lowering
from a1400.engine.weight_store import WeightStore
from a1400.graph import Graph
from a1400.kernels import conv_hopper, conv_tensor
from a1400.kernels.conv_shape import conv_scalars
from tests.engine.graphs import GRAPHS

#: capability -> dynamic shared memory of a block, multiprocessors
DEVICES = {75: (64, 40), 80: (163, 108), 86: (99, 84), 90: (227, 132), 100: (227, 148)}


def cuda(capability: int) -> DeviceInfo:
    """A device of this compute capability."""
    kib, processors = DEVICES[capability]
    return DeviceInfo(
        backend="cuda", index=0, name=f"sm_{capability}", vendor="NVIDIA", platform="NVIDIA CUDA", driver="13.0",
        kind="gpu", memory=1 << 34, max_allocation=1 << 34, local_memory=48 << 10, compute_units=processors,
        max_group_size=1024, alignment=256, fp16=True, fp64=True, subgroups=True, integer_dot=True,
        unified_memory=False, extensions=frozenset({f"sm_{capability}"}), dynamic_local_memory=kib << 10,
    )  # fmt: skip


def kernels(graph: str, info: DeviceInfo, allow: frozenset[str] = frozenset()) -> list[str]:
    """``kernel/variant`` of each product and convolution of a graph."""
    g = Graph(graph)
    GRAPHS[graph](g)
    lowering = Lowering(g, info, WeightStore(), allow)
    lowering.run()
    calls = [launch.call for launch in lowering.launches]
    return [f"{c.spec.name}/{c.variant.name}" for c in calls if c.spec.name.startswith("conv") or c.spec.name == "gemm"]


@pytest.mark.parametrize("graph", ["conv_f16", "conv_bf16"])
def test_half_convolutions_reach_tensor_cores(graph: str) -> None:
    simt = ["conv/gpu", "gemm/gpu", "conv/gpu", "conv/gpu", "conv/gpu", "conv_depthwise/any"]
    assert kernels(graph, cuda(75)) == [*simt, "conv_transpose/any", "conv_transpose/any"]
    last = ["conv_depthwise/any", "conv_transpose/tensor", "conv_transpose/tensor"]
    for capability in (80, 86, 100):
        found = kernels(graph, cuda(capability))
        assert found == ["conv/tensor_1", "gemm/tensor_t", "conv/tensor_2", "conv/tensor", "conv/tensor", *last]
    found = kernels(graph, cuda(90))
    assert found[1] in ("gemm/tensor_t", "gemm/hopper_t")  # by size
    assert [found[0], *found[2:]] == ["conv/tensor_1", "conv/tensor_2", "conv/hopper", "conv/hopper", *last]


def test_tf32_must_be_allowed() -> None:
    info = cuda(80)
    assert kernels("conv_3x3", info) == ["conv/gpu"]
    assert kernels("conv_3x3", info, frozenset({"tf32"})) == ["conv/tf32"]
    assert kernels("conv_first_layer", info, frozenset({"tf32"})) == ["conv/tf32_1"]
    assert kernels("conv_3x3", cuda(75), frozenset({"tf32"})) == ["conv/gpu"]


@pytest.mark.parametrize("size", [1, 7, 56, 224])
@pytest.mark.parametrize("channels", [8, 64, 512])
def test_chosen_tiles_fit(size: int, channels: int) -> None:
    for outputs in (1, 40, 96, 512):
        x, y = (1, size, size, channels), (1, size, size, outputs)
        scalars = conv_scalars(x, y, (3, 3), (1, 1), (1, 1), (1, 1))
        for capability in (80, 86, 90, 100):
            info = cuda(capability)
            whole = conv_tensor.choose_tunables(info, scalars)
            of_phases = conv_tensor.choose_tunables(info, {**scalars, "sh": 2, "sw": 2}, transposed=True)
            for variant in (*conv_tensor.VARIANTS, *conv_tensor.TRANSPOSED):
                tile = of_phases if variant in conv_tensor.TRANSPOSED else whole
                dtype = np.dtype(np.float32) if variant.precision else dtypes.bfloat16
                types = {"TA": dtype, "TB": dtype, "TC": dtype, "ACC": np.dtype(np.float32)}
                fitted = variant.fit(info, types, scalars, tile)
                assert fitted is not None and tile.items() <= fitted.items()
        types = dict.fromkeys(("TA", "TB", "TC"), dtypes.bfloat16) | {"ACC": np.dtype(np.float32)}
        tile = conv_hopper.choose_tunables(cuda(90), scalars)
        fitted = conv_hopper.VARIANT.fit(cuda(90), types, scalars, tile)
        assert fitted is not None and tile["GROUPS"] == 132 and tile.items() <= fitted.items()


def test_small_images_get_small_tiles() -> None:
    info = cuda(80)
    large = conv_scalars((32, 56, 56, 64), (32, 56, 56, 256), (3, 3), (1, 1), (1, 1), (1, 1))
    small = conv_scalars((1, 14, 14, 256), (1, 14, 14, 256), (3, 3), (1, 1), (1, 1), (1, 1))
    assert conv_tensor.choose_tunables(info, large)["BM"] == conv_tensor.choose_tunables(info, large)["BN"] == 128
    assert conv_tensor.choose_tunables(info, small)["BN"] < 128
    many = replace(info, compute_units=4)
    assert conv_tensor.choose_tunables(many, small)["BN"] == 128
