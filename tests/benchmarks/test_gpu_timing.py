"""How GPUs are measured, without one: turns, repeats, failures, and real launches on the host's CUDA executor."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from a1400.graph import Graph
from benchmarks.gpu_parts import gemm, kernels, ours
from benchmarks.gpu_parts.bench import Bench, Problem, error, figures
from benchmarks.gpu_parts.timing import FEWEST_ROUNDS, MOST_REPEATS, MOST_ROUNDS, WallWork, measure
from tests.cuda_on_host.backend import HostCudaBackend


class Scripted:
    """Work that takes scripted times and keeps a log of who was sampled."""

    how = "script"

    def __init__(self, name: str, log: list[str], seconds: float, clock: list[float], fails_after: int = 10**9) -> None:
        self.name, self.log, self.seconds, self.clock, self.left = name, log, seconds, clock, fails_after
        self.repeat = 0

    def prepare(self, repeat: int) -> None:
        self.repeat = repeat

    def sample(self) -> float:
        self.left -= 1
        if self.left < 0:
            raise RuntimeError("the device\nis gone")
        self.log.append(self.name)
        self.clock[0] += self.seconds * self.repeat
        return self.seconds


def test_engines_take_turns_and_samples_are_long_enough() -> None:
    log: list[str] = []
    clock = [0.0]
    works = {"a": Scripted("a", log, 1e-4, clock), "b": Scripted("b", log, 0.5, clock)}
    timings, failures = measure(works, 4.0, lambda: clock[0])
    assert not failures
    assert works["a"].repeat == 20 and works["b"].repeat == 1 and timings["a"].repeat == 20
    turns = "".join(log[8:])  # behind three samples and a warm-up of each
    assert turns.startswith("abba" * 2) and turns.count("a") == turns.count("b") == timings["a"].samples
    assert FEWEST_ROUNDS <= timings["b"].samples < MOST_ROUNDS
    assert timings["a"].median == 1e-4 and timings["b"].low == timings["b"].high == timings["b"].best == 0.5
    assert timings["a"].to_dict()["how"] == "script"


def test_rounds_and_repeats_are_bounded() -> None:
    clock = [0.0]
    tiny = {"a": Scripted("a", [], 1e-12, clock)}
    timings, _ = measure(tiny, 1.0, lambda: clock[0])
    assert timings["a"].repeat == MOST_REPEATS and timings["a"].samples == MOST_ROUNDS
    slow = {"a": Scripted("a", [], 100.0, clock)}
    timings, _ = measure(slow, 1.0, lambda: clock[0])
    assert timings["a"].repeat == 1 and timings["a"].samples == FEWEST_ROUNDS


def test_an_engine_that_fails_does_not_take_the_others_along() -> None:
    log: list[str] = []
    clock = [0.0]
    works = {
        "good": Scripted("good", log, 0.1, clock),
        "never": Scripted("never", log, 0.1, clock, fails_after=0),
        "later": Scripted("later", log, 0.1, clock, fails_after=6),
    }
    timings, failures = measure(works, 1.0, lambda: clock[0])
    assert set(timings) == {"good"}
    assert failures == dict.fromkeys(("never", "later"), "RuntimeError: the device is gone")


def test_wall_work_counts_every_repetition() -> None:
    calls: list[int] = []
    clock = iter(float(i) for i in range(100))
    work = WallWork(lambda: calls.append(1), lambda: next(clock))
    work.prepare(4)
    assert work.sample() == 0.25 and len(calls) == 5


class OnHost(Bench):
    """PyTorch on the CPU gives the references; what needs a GPU of it fails, as it must be able to."""

    def tensor(self, array: np.ndarray) -> Any:
        if array.dtype.name == "bfloat16":
            return torch.from_numpy(array.view(np.int16)).view(torch.bfloat16)
        return torch.from_numpy(array)


@pytest.fixture(scope="module")
def bench() -> Bench:
    backend = HostCudaBackend()
    if problems := backend.problems():
        pytest.skip("the CUDA sources cannot run on this host: " + " ".join(problems))
    return OnHost(backend.open(0), torch=torch, seconds=0.001)


ROWS = {
    "product bf16": lambda b: gemm.product(b, "bf16", 70, 96, 64),
    "product fp16": lambda b: gemm.product(b, "fp16", 70, 96, 64),
    "product tf32": lambda b: gemm.product(b, "tf32", 33, 64, 40),
    "product fp32, one row": lambda b: gemm.product(b, "fp32", 1, 64, 40),
    "convolution fp16": lambda b: kernels.convolution(b, "fp16", 2, 9, 16, 24, 3, 2),
    "convolution fp32": lambda b: kernels.convolution(b, "fp32", 1, 9, 3, 8, 7, 2),
    "convolution 1 x 1": lambda b: kernels.convolution(b, "fp32", 1, 7, 16, 32, 1, 1),
    "softmax": lambda b: kernels.softmax(b, "fp16", 9, 130),
    "layer norm": lambda b: kernels.layer_norm(b, "fp32", 9, 130),
    "attention": lambda b: kernels.attention(b, "fp16", 40, 32, False, tokens=80, width=64),
    "causal attention": lambda b: kernels.attention(b, "bf16", 40, 32, True, tokens=80, width=64),
}


@pytest.mark.parametrize("name", ROWS)
def test_rows_are_right_and_timed(name: str, bench: Bench) -> None:
    """Every kind of row, small: the answer passes, a1400 is timed, an engine without a GPU is told."""
    row = ROWS[name](bench)
    assert "failure" not in row, row["failure"]
    assert 0 <= row["error"] <= row["tolerance"] and row["kernels"]
    timing = row["seconds"]["a1400"]
    assert 0 < timing["best"] <= timing["median"] and timing["samples"] >= FEWEST_ROUNDS
    assert set(row["not_timed"]) == {"PyTorch"}
    assert row["flops"] > 0 if row["bound"] == "compute" else row["bytes"] > 0


def test_costs(bench: Bench) -> None:
    row = gemm.product(bench, "fp16", 64, 32, 16)
    assert row["flops"] == 2 * 64 * 32 * 16 and row["bytes"] == 2 * (64 * 16 + 16 * 32 + 64 * 32)
    row = kernels.convolution(bench, "fp32", 2, 8, 4, 6, 3, 2)
    assert row["flops"] == 2 * 2 * 4 * 4 * 6 * 4 * 9
    assert row["bytes"] == 4 * (2 * 8 * 8 * 4 + 6 * 4 * 9 + 2 * 4 * 4 * 6)
    full, causal = (kernels.attention(bench, "fp16", 32, 32, c, tokens=32, width=32) for c in (False, True))
    assert full["flops"] == 2 * causal["flops"] == 4 * 32 * 32 * 32


def test_a_wrong_answer_is_not_timed(bench: Bench) -> None:
    x = np.ones((4, 8), np.float32)

    def build(graph: Graph) -> None:
        graph.output("y", graph.op("softmax", graph.input("x", x.shape, x.dtype), axis=1))

    row = figures(bench, Problem("fp32", build, {"x": x}, lambda: np.full((4, 8), 0.5, np.float32)))
    assert row["failure"] == "wrong answer: error 7.50e-01 of the largest value, allowed 1e-04"
    assert "seconds" not in row
    row = figures(bench, Problem("fp32", build, {"x": x}, lambda: np.full((4, 8), np.nan, np.float32)))
    assert row["failure"].startswith("wrong answer: error nan")


def test_without_a_reference_the_row_says_so(bench: Bench) -> None:
    alone = Bench(bench.device, seconds=0.001)
    row = kernels.softmax(alone, "fp32", 4, 16)
    assert "not" not in row.get("failure", "") and row["unchecked"] and row["seconds"]["a1400"]["median"] > 0


def test_kernels_are_named(bench: Bench) -> None:
    def build(graph: Graph) -> None:
        value = graph.input("x", (4, 8), np.dtype(np.float32))
        for _ in range(2):
            value = graph.op("softmax", value, axis=1)
        graph.output("y", value)

    made = ours.prepare(bench.device, build, {"x": np.ones((4, 8), np.float32)})
    assert made.kernels == [f"2 x {made.kernels[0][4:]}"] and "softmax/" in made.kernels[0]


def test_errors() -> None:
    a = np.array([1.0, -4.0], np.float32)
    assert error(a, a) == 0 and error(a + 1, a) == 0.25
    assert np.isnan(error(a[:1], a)) and np.isnan(error(np.array([np.nan, 0], np.float32), a))
    assert error(np.zeros(2, np.float16), np.zeros(2, np.float32)) == 0
