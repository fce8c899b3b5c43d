"""Every op's gradient rule, and the reverse walk itself."""

from __future__ import annotations

import numpy as np
import pytest

from a1400.autodiff import gradients
from a1400.backends.base import Device
from a1400.errors import GradientError, GraphError
from a1400.graph import Graph
from a1400.graph.graph import evaluate
from a1400.graph.tensor import Tensor
from a1400.ops import OPS
from tests.autodiff import cases_attention, cases_convolution, cases_recurrent  # noqa: F401 - they add to CASES
from tests.autodiff.cases import CASES
from tests.autodiff.check import Case, build, check_device, check_reference

#: ops that have none: bits are no numbers, and coupled probabilities belong to classifiers that are not trained so
WITHOUT = {"bitcast", "pairwise_coupling"}
#: cases that are checked in float64 on each device, too
DOUBLE = {
    "batch_norm", "group_norm_plain", "instance_norm", "channel_variance", "layer_norm_residual", "resize_linear",
    "resize_nearest", "grid_sample_cubic_reflection", "grid_sample_linear_zeros", "lstm_peepholes", "gru_reset_before",
}  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=str)
def test_reference(case: Case) -> None:
    check_reference(case)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_device(case: Case, device: Device) -> None:
    check_device(case, device)


@pytest.mark.parametrize("case", [c for c in CASES if c.name in DOUBLE], ids=str)
def test_device_in_double_precision(case: Case, device: Device) -> None:
    if not device.info.fp64:
        pytest.skip(f"{device.info.name} has no double precision")
    check_device(case, device, np.float64, 1e-9)


def test_every_op_has_a_rule_and_a_case() -> None:
    tested = {node.op for case in CASES for node in build(case, np.float32).graph.nodes}  # gradients' nodes, too
    made_by_passes = {"pointwise", "conv_winograd", "matmul_joined"}
    made_by_rules = {n for n in OPS if n.endswith("_gradient")}  # tests/autodiff/test_second.py
    without = {n for n, d in OPS.items() if d.gradient is None and not d.stepwise} - made_by_passes - made_by_rules
    assert without == WITHOUT
    differentiable = {name for name, d in OPS.items() if d.gradient is not None}
    assert differentiable <= tested, sorted(differentiable - tested)


def _graph() -> tuple[Graph, Tensor]:
    g = Graph("g")
    return g, Tensor(g, g.input("x", (3,), np.dtype(np.float32)))


def test_a_value_that_does_not_matter_has_none() -> None:
    g, x = _graph()
    z = Tensor(g, g.input("z", (3,), np.dtype(np.float32)))
    loss = (x * 2.0 + z.op("floor")).sum()
    dx, dz = gradients(g, loss.value, [x.value, z.value])
    assert dx is not None and dz is None


def test_of_itself_it_is_one() -> None:
    g = Graph("g")
    x = g.input("x", (), np.dtype(np.float32))
    (dx,) = gradients(g, x, [x])
    assert dx is not None and dx.data == 1


def test_intermediate_values_have_gradients_too() -> None:
    g, x = _graph()
    middle = x * 3.0
    (d,) = gradients(g, (middle * middle).sum().value, [middle.value])
    assert d is not None
    g.output("d", d)
    given = np.array([1, 2, 3], np.float32)
    np.testing.assert_allclose(evaluate(g, {"x": given})["d"], 6 * given)


def test_an_op_without_a_rule_is_named() -> None:
    g = Graph("g")
    x = Tensor(g, g.input("x", (1, 2, 2, 1), np.dtype(np.float32)))
    g.source = ("/net/unpool",)
    window = {"kernel": (2, 2), "strides": (2, 2), "dilations": (1, 1), "low": (0, 0), "high": (0, 0)}
    y = x.op("pool_gradient", None, None, kind="average", size=(4, 4), out=(2, 2), **window)
    with pytest.raises(GradientError, match=r"/net/unpool.*pool_gradient"):
        gradients(g, y.sum().value, [x.value])


def test_bits_have_no_gradient() -> None:
    """There and back is the identity: silently nothing would be wrong."""
    g, x = _graph()
    back = x.op("bitcast", to=np.dtype(np.int32)).op("bitcast", to=x.dtype)
    with pytest.raises(GradientError, match="'bitcast' has no gradient"):
        gradients(g, back.sum().value, [x.value])


def test_steps_and_whole_numbers_have_none() -> None:
    """Zero is right there: not an error, but nothing to train with either."""
    g, x = _graph()
    for y in (
        x.op("round"), (x > 0.5).cast(x.dtype), x.cast(np.int32).cast(x.dtype), x.argmax().cast(x.dtype).reshape((1,)),
    ):  # fmt: skip
        assert gradients(g, y.sum().value, [x.value]) == [None]


def test_mistakes_are_said() -> None:
    g, x = _graph()
    whole = Tensor(g, g.input("i", (3,), np.dtype(np.int32)))
    with pytest.raises(GraphError, match="scalar"):
        gradients(g, x.value, [x.value])
    with pytest.raises(GraphError, match="floating"):
        gradients(g, x.sum().value, [whole.value])
    with pytest.raises(GraphError, match="seed"):
        gradients(g, x.value, [x.value], g.constant(np.ones(2, np.float32)))
    _, y = _graph()
    with pytest.raises(GraphError, match="different graphs"):
        _ = x + y


def test_nodes_of_the_gradient_name_the_models_nodes() -> None:
    g, x = _graph()
    g.source = ("/net/square",)
    y = x * x
    g.source = ()
    loss = y.sum()
    before = len(g.nodes)
    gradients(g, loss.value, [x.value])
    assert {"/net/square"} <= {s for n in g.nodes[before:] for s in n.sources}
    assert g.source == ()


def test_the_same_graph_gives_the_same_nodes() -> None:
    def text() -> str:
        g, x = _graph()
        gradients(g, (x.exp() * x + x).sum().value, [x.value])
        return str(g)

    assert text() == text()
