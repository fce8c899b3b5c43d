"""Random numbers: Philox itself, the same stream everywhere, and dropout that keeps no mask."""

from __future__ import annotations

import numpy as np
import pytest

from a1400.autodiff import gradients
from a1400.backends.base import Device
from a1400.errors import GraphError
from a1400.graph.graph import Graph, Value, evaluate
from a1400.graph.tensor import Tensor
from a1400.kernels.philox import philox4x32
from a1400.kernels.pointwise_cases import KNOWN
from a1400.ops import OPS
from a1400.train.random import STATE, RandomSource, initial_state, permutation
from tests.train.reference import on_device

STATE_OF_7 = initial_state(7 << 32 | 9)


@pytest.mark.parametrize(("given", "block"), KNOWN)
def test_known_answers(given: tuple[int, ...], block: tuple[int, ...]) -> None:
    assert tuple(int(w) for w in philox4x32(*(np.uint32(x) for x in given))) == block


def _source() -> tuple[Graph, RandomSource]:
    graph = Graph("random")
    return graph, RandomSource(Tensor(graph, graph.input(STATE, (3,), np.dtype(np.uint32))))


def _values(make: object, state: np.ndarray = STATE_OF_7) -> np.ndarray:
    graph, source = _source()
    graph.output("y", make(source).value)  # type: ignore[operator]
    return evaluate(graph, {STATE: state})["y"]


def test_bits_are_counted_by_element_stream_and_step() -> None:
    state = np.array([9, 7, 5], np.uint32)
    got = _values(lambda s: s.bits((3, 4), stream=11), state)
    want = philox4x32(np.arange(12).reshape(3, 4), *(np.uint32(x) for x in (11, 5, 0, 9, 7)))[0]
    np.testing.assert_array_equal(got, want)
    graph, source = _source()
    graph.output("next", source.advanced().value)
    assert evaluate(graph, {STATE: state})["next"].tolist() == [9, 7, 6]
    assert initial_state(7 << 32 | 9).tolist() == [9, 7, 0]


def test_streams_and_steps_differ_and_seeds_repeat() -> None:
    graph, source = _source()
    for i in range(2):
        graph.output(f"y{i}", source.uniform((1000,)).value)
    one, next_step = (evaluate(graph, {STATE: STATE_OF_7 + np.array([0, 0, k], np.uint32)}) for k in (0, 1))
    four = [*one.values(), *next_step.values()]
    for i in range(4):
        for j in range(i):
            assert abs(np.corrcoef(four[i], four[j])[0, 1]) < 0.12, (i, j)
    np.testing.assert_array_equal(evaluate(graph, {STATE: STATE_OF_7})["y0"], one["y0"])


def test_distributions() -> None:
    count = 40000
    uniform = _values(lambda s: s.uniform((count,), -1.0, 3.0))
    assert uniform.dtype == np.float32 and uniform.min() >= -1 and uniform.max() < 3
    assert abs(uniform.mean() - 1) < 0.03 and abs(uniform.var() - 16 / 12) < 0.03
    normal = np.sort(_values(lambda s: s.normal((count,), 1.0, 2.0)))
    assert abs(normal.mean() - 1) < 0.05 and abs(normal.std() - 2) < 0.05
    assert abs(np.mean(np.abs(normal - 1) < 2) - 0.6827) < 0.01  # one deviation
    cut = _values(lambda s: s.truncated_normal((count,), 0.0, 1.0))
    assert np.abs(cut).max() <= 2 and abs(cut.std() - 0.8796) < 0.01 and abs(cut.mean()) < 0.02
    assert abs(_values(lambda s: s.bernoulli((count,), 0.3)).mean() - 0.3) < 0.01
    order = permutation(100, 3, 1)
    assert sorted(order) == list(range(100)) and not np.array_equal(order, permutation(100, 3, 2))


def test_layers() -> None:
    x = np.full((8, 5, 5, 64), 2.0, np.float32)

    def made(layer: str, *arguments: float) -> np.ndarray:
        graph, source = _source()
        value = Tensor(graph, graph.input("x", x.shape, x.dtype))
        graph.output("y", getattr(source, layer)(value, *arguments).value)
        return evaluate(graph, {STATE: STATE_OF_7, "x": x})["y"]

    dropped = made("dropout", 0.25)
    assert set(np.unique(dropped)) == {np.float32(0), np.float32(2 / 0.75)} and abs((dropped == 0).mean() - 0.25) < 0.02
    channels = made("spatial_dropout", 0.5)
    assert (channels == channels[:, :1, :1]).all() and 0.3 < (channels == 0).mean() < 0.7
    alpha = made("alpha_dropout", 0.1)
    assert len(np.unique(alpha)) == 2
    assert abs(made("gaussian_dropout", 0.5).std() - 2) < 0.1 and abs(made("gaussian_noise", 0.5).std() - 0.5) < 0.02
    assert (made("dropout", 0.0) == x).all() and not made("dropout", 1.0).any()
    with pytest.raises(GraphError, match="rate"):
        made("dropout", 1.5)


def _dropout_graph(batch: int) -> Graph:
    """Two layers with dropout behind each, and the gradients of what goes in."""
    graph, source = _source()
    x, w = (Tensor(graph, graph.input(n, s, np.dtype(np.float32))) for n, s in (("x", (batch, 48)), ("w", (48, 40))))
    y = source.dropout((source.dropout(x.tanh(), 0.5) @ w).relu(), 0.25)
    graph.output("y", y.value)
    graph.output("uniform", source.uniform((batch, 3)).value)
    for name, value in zip(("dx", "dw"), gradients(graph, (y * y).sum().value, [x.value, w.value])):
        assert value is not None
        graph.output(name, value)
    return graph


def test_the_same_numbers_on_every_device_and_no_mask_in_memory(device: Device) -> None:
    rng = np.random.default_rng(0)
    feeds = {
        STATE: STATE_OF_7, "x": rng.standard_normal((33, 48)).astype(np.float32),
        "w": rng.standard_normal((48, 40)).astype(np.float32) / 7,
    }  # fmt: skip
    want = evaluate(_dropout_graph(33), feeds)
    graph = _dropout_graph(33)
    got, _ = on_device(graph, feeds, device)
    np.testing.assert_array_equal(got["uniform"], want["uniform"])
    np.testing.assert_array_equal(got["y"] == 0, want["y"] == 0)
    for name in ("y", "dx", "dw"):
        np.testing.assert_allclose(got[name], want[name], rtol=2e-5, atol=2e-5)
    # whatever is made of numbers alone is made where it is read
    for node in graph.nodes:
        data = [v for v in node.inputs if v is not None and v.size > 1 and not _is_iota(v)]
        assert data or OPS[node.op].view or node.op == "iota" or node.output is graph.outputs["uniform"], node


def _is_iota(value: Value) -> bool:
    while value.producer is not None and OPS[value.producer.op].view and value.producer.inputs[0] is not None:
        value = value.producer.inputs[0]
    return value.producer is not None and value.producer.op == "iota"
