"""Gradients through ONNX's control flow: a loop is unrolled, a branch that data choose is a selection."""

from __future__ import annotations

import numpy as np
from onnx import helper

from a1400.autodiff import gradients
from a1400.frontends.onnx.model import load_onnx
from a1400.graph.graph import evaluate
from tests.frontends.building import model_of, value_info


def test_through_a_loop_and_a_branch() -> None:
    body = helper.make_graph(
        [helper.make_node("Identity", ["going"], ["on"]), helper.make_node("Mul", ["state", "x"], ["next"])], "body",
        [value_info("i", np.int64, ()), value_info("going", np.bool_, ()), value_info("state")],
        [value_info("on", np.bool_, ()), value_info("next")],
    )  # fmt: skip
    branches = {
        f"{name}_branch": helper.make_graph([helper.make_node(op, ["power"], [name])], name, [], [value_info(name)])
        for name, op in (("then", "Exp"), ("else", "Neg"))
    }
    nodes = [
        helper.make_node("Loop", ["trips", "", "x"], ["power"], body=body),
        helper.make_node("ReduceSum", ["x"], ["sum"], keepdims=0),
        helper.make_node("Greater", ["sum", "zero"], ["positive"]),
        helper.make_node("If", ["positive"], ["y"], **branches),
    ]
    x = np.array([0.5, -1.2, 0.9], np.float32)
    constants = {"trips": np.array(2, np.int64), "zero": np.array(0, np.float32)}
    graph = load_onnx(model_of(nodes, {"x": x}, constants, ["y"]).SerializeToString()).graph({"x": x.shape}, {})
    seed = graph.input("seed", x.shape, x.dtype)
    (d,) = gradients(graph, graph.outputs["y"], [graph.inputs["x"]], seed)
    assert d is not None
    graph.output("d", d)
    for sign in (1, -1):
        given = sign * x
        want = 3 * given**2 * (np.exp(given**3) if given.sum() > 0 else -1)
        got = evaluate(graph, {"x": given, "seed": np.ones_like(x)})["d"]
        np.testing.assert_allclose(got, want, rtol=1e-5)
