"""Models whose shapes depend on what tensors hold run as chains of plans."""

import threading

import numpy as np
import onnx
import pytest
from onnx import TensorProto as T
from onnx import helper

from a1400.engine import chain
from a1400.engine.chain import PART_LIMIT
from a1400.engine.model import Model
from a1400.frontends.onnx import load_onnx


def _model(device, nodes, inputs, outputs, constants=()):
    graph = helper.make_graph(
        nodes, "chain", [helper.make_tensor_value_info(*i) for i in inputs],
        [helper.make_tensor_value_info(name, kind, None) for name, kind in outputs],
        [onnx.numpy_helper.from_array(array, name) for name, array in constants],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    return Model(load_onnx(model), device)


@pytest.fixture
def top(device):
    """The first of exp(x), falling, as many as the largest x says: y adds that largest x."""
    nodes = [
        helper.make_node("ReduceMax", ["x"], ["largest"], keepdims=1),
        helper.make_node("Cast", ["largest"], ["k"], to=T.INT64), helper.make_node("Exp", ["x"], ["e"]),
        helper.make_node("TopK", ["e", "k"], ["v", "i"]), helper.make_node("Add", ["v", "largest"], ["y"]),
    ]  # fmt: skip
    return _model(device, nodes, [("x", T.FLOAT, [100])], [("y", T.FLOAT)])


def _feed(largest):
    x = np.random.default_rng(largest).random(100, np.float32)
    x[50] = largest + 0.5
    return x, np.sort(np.exp(x))[::-1][:largest] + x.max()


def test_value_decides_shape(top):
    top.prepare({"x": (100,)})
    for largest in (3, 5, 3):
        x, expected = _feed(largest)
        np.testing.assert_allclose(top(x), expected, rtol=1e-5)
    facts = top.explain().to_dict()
    assert facts["parts"] == {"launches": facts["parts"]["launches"], "kept": 3, "limit": PART_LIMIT}
    assert len(facts["parts"]["launches"]) == 2 and facts["launches"] == top.launch_count()
    assert facts["placement"]["TopK_3"]["where"].startswith("device")
    assert "3 plans are kept, and 32 at most" in str(top.explain()) and top.memory().arena > 0


def test_parts_are_bounded(top, monkeypatch):
    monkeypatch.setattr(chain, "SMALL_BYTES", 0)  # the plans here are so small that many more would be kept
    for largest in range(1, PART_LIMIT + 4):
        x, expected = _feed(largest)
        np.testing.assert_allclose(top(x), expected, rtol=1e-5)
    assert top.explain().parts()["kept"] == PART_LIMIT
    x, expected = _feed(1)  # its last part is gone
    np.testing.assert_allclose(top(x), expected, rtol=1e-5)


def test_turns_of_a_loop_share_a_plan(device, monkeypatch):
    """A decoder of 40 turns: rows looked up by what the turn before gave, noted at the turn's number."""
    body = helper.make_graph(
        [
            helper.make_node("Gather", ["table", "token"], ["row"]), helper.make_node("Add", ["row", "a"], ["b"]),
            helper.make_node("ArgMax", ["b"], ["next"], axis=1, keepdims=0),
            helper.make_node("Unsqueeze", ["i", "first"], ["place"]),
            helper.make_node("ScatterElements", ["notes", "place", "next"], ["more"]),
            helper.make_node("ReduceSum", ["b"], ["s"], keepdims=0), helper.make_node("Less", ["s", "most"], ["go"]),
        ],
        "body",
        [
            helper.make_tensor_value_info(*i) for i in (
                ("i", T.INT64, []), ("c", T.BOOL, []), ("token", T.INT64, [1]), ("a", T.FLOAT, [1, 32]),
                ("notes", T.INT64, [64]),
            )
        ],
        [
            helper.make_tensor_value_info("go", T.BOOL, []), helper.make_tensor_value_info("next", T.INT64, [1]),
            helper.make_tensor_value_info("b", T.FLOAT, [1, 32]), helper.make_tensor_value_info("more", T.INT64, [64]),
        ],
    )  # fmt: skip
    table = np.random.default_rng(0).uniform(0, 1, (32, 32)).astype(np.float32)
    model = _model(
        device, [helper.make_node("Loop", ["", "", "start", "x", "none"], ["y", "sum", "notes"], body=body)],
        [("start", T.INT64, [1]), ("x", T.FLOAT, [1, 32]), ("most", T.FLOAT, [])],
        [("y", T.INT64), ("sum", T.FLOAT), ("notes", T.INT64)],
        [("table", table), ("first", np.array([0])), ("none", np.zeros(64, np.int64))],
    )  # fmt: skip
    x, token, turns = np.zeros((1, 32), np.float32), np.array([2]), 40
    feeds = {"start": token, "x": x, "most": np.float32(0)}
    notes = np.zeros(64, np.int64)
    for i in range(turns):
        x = x + table[token]
        token = notes[i : i + 1] = x.argmax(1)
        if i == turns - 2:
            feeds["most"] = np.float32(x.sum() + 0.01)
    for _ in range(2):
        found = model.run(feeds)
        np.testing.assert_allclose(found["sum"], x, rtol=1e-5)
        np.testing.assert_array_equal(found["notes"], notes)
        monkeypatch.setattr(Model, "_plan", None)  # the second run makes no plan
    facts = model.explain().to_dict()["parts"]
    assert len(facts["launches"]) == turns + 1 and facts["kept"] <= 4
    assert 0 < model.memory().contexts <= facts["kept"]
    timed = model.time_launches(feeds)
    assert len(timed) == sum(facts["launches"]) and all(seconds >= 0 for _, seconds in timed)
    profile = model.profile(feeds, runs=1, warmup=0)
    assert [launch.index for launch in profile.launches] == list(range(len(timed)))
    assert {launch.kernel for launch in profile.launches} == {kernel for kernel, _ in timed}
    ends = [launch.end for launch in profile.launches]
    assert ends == sorted(ends) and ends[-1] <= profile.moments.end


def test_outputs_may_stay_on_the_device_and_threads_may_share(top):
    x, expected = _feed(4)
    kept = top.run({"x": x}, outputs="device")["y"]
    assert kept.device == top.device.id
    np.testing.assert_allclose(kept.numpy(), expected, rtol=1e-5)
    results = {}
    threads = [
        threading.Thread(target=lambda n=n: results.update({n: top(_feed(n)[0])})) for n in (2, 4, 6, 8)
    ]  # fmt: skip
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for n, found in results.items():
        np.testing.assert_allclose(found, _feed(n)[1], rtol=1e-5)
    assert len(results) == 4


def test_loop_goes_on_while_a_tensor_says_so(device):
    """The loop doubles until the sum passes 1000; each turn's condition is a value read."""
    body = helper.make_graph(
        [
            helper.make_node("Add", ["a", "a"], ["b"]), helper.make_node("ReduceSum", ["b"], ["s"], keepdims=0),
            helper.make_node("Less", ["s", "most"], ["go"]), helper.make_node("Identity", ["b"], ["seen"]),
        ],
        "body",
        [helper.make_tensor_value_info(*i) for i in (("i", T.INT64, []), ("c", T.BOOL, []), ("a", T.FLOAT, [20]))],
        [
            helper.make_tensor_value_info("go", T.BOOL, []), helper.make_tensor_value_info("b", T.FLOAT, [20]),
            helper.make_tensor_value_info("seen", T.FLOAT, [20]),
        ],
    )  # fmt: skip
    nodes = [helper.make_node("Loop", ["", "", "x"], ["y", "all"], body=body)]
    model = _model(
        device, nodes, [("x", T.FLOAT, [20])], [("y", T.FLOAT), ("all", T.FLOAT)], [("most", np.float32(1000))]
    )
    for start, turns in ((10.0, 3), (1.0, 6)):  # the parts of the second run begin as those of the first
        last, seen = model(np.full(20, start, np.float32))
        np.testing.assert_array_equal(last, np.full(20, start * 2**turns, np.float32))
        np.testing.assert_array_equal(seen[:, 0], start * 2.0 ** np.arange(1, turns + 1))


def test_branches_of_different_shapes(device):
    then = helper.make_graph(
        [helper.make_node("NonZero", ["x"], ["p"])], "then", [], [helper.make_tensor_value_info("p", T.INT64, None)]
    )
    other = helper.make_graph(
        [helper.make_node("Cast", ["x"], ["q"], to=T.INT64)], "else", [],
        [helper.make_tensor_value_info("q", T.INT64, None)],
    )  # fmt: skip
    nodes = [
        helper.make_node("ReduceSum", ["x"], ["s"], keepdims=0), helper.make_node("Greater", ["s", "zero"], ["c"]),
        helper.make_node("If", ["c"], ["y"], then_branch=then, else_branch=other),
    ]  # fmt: skip
    model = _model(device, nodes, [("x", T.FLOAT, [5, 7])], [("y", T.INT64)], [("zero", np.float32(0))])
    x = np.random.default_rng(0).integers(0, 2, (5, 7)).astype(np.float32)
    np.testing.assert_array_equal(model(x), np.array(np.nonzero(x)))
    np.testing.assert_array_equal(model(-x), -x)


def test_loop_of_as_many_turns_as_a_tensor_holds_even_none(device):
    body = helper.make_graph(
        [helper.make_node("Add", ["a", "x"], ["b"]), helper.make_node("Identity", ["b"], ["seen"])], "body",
        [helper.make_tensor_value_info(*i) for i in (("i", T.INT64, []), ("c", T.BOOL, []), ("a", T.FLOAT, [20]))],
        [
            helper.make_tensor_value_info("c", T.BOOL, []), helper.make_tensor_value_info("b", T.FLOAT, [20]),
            helper.make_tensor_value_info("seen", T.FLOAT, [20]),
        ],
    )  # fmt: skip
    nodes = [
        helper.make_node("ReduceMax", ["x"], ["most"], keepdims=0),
        helper.make_node("Cast", ["most"], ["n"], to=T.INT64),
        helper.make_node("Loop", ["n", "", "x"], ["y", "all"], body=body),
    ]  # fmt: skip
    model = _model(device, nodes, [("x", T.FLOAT, [20])], [("y", T.FLOAT), ("all", T.FLOAT)])
    for turns in (2, 0):
        last, seen = model(np.full(20, turns, np.float32))
        assert seen.shape == (turns, 20)
        np.testing.assert_array_equal(last, np.full(20, turns * (turns + 1), np.float32))
