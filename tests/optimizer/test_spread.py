"""Constants that are one element, seen many times: they take one element's memory, or none."""

from __future__ import annotations

import numpy as np

from a1400.autodiff import gradients
from a1400.backends.base import Device
from a1400.engine.program import Program, States
from a1400.graph.graph import Graph, evaluate
from a1400.graph.tensor import Tensor
from a1400.optimizer.scalars import uniform


def test_a_spread_constant_is_uniform_whatever_its_size() -> None:
    graph = Graph()
    many = Tensor(graph, graph.constant(2.5, np.dtype("f4"))).expand((300, 400))
    assert uniform(many.value) == 2.5
    assert uniform(graph.constant(np.full((300, 400), 2.5, "f4"))) is None  # too large to be looked through


def test_the_derivative_of_a_large_gelu_and_a_gathers_gradient_keep_no_constants(device: Device) -> None:
    graph = Graph()
    table = Tensor(graph, graph.input("table", (300, 256), np.dtype("f4")))
    places = Tensor(graph, graph.input("places", (64,), np.dtype("i4")))
    x = table.op("gather", places, axis=0)
    y = x * 0.5 * (1.0 + (x * 0.5**0.5).op("erf"))
    graph.output("y", y.value)
    (found,) = gradients(graph, y.sum().value, [table.value])
    assert found is not None
    graph.output("d", found)
    numbers = np.random.default_rng(0)
    feeds = {"table": numbers.normal(size=(300, 256)).astype("f"), "places": numbers.integers(0, 300, 64).astype("i4")}
    want = evaluate(graph, feeds)
    program = Program(graph, device, States(device))
    got = program.run(feeds)
    for name, array in want.items():
        np.testing.assert_allclose(got[name], array, rtol=2e-5, atol=2e-5, err_msg=name)
    assert program.memory().weights < 1024
