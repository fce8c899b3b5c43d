"""Measure a device's peaks: multiplications with additions in registers, matrix products, and sums of large arrays."""

from __future__ import annotations

import time

import numpy as np

from a1400.backends.base import Device
from a1400.engine.executor import DeviceWeights, ExecutionContext
from a1400.engine.plan import make_plan
from a1400.engine.weight_store import WeightStore
from a1400.errors import A1400Error
from a1400.graph.graph import Graph, Value
from a1400.kernels import expr as expressions
from a1400.kernels.cost import cost, expression_flops
from a1400.optimizer import optimize

_CHAINS, _STEPS = 12, 24  # independent chains hide an addition's latency: 12 keep two units of four cycles busy
_ENOUGH = 2e-3  # seconds that a launch should take, that its start may not count
_REPEATS, _SECONDS = 5, 0.15  # runs of a launch: at least so many, and for so long
_SIZES = tuple(1 << power for power in (18, 20, 22, 24, 26, 28))  # bytes moved: from a core's cache to memory
_READS = 7


def calibrate(device: Device) -> tuple[dict[str, float], tuple[tuple[int, float], ...]]:
    """Operations per second by unit, and (bytes moved, bytes per second) by size."""
    flops = {"f32": max(_chains(device, np.float32), _product(device, np.float32))}
    if device.info.fp64:
        flops["f64"] = _chains(device, np.float64)
    if device.info.kind == "gpu":
        for unit in ("f16", "bf16", "tf32"):
            flops[unit] = max(_product(device, np.float32, unit), flops["f32"])
    return flops, tuple((size, _bandwidth(device, size)) for size in _SIZES if 4 * size <= device.info.memory)


def _best(device: Device, graph: Graph, precision: str = "fp32") -> tuple[float, float, float]:
    """Seconds, operations and bytes of the graph's longest launch, the fastest of several runs.

    Runs go on for a while only where the launch is long enough to count.
    """
    report = optimize(graph, info=device.info, precision=precision)
    allow = frozenset({"tf32"}) if precision == "tf32" else frozenset[str]()
    plan = make_plan(graph, report, device, WeightStore(), None, allow)
    context = ExecutionContext(plan, device, DeviceWeights(device))
    rng = np.random.default_rng(0)
    feeds = {name: rng.uniform(0.5, 1, v.shape).astype(v.dtype) for name, v in graph.inputs.items()}
    runs: list[list[float]] = []
    deadline = time.perf_counter() + _SECONDS
    while len(runs) < _REPEATS or (time.perf_counter() < deadline and max(runs[0]) >= _ENOUGH / 4):
        runs.append(context.time_launches(feeds))
    best = [min(column) for column in zip(*runs)]
    longest = max(range(len(best)), key=lambda i: best[i])
    least = cost(plan.launches[longest].call)
    return max(best[longest], 1e-9), least.flops, least.bytes


def _chains(device: Device, dtype: type) -> float:
    """Operations per second of ``x = x * a + b`` in many independent chains, all in registers."""
    kind = np.dtype(dtype)
    x = expressions.arg(0, kind)
    a, b = expressions.const(0.75, kind), expressions.const(0.25, kind)
    total = None
    for chain in range(_CHAINS):
        value = expressions.apply("add", x, expressions.const(chain / 16, kind))
        for _ in range(_STEPS):
            value = expressions.apply("add", expressions.apply("mul", value, a), b)
        total = value if total is None else expressions.apply("add", total, value)
    assert total is not None
    count, rate = 1 << 20, 0.0
    while True:
        graph = Graph("chains")
        graph.output("y", graph.op("pointwise", graph.input("x", (count,), kind), expr=total))
        seconds = _best(device, graph)[0]
        rate = max(rate, count * expression_flops(total) / seconds)
        if seconds >= _ENOUGH or count >= 1 << 25:
            return rate
        count *= 4


def _product(device: Device, dtype: type, unit: str = "") -> float:
    """Operations per second of a matrix product with a constant right side; 0 where it cannot be had."""
    size, rate = 768, 0.0
    precision = {"f16": "fp16", "bf16": "bf16", "tf32": "tf32"}.get(unit, "fp32")
    while True:
        graph = Graph("product")
        left: Value = graph.input("x", (size, size), np.dtype(dtype))
        right = graph.constant(np.full((size, size), 0.01, dtype))
        graph.output("y", graph.op("matmul", left, right))
        try:
            seconds, flops, _ = _best(device, graph, precision)
        except A1400Error:
            return rate
        rate = max(rate, flops / seconds)
        if seconds >= _ENOUGH or size >= 6144:
            return rate
        size *= 2


def _bandwidth(device: Device, size: int) -> float:
    """Bytes per second of a launch that moves ``size`` bytes: a copy, or the sum of several arrays."""
    rates = []
    for reads in (1, _READS):
        graph = Graph("bandwidth")
        count = max(size // (4 * (reads + 1)), 16)
        parts = [graph.input(f"x{i}", (count,), np.dtype(np.float32)) for i in range(reads)]
        total = graph.op("neg", parts[0])
        for part in parts[1:]:
            total = graph.op("add", total, part)
        graph.output("y", total)
        seconds, _, nbytes = _best(device, graph)
        rates.append(nbytes / seconds)
    return max(rates)
