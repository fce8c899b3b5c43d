"""Functions of one tensor: their derivative is computed beside them, and the backward pass reads nothing else."""

from __future__ import annotations

import math

import numpy as np

from a1400.autodiff import gradients
from a1400.autodiff.local import local_functions
from a1400.graph import Graph
from a1400.graph.graph import Value, evaluate
from a1400.graph.tensor import Tensor
from a1400.optimizer import optimize

F64 = np.dtype(np.float64)


def _gelu(x: Tensor) -> Tensor:
    return (x * 0.5) * (1.0 + (x * math.sqrt(0.5)).op("erf"))


def _found(graph: Graph, *apart: Value) -> list[tuple[Value, Value]]:
    values = {id(v) for v in (*graph.inputs.values(), *(o for n in graph.nodes for o in n.outputs))}
    return [(f.source, f.result) for f in local_functions(graph.nodes, values, {id(v) for v in apart})]


def test_gelu_between_products() -> None:
    rng = np.random.default_rng(3)
    g = Graph("g")
    x, w, v = (Tensor(g, g.input(n, s, F64)) for n, s in (("x", (5, 6)), ("w", (6, 7)), ("v", (7, 3))))
    h = x @ w
    y = _gelu(h)
    loss = (y @ v).sum()
    assert _found(g) == [(h.value, y.value)]
    (dw,) = gradients(g, loss.value, [w.value])
    assert dw is not None
    g.output("dw", dw)
    feeds = {n: rng.standard_normal(i.shape) for n, i in g.inputs.items()}
    before = feeds["x"] @ feeds["w"]
    slope = 0.5 * (1 + np.vectorize(math.erf)(before * math.sqrt(0.5)))
    slope += before * np.exp(-before * before / 2) / math.sqrt(2 * math.pi)
    want = feeds["x"].T @ (np.ones((5, 3)) @ feeds["v"].T * slope)
    np.testing.assert_allclose(evaluate(g, feeds)["dw"], want, rtol=1e-12)
    g.output("loss", loss.value)
    optimize(g)
    np.testing.assert_allclose(evaluate(g, feeds)["dw"], want, rtol=1e-12)
    # one node makes the function and its derivative, and what comes in is multiplied in the product's epilogue
    pointwise = [n for n in g.nodes if n.op == "pointwise"]
    assert [len(n.outputs) for n in pointwise] == [2]
    times = next(n for n in g.nodes if n.op == "matmul" and "epilogue" in n.attrs)
    assert times.attrs["epilogue"].op == "mul" and times.attrs["epilogue_inputs"] == 1


def test_what_is_no_function_of_one_tensor() -> None:
    g = Graph("g")
    x, z = (Tensor(g, g.input(n, (4, 4), F64)) for n in "xz")
    silu = x * x.op("sigmoid")
    assert _found(g) == [(x.value, silu.value)]
    assert _found(g, silu.value.producer.inputs[1]) == []  # type: ignore[union-attr, arg-type]
    _ = z * z.op("sigmoid") + z.op("tanh") @ z  # the sigmoid's product, and tanh, which another op reads
    assert _found(g) == [(x.value, silu.value)]
    _ = z.op("exp") * 2.0 + (x + z)  # a single way, and two tensors
    assert _found(g) == [(x.value, silu.value)]


def test_a_step_inside_of_a_function() -> None:
    """ELU: the comparison passes nothing on, both branches do."""
    g = Graph("g")
    x = Tensor(g, g.input("x", (6,), F64))
    y = (x > 0.0).where(x, x.op("exp") - 1.0)
    assert _found(g) == [(x.value, y.value)]
    (dx,) = gradients(g, (y * y).sum().value, [x.value])
    assert dx is not None
    g.output("dx", dx)
    feed = np.array([-2.0, -0.5, -0.1, 0.1, 0.5, 2.0])
    low = np.exp(np.minimum(feed, 0))
    want = 2 * np.where(feed > 0, feed, low - 1) * np.where(feed > 0, 1, low)
    np.testing.assert_allclose(evaluate(g, {"x": feed})["dx"], want, rtol=1e-12)
