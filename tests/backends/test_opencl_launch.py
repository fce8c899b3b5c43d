"""Arguments, geometry, streams, timing and threads."""

from __future__ import annotations

import os
import threading
import time

import ml_dtypes
import numpy as np
import pytest

from a1400.errors import KernelArgumentError

STORE = """
__kernel void store(__global {type} *out, {type} value) {{ out[get_global_id(0)] = value; }}
"""
GEOMETRY = """
__kernel void geometry(__global int *out) {
    int i = (int)((get_global_id(2) * get_global_size(1) + get_global_id(1)) * get_global_size(0) + get_global_id(0));
    out[i] = (int)(get_group_id(0) + 10 * get_group_id(1) + 100 * get_group_id(2)
                   + 1000 * get_local_size(0) + 10000 * get_local_size(1) + 100000 * get_local_size(2));
}
"""
SCALE = """
__kernel void scale(__global float *a, float s, int n) {
    int i = (int)get_global_id(0);
    if (i < n) a[i] *= s;
}
"""


@pytest.mark.parametrize(
    ("ctype", "value"),
    [
        ("float", np.float32(1.25)),
        ("double", np.float64(1e300)),
        ("char", np.int8(-5)),
        ("uchar", np.uint8(250)),
        ("uchar", np.bool_(True)),
        ("short", np.int16(-30000)),
        ("ushort", ml_dtypes.bfloat16(1.5)),
        ("ushort", np.float16(1.5)),
        ("int", np.int32(-(2**31))),
        ("uint", np.uint32(2**32 - 1)),
        ("long", np.int64(-(2**63))),
        ("ulong", np.uint64(2**64 - 1)),
    ],
    ids=lambda value: value if isinstance(value, str) else str(value.dtype),
)
def test_scalars_arrive_exactly(device, stream, ctype, value):
    if ctype == "double" and not device.info.fp64:
        pytest.skip(f"{device.info.name} has no fp64")
    program = device.compile("store", STORE.format(type=ctype), "store")
    buffer = device.alloc(value.itemsize * 3)
    stream.run([program.bind([buffer, value], (3, 1, 1), (1, 1, 1))])
    back = np.zeros(3, value.dtype)
    stream.read(buffer, back)
    assert back.tobytes() == value.tobytes() * 3


def test_wrong_arguments_are_refused(device):
    program = device.compile("scale", SCALE, "scale")
    buffer = device.alloc(64)
    with pytest.raises(KernelArgumentError, match="takes 3 arguments, 2"):
        program.bind([buffer, np.float32(1)], (1, 1, 1), (1, 1, 1))
    with pytest.raises(KernelArgumentError, match="argument 1"):
        program.bind([buffer, 1.0, np.int32(1)], (1, 1, 1), (1, 1, 1))
    with pytest.raises(KernelArgumentError, match="at most"):
        program.bind([buffer, np.float32(1), np.int32(1)], (1, 1, 1), (1 << 20, 1, 1))


def test_scalar_of_the_wrong_size_is_refused(device):
    if device.info.platform == "Oclgrind":
        pytest.skip("Oclgrind does not report the size of a wrong argument")
    program = device.compile("scale", SCALE, "scale")
    with pytest.raises(KernelArgumentError, match="argument 2"):
        program.bind([device.alloc(64), np.float32(1), np.int64(1)], (1, 1, 1), (1, 1, 1))


@pytest.mark.parametrize("groups", [(3, 1, 1), (2, 3, 1), (2, 1, 3), (2, 3, 2)])
@pytest.mark.parametrize("size", [(1, 1, 1), (4, 1, 1), (2, 2, 2)])
def test_geometry(device, stream, groups, size):
    shape = tuple(g * s for g, s in zip(groups, size, strict=True))[::-1]
    buffer = device.alloc(int(np.prod(shape)) * 4)
    program = device.compile("geometry", GEOMETRY, "geometry")
    stream.run([program.bind([buffer], groups, size)])
    back = np.zeros(shape, np.int32)
    stream.read(buffer, back)
    z, y, x = np.indices(shape)
    expected = x // size[0] + 10 * (y // size[1]) + 100 * (z // size[2])
    expected += 1000 * size[0] + 10000 * size[1] + 100000 * size[2]
    assert np.array_equal(back, expected)


def test_empty_launch_does_nothing(device, stream):
    program = device.compile("scale", SCALE, "scale")
    launch = program.bind([device.alloc(0), np.float32(1), np.int32(0)], (0, 1, 1), (64, 1, 1))
    stream.run([launch])
    stream.synchronize()
    assert stream.time([launch]) == [0.0]


def test_rebind(device, stream):
    program = device.compile("scale", SCALE, "scale")
    buffers = [device.alloc(256) for _ in range(2)]
    for buffer in buffers:
        stream.write(buffer, np.ones(64, np.float32))
    launch = program.bind([buffers[0], np.float32(2), np.int32(64)], (1, 1, 1), (64, 1, 1))
    stream.run([launch])
    launch.rebind(0, buffers[1])
    launch.rebind(1, np.float32(5))
    stream.run([launch])
    found = []
    for buffer in buffers:
        back = np.zeros(64, np.float32)
        stream.read(buffer, back)
        found.append(set(back.tolist()))
    assert found == [{2.0}, {5.0}]


def test_launches_run_in_order(device, stream):
    source = """
    __kernel void horner(__global float *a, float s) { a[get_global_id(0)] = a[get_global_id(0)] * 2.0f + s; }
    """
    program = device.compile("horner", source, "horner")
    buffer = device.alloc(256)
    stream.write(buffer, np.zeros(64, np.float32))
    stream.run([program.bind([buffer, np.float32(s)], (4, 1, 1), (16, 1, 1)) for s in range(10)])
    back = np.zeros(64, np.float32)
    stream.read(buffer, back)
    expected = 0.0
    for s in range(10):
        expected = expected * 2 + s
    assert set(back.tolist()) == {expected}


def test_time_and_events(device, stream):
    program = device.compile("scale", SCALE, "scale")
    buffer = device.alloc(4 * 4096)
    launch = program.bind([buffer, np.float32(1), np.int32(4096)], (64, 1, 1), (64, 1, 1))
    seconds = stream.time([launch, launch])
    assert len(seconds) == 2
    assert all(0 <= value < 10 for value in seconds)
    before = stream.record()
    stream.run([launch] * 5)
    assert 0 <= stream.record().seconds_since(before) < 60


def test_launch_cost(device, stream):
    """A launch of one tiny kernel stays cheap: tens of microseconds at the very worst, 2-5 measured when idle."""
    if device.info.platform == "Oclgrind":
        pytest.skip("a simulator's launches cost milliseconds")
    program = device.compile("scale", SCALE, "scale")
    launches = [program.bind([device.alloc(4), np.float32(1), np.int32(1)], (1, 1, 1), (1, 1, 1))] * 200
    best = 1.0
    for _ in range(20):
        start = time.perf_counter()
        stream.run(launches)
        stream.synchronize()
        best = min(best, (time.perf_counter() - start) / len(launches))
    print(f"{device.info.id}: {best * 1e6:.2f} microseconds per launch")
    limit = float(os.environ.get("A1400_TEST_LAUNCH_SECONDS", "100e-6"))
    assert best < limit


def test_threads_with_streams_of_their_own(device):
    if device.info.platform == "Oclgrind":
        pytest.skip("Oclgrind aborts when used from several threads")
    failures: list[str] = []

    def work(number: int) -> None:
        try:
            stream = device.stream()
            # One source per pair of threads: builds run at once, and some are asked for twice.
            source = SCALE.replace("*= s", f"*= s + {number // 2}.0f - {number // 2}.0f")
            program = device.compile(f"scale{number}", source, "scale")
            for i in range(50):
                buffer = device.alloc(4000)
                stream.write(buffer, np.full(1000, 3, np.float32))
                launch = program.bind([buffer, np.float32(number + i), np.int32(1000)], (16, 1, 1), (64, 1, 1))
                stream.run([launch])
                back = np.zeros(1000, np.float32)
                stream.read(buffer, back)
                if set(back.tolist()) != {3.0 * (number + i)}:
                    failures.append(f"thread {number}, round {i}: {back[:4]}")
        except Exception as error:
            failures.append(repr(error))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
