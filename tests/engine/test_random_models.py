"""Random operators of ONNX: what they draw is distributed as it should be, and what a seed makes of it."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto as T
from onnx import helper

import a1400
from a1400.backends.base import DeviceInfo

N = 20_000


def load(
    info: DeviceInfo, nodes: list[onnx.NodeProto], inputs: dict[str, np.ndarray], outputs: list[str]
) -> a1400.Model:
    given = [
        helper.make_tensor_value_info(n, helper.np_dtype_to_tensor_dtype(a.dtype), a.shape) for n, a in inputs.items()
    ]
    graph = helper.make_graph(nodes, "random", given, [onnx.ValueInfoProto(name=n) for n in outputs])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 22)], ir_version=10)
    return a1400.load(model, device=info.id)


def node(op: str, inputs: list[str], output: str, **attrs: Any) -> onnx.NodeProto:
    return helper.make_node(op, inputs, [output], name=output, **attrs)


def test_distributions(device_info: DeviceInfo) -> None:
    x, p = np.zeros(N, np.float16), np.full(N, 0.3, np.float32)
    weights = np.log(np.array([[1.0, 2.0, 0.0, 5.0], [3.0, 1.0, 1.0, 0.0]], np.float32) + 1e-30)
    nodes = [
        node("RandomUniform", [], "u", shape=[N], low=-2.0, high=6.0),
        node("RandomNormal", [], "n", shape=[N], mean=3.0),
        node("RandomNormalLike", ["x"], "h", scale=2.0), node("RandomUniformLike", ["x"], "d", dtype=T.DOUBLE),
        node("Bernoulli", ["p"], "b", dtype=T.INT32),
        node("Multinomial", ["w"], "m", sample_size=N // 2, dtype=T.INT64),
    ]
    model = load(device_info, nodes, {"x": x, "p": p, "w": weights}, ["u", "n", "h", "d", "b", "m"])
    model.seed(5)  # so that the bounds below, five deviations wide, hold once and for all
    got = model.run({"x": x, "p": p, "w": weights})
    near = 5 / math.sqrt(N)
    u, n, h, d = (got[k].astype(np.float64) for k in "unhd")
    assert got["h"].dtype == np.float16 and got["d"].dtype == np.float64 and got["m"].dtype == np.int64
    assert u.min() >= -2 and u.max() < 6 and abs(u.mean() - 2) < 8 * near
    assert abs(np.quantile(d, [0.1, 0.5, 0.9]) - [0.1, 0.5, 0.9]).max() < near
    assert abs(n.mean() - 3) < near and abs(n.std() - 1) < near and abs(h.mean()) < 2 * near
    # quantiles of the normal distribution
    assert abs(np.quantile((n - 3), [0.1587, 0.5, 0.8413]) - [-1, 0, 1]).max() < 3 * near
    assert set(got["b"]) == {0, 1} and abs(got["b"].mean() - 0.3) < near
    share = np.stack([np.bincount(row, minlength=4) for row in got["m"]]) / (N // 2)
    assert abs(share - [[0.125, 0.25, 0, 0.625], [0.6, 0.2, 0.2, 0]]).max() < 2 * near
    assert abs(np.corrcoef(np.stack([u, n, d]))[np.triu_indices(3, 1)]).max() < near
    assert all(where.startswith("device") for where in model.explain().placement().values())


def test_seeds(device_info: DeviceInfo) -> None:
    nodes = [
        node("RandomNormal", [], "a", shape=[64], seed=3.0), node("RandomNormal", [], "b", shape=[64], seed=4.0),
        node("RandomNormal", [], "c", shape=[64]), node("RandomNormal", [], "e", shape=[64]),
    ]
    first, second = (load(device_info, nodes, {}, ["a", "b", "c", "e"]) for _ in range(2))
    one, other, again = first.run({}), second.run({}), first.run({})
    for name in "ab":  # a seed of their own: the same in every process, but not in every run
        np.testing.assert_array_equal(one[name], other[name])
        assert not (one[name] == again[name]).any()
    for name in "ce":
        assert not (one[name] == other[name]).any() and not (one[name] == again[name]).any()
    assert not (one["a"] == one["b"]).any() and not (one["c"] == one["e"]).any()
    first.seed(9)
    second.seed(9)
    one, other = first.run({}), second.run({})
    for name, array in one.items():
        np.testing.assert_array_equal(array, other[name])


def test_dropout_that_trains(device_info: DeviceInfo) -> None:
    x = np.arange(1, N + 1, dtype=np.float32)
    nodes = [
        helper.make_node("Constant", [], ["ratio"], value_float=0.25),
        helper.make_node("Constant", [], ["on"], value=onnx.numpy_helper.from_array(np.array(True))),
        helper.make_node("Dropout", ["x", "ratio", "on"], ["y", "mask"], seed=1),
    ]
    got = load(device_info, nodes, {"x": x}, ["y", "mask"]).run({"x": x})
    np.testing.assert_allclose(got["y"], np.where(got["mask"], x / 0.75, 0), rtol=1e-6)
    assert abs(got["mask"].mean() - 0.75) < 5 / math.sqrt(N)
