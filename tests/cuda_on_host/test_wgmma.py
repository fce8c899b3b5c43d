"""Warpgroup products: tiles in shared memory in every layout, accumulators as the PTX ISA's figures place them.

A tile's layout is written here as the PTX ISA's canonical layouts are: nested sizes and strides in 16-byte units.
"""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest

from a1400.errors import DeviceError
from tests.cuda_on_host.backend import HostCudaDevice
from tests.cuda_on_host.probe import run
from tests.cuda_on_host.test_tma import swizzle

DTYPES = {"f16": np.dtype(np.float16), "bf16": np.dtype(ml_dtypes.bfloat16), "tf32": np.dtype(np.float32)}
ROWS, DEPTH = 64, 32  # of A; DEPTH is two products deep, four with tf32


def image(tile: np.ndarray, width: int, along_rows: bool) -> tuple[np.ndarray, int, int, int]:
    """``tile`` [M or N, K] as bytes of shared memory; leading and stride bytes, and bytes to the next product's depth.

    ``along_rows``: MN-major, elements of one k lie together.
    """
    depth = tile.shape[1]
    size = tile.dtype.itemsize
    unit = 16 // size  # elements
    step = 32 // size  # depth of a product
    major = tile.T if along_rows else tile  # [outer, inner], inner contiguous
    outer, inner = major.shape
    per = max(width, 16) // size  # elements of inner in a row of the pattern
    # blocks of 8 outer x `per` inner lie together; without a swizzle these are the core matrices
    blocks = major.reshape(outer // 8, 8, inner // per, per).transpose(2, 0, 1, 3)
    data = swizzle(np.ascontiguousarray(blocks).reshape(-1).view(np.uint8), width)
    block = 8 * per * size
    next_outer, next_inner = block, block * (outer // 8)
    if not along_rows:  # outer is M or N, inner is K
        assert width == 0 or depth == per, "one row of the pattern holds all of K"
        return data, next_inner, next_outer, 32 if width else 2 * next_inner
    leading, stride = (next_inner, next_outer) if width else (next_outer, next_inner)
    assert step == 16 and unit == 8
    return data, leading, stride, 2 * next_outer


def accumulators(c: np.ndarray) -> np.ndarray:
    """Registers [128, N / 2] of D [64, N]."""
    thread = np.arange(128)
    warp, g, t = thread // 32, thread % 32 // 4, thread % 4
    return np.stack(
        [c[16 * warp + g + 8 * (i // 2 % 2), 8 * (i // 4) + 2 * t + i % 2] for i in range(c.shape[1] // 2)], axis=1
    )


PRODUCT = """
    DYNAMIC_SHARED(s);
    const int t = threadIdx.x;
    for (int i = t; i < A_BYTES; i += 128) s[i] = in0[i];
    for (int i = t; i < B_BYTES; i += 128) s[B_START + i] = in1[i];
    fence_async_proxy();
    __syncthreads();
    float d[COLUMNS / 2];
    for (int i = 0; i < COLUMNS / 2; i++) d[i] = 100;
    wgmma_fence();
    for (int k = 0; k < STEPS; k++) {
        const ulong b = wgmma_descriptor(s + B_START, B_LEADING, B_STRIDE, B_SWIZZLE) + (k * B_STEP >> 4);
        const ulong a = wgmma_descriptor(s, A_LEADING, A_STRIDE, A_SWIZZLE) + (k * A_STEP >> 4);
        {call}
    }
    wgmma_commit();
    wgmma_wait<0>();
    wgmma_hold<COLUMNS / 2>(d);
    for (int i = 0; i < COLUMNS / 2; i++) out[t * COLUMNS / 2 + i] = d[i];
"""


def product(
    device: HostCudaDevice, call: str, a: np.ndarray, b: np.ndarray, a_how: tuple[int, bool], b_how: tuple[int, bool],
    text: str = PRODUCT,
) -> np.ndarray:  # fmt: skip
    """Registers of 128 threads after ``call`` for each step of K."""
    defines = {"COLUMNS": b.shape[0], "B_START": 16384, "STEPS": a.shape[1] * a.dtype.itemsize // 32}
    images = []
    for name, tile, (width, along_rows) in (("A", a, a_how), ("B", b, b_how)):
        data, leading, stride, step = image(tile, width, along_rows)
        images.append(data)
        defines |= {f"{name}_BYTES": data.size, f"{name}_LEADING": leading, f"{name}_STRIDE": stride}
        defines |= {f"{name}_SWIZZLE": width, f"{name}_STEP": step}
    out = np.zeros((128, b.shape[0] // 2), np.float32)
    return run(device, text.replace("{call}", call), images, out, 128, dynamic=49152, defines=defines)


def operands(kind: str, columns: int, depth: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A [64, depth], B [columns, depth] of small integers and the registers of their product."""
    rng = np.random.default_rng(7)
    a = rng.integers(-4, 5, (ROWS, depth)).astype(DTYPES[kind])
    b = rng.integers(-4, 5, (columns, depth)).astype(DTYPES[kind])
    return a, b, accumulators(a.astype(np.float32) @ b.astype(np.float32).T)


@pytest.mark.parametrize("width", [0, 32, 64, 128])
@pytest.mark.parametrize("kind", DTYPES)
def test_k_major_tiles(kind: str, width: int, host_device: HostCudaDevice) -> None:
    depth = (width or 64) // DTYPES[kind].itemsize
    a, b, want = operands(kind, 24, depth)
    got = product(host_device, f"wgmma_{kind}<24>(d, a, b, k > 0);", a, b, (width, False), (width, False))
    assert np.array_equal(got, want)


@pytest.mark.parametrize("width", [0, 32, 64, 128])
@pytest.mark.parametrize("kind", ["f16", "bf16"])
def test_tiles_along_rows(kind: str, width: int, host_device: HostCudaDevice) -> None:
    """B, then A too, MN-major; 192 columns are several rows of the widest pattern; sums start at 100."""
    a, b, want = operands(kind, 192, 32)
    call = f"wgmma_{kind}<192, 1>(d, a, b, true);"
    assert np.array_equal(product(host_device, call, a, b, (64, False), (width, True)), want + 100)
    call = f"wgmma_{kind}<192, 1, 1>(d, a, b, true);"
    assert np.array_equal(product(host_device, call, a, b, (width, True), (width, True)), want + 100)


@pytest.mark.parametrize("kind", ["f16", "bf16"])
def test_a_from_registers(kind: str, host_device: HostCudaDevice) -> None:
    """A's fragments are those of mma.m16n8k16, 16 rows for each warp."""
    a, b, want = operands(kind, 64, 32)
    call = f"""
        uint r[4];
        const int row = t / 32 * 16 + t % 32 / 4, column = 16 * k + t % 4 * 2;
        for (int i = 0; i < 4; i++) r[i] = *(const uint *)(in0 + ((row + i % 2 * 8) * 32 + column + i / 2 * 8) * 2);
        wgmma_ra_{kind}<64>(d, r, b, k > 0);
    """
    text = PRODUCT.replace("for (int i = t; i < A_BYTES; i += 128) s[i] = in0[i];", "")
    plain = a.reshape(ROWS, 32)
    device_call = text.replace("{call}", call)
    data, leading, stride, step = image(b, 64, False)
    defines = {
        "COLUMNS": 64, "B_START": 16384, "STEPS": 2, "B_BYTES": data.size, "B_LEADING": leading, "B_STRIDE": stride,
        "B_SWIZZLE": 64, "B_STEP": step, "A_LEADING": 16, "A_STRIDE": 16, "A_SWIZZLE": 0, "A_STEP": 0,
    }  # fmt: skip
    inputs = [plain.reshape(-1).view(np.uint8), data]
    got = run(
        host_device, device_call, inputs, np.zeros((128, 32), np.float32), 128, dynamic=49152, defines=defines
    )
    assert np.array_equal(got, want)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("wgmma_fence();", ""), "wgmma_f16: no wgmma_fence came before"),
        (("wgmma_wait<0>();", ""), "wgmma: the thread ends without a wgmma_wait for it"),
        (("wgmma_commit();", ""), "wgmma: the thread ends without a wgmma_wait for it"),
        (("s + B_START,", "s + B_START + 128,"), "tile B is swizzled by 64 bytes and starts at 0x4080"),
        (("B_LEADING, B_STRIDE", "B_LEADING, 65536"), "tile B reaches shared address 0x[0-9a-f]+, which the"),
        (("A_STRIDE,", "A_STRIDE + 8,"), "wgmma_descriptor: strides of"),
        (("s, A_LEADING", "s + (t >= 37), A_LEADING"), "not a multiple of 16"),
        (("s, A_LEADING", "s + 512 * (t == 37), A_LEADING"), "lanes of a warp have different descriptors"),
        (("wgmma_fence();", "wgmma_fence(); if (t >= 96) return;"), "warps 0 and 3 of one warpgroup take part in 2"),
    ],
)
def test_misuse_is_reported(change: tuple[str, str], message: str, host_device: HostCudaDevice) -> None:
    assert change[0] in PRODUCT
    a, b, _ = operands("f16", 24, 32)
    with pytest.raises(DeviceError, match=message):
        product(
            host_device, "wgmma_f16<24>(d, a, b, k > 0);", a, b, (64, False), (64, False), PRODUCT.replace(*change)
        )  # fmt: skip


def test_another_stride_gives_another_answer(host_device: HostCudaDevice) -> None:
    a, b, want = operands("f16", 24, 32)
    text = PRODUCT.replace("B_LEADING, B_STRIDE", "B_LEADING, B_STRIDE / 2")
    got = product(host_device, "wgmma_f16<24>(d, a, b, k > 0);", a, b, (64, False), (64, False), text)
    assert not np.array_equal(got, want)
