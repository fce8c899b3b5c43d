"""A kernel that crashes or never ends is a finding: contained launches, and what they leave as it was."""

from __future__ import annotations

import numpy as np
import pytest

from a1400.errors import DeviceError
from tests.cuda_on_host.backend import HostCudaBackend
from tests.cuda_on_host.probe import run


@pytest.fixture(scope="module")
def contained() -> HostCudaBackend:
    """The executor with each launch in a child process that may take two seconds."""
    backend = HostCudaBackend(seconds=2)
    if problems := backend.problems():
        pytest.skip("the CUDA sources cannot run on this host: " + " ".join(problems))
    return backend


@pytest.mark.parametrize("index", [0, 1])
def test_results_come_back(index: int, contained: HostCudaBackend) -> None:
    text = """
        __shared__ int s[64];
        s[threadIdx.x] = in0[threadIdx.x];
        __syncthreads();
        out[threadIdx.x] = s[63 - threadIdx.x];
    """
    data = np.arange(64, dtype=np.int32)
    assert np.array_equal(run(contained.open(index), text, [data], np.zeros_like(data), 64), data[::-1])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("out[1l << 40] = 1;", "kernel 'probe' on the host: was ended by SIGSEGV"),
        ("((void (*)())nullptr)();", "was ended by SIGSEGV"),
        ("__builtin_trap();", "was ended by SIG(ILL|TRAP)"),
        ("while (((volatile int *)out)[0] == 0) {}", "did not end within 2 s"),
        ("if (threadIdx.x) __syncwarp(); else __syncthreads();", "divergent barrier"),
        ("DYNAMIC_SHARED(s); s[0] = 1;", "line 1: the launch asks for no dynamic shared memory"),
    ],
)
def test_crashes_and_hangs_are_findings(text: str, message: str, contained: HostCudaBackend) -> None:
    with pytest.raises(DeviceError, match=message):
        run(contained.open(0), text, [], np.zeros(4, np.int32), 64)
    assert run(contained.open(0), "out[0] = 7;", [], np.zeros(1, np.int32))[0] == 7
