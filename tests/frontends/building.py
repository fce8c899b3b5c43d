"""Small ONNX models, and the comparison of the traced graph with ONNX Runtime (or ONNX's own reference)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from onnx import helper

from a1400.frontends.onnx import NeedsValue, load_onnx
from a1400.graph.extract import extract
from a1400.graph.graph import Graph, Value, evaluate

Arrays = dict[str, np.ndarray]


def f32(*shape: int, seed: int = 0, low: float = -2.0, high: float = 2.0) -> np.ndarray:
    """Random floats."""
    return np.random.default_rng(seed + sum(shape)).uniform(low, high, shape).astype(np.float32)


def ints(*shape: int, seed: int = 0, low: int = -5, high: int = 6, dtype: Any = np.int64) -> np.ndarray:
    """Random integers in [low, high)."""
    return np.random.default_rng(seed + sum(shape)).integers(low, high, shape).astype(dtype)


def bools(*shape: int, seed: int = 0) -> np.ndarray:
    """Random truth values."""
    return np.random.default_rng(seed + sum(shape)).random(shape) < 0.5


def i64(*values: int) -> np.ndarray:
    """A vector of 64-bit integers."""
    return np.array(values, np.int64)


def value_info(name: str, dtype: Any = np.float32, shape: Sequence[Any] | None = None) -> onnx.ValueInfoProto:
    """A declared input or output."""
    return helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(np.dtype(dtype)), shape)


def model_of(
    nodes: Sequence[onnx.NodeProto],
    inputs: Arrays,
    constants: Arrays,
    outputs: Sequence[str],
    opset: int = 17,
    **more: Any,
) -> onnx.ModelProto:
    """A model over ``nodes``; output types are left open (undeclared shapes)."""
    graph = helper.make_graph(
        list(nodes),
        "test",
        [value_info(n, a.dtype, a.shape) for n, a in inputs.items()],
        [onnx.ValueInfoProto(name=n) for n in outputs],
        [onnx.numpy_helper.from_array(np.ascontiguousarray(a).reshape(a.shape), n) for n, a in constants.items()],
    )
    opsets = [helper.make_opsetid("", opset), *more.pop("opsets", [])]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8 if opset < 19 else 10, **more)


def one_node(
    op: str,
    inputs: Sequence[np.ndarray | None],
    constants: Sequence[int] = (),
    outputs: int = 1,
    opset: int = 17,
    **attrs: Any,
) -> tuple[onnx.ModelProto, Arrays]:
    """A model of one node; inputs at the positions in ``constants`` become initializers, None is an absent input."""
    names = ["" if a is None else f"x{i}" for i, a in enumerate(inputs)]
    results = [f"y{i}" for i in range(outputs)]
    arrays = {n: np.asarray(a) for n, a in zip(names, inputs) if a is not None}
    fixed = {f"x{i}": arrays[f"x{i}"] for i in constants}
    feeds = {n: a for n, a in arrays.items() if n not in fixed}
    node = helper.make_node(op, names, results, name="the_node", **attrs)
    opsets = [helper.make_opsetid(attrs["domain"], 1)] if "domain" in attrs else []
    return model_of([node], feeds, fixed, results, opset, opsets=opsets), feeds


def ours(model: onnx.ModelProto, feeds: Arrays) -> Arrays:
    """The model's outputs through the traced graph and the NumPy references."""
    graph = graph_of(model, feeds)
    return evaluate(graph, {**feeds, **graph.told})


def graph_of(model: onnx.ModelProto, feeds: Arrays) -> Graph:
    """The model traced for ``feeds``."""
    loaded = load_onnx(model.SerializeToString())
    shapes = {n: a.shape for n, a in feeds.items()}
    # strings, files, and the keys and values of dicts
    values = {n: a for n, a in feeds.items() if n not in loaded.inputs or loaded.inputs[n].is_text}
    for _ in range(len(feeds) + 1):
        try:
            return loaded.graph(shapes, values, lambda graph, value, _: _computed(graph, value, feeds))
        except NeedsValue as error:
            assert not set(error.inputs) <= set(values), "asks for what it has"
            values.update({n: feeds[n] for n in error.inputs})
    raise AssertionError("still needs values with all of them given")


def _computed(graph: Graph, value: Value, feeds: Arrays) -> np.ndarray:
    """What a shape depends on, through the NumPy references."""
    return evaluate(extract(graph, {"value": value}, {}), {**feeds, **graph.told})["value"]


def runtime(model: onnx.ModelProto, feeds: Arrays) -> list[np.ndarray]:
    """ONNX Runtime's outputs, unoptimised."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return session.run(None, feeds)


def reference(model: onnx.ModelProto, feeds: Arrays) -> list[np.ndarray]:
    """ONNX's own reference, for ops that ONNX Runtime does not run."""
    from onnx.reference import ReferenceEvaluator

    return ReferenceEvaluator(model).run(None, feeds)


def check(model: onnx.ModelProto, feeds: Arrays, by: Any = runtime, rtol: float = 1e-4, atol: float = 1e-5) -> None:
    """Assert that ours and the independent answer agree in type, shape and value."""
    expected = by(model, feeds)
    got = ours(model, feeds)
    for info, want in zip(model.graph.output, expected):
        have, want = got[info.name], np.asarray(want)
        assert (have.dtype, have.shape) == (want.dtype, want.shape), info.name
        if want.dtype.kind == "f":
            np.testing.assert_allclose(have, want, rtol=rtol, atol=atol, err_msg=info.name)
        else:
            np.testing.assert_array_equal(have, want, err_msg=info.name)
