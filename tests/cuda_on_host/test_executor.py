"""The executor itself: barriers, warps, shared memory and what it reports."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from a1400.errors import DeviceError, KernelArgumentError, KernelCompileError
from tests.cuda_on_host.backend import HostCudaDevice


def run(
    device: HostCudaDevice, body: str, threads: int = 64, blocks: int = 1, options: Sequence[str] = ()
) -> np.ndarray:
    """What a kernel leaves in ``y[blocks * threads]``, which starts as -7."""
    text = f'extern "C" __global__ void probe(int *y) {{\nconst int t = threadIdx.x;\n{body}\n}}\n'
    y = np.full(blocks * threads, -7, np.int32)
    stream, buffer = device.stream(), device.alloc(y.nbytes)
    stream.write(buffer, y)
    program = device.compile("probe", text, "probe", options)
    stream.run([program.bind([buffer], (blocks, 1, 1), (threads, 1, 1))])
    stream.synchronize()
    stream.read(buffer, y)
    return y


NEIGHBOUR = "__shared__ int s[64]; s[t] = t; {barrier} y[blockIdx.x * 64 + t] = s[63 - t];"


@pytest.mark.parametrize("options", [(), ("-DCUDA_HOST_UCONTEXT",)], ids=["assembly", "ucontext"])
def test_a_barrier_orders_shared_memory(host_device: HostCudaDevice, options: tuple[str, ...]) -> None:
    got = run(host_device, NEIGHBOUR.format(barrier="__syncthreads();"), blocks=3, options=options)
    assert got.tolist() == list(range(63, -1, -1)) * 3


def test_without_the_barrier_poison_shows(host_device: HostCudaDevice) -> None:
    """Half of the threads read what has not been written in this block, though the block before did write it."""
    got = run(host_device, NEIGHBOUR.format(barrier="if (blockIdx.x > 9) __syncthreads();"), blocks=3)
    assert (got == -1).sum() == 3 * 32


def test_threads_that_left_are_not_waited_for(host_device: HostCudaDevice) -> None:
    got = run(host_device, "if (t % 3 == 0) return; __syncthreads(); y[t] = 1; __syncthreads(); y[t] += 1;")
    assert got.tolist() == [-7 if t % 3 == 0 else 2 for t in range(64)]


def test_divergent_barriers_are_reported(host_device: HostCudaDevice) -> None:
    where = r"divergent barrier in block \(0, 0, 0\): threads 0 to 4 wait at line \d+, .*; threads 5 to 63 wait"
    with pytest.raises(DeviceError, match=where):
        run(host_device, "if (t < 5) { __syncthreads(); y[t] = 1; } else { __syncthreads(); y[t] = 2; }")


def test_a_warp_that_waits_for_threads_at_the_block_barrier_is_reported(host_device: HostCudaDevice) -> None:
    with pytest.raises(DeviceError, match="divergent barrier"):
        run(host_device, "if (t < 5) __syncwarp(); __syncthreads(); y[t] = 1;")


def test_warps_wait_for_their_own_lanes_only(host_device: HostCudaDevice) -> None:
    got = run(
        host_device,
        "int v = t; for (int d = 16; d > 0; d /= 2) v += __shfl_xor_sync(~0u, v, d);\n"
        "if (t >= 32) v = __shfl_sync(~0u, t, 3) + __shfl_up_sync(~0u, 1000 * t, 1);\n"
        "if (__ballot_sync(~0u, t % 2) != 0xaaaaaaaau || __any_sync(~0u, t < 0) || !__all_sync(~0u, t >= 0)) v = -1;\n"
        "y[t] = v;",
    )
    assert got.tolist() == [496] * 32 + [35 + 1000 * (t - 1 if t > 32 else t) for t in range(32, 64)]


def test_blocks_may_have_more_than_one_dimension(host_device: HostCudaDevice) -> None:
    text = (
        'extern "C" __global__ void probe(int *y, const float scale) {\n'
        "const int at = (threadIdx.z * blockDim.y + threadIdx.y) * blockDim.x + threadIdx.x;\n"
        "__syncthreads();\n"
        "y[((blockIdx.z * gridDim.y + blockIdx.y) * gridDim.x + blockIdx.x) * 24 + at] = (int)(scale * at);\n}"
    )
    y = np.zeros(24 * 6, np.int32)
    stream, buffer = host_device.stream(), host_device.alloc(y.nbytes)
    program = host_device.compile("probe", text, "probe")
    stream.run([program.bind([buffer, np.float32(2)], (1, 2, 3), (4, 3, 2))])
    stream.read(buffer, y)
    assert y.tolist() == [2 * t for t in range(24)] * 6
    with pytest.raises(DeviceError, match="argument 1 has 8 bytes, the kernel's parameter 4"):
        stream.run([program.bind([buffer, np.float64(2)], (1, 1, 1), (4, 1, 1))])
    with pytest.raises(DeviceError, match="2 parameters, the launch 1 arguments"):
        stream.run([program.bind([buffer], (1, 1, 1), (4, 1, 1))])


def test_limits(host_device: HostCudaDevice) -> None:
    with pytest.raises(KernelCompileError, match="49156 bytes of shared memory"):
        run(host_device, "__shared__ int s[12289]; s[t] = t; __syncthreads(); y[t] = s[63 - t];")
    bounded = 'extern "C" __global__ void __launch_bounds__(64) probe(int *y) { y[threadIdx.x] = 1; }'
    with pytest.raises(KernelArgumentError, match="at most 64 threads"):
        host_device.compile("probe", bounded, "probe").bind([host_device.alloc(512)], (1, 1, 1), (128, 1, 1))


def test_a_compile_error_names_kernel_and_line(host_device: HostCudaDevice) -> None:
    with pytest.raises(KernelCompileError, match=r"'probe' did not compile on .*line 3: `y\[t\] = nothing;`"):
        run(host_device, "y[t] = nothing;")
