"""The layouts of warp products and matrix loads, against NumPy written from the PTX ISA's tables.

There: g = laneid >> 2, t = laneid % 4, and for each register which row and column of the matrix it holds.
"""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest

from a1400.errors import DeviceError
from tests.cuda_on_host.backend import HostCudaDevice
from tests.cuda_on_host.probe import run

LANE = np.arange(32)
G, T = LANE // 4, LANE % 4
HALVES = {"f16": np.dtype(np.float16), "bf16": np.dtype(ml_dtypes.bfloat16)}


def fragments_16(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """mma.m16n8k16: registers [32, 4] of A [16, 16] and [32, 2] of B [16, 8], two 16-bit elements in each."""
    ra = np.empty((32, 8), a.dtype)
    for i in range(8):
        row = G if i < 2 or 4 <= i < 6 else G + 8
        ra[:, i] = a[row, T * 2 + (i & 1) + (0 if i < 4 else 8)]
    rb = np.empty((32, 4), b.dtype)
    for i in range(4):
        rb[:, i] = b[T * 2 + (i & 1) + (0 if i < 2 else 8), G]
    return ra.view(np.uint32), rb.view(np.uint32)


def fragments_tf32(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """mma.m16n8k8: registers [32, 4] of A [16, 8] and [32, 2] of B [8, 8]."""
    ra = np.stack([a[G + 8 * (i % 2), T + 4 * (i // 2)] for i in range(4)], axis=1)
    rb = np.stack([b[T + 4 * i, G] for i in range(2)], axis=1)
    return ra.view(np.uint32), rb.view(np.uint32)


def accumulators(c: np.ndarray) -> np.ndarray:
    """Registers [32, 4] of C [16, 8]."""
    return np.stack([c[G + (0 if i < 2 else 8), T * 2 + (i & 1)] for i in range(4)], axis=1)


MMA = """
    const int t = threadIdx.x;
    float c[4];
    for (int i = 0; i < 4; i++) c[i] = out[4 * t + i];
    {name}(c, in0 + 4 * t, in1 + 2 * t);
    for (int i = 0; i < 4; i++) out[4 * t + i] = c[i];
"""


@pytest.mark.parametrize("kind", ["f16", "bf16", "tf32"])
def test_warp_products(kind: str, host_device: HostCudaDevice) -> None:
    rng = np.random.default_rng(1)
    depth, dtype = (8, np.dtype(np.float32)) if kind == "tf32" else (16, HALVES[kind])
    a = rng.integers(-9, 10, (16, depth)).astype(dtype)
    b = rng.integers(-9, 10, (depth, 8)).astype(dtype)
    c = rng.integers(-9, 10, (16, 8)).astype(np.float32)
    ra, rb = fragments_tf32(a, b) if kind == "tf32" else fragments_16(a, b)
    got = run(host_device, MMA.replace("{name}", f"mma_{kind}"), [ra, rb], accumulators(c))
    assert np.array_equal(got, accumulators(a.astype(np.float32) @ b.astype(np.float32) + c))


def test_tf32_ignores_low_bits(host_device: HostCudaDevice) -> None:
    a, b = np.full((16, 8), 1 + 2**-11, np.float32), np.eye(8, dtype=np.float32)
    got = run(host_device, MMA.replace("{name}", "mma_tf32"), fragments_tf32(a, b), np.zeros((32, 4), np.float32))
    assert (got == 1).all()


def test_special_values_pass_through_products(host_device: HostCudaDevice) -> None:
    values = np.array([np.inf, -np.inf, np.nan, 65504, 2**-24, -(2**-14), 0.1, -0.0] * 2, np.float16)
    a, b = np.diag(values), np.ones((16, 8), np.float16)
    a[np.isnan(a)] = np.nan
    got = run(host_device, MMA.replace("{name}", "mma_f16"), fragments_16(a, b), np.zeros((32, 4), np.float32))
    want = np.repeat(values.astype(np.float32)[:, None], 8, axis=1)
    assert np.array_equal(got, accumulators(want), equal_nan=True)


LOAD = """
    DYNAMIC_SHARED(s);
    const int t = threadIdx.x;
    for (int i = t; i < 512; i += 32) ((ushort *)s)[i] = in0[i];
    __syncwarp();
    uint r[4] = {7, 7, 7, 7};
    ldmatrix_x{count}{trans}(r, s + 16 * (t ^ 5));
    for (int i = 0; i < 4; i++) out[4 * t + i] = r[i];
"""


@pytest.mark.parametrize("trans", ["", "_trans"])
@pytest.mark.parametrize("count", [1, 2, 4])
def test_matrix_loads(count: int, trans: str, host_device: HostCudaDevice) -> None:
    """Rows lie where each lane says (here in another order); lane i gets row i / 4, columns 2 (i % 4) and the next."""
    data = np.random.default_rng(2).integers(0, 1 << 16, (64, 8)).astype(np.uint16)
    rows = data[np.arange(32) ^ 5].reshape(4, 8, 8)
    want = np.full((32, 4, 2), [7, 0], np.uint16)
    for m in range(count):
        matrix = rows[m].T if trans else rows[m]
        want[:, m, 0], want[:, m, 1] = matrix[G, 2 * T], matrix[G, 2 * T + 1]
    text = LOAD.replace("{count}", str(count)).replace("{trans}", trans)
    got = run(host_device, text, [data], np.zeros((32, 4), np.uint32), dynamic=1024)
    assert np.array_equal(got.view(np.uint16).reshape(32, 4, 2), want)


def test_matrix_stores_undo_loads(host_device: HostCudaDevice) -> None:
    data = np.random.default_rng(3).integers(0, 1 << 16, 256).astype(np.uint16)
    text = """
        DYNAMIC_SHARED(s);
        const int t = threadIdx.x;
        for (int i = t; i < 256; i += 32) ((ushort *)s)[i] = in0[i];
        __syncwarp();
        uint r[4];
        ldmatrix_x4(r, s + 16 * t);
        stmatrix_x4(s + 512 + 16 * t, r);
        for (int i = t; i < 256; i += 32) out[i] = ((ushort *)s)[256 + i];
    """
    assert np.array_equal(run(host_device, text, [data], np.zeros(256, np.uint16), dynamic=1024), data)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("ldmatrix_x4(r, s + 16 * t + 2);", r"line 4: ldmatrix_x4: shared address 0x\w*2 is not a multiple of 16"),
        ("ldmatrix_x4(r, s + 1024);", r"line 4: ldmatrix_x4: 16 bytes at 1024 are not inside the 1024 bytes"),
        ("cp_async<16>(s + 8, in0, true);", r"line 4: cp_async: shared address 0x8 is not a multiple of 16"),
        ("cp_async<8>(s, in0 + 2, true);", r"line 4: cp_async: global address \w+ is not a multiple of 8"),
        ("if (t) ldmatrix_x1(r, s); else mma_f16((float *)r, r, r);", r"line 4: lanes of a warp are apart"),
        ("if (t) ldmatrix_x1(r, s);", r"deadlock in block \(0, 0, 0\).*threads 1 to 31 wait at line 4, at ldmatrix_x1"),
    ],
)
def test_misuse_is_reported(line: str, message: str, host_device: HostCudaDevice) -> None:
    text = f"\nDYNAMIC_SHARED(s);\nconst int t = threadIdx.x; uint r[4];\n{line}\nout[t] = r[0];"
    with pytest.raises(DeviceError, match=message):
        run(host_device, text, [np.zeros(64, np.uint16)], np.zeros(32, np.uint32), dynamic=1024)


def test_writing_past_dynamic_shared_memory_is_reported(host_device: HostCudaDevice) -> None:
    with pytest.raises(DeviceError, match=r"dynamic shared memory \(64 bytes\) was written 4 bytes past its end"):
        run(host_device, "DYNAMIC_SHARED(s); s[68] = 0; out[0] = s[0];", [], np.zeros(1, np.uint32), dynamic=64)


def test_conversions_round_as_the_hardware_does(host_device: HostCudaDevice) -> None:
    x = np.random.default_rng(4).standard_normal(64).astype(np.float32)
    text = """
        const int t = threadIdx.x;
        const float low = in0[2 * t], high = in0[2 * t + 1];
        out[3 * t] = pack_f16(low, high);
        out[3 * t + 1] = pack_bf16(low, high);
        out[3 * t + 2] = float_to_tf32(low);
        if (unpack_high_f16(out[3 * t]) != in1[2 * t + 1]) out[3 * t] = 0;
    """
    got = run(host_device, text, [x, x.astype(np.float16).astype(np.float32)], np.zeros((32, 3), np.uint32))
    assert np.array_equal(got[:, 0], x.astype(np.float16).view(np.uint32))
    assert np.array_equal(got[:, 1], x.astype(ml_dtypes.bfloat16).view(np.uint32))
    assert np.array_equal(got[:, 2], (x[::2].view(np.uint32) + 0x1000) & 0xFFFFE000)
