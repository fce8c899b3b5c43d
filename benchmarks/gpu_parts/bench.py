"""What a part is given, and the row of figures it gives back for each thing it measures."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import ml_dtypes
import numpy as np

from a1400.backends.base import Device
from a1400.graph import Graph
from benchmarks.gpu_parts import ours
from benchmarks.gpu_parts.timing import TorchWork, Work, measure

#: arithmetic -> (how tensors are stored, largest error accepted relative to the largest value)
DTYPES: dict[str, tuple[np.dtype, float]] = {
    "fp16": (np.dtype(np.float16), 4e-3),
    "bf16": (np.dtype(ml_dtypes.bfloat16), 2e-2),
    "tf32": (np.dtype(np.float32), 4e-3),
    "fp32": (np.dtype(np.float32), 1e-4),
}
#: a row's name and what measures it
Row = tuple[str, Callable[[], dict[str, Any]]]


@dataclass
class Bench:
    """The device, the other engines (None where they are not installed or see no GPU), and time for each engine."""

    device: Device
    torch: Any = None
    cupy: Any = None
    seconds: float = 0.3
    quick: bool = False
    notes: list[str] = field(default_factory=list)

    def random(self, shape: tuple[int, ...], kind: str, seed: int = 0) -> np.ndarray:
        """Uniform random numbers of -1 to 1, as tensors of this arithmetic are stored."""
        made = np.random.default_rng(seed).random(shape, np.float32)
        np.subtract(made, 0.5, out=made)
        np.multiply(made, 2, out=made)
        return made.astype(DTYPES[kind][0], copy=False)

    def tensor(self, array: np.ndarray) -> Any:
        """The array as a tensor of PyTorch on the GPU."""
        if array.dtype == ml_dtypes.bfloat16:
            return self.torch.from_numpy(array.view(np.int16)).cuda().view(self.torch.bfloat16)
        return self.torch.from_numpy(array).cuda()

    def allow_tf32(self, allowed: bool) -> None:
        """Let PyTorch round float32 inputs of products and convolutions, or not."""
        self.torch.backends.cuda.matmul.allow_tf32 = allowed
        self.torch.backends.cudnn.allow_tf32 = allowed


@dataclass
class Problem:
    """One operation to measure.

    ``build`` makes a1400's graph (one output); ``reference`` gives the right answer in float32, or None where nothing
    here can; ``peers`` are other engines' calls on PyTorch, ``works`` further ones; ``flops`` and ``bytes`` are the
    least that any engine must do and move.
    """

    kind: str
    build: Callable[[Graph], None]
    feeds: Mapping[str, np.ndarray]
    reference: Callable[[], np.ndarray] | None
    peers: Mapping[str, Callable[[], Any]] = field(default_factory=dict)
    works: Mapping[str, Work] = field(default_factory=dict)
    flops: float = 0.0
    bytes: float = 0.0
    bound: str = "compute"  # what limits it on paper: "compute" or "memory"
    tolerance: float | None = None


def figures(bench: Bench, problem: Problem) -> dict[str, Any]:
    """Check a1400's answer, then time all engines in turn."""
    row: dict[str, Any] = {"dtype": problem.kind, "bound": problem.bound}
    row |= {"flops": problem.flops, "bytes": problem.bytes}
    made = ours.prepare(bench.device, problem.build, problem.feeds, tf32=problem.kind == "tf32")
    row["kernels"] = made.kernels
    if problem.reference is None:
        row["unchecked"] = "nothing is installed here that computes the reference"
    else:
        (got,) = made.outputs.values()
        limit = DTYPES[problem.kind][1] if problem.tolerance is None else problem.tolerance
        row["error"], row["tolerance"] = error(got, problem.reference()), limit
        if not row["error"] <= limit:
            row["failure"] = f"wrong answer: error {row['error']:.2e} of the largest value, allowed {limit:.0e}"
            return row
    works: dict[str, Work] = {"a1400": made.work(), **problem.works}
    if bench.torch is not None:
        bench.allow_tf32(problem.kind == "tf32")
        works |= {name: TorchWork(bench.torch, call) for name, call in problem.peers.items()}
    timings, failures = measure(works, bench.seconds)
    row["seconds"] = {name: timing.to_dict() for name, timing in timings.items()}
    row["not_timed"] = failures
    if "a1400" in failures:
        row["failure"] = failures["a1400"]
    return row


def error(got: np.ndarray, want: np.ndarray) -> float:
    """Largest difference relative to the largest magnitude wanted; NaN where the answer has one."""
    if got.shape != want.shape:
        return float("nan")
    if not got.size:
        return 0.0
    a, b = got.astype(np.float32, copy=False), want.astype(np.float32, copy=False)
    scale = float(np.abs(b).max())
    return float(np.abs(a - b).max()) / (scale if scale > 0 else 1.0)


def reference(bench: Bench, call: Callable[[], Any]) -> Callable[[], np.ndarray] | None:
    """``call`` on PyTorch in true float32 as a reference; None without PyTorch on a GPU."""
    if bench.torch is None:
        return None

    def compute() -> np.ndarray:
        bench.allow_tf32(False)
        with bench.torch.no_grad():
            return np.asarray(call().float().cpu().numpy())

    return compute


def floats(bench: Bench, array: np.ndarray) -> Any:
    """The array as a float32 tensor of PyTorch on the GPU."""
    return bench.tensor(np.ascontiguousarray(array.astype(np.float32, copy=False)))


def each(rows: Iterator[Row]) -> dict[str, Callable[[], dict[str, Any]]]:
    """Rows by name; names must differ."""
    made: dict[str, Callable[[], dict[str, Any]]] = {}
    for name, run in rows:
        assert name not in made, name
        made[name] = run
    return made
