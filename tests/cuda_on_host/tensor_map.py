"""A tensor map as the executor's ``TensorMap`` structure, checked as the driver checks what it encodes."""

from __future__ import annotations

import struct

from a1400.backends.base import TensorMap
from a1400.errors import DeviceError

BYTES = 128
_SWIZZLES = (0, 32, 64, 128)


def problems(tensor: TensorMap, pointer: int, nbytes: int) -> list[str]:
    """What ``cuTensorMapEncodeTiled`` or the copy engine would not take of a map of ``nbytes`` at ``pointer``."""
    item = tensor.dtype.itemsize
    rank = len(tensor.dims)
    found = []
    if not 2 <= rank <= 5 or len(tensor.box) != rank or len(tensor.strides) != rank - 1:
        return [f"{rank} dimensions, a box of {len(tensor.box)}, {len(tensor.strides)} strides"]
    if item not in (1, 2, 4, 8):
        found.append(f"elements of {item} bytes")
    if (pointer + tensor.offset) % 16:
        found.append(f"an address (offset {tensor.offset}) that is not a multiple of 16")
    if any(s % 16 or not 0 <= s < 1 << 40 for s in tensor.strides):
        found.append(f"strides {tensor.strides} that are not multiples of 16 bytes below 2^40")
    if any(not 1 <= d < 1 << 32 for d in tensor.dims):
        found.append(f"dimensions {tensor.dims} that are not from 1 to 2^32")
    if any(not 1 <= b <= 256 for b in tensor.box):
        found.append(f"a box {tensor.box} that is not from 1 to 256 in each dimension")
    row = tensor.box[0] * item
    if row % 16:
        found.append(f"a box of {row} bytes in the innermost dimension, not a multiple of 16")
    if tensor.swizzle not in _SWIZZLES:
        found.append(f"a swizzle of {tensor.swizzle} bytes")
    elif tensor.swizzle and row != tensor.swizzle:
        # shorter rows are taken too, and lie in another pitch than their length
        found.append(f"a box of {row} bytes in the innermost dimension under a swizzle of {tensor.swizzle}")
    last = tensor.offset + tensor.dims[0] * item + sum((d - 1) * s for d, s in zip(tensor.dims[1:], tensor.strides))
    if tensor.offset < 0 or last > nbytes:
        found.append(f"bytes {tensor.offset} to {last} of a buffer of {nbytes}")
    return found


def encode(tensor: TensorMap, pointer: int, nbytes: int, kernel: str) -> bytes:
    """The structure of ``cuda_host_tma.h``; raises :class:`DeviceError` for what a GPU would refuse."""
    if found := problems(tensor, pointer, nbytes):
        raise DeviceError(f"a tensor map of kernel {kernel!r} has {', '.join(found)}")
    rank = len(tensor.dims)

    def padded(values: tuple[int, ...], count: int) -> list[int]:
        return [*values, *[0] * (count - len(values))]

    data = struct.pack(
        "<Q4I5I5I4Q", pointer + tensor.offset, rank, tensor.dtype.itemsize, tensor.swizzle, 0,
        *padded(tensor.dims, 5), *padded(tensor.box, 5), *padded(tensor.strides, 4),
    )  # fmt: skip
    return data.ljust(BYTES, b"\0")
