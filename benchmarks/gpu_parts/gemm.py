"""Matrix products against cuBLAS: squares, and the shapes of transformers.  Also the ceilings of the machine."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from a1400.graph import Graph
from benchmarks.gpu_parts.bench import DTYPES, Bench, Problem, Row, figures, floats, reference
from benchmarks.gpu_parts.timing import CupyWork, Work, measure

SQUARES = (512, 1024, 2048, 4096, 8192)
#: what -> (rows of A, columns of B, depth)
TRANSFORMER = {
    "BERT-base projection, 4096 tokens": (4096, 768, 768),
    "BERT-base up, 4096 tokens": (4096, 3072, 768),
    "BERT-base down, 4096 tokens": (4096, 768, 3072),
    "7B query-key-value, 2048 tokens": (2048, 12288, 4096),
    "7B down, 2048 tokens": (2048, 4096, 11008),
    "7B logits, 128 tokens": (128, 32000, 4096),
    "7B projection, 16 tokens": (16, 4096, 4096),
    "7B projection, 1 token": (1, 4096, 4096),
}
_CUDA_TYPES = {"fp16": 2, "bf16": 14, "tf32": 0, "fp32": 0}  # cudaDataType
_COMPUTE_32F, _COMPUTE_32F_FAST_TF32, _DEFAULT_ALGORITHM = 68, 77, -1  # cublasComputeType_t, cublasGemmAlgo_t
COPY_BYTES = 1 << 30


def cublas(cupy: Any, a: np.ndarray, b: np.ndarray, kind: str) -> CupyWork:
    """``a @ b`` by ``cublasGemmEx``, sums in float32; row-major operands as transposed column-major ones."""
    (m, k), n = a.shape, b.shape[1]
    on_device = [cupy.asarray(np.ascontiguousarray(x).view(np.uint8)) for x in (a, b)]
    c = cupy.empty(m * n * a.dtype.itemsize, cupy.uint8)
    one, zero = np.array(1, np.float32), np.array(0, np.float32)
    data_type = _CUDA_TYPES[kind]
    compute = _COMPUTE_32F_FAST_TF32 if kind == "tf32" else _COMPUTE_32F
    from cupy_backends.cuda.libs.cublas import gemmEx

    def call(keep: Any = (on_device, c, one, zero)) -> None:
        handle = cupy.cuda.device.get_cublas_handle()
        gemmEx(
            handle, 0, 0, n, m, k, one.ctypes.data, on_device[1].data.ptr, data_type, n, on_device[0].data.ptr,
            data_type, k, zero.ctypes.data, c.data.ptr, data_type, n, compute, _DEFAULT_ALGORITHM,
        )  # fmt: skip

    return CupyWork(cupy, call)


def product(bench: Bench, kind: str, m: int, n: int, k: int) -> dict[str, Any]:
    """``a[m, k] @ b[k, n]`` with ``b`` a weight, as in a model's linear layer."""
    a, b = bench.random((m, k), kind, 1), bench.random((k, n), kind, 2)

    def build(graph: Graph) -> None:
        graph.output("y", graph.op("matmul", graph.input("a", a.shape, a.dtype), graph.constant(b)))

    works: dict[str, Work] = {}
    if bench.cupy is not None:
        works["cuBLAS"] = cublas(bench.cupy, a, b, kind)
    peers: dict[str, Callable[[], Any]] = {}
    if bench.torch is not None:
        x, y = bench.tensor(a), bench.tensor(b)
        peers["PyTorch"] = lambda: bench.torch.matmul(x, y)
    item = a.dtype.itemsize
    memory = m < 64
    return figures(bench, Problem(
        kind, build, {"a": a}, reference(bench, lambda: floats(bench, a) @ floats(bench, b)), peers, works,
        flops=2.0 * m * n * k, bytes=float(item) * (m * k + k * n + m * n), bound="memory" if memory else "compute",
    ))  # fmt: skip


def rows(bench: Bench) -> Iterator[Row]:
    """Every shape in every arithmetic; the largest first, as those say most."""
    squares = (8192, 4096, 1024) if bench.quick else tuple(reversed(SQUARES))
    for size in squares:
        for kind in ("bf16", "fp16", "tf32", "fp32"):
            yield f"{size} x {size} x {size}, {kind}", lambda s=size, d=kind: product(bench, d, s, s, s)
    for label, (m, n, k) in TRANSFORMER.items():
        for kind in ("bf16",) if bench.quick else ("bf16", "fp16", "tf32", "fp32"):
            yield f"{label}, {kind}", lambda d=kind, m=m, n=n, k=k: product(bench, d, m, n, k)


def copy_bandwidth(bench: Bench, nbytes: int = COPY_BYTES) -> dict[str, Any]:
    """A copy within the device's memory; bytes count twice, read and written."""
    cupy = bench.cupy
    source, target = cupy.zeros(nbytes, cupy.uint8), cupy.empty(nbytes, cupy.uint8)
    kind = 3  # cudaMemcpyDeviceToDevice

    def call() -> None:
        pointer = cupy.cuda.get_current_stream().ptr
        cupy.cuda.runtime.memcpyAsync(target.data.ptr, source.data.ptr, nbytes, kind, pointer)

    return ceiling(bench, "copy", CupyWork(cupy, call), bytes=2.0 * nbytes)


def library_product(bench: Bench, kind: str, size: int) -> dict[str, Any]:
    """cuBLAS alone."""
    a, b = bench.random((size, size), kind, 1), bench.random((size, size), kind, 2)
    return ceiling(bench, "cuBLAS", cublas(bench.cupy, a, b, kind), dtype=kind, flops=2.0 * size**3)


def ceiling(bench: Bench, engine: str, work: Work, **facts: Any) -> dict[str, Any]:
    """A row without a1400: what the machine can do."""
    timings, failures = measure({engine: work}, bench.seconds)
    row: dict[str, Any] = {"ceiling": True, "flops": 0.0, "bytes": 0.0, **facts}
    row["seconds"] = {name: timing.to_dict() for name, timing in timings.items()}
    if failures:
        row["failure"] = failures[engine]
    return row


def ceilings(bench: Bench) -> Iterator[Row]:
    """Copy bandwidth, and cuBLAS in every arithmetic."""
    if bench.cupy is None:
        bench.notes.append("no ceilings: CuPy is not here")
        return
    yield f"copy of {COPY_BYTES >> 20} MiB", lambda: copy_bandwidth(bench)
    for kind in DTYPES:
        size = 4096 if kind == "fp32" else 8192
        yield f"cuBLAS {size} x {size} x {size}, {kind}", lambda d=kind, s=size: library_product(bench, d, s)
