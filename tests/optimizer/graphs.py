"""Helpers: compare a graph before and after optimisation, and check that the result is well formed."""

from __future__ import annotations

from typing import Any

import numpy as np

from a1400.graph.graph import Graph, Node, Value, evaluate
from a1400.ops import OPS
from a1400.optimizer import Report, optimize

F32 = np.dtype(np.float32)


class Build:
    """A graph with short-hands; constants and feeds are drawn from one generator."""

    def __init__(self, seed: int = 0) -> None:
        self.rng, self.graph, self.feeds = np.random.default_rng(seed), Graph(), {}

    def input(self, *shape: int, dtype: Any = np.float32) -> Value:
        name = f"x{len(self.feeds)}"
        self.feeds[name] = self.array(*shape, dtype=dtype)
        return self.graph.input(name, shape, np.dtype(dtype))

    def array(self, *shape: int, dtype: Any = np.float32) -> np.ndarray:
        if np.dtype(dtype).kind in "iub":
            return self.rng.integers(0, 2 if np.dtype(dtype) == np.bool_ else 4, shape).astype(dtype)
        return self.rng.standard_normal(shape).astype(dtype)

    def const(self, *shape: int, dtype: Any = np.float32) -> Value:
        return self.graph.constant(self.array(*shape, dtype=dtype))

    def number(self, value: float, dtype: Any = np.float32) -> Value:
        return self.graph.constant(np.asarray(value, dtype))

    def op(self, op: str, *inputs: Value | None, **attrs: Any) -> Value:
        self.graph.source = (f"{op}_{len(self.graph.nodes)}",)
        return self.graph.op(op, *inputs, **attrs)

    def conv(self, x: Value, channels: int, kernel: int = 3, stride: int = 1, groups: int = 1, pad: int = -1) -> Value:
        """Channels-first convolution as a front-end emits it: between two transposes."""
        w = self.const(channels, x.shape[1] // groups, kernel, kernel)
        pads = (kernel // 2 if pad < 0 else pad,) * 2
        y = self.op(
            "conv", self.op("transpose", x, perm=(0, 2, 3, 1)), w,
            strides=(stride,) * 2, dilations=(1, 1), low=pads, high=pads, groups=groups,
        )  # fmt: skip
        return self.op("transpose", y, perm=(0, 3, 1, 2))

    def relu(self, x: Value) -> Value:
        return self.op("max", x, self.number(0))

    def batch_norm(self, x: Value) -> Value:
        c = x.shape[1]
        y = self.op("mul", x, self.const(1, c, 1, 1))
        return self.op("add", y, self.const(1, c, 1, 1))

    def finish(self, *outputs: Value) -> Graph:
        for i, v in enumerate(outputs):
            self.graph.output(f"y{i}", v)
        return self.graph

    def check(self, **options: Any) -> Report:
        """Optimise; outputs must stay within rounding."""
        return compare(self.graph, self.feeds, **options)


def well_formed(graph: Graph) -> None:
    """Operands come before their readers, shapes and dtypes are what the ops infer."""
    known = {id(v) for v in graph.inputs.values()}
    for node in graph.nodes:
        for v in node.inputs:
            assert v is None or v.data is not None or id(v) in known, f"{node} reads {v} before it exists"
        extras = int(node.attrs.get("prologue_inputs", 0)) + int(node.attrs.get("epilogue_inputs", 0))
        inputs = node.inputs[: len(node.inputs) - extras]
        attrs = dict(node.attrs)
        inferred = OPS[node.op].infer(attrs, *inputs)
        assert [s for s, _ in inferred] == [o.shape for o in node.outputs], node
        if "epilogue" in node.attrs:
            assert node.output.dtype == node.attrs["epilogue"].dtype
        elif "prologue" not in node.attrs:
            assert [d for _, d in inferred] == [o.dtype for o in node.outputs], node
        assert all(o.producer is node for o in node.outputs), node
        known.update(id(o) for o in node.outputs)
    assert all(v.data is not None or id(v) in known for v in graph.outputs.values())


def compare(graph: Graph, feeds: dict[str, np.ndarray], tolerance: float = 2e-5, **options: Any) -> Report:
    """Optimise ``graph`` and compare its outputs with those from before."""
    signature = {n: (v.dtype, v.shape) for n, v in graph.outputs.items()}
    before = evaluate(graph, feeds)
    report = optimize(graph, **options)
    well_formed(graph)
    assert {n: (v.dtype, v.shape) for n, v in graph.outputs.items()} == signature
    after = evaluate(graph, feeds)
    for name, expected in before.items():
        got = after[name]
        if expected.dtype.kind in "iub":
            np.testing.assert_array_equal(got, expected)
            continue
        wide = expected.astype(np.float64)
        finite = np.isfinite(wide)
        np.testing.assert_array_equal(np.isfinite(got.astype(np.float64)), finite)
        scale = np.abs(wide[finite]).max(initial=1.0)
        error = np.abs(got.astype(np.float64) - wide)[finite].max(initial=0.0)
        assert error <= tolerance * scale, f"{name}: error {error} at scale {scale}\n{report}"
    return report


def count(graph: Graph, op: str) -> int:
    """Nodes of a kind."""
    return sum(n.op == op for n in graph.nodes)


def find(graph: Graph, op: str) -> Node:
    """The only node of a kind."""
    found = [n for n in graph.nodes if n.op == op]
    assert len(found) == 1, f"{len(found)} nodes {op}"
    return found[0]
