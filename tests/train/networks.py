"""Small networks for the trainer's tests, and the digits that they learn."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from a1400.graph.tensor import Tensor
from a1400.train.network import FunctionNetwork, layer


@cache
def digits() -> tuple[np.ndarray, np.ndarray]:
    """scikit-learn's real digits: float32 [1797, 64] in [0, 1], and classes int64 [1797]."""
    from sklearn.datasets import load_digits

    found = load_digits()
    return (found.data / 16).astype(np.float32), found.target.astype(np.int64)


def _glorot(rng: np.random.Generator, *shape: int) -> np.ndarray:
    fan = int(np.prod(shape[:-1])) + shape[-1]
    return rng.uniform(-1, 1, shape).astype(np.float32) * np.float32(np.sqrt(6 / fan))


def mlp(hidden: int = 16, dropout: float = 0.0) -> FunctionNetwork:
    """64 - hidden - 10, softmax; layers called hidden and top."""
    rng = np.random.default_rng(0)

    def write(inputs: Any, parameters: Any, buffers: Any, training: bool, random: Any) -> Tensor:
        x = inputs["x"]
        with layer(x.graph, "hidden"):
            h = (x @ parameters["w1"] + parameters["b1"]).relu()
        if training and dropout:
            with layer(x.graph, "dropout"):
                h = random.dropout(h, dropout)
        with layer(x.graph, "top"):
            return (h @ parameters["w2"] + parameters["b2"]).softmax()

    parameters = {
        "w1": _glorot(rng, 64, hidden), "b1": np.zeros(hidden, np.float32), "w2": _glorot(rng, hidden, 10),
        "b2": np.zeros(10, np.float32),
    }  # fmt: skip
    return FunctionNetwork(write, {"x": ((None, 64), np.float32)}, parameters)


def onnx_cnn() -> onnx.ModelProto:
    """A convolution, batch normalisation, pooling, a product and a softmax over pictures [n, 1, 8, 8]."""
    rng = np.random.default_rng(1)
    weights = {
        "conv.w": rng.standard_normal((8, 1, 3, 3)).astype(np.float32) * 0.3, "conv.b": np.zeros(8, np.float32),
        "norm.scale": np.ones(8, np.float32), "norm.shift": np.zeros(8, np.float32),
        "norm.mean": np.zeros(8, np.float32), "norm.var": np.ones(8, np.float32),
        "top.w": rng.standard_normal((10, 128)).astype(np.float32) * 0.1, "top.b": np.zeros(10, np.float32),
        "factor": np.float32(0.5),
    }  # fmt: skip
    nodes = [
        helper.make_node("Conv", ["x", "conv.w", "conv.b"], ["c"], "conv", pads=[1, 1, 1, 1]),
        helper.make_node("BatchNormalization", ["c", *(n for n in weights if n.startswith("norm"))], ["n"], "norm"),
        helper.make_node("Relu", ["n"], ["r"], "relu"),
        helper.make_node("MaxPool", ["r"], ["p"], "pool", kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("Flatten", ["p"], ["f"], "flatten"),
        helper.make_node("Mul", ["f", "factor"], ["s"], "scaling"),
        helper.make_node("Transpose", ["top.w"], ["top.wt"], "turn", perm=[1, 0]),
        helper.make_node("MatMul", ["s", "top.wt"], ["m"], "top"),
        helper.make_node("Add", ["m", "top.b"], ["l"], "bias"),
        helper.make_node("Softmax", ["l"], ["y"], "softmax", axis=-1),
    ]
    graph = helper.make_graph(
        nodes, "digits", [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, ["n", 1, 8, 8])],
        [helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, ["n", 10])],
        [numpy_helper.from_array(np.asarray(a), n) for n, a in weights.items()],
    )  # fmt: skip
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
