"""The valid models that mutations start from, each with inputs: small ones made here, and ONNX's own node cases."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

Arrays = dict[str, np.ndarray]


@dataclass(frozen=True)
class Seed:
    """A valid model and inputs for it; ``outputs`` where somebody has told them already."""

    name: str
    model: onnx.ModelProto
    feeds: Arrays
    outputs: list[np.ndarray] | None = None


def _f32(*shape: int) -> np.ndarray:
    return np.random.default_rng(sum(shape)).uniform(-1, 1, shape).astype(np.float32)


def _i64(*values: int) -> np.ndarray:
    return np.array(values, np.int64)


def _model(
    name: str, nodes: Sequence[onnx.NodeProto], feeds: Arrays, constants: Arrays, outputs: Sequence[str], *,
    opset: int = 17, domains: Sequence[str] = (), free: bool = False, functions: Sequence[onnx.FunctionProto] = (),
) -> Seed:  # fmt: skip
    """``free``: the inputs' dimensions are symbols."""
    inputs = [
        helper.make_tensor_value_info(
            n, helper.np_dtype_to_tensor_dtype(a.dtype), [f"{n}_{d}" for d in range(a.ndim)] if free else a.shape
        )
        for n, a in feeds.items()
    ]
    graph = helper.make_graph(
        list(nodes), name, inputs, [onnx.ValueInfoProto(name=n) for n in outputs],
        [numpy_helper.from_array(a, n) for n, a in constants.items()],
    )  # fmt: skip
    opsets = [helper.make_opsetid("", opset), *(helper.make_opsetid(d, 1) for d in domains)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=8, functions=list(functions))
    for value in model.graph.output:  # ONNX Runtime wants to be told their types
        value.type.tensor_type.elem_type = TensorProto.FLOAT
    return Seed(name, model, feeds)


_node = helper.make_node


def _info(name: str, kind: int = TensorProto.FLOAT) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, kind, None if kind == TensorProto.FLOAT else [])


def plain() -> Seed:
    """Products, sums and an activation."""
    nodes = [_node("Gemm", ["x", "w", "b"], ["h"]), _node("Relu", ["h"], ["r"]), _node("MatMul", ["r", "v"], ["s"]),
             _node("Softmax", ["s"], ["y"], axis=1)]  # fmt: skip
    return _model("plain", nodes, {"x": _f32(2, 4)}, {"w": _f32(4, 5), "b": _f32(5), "v": _f32(5, 3)}, ["y"])


def _images() -> Seed:
    nodes = [
        _node("Conv", ["x", "w", "b"], ["c"], pads=[1, 1, 1, 1], kernel_shape=[3, 3], strides=[1, 1]),
        _node("MaxPool", ["c"], ["p"], kernel_shape=[2, 2], strides=[2, 2]),
        _node("AveragePool", ["p"], ["a"], kernel_shape=[2, 2], pads=[1, 0, 1, 0], count_include_pad=1),
        _node("GlobalAveragePool", ["a"], ["y"]),
    ]
    return _model("images", nodes, {"x": _f32(1, 2, 6, 6)}, {"w": _f32(4, 2, 3, 3), "b": _f32(4)}, ["y"])


def _shapes() -> Seed:
    nodes = [
        _node("Shape", ["x"], ["s"]), _node("Gather", ["s", "one"], ["n"], axis=0),
        _node("Concat", ["minus", "n"], ["t"], axis=0), _node("Reshape", ["x", "t"], ["r"]),
        _node("Transpose", ["r"], ["q"], perm=[1, 0]), _node("Unsqueeze", ["q", "zero"], ["u"]),
        _node("Squeeze", ["u", "zero"], ["y"]),
    ]  # fmt: skip
    constants = {"one": _i64(1), "minus": _i64(-1), "zero": _i64(0)}
    return _model("shapes", nodes, {"x": _f32(2, 3, 4)}, constants, ["y"], free=True)


def _sizes() -> Seed:
    nodes = [
        _node("Expand", ["x", "e"], ["a"]), _node("Tile", ["a", "t"], ["b"]), _node("Pad", ["b", "p"], ["c"]),
        _node("Slice", ["c", "from", "to", "axes", "steps"], ["d"]), _node("ConstantOfShape", ["z"], ["f"]),
        _node("Range", ["r0", "r1", "r2"], ["g"]), _node("Cast", ["g"], ["h"], to=1), _node("Add", ["f", "h"], ["i"]),
        _node("ReduceSum", ["i"], ["j"], keepdims=0), _node("Add", ["d", "j"], ["y"]),
    ]  # fmt: skip
    constants = {"e": _i64(2, 3, 4), "t": _i64(1, 2, 1), "p": _i64(0, 1, 0, 0, 0, 2), "from": _i64(1), "to": _i64(5),
                 "axes": _i64(1), "steps": _i64(2), "z": _i64(3, 4), "r0": np.array(0, np.int64),
                 "r1": np.array(8, np.int64), "r2": np.array(2, np.int64)}  # fmt: skip
    return _model("sizes", nodes, {"x": _f32(3, 4)}, constants, ["y"])


def _loop() -> Seed:
    body = helper.make_graph(
        [_node("Add", ["in", "w"], ["out"]), _node("Identity", ["go_in"], ["go"]),
         _node("Mul", ["in", "in"], ["each"])],
        "body", [_info("i", TensorProto.INT64), _info("go_in", TensorProto.BOOL), _info("in")],
        [_info("go", TensorProto.BOOL), _info("out"), _info("each")],
    )  # fmt: skip
    nodes = [_node("Loop", ["trips", "on", "x"], ["last", "all"], body=body), _node("Add", ["last", "all"], ["y"])]
    constants = {"trips": np.array(3, np.int64), "on": np.array(True), "w": _f32(4)}
    return _model("loop", nodes, {"x": _f32(4)}, constants, ["y"])


def _scan() -> Seed:
    body = helper.make_graph(
        [_node("Add", ["s", "e"], ["t"]), _node("Identity", ["t"], ["o"])],
        "body", [_info("s"), _info("e")], [_info("t"), _info("o")],
    )  # fmt: skip
    nodes = [_node("Scan", ["z", "x"], ["last", "y"], body=body, num_scan_inputs=1)]
    return _model("scan", nodes, {"x": _f32(3, 2)}, {"z": _f32(2)}, ["y", "last"])


def _branch() -> Seed:
    yes = helper.make_graph([_node("Mul", ["x", "x"], ["a"])], "yes", [], [_info("a")])
    no = helper.make_graph([_node("Neg", ["x"], ["b"])], "no", [], [_info("b")])
    nodes = [_node("If", ["c"], ["y"], then_branch=yes, else_branch=no)]
    return _model("branch", nodes, {"x": _f32(3), "c": np.array(True)}, {}, ["y"])


def _function() -> Seed:
    inner = helper.make_function(
        "own", "inner", ["a"], ["b"], [_node("Mul", ["a", "a"], ["b"])], [helper.make_opsetid("", 17)]
    )
    calls = [_node("inner", ["a"], ["c"], domain="own"), _node("inner", ["c"], ["b"], domain="own")]
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("own", 1)]
    outer = helper.make_function("own", "outer", ["a"], ["b"], calls, opsets)
    nodes = [_node("outer", ["x"], ["y"], domain="own")]
    return _model("function", nodes, {"x": _f32(3)}, {}, ["y"], domains=["own"], functions=[inner, outer])


def _places() -> Seed:
    nodes = [
        _node("TopK", ["x", "k"], ["v", "at"], axis=1), _node("GatherElements", ["x", "at"], ["g"], axis=1),
        _node("GatherND", ["x", "nd"], ["h"]), _node("ScatterND", ["x", "nd", "h"], ["s"]),
        _node("ReduceSum", ["s"], ["r"], keepdims=0), _node("Mul", ["g", "r"], ["m"]), _node("Add", ["m", "v"], ["a"]),
        _node("OneHot", ["at", "depth", "two"], ["o"]), _node("ReduceMax", ["o"], ["q"], axes=[2], keepdims=0),
        _node("Add", ["a", "q"], ["c"]), _node("CumSum", ["c", "axis"], ["y"]),
    ]  # fmt: skip
    constants = {"k": _i64(2), "nd": np.array([[0, 1], [2, 3]], np.int64), "depth": _i64(5),
                 "two": np.array([0, 1], np.float32), "axis": np.array(1, np.int64)}  # fmt: skip
    return _model("places", nodes, {"x": _f32(3, 4)}, constants, ["y"])


def _resize() -> Seed:
    nodes = [_node("Resize", ["x", "", "s"], ["y"], mode="linear")]
    return _model("resize", nodes, {"x": _f32(1, 1, 3, 3)}, {"s": np.array([1, 1, 2, 1.5], np.float32)}, ["y"])


def _recurrent() -> Seed:
    nodes = [_node("LSTM", ["x", "w", "r"], ["y"], hidden_size=3)]
    return _model("recurrent", nodes, {"x": _f32(2, 1, 4)}, {"w": _f32(1, 12, 4), "r": _f32(1, 12, 3)}, ["y"])


def _normal() -> Seed:
    nodes = [
        _node("LayerNormalization", ["x", "s", "b"], ["l"]), _node("Einsum", ["l", "w"], ["e"], equation="ij,jk->ik"),
        _node("Gelu", ["e"], ["g"]), _node("ReduceMean", ["g", "a"], ["y"]),
    ]  # fmt: skip
    constants = {"s": _f32(4), "b": _f32(4), "w": _f32(4, 3), "a": _i64(0)}
    return _model("normal", nodes, {"x": _f32(2, 4)}, constants, ["y"], opset=20)


def _quantized() -> Seed:
    nodes = [
        _node("QuantizeLinear", ["x", "s", "z"], ["q"]), _node("MatMulInteger", ["q", "w", "z"], ["m"]),
        _node("Cast", ["m"], ["f"], to=1), _node("Mul", ["f", "s"], ["y"]),
    ]  # fmt: skip
    weights = (np.arange(12).reshape(4, 3) - 5).astype(np.int8)
    constants = {"s": np.array(0.01, np.float32), "z": np.array(3, np.uint8), "w": weights}
    return _model("quantized", nodes, {"x": _f32(2, 4)}, constants, ["y"])


def _strings() -> Seed:
    words = np.array(["one", "two", "three"], object)
    nodes = [_node("StringConcat", ["x", "x"], ["c"]), _node("StringSplit", ["c"], ["p", "n"], delimiter="o"),
             _node("Cast", ["n"], ["y"], to=1)]  # fmt: skip
    return _model("strings", nodes, {"x": words}, {}, ["y"], opset=20)


def _sequences() -> Seed:
    nodes = [
        _node("SequenceConstruct", ["x", "w"], ["s"]), _node("SequenceInsert", ["s", "x", "at"], ["t"]),
        _node("SequenceAt", ["t", "at"], ["e"]), _node("ConcatFromSequence", ["t"], ["c"], axis=0),
        _node("SplitToSequence", ["c", "parts"], ["u"], axis=0), _node("SequenceLength", ["u"], ["n"]),
        _node("Cast", ["n"], ["f"], to=1), _node("Add", ["e", "f"], ["y"]),
    ]  # fmt: skip
    constants = {"w": _f32(2, 3), "at": np.array(1, np.int64), "parts": np.array(2, np.int64)}
    return _model("sequences", nodes, {"x": _f32(2, 3)}, constants, ["y"])


def _grams() -> Seed:
    nodes = [_node("TfIdfVectorizer", ["x"], ["y"], mode="TF", min_gram_length=1, max_gram_length=2, max_skip_count=1,
                   ngram_counts=[0, 3], ngram_indexes=[0, 1, 2, 3], pool_int64s=[1, 2, 3, 1, 2])]  # fmt: skip
    return _model("grams", nodes, {"x": np.array([[1, 2, 3, 1]], np.int32)}, {}, ["y"])


def _transposed() -> Seed:
    nodes = [_node("ConvTranspose", ["x", "w"], ["c"], strides=[2, 2]),
             _node("LRN", ["c"], ["l"], size=3), _node("DepthToSpace", ["l"], ["y"], blocksize=2)]  # fmt: skip
    return _model("transposed", nodes, {"x": _f32(1, 2, 3, 3)}, {"w": _f32(2, 4, 2, 2)}, ["y"])


def _signal() -> Seed:
    nodes = [_node("HannWindow", ["n"], ["w"]), _node("STFT", ["x", "step", "w"], ["s"]),
             _node("ReduceSum", ["s", "a"], ["y"])]  # fmt: skip
    constants = {"n": np.array(4, np.int64), "step": np.array(2, np.int64), "a": _i64(3)}
    return _model("signal", nodes, {"x": _f32(1, 10, 1)}, constants, ["y"])


def _microsoft() -> Seed:
    packed = np.arange(3 * 1 * 8, dtype=np.uint8).reshape(3, 1, 8)
    nodes = [_node("MatMulNBits", ["x", "w", "s"], ["m"], domain="com.microsoft", K=16, N=3, bits=4, block_size=16),
             _node("FastGelu", ["m", "b"], ["y"], domain="com.microsoft")]  # fmt: skip
    constants = {"w": packed, "s": _f32(3), "b": _f32(3)}
    return _model("microsoft", nodes, {"x": _f32(2, 16)}, constants, ["y"], domains=["com.microsoft"])


def _classic() -> Seed:
    trees = dict(
        nodes_treeids=[0, 0, 0], nodes_nodeids=[0, 1, 2], nodes_featureids=[0, 0, 0],
        nodes_modes=["BRANCH_LEQ", "LEAF", "LEAF"], nodes_values=[0.5, 0.0, 0.0], nodes_truenodeids=[1, 0, 0],
        nodes_falsenodeids=[2, 0, 0], target_treeids=[0, 0], target_nodeids=[1, 2], target_ids=[0, 0],
        target_weights=[1.0, 2.0], n_targets=1,
    )  # fmt: skip
    nodes = [_node("Scaler", ["x"], ["s"], domain="ai.onnx.ml", offset=[0.5], scale=[2.0]),
             _node("TreeEnsembleRegressor", ["s"], ["y"], domain="ai.onnx.ml", **trees)]  # fmt: skip
    return _model("classic", nodes, {"x": _f32(3, 2)}, {}, ["y"], domains=["ai.onnx.ml"])


def _boxes() -> Seed:
    nodes = [_node("NonMaxSuppression", ["b", "s", "n", "i", "t"], ["k"]), _node("Cast", ["k"], ["f"], to=1),
             _node("RoiAlign", ["p", "r", "at"], ["o"], output_height=2, output_width=2),
             _node("ReduceSum", ["o"], ["q"], keepdims=0), _node("Add", ["f", "q"], ["y"])]  # fmt: skip
    corners = np.abs(_f32(1, 4, 4))
    corners[..., 2:] += corners[..., :2]
    constants = {"n": _i64(2), "i": np.array([0.5], np.float32), "t": np.array([0.0], np.float32),
                 "p": _f32(1, 1, 4, 4), "r": np.array([[0, 0, 2, 2]], np.float32), "at": _i64(0)}  # fmt: skip
    return _model("boxes", nodes, {"b": corners, "s": np.abs(_f32(1, 1, 4))}, constants, ["y"])


_MADE: tuple[Callable[[], Seed], ...] = (
    plain, _images, _shapes, _sizes, _loop, _scan, _branch, _function, _places, _resize, _recurrent, _normal,
    _quantized, _strings, _sequences, _grams, _transposed, _signal, _microsoft, _classic, _boxes,
)  # fmt: skip


@cache
def made() -> list[Seed]:
    """The seeds of this module."""
    return [make() for make in _MADE]


@cache
def node_cases() -> list[Seed]:
    """ONNX's node cases of a size that is worth mutating; their inputs come from a fixed random state."""
    import onnx.backend.test.loader

    np.random.seed(0)
    seeds = []
    with np.errstate(all="ignore"):
        cases = onnx.backend.test.loader.load_model_tests(kind="node")
    for case in cases:
        seed = _of_case(case)
        if seed is not None:
            seeds.append(seed)
    return seeds


def _of_case(case: Any) -> Seed | None:
    if case.model is None or case.model.ByteSize() > 4096 or not case.data_sets:
        return None
    inputs, outputs = case.data_sets[0]
    if not all(isinstance(a, np.ndarray) and a.size < 4096 for a in (*inputs, *outputs)):
        return None
    feeds = dict(zip((i.name for i in case.model.graph.input), inputs))
    return Seed(case.name, case.model, feeds, list(outputs))
