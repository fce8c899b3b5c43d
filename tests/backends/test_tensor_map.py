"""Encoding tensor maps: what the driver is handed, and what is refused before it is asked."""

from __future__ import annotations

import ctypes
from dataclasses import replace
from typing import Any

import ml_dtypes
import numpy as np
import pytest

from a1400.backends import cuda, cuda_tensor_map
from a1400.backends.base import TensorMap
from a1400.backends.cuda_device import CUDABuffer
from a1400.errors import DeviceError, KernelArgumentError

BUFFER = CUDABuffer(None, 0x7F0000000100, 1 << 20)
GOOD = TensorMap(BUFFER, np.dtype(np.float16), (64, 100, 3), (256, 25600), (64, 32, 1), 128, 32)


def numbers(kind: Any, address: int, count: int) -> list[int]:
    return list((kind * count).from_address(address))


def test_what_the_driver_gets() -> None:
    seen: list[tuple[Any, ...]] = []

    def encoder(
        out: int, kind: int, rank: int, address: int, dims: int, strides: int, box: int, steps: int, *rest: int
    ) -> int:
        assert out % 64 == 0
        seen.append((
            kind, rank, address, numbers(ctypes.c_uint64, dims, rank), numbers(ctypes.c_uint64, strides, rank - 1),
            numbers(ctypes.c_uint32, box, rank), numbers(ctypes.c_uint32, steps, rank), *rest,
        ))  # fmt: skip
        ctypes.memset(out, 7, 128)
        return 0

    assert cuda_tensor_map.encode("k", 0, GOOD, encoder) == bytes([7]) * 128
    # FLOAT16, rank, address; no interleave, 128-byte swizzle, 128-byte promotion, zeros outside
    assert seen[0] == (6, 3, 0x7F0000000120, [64, 100, 3], [256, 25600], [64, 32, 1], [1, 1, 1], 0, 3, 2, 0)
    wide = TensorMap(BUFFER, np.dtype(ml_dtypes.bfloat16), (1024, 8), (2048,), (16, 8), 32)
    cuda_tensor_map.encode("k", 1, wide, encoder)
    assert seen[1] == (9, 2, 0x7F0000000100, [1024, 8], [2048], [16, 8], [1, 1], 0, 1, 3, 0)
    cuda_tensor_map.encode("k", 1, TensorMap(BUFFER, np.dtype(np.float32), (4,), (), (4,)), encoder)
    assert seen[2] == (7, 1, 0x7F0000000100, [4], [], [4], [1], 0, 0, 2, 0)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"dtype": np.dtype(np.complex64)}, "cannot hold complex64"),
        ({"dims": (), "strides": (), "box": ()}, "0 dimensions"),
        ({"strides": (256,)}, "1 strides"),
        ({"box": (64, 32)}, "box of 2"),
        ({"swizzle": 48}, "swizzle of 48"),
        ({"dims": (64, 0, 3)}, r"sizes \(64, 0, 3\)"),
        ({"strides": (248, 25600)}, "multiple of 16"),
        ({"strides": (256, 1 << 40)}, "below 1099511627776"),
        ({"box": (64, 257, 1)}, "each size must be 1 to 256"),
        ({"box": (60, 32, 1)}, "120 contiguous bytes, not a multiple of 16"),
        ({"swizzle": 64}, "128 contiguous bytes, more than the 64"),
        ({"offset": 8}, "address 0x7f0000000108, not a multiple of 16"),
        ({"offset": -16}, "16 bytes before its buffer"),
        ({"dims": (64, 4097, 1)}, "reaches 1,048,736 bytes into a buffer of 1,048,576"),
    ],
)
def test_what_is_refused(change: dict[str, Any], words: str) -> None:
    def never(*_: int) -> int:
        raise AssertionError("the driver is not asked")

    with pytest.raises(KernelArgumentError, match=f"tensor map 5 of kernel 'gemm' .*{words}"):
        cuda_tensor_map.encode("gemm", 5, replace(GOOD, **change), never)


def test_what_the_driver_refuses() -> None:
    with pytest.raises(KernelArgumentError, match=r"driver refuses tensor map 2 of kernel 'k' \(CUresult 1\): sizes"):
        cuda_tensor_map.encode("k", 2, GOOD, lambda *_: 1)


def test_without_a_driver() -> None:
    if cuda.driver_present():
        pytest.skip("this machine has an NVIDIA driver")
    with pytest.raises(DeviceError, match="CUDA 12"):
        cuda_tensor_map.driver_encoder()
