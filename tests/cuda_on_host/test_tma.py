"""Bulk copies of tensor tiles: what lands where, what is refused."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from a1400.backends.base import TensorMap
from a1400.errors import DeviceError
from tests.cuda_on_host.backend import HostCudaBackend, HostCudaDevice
from tests.cuda_on_host.probe import run

LOAD = """
    DYNAMIC_SHARED(s);
    __shared__ ulong bar;
    const int t = threadIdx.x;
    if (t == 0) { mbarrier_init(&bar, 1); mbarrier_init_fence(); }
    __syncthreads();
    if (t == 0) {
        mbarrier_expect(&bar, BYTES);
        tma_load_{rank}d(s, &map0, &bar, {at});
    }
    mbarrier_wait(&bar, 0);
    for (int i = t; i < BYTES; i += 32) out[i] = s[i];
"""


def swizzle(tile: np.ndarray, width: int) -> np.ndarray:
    """Rows of ``width`` bytes as CUDA's guide draws them.

    The 16-byte unit c of a row lies at c ^ (number of the row's line of 128 bytes, modulo the units of a row).
    """
    if width == 0:
        return tile
    rows = tile.reshape(-1, width // 16, 16)
    result = np.empty_like(rows)
    for r in range(rows.shape[0]):
        for c in range(width // 16):
            result[r, c ^ (r * width // 128 % (width // 16))] = rows[r, c]
    return result.reshape(-1)


def tile_of(data: np.ndarray, box: tuple[int, ...], at: tuple[int, ...]) -> np.ndarray:
    """The box of ``data`` at ``at`` (both innermost first), zeros outside."""
    result = np.zeros(box[::-1], data.dtype)
    for index in np.ndindex(*result.shape):
        source = tuple(i + c for i, c in zip(index, at[::-1]))
        if all(0 <= i < n for i, n in zip(source, data.shape)):
            result[index] = data[source]
    return result


def map_of(shape: tuple[int, ...], dtype: str, box: tuple[int, ...], swizzle: int = 0) -> TensorMap:
    """Of a dense array of ``shape``."""
    strides = np.empty(shape, dtype).strides
    return TensorMap(None, np.dtype(dtype), shape[::-1], tuple(strides[::-1][1:]), box, swizzle)


CASES = {
    "2d": ((40, 96), "u2", (32, 8), 0, (16, 4)),
    "swizzle 32": ((40, 96), "u2", (16, 24), 32, (8, 3)),
    "swizzle 64": ((40, 96), "u2", (32, 24), 64, (-8, 20)),
    "swizzle 128": ((40, 96), "u2", (64, 24), 128, (56, -2)),
    "swizzle 128 of floats": ((20, 64), "f4", (32, 16), 128, (17, 9)),
    "all outside": ((8, 16), "f4", (8, 4), 0, (0, 8)),
    "3d": ((3, 8, 16), "f4", (8, 5, 2), 0, (3, -1, 2)),
    "4d": ((2, 5, 6, 16), "u2", (16, 4, 3, 1), 32, (0, -1, 3, 1)),
    "5d": ((2, 2, 3, 4, 16), "u1", (16, 3, 2, 2, 2), 0, (0, 2, -1, 1, 0)),
}


@pytest.mark.parametrize("name", CASES)
def test_loads(name: str, host_device: HostCudaDevice) -> None:
    shape, dtype, box, width, at = CASES[name]
    data = np.random.default_rng(5).integers(1, 200, shape).astype(dtype)
    want = swizzle(tile_of(data, box, at).reshape(-1).view(np.uint8), width)
    text = LOAD.replace("{rank}", str(len(box))).replace("{at}", ", ".join(map(str, at)))
    got = run(
        host_device, text, [data], np.zeros(want.size, np.uint8), dynamic=max(want.size, 1024),
        maps=[(0, map_of(shape, dtype, box, width))], defines={"BYTES": want.size},
    )  # fmt: skip
    assert np.array_equal(got, want)


@pytest.mark.parametrize("name", ["2d", "swizzle 64", "swizzle 128", "3d", "4d"])
def test_stores(name: str, host_device: HostCudaDevice) -> None:
    """What lies outside the tensor is not written, and nothing but the box is."""
    shape, dtype, box, width, at = CASES[name]
    tile = np.random.default_rng(6).integers(1, 200, box[::-1]).astype(dtype)
    image = swizzle(tile.reshape(-1).view(np.uint8), width)
    want = np.zeros(shape, dtype)
    for index in np.ndindex(*tile.shape):
        target = tuple(i + c for i, c in zip(index, at[::-1]))
        if all(0 <= i < n for i, n in zip(target, shape)):
            want[target] = tile[index]
    text = f"""
        DYNAMIC_SHARED(s);
        for (int i = threadIdx.x; i < BYTES; i += 32) s[i] = in0[i];
        fence_async_proxy();
        __syncthreads();
        if (threadIdx.x == 0) {{
            tma_store_{len(box)}d(&map0, s, {", ".join(map(str, at))});
            tma_store_commit();
            tma_store_wait<0>();
        }}
    """
    got = run(
        host_device, text, [image], np.zeros(shape, dtype), dynamic=max(image.size, 1024),
        maps=[(-1, map_of(shape, dtype, box, width))], defines={"BYTES": image.size},
    )  # fmt: skip
    assert np.array_equal(got, want)


GOOD = map_of((40, 96), "u2", (64, 8), 128)


@pytest.mark.parametrize(
    ("tensor", "message"),
    [
        (replace(GOOD, strides=(24,)), "strides"),
        (replace(GOOD, offset=8), "offset 8"),
        (replace(GOOD, box=(64, 257)), "from 1 to 256"),
        (replace(GOOD, box=(128, 8)), "256 bytes in the innermost dimension under a swizzle of 128"),
        (replace(GOOD, box=(4, 8), swizzle=0), "not a multiple of 16"),
        (replace(GOOD, dims=(96, 41)), "of a buffer of 7680"),
        (replace(GOOD, swizzle=16), "swizzle of 16"),
        (replace(GOOD, dims=(96,)), "1 dimensions"),
    ],
)
def test_maps_that_the_driver_refuses(tensor: TensorMap, message: str, host_backend: HostCudaBackend) -> None:
    with pytest.raises(DeviceError, match=message):
        run(host_backend.open(0), "", [np.zeros((40, 96), np.uint16)], np.zeros(1, np.uint8), maps=[(0, tensor)])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        ("tma_load_2d(s + 64, &map0, &bar, 0, 0);", "tma_load_2d: shared address 0x40 is not a multiple of 128"),
        ("tma_load_2d(s + 3200, &map0, &bar, 0, 0);", "line 9: tma_load_2d: 1024 bytes at 3200 are not inside"),
        ("tma_load_3d(s, &map0, &bar, 0, 0, 0);", "line 9: tma_load_3d: the tensor map has 2 dimensions"),
        ("tma_load_2d(s, &map0, (ulong *)s, 0, 0);", "tma_load_2d: there is no initialised mbarrier"),
        ("", r"deadlock in block \(0, 0, 0\): threads 0 to 31 wait at line 11, at mbarrier_wait \(0\)"),
        ("mbarrier_arrive(&bar);", "line 9: mbarrier_arrive: more arrivals than the mbarrier's count, 1"),
    ],
)
def test_misuse_is_reported(call: str, message: str, host_device: HostCudaDevice) -> None:
    text = LOAD.replace("tma_load_{rank}d(s, &map0, &bar, {at});", call)
    with pytest.raises(DeviceError, match=message):
        run(
            host_device, text, [np.zeros((40, 96), np.uint16)], np.zeros(1024, np.uint8), dynamic=4096,
            maps=[(0, GOOD)], defines={"BYTES": 1024},
        )  # fmt: skip
