"""Mistakes planted in small copy pipelines: each is found on the late or on the early device, or on both.

``MISTAKE`` n leaves out, or bends, the statement that the kernel marks with n.
"""

from __future__ import annotations

import re

import numpy as np
import pytest

from a1400.backends.base import TensorMap
from a1400.errors import DeviceError
from tests.cuda_on_host.backend import ORDERS, HostCudaBackend, HostCudaDevice
from tests.cuda_on_host.probe import run

STEPS = 5
#: two tiles in shared memory; every thread copies one element and reads another thread's
RING = """
    DYNAMIC_SHARED(s);
    int *ring = (int *)s;
    const int t = threadIdx.x;
    cp_async<4>(ring + t, in0 + t, true);
    cp_async_commit();
    int sum = 0;
    for (int step = 0; step < STEPS; step++) {
        const int next = step + 1;
        if (next < STEPS) cp_async<4>(ring + next % 2 * 64 + t, in0 + next * 64 + t, true);
        cp_async_commit();
        if (MISTAKE == 1) cp_async_wait<2>(); else if (MISTAKE != 2) cp_async_wait<1>();
        if (MISTAKE != 3) __syncthreads();
        sum = 3 * sum + ring[step % 2 * 64 + 63 - t];
        if (MISTAKE != 4) __syncthreads();
    }
    out[t] = sum;
"""
#: a producing warp, 128 threads that multiply: tiles of 64 x 64 half values, two stages
TILES = """
    DYNAMIC_SHARED(s);
    __shared__ ulong full[2], empty[2];
    const int t = threadIdx.x;
    if (t == 0) {
        for (int i = 0; i < 2; i++) {
            mbarrier_init(full + i, 1);
            mbarrier_init(empty + i, MISTAKE == 5 ? 256 : 128);
        }
        mbarrier_init_fence();
    }
    __syncthreads();
    if (t >= 128) {
        registers_fewer<40>();
        if (t == 128)
            for (int step = 0; step < STEPS; step++) {
                const int stage = step % 2;
                if (MISTAKE != 6) mbarrier_wait(empty + stage, step / 2 % 2 ^ (MISTAKE == 7 ? 0 : 1));
                mbarrier_expect(full + stage, MISTAKE == 8 ? 16385 : 16384);
                tma_load_2d(s + stage * 16384, &map0, full + stage, step * 64, 0);
                tma_load_2d(s + stage * 16384 + 8192, &map1, full + stage, step * 64, 0);
            }
        return;
    }
    registers_more<232>();
    float d[32];
    for (int step = 0; step < STEPS; step++) {
        const int stage = step % 2;
        if (MISTAKE != 9) mbarrier_wait(full + stage, step / 2 % 2);
        const ulong a = wgmma_descriptor(s + stage * 16384, 16, 1024, 128);
        const ulong b = wgmma_descriptor(s + stage * 16384 + 8192, 16, MISTAKE == 10 ? 512 : 1024, 128);
        wgmma_fence();
        for (int k = 0; k < 4; k++) wgmma_f16<64>(d, a + 2 * k, b + (MISTAKE == 11 ? 4 : 2) * k, step + k > 0);
        wgmma_commit();
        if (MISTAKE != 12) wgmma_wait<0>(); else wgmma_wait<1>();
        mbarrier_arrive(empty + stage);
    }
    if (MISTAKE == 13) { wgmma_fence(); wgmma_f16<64>(d, 0, 0, true); wgmma_commit(); }
    for (int i = 0; i < 32; i++) out[t * 32 + i] = d[i];
"""


def ring(device: HostCudaDevice, mistake: int) -> bool:
    """Whether the pipeline of plain copies gives the right sums."""
    data = np.random.default_rng(8).integers(0, 100, (STEPS, 64)).astype(np.int32)
    want = np.zeros(64, np.int32)
    for row in data:
        want = 3 * want + row[::-1]
    defines = {"STEPS": STEPS, "MISTAKE": mistake}
    return np.array_equal(run(device, RING, [data], np.zeros_like(want), 64, 512, defines=defines), want)


def tiles(device: HostCudaDevice, mistake: int) -> bool:
    """Whether the pipeline of bulk copies gives the right product; registers as the PTX ISA's figure has them."""
    rng = np.random.default_rng(9)
    a, b = (rng.integers(-3, 4, (64, 64 * STEPS)).astype(np.float16) for _ in range(2))
    c = a.astype(np.float32) @ b.astype(np.float32).T
    thread = np.arange(128)[:, None]
    i = np.arange(32)[None, :]
    rows = thread // 32 * 16 + thread % 32 // 4 + i // 2 % 2 * 8
    want = c[rows, i // 4 * 8 + thread % 4 * 2 + i % 2]
    tile = TensorMap(None, a.dtype, a.shape[::-1], (a.strides[0],), (64, 64), 128)
    defines = {"STEPS": STEPS, "MISTAKE": mistake}
    got = run(device, TILES, [a.view(np.uint16), b.view(np.uint16)], np.zeros_like(want), 256, 32768,
              [(0, tile), (1, tile)], defines)  # fmt: skip
    return np.array_equal(got, want)


@pytest.mark.parametrize("pipeline", [ring, tiles], ids=["cp.async", "bulk"])
def test_right_pipelines(pipeline: object, host_device: HostCudaDevice) -> None:
    assert callable(pipeline)
    assert pipeline(host_device, 0)


def outcomes(backend: HostCudaBackend, pipeline: object, mistake: int) -> list[str]:
    """What each order says: "" if it passes, else what is wrong."""
    assert callable(pipeline)
    result = []
    for index in ORDERS:
        try:
            result.append("" if pipeline(backend.open(index), mistake) else "another answer")
        except DeviceError as error:
            result.append(str(error))
    print(result)
    return result


@pytest.mark.parametrize(
    "mistake", [1, 2, 3, 4], ids=["waits for a group less", "no wait", "no barrier after it", "none before refill"]
)
def test_mistakes_in_plain_copies(mistake: int, host_backend: HostCudaBackend) -> None:
    assert any(outcomes(host_backend, ring, mistake))


@pytest.mark.parametrize(
    ("mistake", "pattern"),
    [
        pytest.param(5, r"deadlock.* threads 0 to 127 wait at line 29, at mbarrier_wait \(1\)", id="too many arrivals"),
        pytest.param(6, "line 19: mbarrier_expect: more arrivals than", id="no wait before refill"),
        pytest.param(7, r"threads 128 to 128 wait at line 18, at mbarrier_wait \(0\)", id="wrong parity"),
        pytest.param(8, r"deadlock.* threads 0 to 127 wait at line 29, at mbarrier_wait \(0\)", id="wrong byte count"),
        pytest.param(9, "line 19: mbarrier_expect: more arrivals than", id="no wait for the tile"),
        pytest.param(10, "another answer", id="wrong stride in a descriptor"),
        pytest.param(11, "line 33: wgmma: tile B is swizzled by 128 bytes", id="wrong step in a descriptor"),
        pytest.param(12, "line 33: wgmma: the thread ends without a wgmma_wait", id="wait leaves a product"),
        pytest.param(13, "line 38: wgmma: the thread ends without a wgmma_wait", id="no wait for a product"),
    ],
)
def test_mistakes_in_bulk_copies(mistake: int, pattern: str, host_backend: HostCudaBackend) -> None:
    late, early = outcomes(host_backend, tiles, mistake)
    assert re.search(pattern, late)
    assert early
