"""What a launch costs beyond the driver's own enqueue, and what a run costs beyond its launches.

    python benchmarks/overhead.py [--device opencl:0] [--launches 50] [--model MODEL.onnx]

Three loops over the same bound launches of an empty kernel, interleaved, each timed until everything is enqueued:
``clEnqueueNDRangeKernel`` called from C (needs a C compiler, ``cc``), called from Python through ctypes, and the
executor's.  The second figure of each is until the device is done.  With a model, also ``Model.run`` against its
launches alone.  Figures are medians in microseconds, best in brackets.
"""

from __future__ import annotations

import ctypes
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

import a1400
from a1400.backends.opencl_launch import OpenCLLaunch, OpenCLStream
from a1400.backends.registry import choose

_KERNEL = "__kernel void nothing(__global float *x, int n) { if (n < 0) x[0] = 1.0f; }"
_LOOP = """
#include <stddef.h>
typedef int (*enqueue_t)(void *, void *, unsigned, const size_t *, const size_t *, const size_t *,
                         unsigned, const void *, void *);
int loop(enqueue_t enqueue, void *queue, void **kernels, int count, const size_t *global, const size_t *local) {
    int status = 0;
    for (int i = 0; i < count && status == 0; i++)
        status = enqueue(queue, kernels[i], 1, NULL, global, local, 0, NULL, NULL);
    return status;
}
"""
Loop = Callable[[], object]


def driver_enqueue() -> Any:
    """``clEnqueueNDRangeKernel`` of the loader that PyOpenCL uses."""
    import pyopencl

    function = ctypes.CDLL(pyopencl._cl.__file__).clEnqueueNDRangeKernel
    pointer = ctypes.c_void_p
    function.argtypes = [pointer, pointer, ctypes.c_uint, pointer, pointer, pointer, ctypes.c_uint, pointer, pointer]
    return function


def compiled_loop(folder: Path) -> Any | None:
    """The C loop, or None without a C compiler."""
    (folder / "loop.c").write_text(_LOOP)
    command = ["cc", "-O2", "-shared", "-fPIC", "-o", str(folder / "loop.so"), str(folder / "loop.c")]
    try:
        subprocess.run(command, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as error:
        print(f"no loop in C: {error}")
        return None
    return ctypes.CDLL(str(folder / "loop.so")).loop


def interleaved(loops: dict[str, Loop], finish: Loop, rounds: int) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Seconds of each loop, to the last enqueue and to the end, over ``rounds``."""
    enqueued: dict[str, list[float]] = {name: [] for name in loops}
    done: dict[str, list[float]] = {name: [] for name in loops}
    for turn in range(rounds + 5):
        for name, loop in loops.items():
            start = time.perf_counter()
            loop()
            middle = time.perf_counter()
            finish()
            if turn >= 5:
                enqueued[name].append(middle - start)
                done[name].append(time.perf_counter() - start)
    return {name: (np.array(enqueued[name]), np.array(done[name])) for name in loops}


def per_launch(device: Any, count: int, rounds: int) -> None:
    """Print the three loops' figures for one launch."""
    stream = device.stream()
    assert isinstance(stream, OpenCLStream), "this benchmark is for OpenCL devices"
    program = device.compile("nothing", _KERNEL, "nothing")
    memory = device.alloc(4096)
    launches = [program.bind([memory, np.int32(1)], (2, 1, 1), (1, 1, 1)) for _ in range(count)]
    assert all(isinstance(launch, OpenCLLaunch) for launch in launches)
    handles = [launch.kernel.int_ptr for launch in launches]
    enqueue, queue = driver_enqueue(), stream.queue.int_ptr
    size, one = (ctypes.c_size_t * 1)(2), (ctypes.c_size_t * 1)(1)
    at_size, at_one = ctypes.cast(size, ctypes.c_void_p), ctypes.cast(one, ctypes.c_void_p)

    def through_ctypes() -> None:
        for handle in handles:
            enqueue(queue, handle, 1, None, at_size, at_one, 0, None, None)

    loops: dict[str, Loop] = {}
    with tempfile.TemporaryDirectory() as folder:
        loop = compiled_loop(Path(folder))
        if loop is not None:
            kernels = (ctypes.c_void_p * count)(*handles)
            function, place = ctypes.cast(enqueue, ctypes.c_void_p), ctypes.c_void_p(queue)
            loops["driver, from C"] = lambda: loop(function, place, kernels, count, size, one)
        loops["driver, from ctypes"] = through_ctypes
        loops["executor"] = lambda: stream.run(launches)
        results = interleaved(loops, stream.synchronize, rounds)
    print(f"{device.info.name} ({device.info.platform}), {count} launches, microseconds for each")
    for name, (enqueued, done) in results.items():
        print(f"  {name:20} enqueued {_figure(enqueued / count)}   done {_figure(done / count)}")
    if "driver, from C" in results:
        extra = np.median(results["executor"][0] - results["driver, from C"][0]) / count
        print(f"  Python adds {extra * 1e6:.2f} to each launch")


def whole_run(path: Path, device: str | None, rounds: int) -> None:
    """Print ``Model.run`` against its launches alone."""
    model = a1400.load(path, device=device)
    feeds = {
        name: np.zeros([d if isinstance(d, int) else 1 for d in info.shape or ()], info.dtype)
        for name, info in model.inputs.items()
    }
    model.run(feeds)
    entry = model._latest()
    context = entry.take()
    entry.give_back(context)

    def launches() -> None:
        context.stream.run(context.launches)
        context.stream.synchronize()

    results = interleaved({"Model.run": lambda: model.run(feeds), "its launches": launches}, lambda: None, rounds)
    print(f"{path.name}, {len(context.launches)} launches, microseconds for a run")
    for name, (_, done) in results.items():
        print(f"  {name:20} {_figure(done)}")


def _figure(seconds: np.ndarray) -> str:
    return f"{np.median(seconds) * 1e6:7.2f} ({seconds.min() * 1e6:.2f})"


def main(
    device: Annotated[str | None, typer.Option()] = None,
    launches: Annotated[int, typer.Option()] = 50,
    rounds: Annotated[int, typer.Option()] = 300,
    model: Annotated[list[Path] | None, typer.Option()] = None,
) -> None:
    """Measure and print."""
    per_launch(choose("opencl", device), launches, rounds)
    for path in model or ():
        whole_run(path, device, rounds)


if __name__ == "__main__":
    typer.run(main)
