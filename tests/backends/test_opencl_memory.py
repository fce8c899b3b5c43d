"""Buffers, parts of buffers, transfers and host arrays seen by the device."""

from __future__ import annotations

import gc

import ml_dtypes
import numpy as np
import pytest

from a1400.backends.base import Device, Stream
from a1400.errors import DeviceMemoryError

ADD_ONE = """
__kernel void add_one(__global float *a, int n) {
    int i = (int)get_global_id(0);
    if (i < n) a[i] += 1.0f;
}
"""


def add_one(device: Device, stream: Stream, buffer, count: int) -> None:
    program = device.compile("add_one", ADD_ONE, "add_one")
    stream.run([program.bind([buffer, np.int32(count)], ((count + 63) // 64, 1, 1), (64, 1, 1))])


@pytest.mark.parametrize("nbytes", [1, 3, 17, 4096, 100_001])
def test_round_trip_of_any_size(device, stream, nbytes):
    data = np.random.default_rng(nbytes).integers(0, 256, nbytes, dtype=np.uint8)
    buffer = device.alloc(nbytes)
    stream.write(buffer, data)
    back = np.zeros_like(data)
    stream.read(buffer, back)
    assert np.array_equal(back, data)


@pytest.mark.parametrize("dtype", [np.float32, np.float16, np.bool_, np.int64, ml_dtypes.bfloat16])
def test_every_dtype_transfers(device, stream, dtype):
    data = np.arange(24).reshape(2, 3, 4).astype(dtype)
    buffer = device.alloc(data.nbytes)
    stream.write(buffer, data)
    back = device.host_array(data.shape, np.dtype(dtype))
    stream.read(buffer, back)
    assert np.array_equal(back, data)


def test_zero_bytes(device, stream):
    empty = np.empty(0, np.float32)
    for buffer in (device.alloc(0), device.alloc(1024).sub(device.info.alignment, 0), device.alloc(0).sub(0, 0)):
        assert buffer.nbytes == 0
        stream.write(buffer, empty)
        stream.read(buffer, empty)
    assert device.host_array((0, 3), np.dtype(np.float32)).shape == (0, 3)


def test_parts_and_parts_of_parts(device, stream):
    step = device.info.alignment
    count = step // 4
    whole = device.alloc(6 * step)
    stream.write(whole, np.zeros(6 * count, np.float32))
    part = whole.sub(2 * step, 3 * step)
    add_one(device, stream, part, 3 * count)
    add_one(device, stream, part.sub(step, step), count)
    back = np.zeros(6 * count, np.float32)
    stream.read(whole, back)
    assert np.array_equal(back, np.repeat([0, 0, 1, 2, 1, 0], count))


def test_parts_keep_the_whole_alive(device, stream):
    part = device.alloc(4 * device.info.alignment).sub(device.info.alignment, 64)
    gc.collect()
    stream.write(part, np.full(16, 3, np.float32))
    back = np.zeros(16, np.float32)
    stream.read(part, back)
    assert (back == 3).all()


def test_bad_parts_are_refused(device):
    buffer = device.alloc(1024)
    for offset, nbytes in ((0, 1025), (-128, 4), (1024, 1), (4, 4)):
        with pytest.raises(ValueError, match=r"not inside|not a multiple"):
            buffer.sub(offset, nbytes)


def test_array_larger_than_the_buffer_is_refused(device, stream):
    with pytest.raises(ValueError, match="does not fit"):
        stream.write(device.alloc(4), np.zeros(2, np.float32))
    with pytest.raises(ValueError, match="contiguous"):
        stream.write(device.alloc(400), np.zeros((10, 10), np.float32)[:, :5])


def test_alloc_refused_with_the_numbers(device):
    asked = device.info.max_allocation + 1
    with pytest.raises(DeviceMemoryError) as caught:
        device.alloc(asked)
    for number in (asked, device.info.max_allocation, device.info.memory):
        assert f"{number:,}" in str(caught.value)


def test_memory_account_returns_to_where_it_was(device):
    gc.collect()
    before = device.allocated
    buffer = device.alloc(12345)
    part = buffer.sub(0, 100)
    assert device.allocated == before + 12345
    del buffer
    gc.collect()
    assert device.allocated == before + 12345
    del part
    gc.collect()
    assert device.allocated == before


def wrapped(device, array):
    buffer = device.wrap(array)
    if buffer is None:
        pytest.skip(f"{device.info.name} does not share the host's memory")
    return buffer


@pytest.mark.parametrize("offset", [0, 4, 16, 60])
def test_wrapped_array_is_shared_both_ways(device, stream, offset):
    raw = device.host_array((20_000,), np.dtype(np.uint8))
    array = raw[offset : offset + 16_000].view(np.float32)
    array[:] = 5
    buffer = wrapped(device, array)
    add_one(device, stream, buffer, array.size)
    stream.synchronize()
    assert (array == 6).all()
    array[:] = 10  # a host write after wrapping
    add_one(device, stream, buffer, array.size)
    stream.synchronize()
    assert (array == 11).all()
    part = buffer.sub(device.info.alignment, 64)
    add_one(device, stream, part, 16)
    stream.synchronize()
    first = device.info.alignment // 4
    assert (array[first : first + 16] == 12).all()
    assert array[first - 1] == 11
    assert array[first + 16] == 11


def test_wrapping_a_read_only_array(device, stream):
    array = np.arange(1000, dtype=np.float32)
    array.flags.writeable = False
    back = np.zeros_like(array)
    stream.read(wrapped(device, array), back)
    assert np.array_equal(back, array)


def test_wrap_wants_contiguous_memory(device):
    assert device.wrap(np.zeros((8, 8), np.float32)[:, ::2]) is None


def test_wrap_keeps_the_array_alive(device, stream):
    buffer = wrapped(device, np.full(1000, 7, np.float32))
    gc.collect()
    back = np.zeros(1000, np.float32)
    stream.read(buffer, back)
    assert (back == 7).all()
