"""Small ONNX models for tests of the public model."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper


def mlp(path: Path, hidden: int = 64) -> Path:
    """``y = softmax(relu(x W + b) V)`` with a dynamic batch: x[batch, 32] -> y[batch, 10]."""
    rng = np.random.default_rng(3)

    def weight(name: str, *shape: int) -> onnx.TensorProto:
        return numpy_helper.from_array(rng.standard_normal(shape).astype(np.float32) * 0.2, name)

    nodes = [
        helper.make_node("MatMul", ["x", "W"], ["h0"], name="first"),
        helper.make_node("Add", ["h0", "b"], ["h1"], name="bias"),
        helper.make_node("Relu", ["h1"], ["h2"], name="relu"),
        helper.make_node("MatMul", ["h2", "V"], ["h3"], name="second"),
        helper.make_node("Softmax", ["h3"], ["y"], name="soft", axis=-1),
    ]
    graph = helper.make_graph(
        nodes, "mlp",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 32])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 10])],
        [weight("W", 32, hidden), weight("b", hidden), weight("V", hidden, 10)],
    )  # fmt: skip
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path)
    return path


def shaped_by_value(path: Path) -> Path:
    """``y = reshape(x, shape)``, the shape being an input."""
    graph = helper.make_graph(
        [
            helper.make_node("Reshape", ["x", "shape"], ["r"], name="reshape"),
            helper.make_node("Neg", ["r"], ["y"], name="neg"),
        ],
        "shaped",
        [
            helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n"]),
            helper.make_tensor_value_info("shape", TensorProto.INT64, [2]),
        ],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["a", "b"])],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path)
    return path


def decoder_step(path: Path, dtype: int = TensorProto.FLOAT) -> Path:
    """One step of something with a state: ``state = cache / 2 + x``, ``y = softmax(state)``; all [rows, 8]."""
    half = helper.make_tensor("half", dtype, [], [0.5])
    graph = helper.make_graph(
        [
            helper.make_node("Mul", ["cache", "half"], ["decayed"], name="decay"),
            helper.make_node("Add", ["decayed", "x"], ["state"], name="step"),
            helper.make_node("Softmax", ["state"], ["y"], name="soft", axis=-1),
        ],
        "decoder_step",
        [helper.make_tensor_value_info(n, dtype, ["rows", 8]) for n in ("x", "cache")],
        [helper.make_tensor_value_info(n, dtype, ["rows", 8]) for n in ("y", "state")],
        [half],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path)
    return path


def recurrent(path: Path) -> Path:
    """An LSTM of 20 units both ways over x[steps, 1, 100]; y[steps, 2, 1, 20]."""
    rng = np.random.default_rng(4)
    weights = {"W": (2, 80, 100), "R": (2, 80, 20), "B": (2, 160)}
    graph = helper.make_graph(
        [helper.make_node("LSTM", ["x", "W", "R", "B"], ["y"], hidden_size=20, direction="bidirectional")], "recurrent",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["steps", 1, 100])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["steps", 2, 1, 20])],
        [numpy_helper.from_array((rng.standard_normal(s) * 0.2).astype(np.float32), n) for n, s in weights.items()],
    )  # fmt: skip
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path
