"""``Stream.trace``: when each launch ran, on the host's clock, by OpenCL's stamps or by events around each launch."""

from __future__ import annotations

from itertools import pairwise
from time import perf_counter
from types import SimpleNamespace

import numpy as np
import pytest

from a1400.backends import cuda
from a1400.backends.base import Device
from a1400.backends.opencl_launch import device_spans
from tests.backends.fake_cupy import FakeCupy
from tests.backends.test_cuda_logic import EMPTY

BUSY = """
__kernel void busy(__global float *x, int n) {
    float v = x[0];
    for (int i = 0; i < n; i++) v = v * 0.5f + 1.0f;
    x[0] = v;
}
"""


@pytest.fixture
def opencl(device: Device) -> Device:
    if device.info.backend != "opencl":
        pytest.skip(f"{device.info.id} does not compile OpenCL")
    return device


def test_launches_in_order(opencl: Device) -> None:
    stream, buffer = opencl.stream(), opencl.alloc(256)
    stream.write(buffer, np.zeros(64, np.float32))
    program = opencl.compile("busy", BUSY, "busy")
    short = program.bind([buffer, np.int32(1)], (1, 1, 1), (1, 1, 1))
    long = program.bind([buffer, np.int32(200_000)], (1, 1, 1), (1, 1, 1))
    empty = program.bind([buffer, np.int32(1)], (0, 1, 1), (1, 1, 1))
    stream.trace([short])
    before = perf_counter()
    spans, done = stream.trace([short, long, empty, short])
    after = perf_counter()
    assert len(spans) == 4
    assert before <= spans[0].called and spans[-1].end <= done + 1e-4 and done <= after
    for a, b in pairwise(spans):
        assert a.called <= a.returned <= b.called
    ran = [spans[0], spans[1], spans[3]]
    for a, b in pairwise(ran):
        assert a.start <= a.end <= b.start + 1e-9
    assert spans[2].start == spans[2].end  # nothing to do takes no time
    lengths = [s.end - s.start for s in spans]
    # 200,000 steps that wait for each other cannot take less, however fast the machine
    assert lengths[1] > 5e-5 and lengths[1] > min(lengths[0], lengths[3]) > 0
    assert stream.trace([])[0] == []


def event(queued: int, start: int, end: int) -> SimpleNamespace:
    return SimpleNamespace(profile=SimpleNamespace(queued=queued, start=start, end=end))


def test_clocks_are_set_beside_each_other() -> None:
    """The driver's clock is 1000 s ahead, which the calls bound to 1 µs on either side."""
    calls = [
        (1.0, 1.000010, event(1001_000_009_000, 1001_000_020_000, 1001_000_030_000)),
        (2.0, 2.000010, event(1002_000_001_000, 1002_000_040_000, 1002_000_050_000)),
        (3.0, 3.000010, None),
    ]
    first, second, third = device_spans(calls)
    assert first.start == pytest.approx(1.000020, abs=6e-6) and second.end == pytest.approx(2.000050, abs=6e-6)
    assert first.end - first.start == pytest.approx(1e-5, abs=1e-8)
    assert (third.start, third.end) == (3.000010, 3.000010)
    # stamps that contradict each other, and an end before the start
    calls = [(1.0, 1.00001, event(5_000_000_000, 6_000_000_000, 1_000_000_000)), (2.0, 2.00001, event(1, 2, 3))]
    assert all(span.end >= span.start for span in device_spans(calls))
    assert device_spans([]) == []


def test_events_around_each_launch(monkeypatch: pytest.MonkeyPatch, tmp_path) -> None:
    """CUDA's way, against a look-alike of CuPy whose kernels take a second each."""
    fake = FakeCupy()
    monkeypatch.setenv("A1400_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(cuda, "driver_present", lambda: True)
    monkeypatch.setattr(cuda, "import_cupy", lambda: fake)
    device = cuda.CUDABackend().open(0)
    launch = device.compile("k", EMPTY, "k").bind([], (1, 1, 1), (1, 1, 1))
    spans, _ = device.stream().trace([launch, launch])
    assert [span.end - span.start for span in spans] == pytest.approx([1.0, 1.0])
    assert spans[0].end <= spans[1].start + 1e-6
    assert spans[0].called <= spans[0].returned <= spans[1].called
    assert fake.log[-2:] and len(fake.log) == 2  # each ran once
