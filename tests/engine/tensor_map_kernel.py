"""A plan of one kernel whose arguments are tensor maps of an input, a weight, the arena and an output."""

from __future__ import annotations

from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np

from a1400.backends.base import TensorMap
from a1400.backends.cuda_device import CUDADevice
from a1400.engine.device_array import DeviceArray
from a1400.engine.executor import DeviceWeights, ExecutionContext
from a1400.engine.plan import Plan
from a1400.graph import Graph, Value
from a1400.kernels.source import _read, kernel_root
from a1400.memory.storage import ArenaPlan, Ref, Storage
from tests.backends.fake_cupy import FakeCupy

ROWS, COLS = 32, 48  # tiles of 16 x 16
TILE = 16
BODY = """
extern "C" __global__ void __launch_bounds__(32) add_tiles(const int last, MAPS) {
    DYNAMIC_SHARED(raw);
    float *tile = (float *)raw;
    __shared__ ulong bar;
    const int c = blockIdx.x * 16, r = blockIdx.y * 16;
    if (threadIdx.x == 0) {
        mbarrier_init(&bar, 1);
        mbarrier_init_fence();
    }
    __syncthreads();
    if (threadIdx.x == 0) {
        mbarrier_expect(&bar, 2 * 16 * 16 * 4);
        tma_load_2d(tile, &a, &bar, c, r);
        tma_load_2d(tile + 256, &b, &bar, c, r);
    }
    mbarrier_wait(&bar, 0);
    for (int i = threadIdx.x; i < 256; i += 32) tile[i] += tile[256 + i] + last;
    fence_async_proxy();
    __syncthreads();
    if (threadIdx.x == 0) {
        tma_store_2d(&y, tile, c, r);
        tma_store_commit();
        tma_store_wait<0>();
    }
}
""".replace("MAPS", ", ".join(f"const __grid_constant__ TensorMap {name}" for name in "aby"))


@dataclass
class Call:
    """As much of a kernel call as binding needs."""

    maps: list[TensorMap]
    last: int
    program_key: tuple[str] = ("add_tiles",)
    dynamic_bytes: int = 2 * TILE * TILE * 4

    def arguments(self) -> list[Any]:
        return [np.int32(self.last), *self.maps]

    def geometry(self) -> tuple[tuple[int, int, int], tuple[int, int, int]]:
        return (COLS // TILE, ROWS // TILE, 1), (32, 1, 1)


def _map(storage: Storage) -> TensorMap:
    ref = Ref(storage, 0, storage.nbytes)
    return TensorMap(ref, np.dtype(np.float32), (COLS, ROWS), (4 * COLS,), (TILE, TILE))


def check_tensor_maps(fake: FakeCupy, device: CUDADevice, encoder: Any) -> None:
    """``y = (x + w + 1) + x + 2`` by two launches, with inputs and outputs on the host and on the device."""
    device.encoder = lambda: encoder
    root = kernel_root() / "kernels_cuda"
    text = "\n".join(_read(root / f"{name}.cuh") for name in ("prelude", "tensor_cores", "hopper")) + BODY
    nbytes = ROWS * COLS * 4
    rng = np.random.default_rng(0)
    weight = rng.integers(-9, 9, (ROWS, COLS)).astype(np.float32)
    x, w, between, y = (
        Storage("input", nbytes, "x"), Storage("weight", nbytes, array=weight), Storage("arena", nbytes, offset=256),
        Storage("output", nbytes, "y"),
    )  # fmt: skip
    calls = [Call([_map(x), _map(w), _map(between)], 1), Call([_map(between), _map(x), _map(y)], 2)]
    graph = Graph()
    graph.output("y", Value((ROWS, COLS), np.dtype(np.float32)))
    plan = Plan(
        graph,
        None,  # type: ignore[arg-type]
        [SimpleNamespace(call=call) for call in calls],  # type: ignore[misc]
        [x, w, between, y],
        ArenaPlan(nbytes + 256),
        {("add_tiles",): device.compile("add_tiles", text, "add_tiles")},
    )
    context = ExecutionContext(plan, device, DeviceWeights(device))
    state: Any = rng.integers(-9, 9, (ROWS, COLS)).astype(np.float32)
    for turn in range(6):
        want = 2 * np.asarray(state) + weight + 3
        got = context.run({"x": state}, ["y"] if turn % 3 else [])["y"]
        assert isinstance(got, DeviceArray) == bool(turn % 3)
        np.testing.assert_array_equal(np.asarray(got), want)
        state = got if turn % 2 else np.sign(want)
    assert fake.log and all(name == "add_tiles" for name, *_ in fake.log)
