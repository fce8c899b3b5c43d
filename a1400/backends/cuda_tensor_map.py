"""``CUtensorMap``: the 128 bytes that describe tiles of device memory to the copy engine of sm_90 and later.

The driver encodes them (``cuTensorMapEncodeTiled``, CUDA driver API, "Tensor Map Object Management"); CuPy does not
wrap it, so it is called through ctypes.  The driver's only answer to a wrong description is "invalid value", so the
limits it documents are checked here first, each with a sentence of its own.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable
from functools import cache
from typing import Any

import ml_dtypes
import numpy as np

from a1400.backends.base import TensorMap
from a1400.errors import DeviceError, KernelArgumentError

#: bytes of an encoded map, which is passed by value and must lie at a multiple of 64
SIZE = 128
ALIGNMENT = 64

_TYPES = {  # CUtensorMapDataType
    np.dtype(np.uint8): 0,
    np.dtype(np.int8): 0,
    np.dtype(np.bool_): 0,
    np.dtype(np.uint16): 1,
    np.dtype(np.int16): 1,
    np.dtype(np.uint32): 2,
    np.dtype(np.int32): 3,
    np.dtype(np.uint64): 4,
    np.dtype(np.int64): 5,
    np.dtype(np.float16): 6,
    np.dtype(np.float32): 7,
    np.dtype(np.float64): 8,
    np.dtype(ml_dtypes.bfloat16): 9,
}
_SWIZZLES = {0: 0, 32: 1, 64: 2, 128: 3}  # CUtensorMapSwizzle
_PROMOTE_128, _PROMOTE_256 = 2, 3  # CUtensorMapL2promotion
_INTERLEAVE_NONE = 0
_OUTSIDE_ZEROS = 0  # CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE
_MOST_DIMS = 5
_MOST_BOX = 256
_MOST_DIM = 2**32
_MOST_STRIDE = 2**40

Encoder = Callable[..., int]


@cache
def driver_encoder() -> Encoder:
    """The driver's ``cuTensorMapEncodeTiled``; raises :class:`DeviceError` where the driver has none."""
    try:
        function = ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1").cuTensorMapEncodeTiled
    except (OSError, AttributeError) as error:
        raise DeviceError(
            "the NVIDIA driver has no cuTensorMapEncodeTiled: install a driver for CUDA 12 or newer"
        ) from error
    function.restype = ctypes.c_int
    function.argtypes = [
        ctypes.c_void_p, ctypes.c_int, ctypes.c_uint32, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p,
        ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_int,
    ]  # fmt: skip
    return function


def check(name: str, index: int, given: TensorMap) -> None:
    """Raise :class:`KernelArgumentError` where ``given`` breaks a limit of the hardware; ``name`` is the kernel's."""

    def refuse(why: str) -> None:
        raise KernelArgumentError(f"tensor map {index} of kernel {name!r} {why}")

    rank, size = len(given.dims), given.dtype.itemsize
    if given.dtype not in _TYPES:
        refuse(f"cannot hold {given.dtype}")
    if not 1 <= rank <= _MOST_DIMS:
        refuse(f"has {rank} dimensions; 1 to {_MOST_DIMS} are possible")
    if len(given.strides) != rank - 1 or len(given.box) != rank:
        refuse(f"of {rank} dimensions has {len(given.strides)} strides and a box of {len(given.box)}")
    if given.swizzle not in _SWIZZLES:
        refuse(f"asks for a swizzle of {given.swizzle} bytes; 0, 32, 64 and 128 are possible")
    if not all(1 <= d <= _MOST_DIM for d in given.dims):
        refuse(f"has sizes {given.dims}; each must be 1 to {_MOST_DIM}")
    if not all(0 <= s < _MOST_STRIDE and s % 16 == 0 for s in given.strides):
        refuse(f"has strides of {given.strides} bytes; each must be a multiple of 16 below {_MOST_STRIDE}")
    if not all(1 <= b <= _MOST_BOX for b in given.box):
        refuse(f"has a box of {given.box}; each size must be 1 to {_MOST_BOX}")
    inner = given.box[0] * size
    if inner % 16:
        refuse(f"has boxes of {inner} contiguous bytes, not a multiple of 16")
    if given.swizzle and inner > given.swizzle:
        refuse(f"has boxes of {inner} contiguous bytes, more than the {given.swizzle} that its swizzle permutes")
    address = given.buffer.address + given.offset
    if address % 16:
        refuse(f"starts at address {address:#x}, not a multiple of 16")
    if given.offset < 0:
        refuse(f"starts {-given.offset} bytes before its buffer")
    last = sum((d - 1) * s for d, s in zip(given.dims[1:], given.strides, strict=True))
    end = given.offset + given.dims[0] * size + last
    if end > given.buffer.nbytes:
        refuse(f"reaches {end:,} bytes into a buffer of {given.buffer.nbytes:,}")


def encode(name: str, index: int, given: TensorMap, encoder: Encoder) -> bytes:
    """The map's 128 bytes for argument ``index`` of kernel ``name``."""
    check(name, index, given)
    rank = len(given.dims)
    raw = np.zeros(SIZE + ALIGNMENT, np.uint8)
    start = -raw.ctypes.data % ALIGNMENT
    dims = np.array(given.dims, np.uint64)
    strides = np.array([*given.strides, 0], np.uint64)
    box, steps = np.array(given.box, np.uint32), np.ones(rank, np.uint32)
    # Tiles whose rows fill two 128-byte lines are fetched as pairs of them.
    promotion = _PROMOTE_256 if given.dims[0] * given.dtype.itemsize >= 256 else _PROMOTE_128
    arguments: tuple[Any, ...] = (
        raw.ctypes.data + start, _TYPES[given.dtype], rank, given.buffer.address + given.offset, dims.ctypes.data,
        strides.ctypes.data, box.ctypes.data, steps.ctypes.data, _INTERLEAVE_NONE, _SWIZZLES[given.swizzle],
        promotion, _OUTSIDE_ZEROS,
    )  # fmt: skip
    status = encoder(*arguments)
    if status:
        raise KernelArgumentError(
            f"the driver refuses tensor map {index} of kernel {name!r} (CUresult {status}): sizes {given.dims}, "
            f"strides {given.strides} bytes, box {given.box}, swizzle {given.swizzle}, {given.dtype}"
        )
    return raw[start : start + SIZE].tobytes()
