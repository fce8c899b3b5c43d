"""Files that ONNX Runtime's optimizers and quantizers write, on every device against ONNX Runtime."""

from __future__ import annotations

import functools
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnxruntime import quantization

import a1400
from a1400.backends.base import DeviceInfo
from tests.frontends.building import Arrays, f32, ints
from tests.models.export import seeded, write

Level = ort.GraphOptimizationLevel


@functools.cache
def _folder() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="a1400-optimised-")


def _path(name: str) -> Path:
    return Path(_folder().name) / f"{name}.onnx"


def _kinds(path: Path) -> set[str]:
    return {node.op_type for node in onnx.load(path).graph.node if node.domain == "com.microsoft"}


def _rewritten(path: Path, level: Any) -> Path:
    """The file that a session writes when it has optimised the model."""
    options, to = ort.SessionOptions(), path.with_suffix(".session.onnx")
    options.graph_optimization_level, options.optimized_model_filepath, options.log_severity_level = level, str(to), 4
    ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    return to


def _agree(path: Path, feeds: Arrays, device: str, steps: float = 1e-4) -> Arrays:
    """Assert that every output is within ``steps`` of its scale; returns ONNX Runtime's."""
    session = ort.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    wanted = dict(zip([o.name for o in session.get_outputs()], session.run(None, feeds), strict=True))
    model = a1400.load(path, device=device)
    got = model.run(feeds)
    for name, want in wanted.items():
        assert (got[name].shape, got[name].dtype) == (want.shape, want.dtype)
        error = float(np.abs(got[name] - want).max()) / float(np.abs(want).max())
        assert error < steps, f"{name}: error {error:.2e} of the output's scale"
    facts = model.explain().to_dict()
    assert facts["host_nodes"] == 0
    return wanted


@functools.cache
def _encoder() -> tuple[Path, Arrays]:
    """A BERT of one layer whose attention is written out, as older exporters do; its second sentence is padded."""
    import torch
    import transformers as tf

    from tests.models.language import named, tokens

    mask = torch.ones(2, 12, dtype=torch.int64)
    mask[1, 6:] = 0
    eager: Any = {"attn_implementation": "eager"}
    config = tf.BertConfig(
        vocab_size=120, hidden_size=32, num_hidden_layers=1, num_attention_heads=4, intermediate_size=64,
        max_position_embeddings=64, **eager,
    )  # fmt: skip
    inputs = {"input_ids": tokens(2, 12, 120), "attention_mask": mask}
    dynamic = {name: {0: "batch", 1: "length"} for name in inputs}
    path = _path("encoder")
    write(seeded("encoder", lambda: named(tf.BertModel(config), inputs, ["pooler_output"], dynamic)), path)
    return path, {name: value.numpy() for name, value in inputs.items()}


@functools.cache
def _fused_encoder() -> Path:
    from onnxruntime.transformers import optimizer

    to = _path("encoder.fused")
    optimizer.optimize_model(str(_encoder()[0]), "bert", num_heads=4, hidden_size=32).save_model_to_file(str(to))
    return to


def test_encoder_optimised_by_a_session(device_info: DeviceInfo) -> None:
    path, feeds = _encoder()
    optimised = _rewritten(path, Level.ORT_ENABLE_EXTENDED)
    assert {"FusedMatMul", "BiasGelu"} <= _kinds(optimised)
    _agree(optimised, feeds, device_info.id)


def test_encoder_optimised_offline(device_info: DeviceInfo) -> None:
    feeds = _encoder()[1]
    assert {"EmbedLayerNormalization", "Attention", "SkipLayerNormalization", "BiasGelu"} <= _kinds(_fused_encoder())
    _agree(_fused_encoder(), feeds, device_info.id)


def test_encoder_quantised_dynamically(device_info: DeviceInfo) -> None:
    to = _path("encoder.dynamic")
    options = {"DefaultTensorType": TensorProto.FLOAT}  # of what the fused operators give
    weight = quantization.QuantType.QInt8
    quantization.quantize_dynamic(_fused_encoder(), to, weight_type=weight, extra_options=options)
    optimised = _rewritten(to, Level.ORT_ENABLE_EXTENDED)
    assert {"QAttention", "QEmbedLayerNormalization", "DynamicQuantizeMatMul"} <= _kinds(optimised)
    # a number that falls between two steps of eight bits may go to either
    _agree(optimised, _encoder()[1], device_info.id, steps=2e-2)


class _Calibration(quantization.CalibrationDataReader):
    def __init__(self, feeds: Arrays) -> None:
        self._feeds: Iterator[Arrays] = iter([feeds])

    def get_next(self) -> Arrays | None:
        return next(self._feeds, None)


@functools.cache
def _images() -> tuple[Path, Arrays]:
    """Two convolutions with a residual between them, pooled and classified."""
    weights = {
        "w0": f32(8, 3, 3, 3) * 0.3, "b0": f32(8), "w1": f32(8, 8, 3, 3) * 0.2, "b1": f32(8, seed=1),
        "w2": f32(4, 8) * 0.5, "b2": f32(4),
    }  # fmt: skip
    nodes = [
        helper.make_node("Conv", ["x", "w0", "b0"], ["c0"], pads=[1, 1, 1, 1], strides=[2, 2]),
        helper.make_node("Relu", ["c0"], ["r0"]),
        helper.make_node("Conv", ["r0", "w1", "b1"], ["c1"], pads=[1, 1, 1, 1]),
        helper.make_node("Add", ["c1", "r0"], ["s"]),
        helper.make_node("GlobalAveragePool", ["s"], ["p"]),
        helper.make_node("Flatten", ["p"], ["f"]),
        helper.make_node("Gemm", ["f", "w2", "b2"], ["y"], transB=1),
    ]
    path = _written("images", nodes, {"x": ("batch", 3, 16, 16)}, {"y": ("batch", 4)}, weights)
    return path, {"x": f32(2, 3, 16, 16)}


def _written(
    name: str, nodes: list[onnx.NodeProto], inputs: dict[str, tuple[Any, ...]], outputs: dict[str, tuple[Any, ...]],
    weights: Arrays, whole: tuple[str, ...] = (),
) -> Path:  # fmt: skip
    """A model of f32 tensors; the inputs in ``whole`` are i64."""

    def info(n: str, shape: tuple[Any, ...]) -> onnx.ValueInfoProto:
        return helper.make_tensor_value_info(n, TensorProto.INT64 if n in whole else TensorProto.FLOAT, shape)

    graph = helper.make_graph(
        nodes, name, [info(n, s) for n, s in inputs.items()], [info(n, s) for n, s in outputs.items()],
        [numpy_helper.from_array(np.asarray(a), n) for n, a in weights.items()],
    )  # fmt: skip
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=8)
    onnx.save(model, _path(name))
    return _path(name)


@pytest.mark.parametrize("form", ["QOperator", "QDQ"])
def test_images_quantised_statically(form: str, device_info: DeviceInfo) -> None:
    path, feeds = _images()
    to = _path(f"images.{form}")
    quantization.quantize_static(path, to, _Calibration(feeds), quant_format=quantization.QuantFormat[form])
    optimised = _rewritten(to, Level.ORT_ENABLE_EXTENDED)
    assert {"QLinearGlobalAveragePool", "QGemm"} <= _kinds(optimised)
    _agree(optimised, feeds, device_info.id, steps=2e-2)


def test_blocked_layouts_are_refused_with_the_remedy() -> None:
    path, _ = _images()
    blocked = _rewritten(path, Level.ORT_ENABLE_ALL)
    kinds = {node.domain for node in onnx.load(blocked).graph.node}
    if "com.microsoft.nchwc" not in kinds:
        pytest.skip("ONNX Runtime has no blocked layout on this CPU")
    with pytest.raises(a1400.A1400Error, match="ORT_ENABLE_EXTENDED instead of ORT_ENABLE_ALL"):
        a1400.load(blocked)


HEADS, GROUPS, SIZE, WORDS = 4, 2, 16, 50


def _decoder() -> Path:
    """A language model's decoder of one layer as ONNX Runtime's builder for generation writes it, weights of 4 bits."""
    wide, narrow = HEADS * SIZE, GROUPS * SIZE
    angle = np.arange(16)[:, None] / 10 ** (np.arange(SIZE // 2) / 4)
    weights: Arrays = {
        "words": f32(WORDS, wide), "g0": f32(wide), "g1": f32(wide, seed=1), "g2": f32(wide, seed=2),
        "cos": np.cos(angle).astype(np.float32), "sin": np.sin(angle).astype(np.float32),
        "one": np.array([1], np.int64), "at": np.array(1, np.int64),
        "wq": f32(wide, wide + 2 * narrow) * 0.2, "wo": f32(wide, wide) * 0.2,
        "w0": f32(wide, 96) * 0.2, "w1": f32(wide, 96, seed=1) * 0.2, "w2": f32(96, wide) * 0.2,
        "wy": f32(wide, WORDS) * 0.2,
    }  # fmt: skip
    node = helper.make_node
    ours = functools.partial(helper.make_node, domain="com.microsoft")
    nodes = [
        node("ReduceSum", ["mask", "one"], ["count"], keepdims=0),
        node("Sub", ["count", "one"], ["less"]),
        node("Cast", ["less"], ["last"], to=TensorProto.INT32),
        node("Shape", ["mask"], ["shape"]),
        node("Gather", ["shape", "at"], ["length"]),
        node("Cast", ["length"], ["total"], to=TensorProto.INT32),
        node("Gather", ["words", "ids"], ["e"]),
        node("SimplifiedLayerNormalization", ["e", "g0"], ["n0"], epsilon=1e-5),
        node("MatMul", ["n0", "wq"], ["qkv"], name="qkv"),
        ours("GroupQueryAttention", ["qkv", "", "", "old_k", "old_v", "last", "total", "cos", "sin"], ["a", "k", "v"],
             num_heads=HEADS, kv_num_heads=GROUPS, do_rotary=1),
        node("MatMul", ["a", "wo"], ["o"], name="o"),
        ours("SkipSimplifiedLayerNormalization", ["e", "o", "g1"], ["n1", "", "", "s1"], epsilon=1e-5),
        node("MatMul", ["n1", "w0"], ["u0"], name="u0"),
        node("MatMul", ["n1", "w1"], ["u1"], name="u1"),
        ours("QuickGelu", ["u0"], ["t0"], alpha=1.0),
        node("Mul", ["t0", "u1"], ["t"]),
        node("MatMul", ["t", "w2"], ["d"], name="d"),
        ours("SkipSimplifiedLayerNormalization", ["s1", "d", "g2"], ["n2"], epsilon=1e-5),
        node("MatMul", ["n2", "wy"], ["y"], name="y"),
    ]  # fmt: skip
    cache, longer = ("batch", GROUPS, "past", SIZE), ("batch", GROUPS, "total", SIZE)
    inputs: dict[str, tuple[Any, ...]] = {"ids": ("batch", "length"), "mask": ("batch", "total")}
    inputs.update(old_k=cache, old_v=cache)
    outputs: dict[str, tuple[Any, ...]] = {"y": ("batch", "length", WORDS), "k": longer, "v": longer}
    path = _written("decoder", nodes, inputs, outputs, weights, whole=("ids", "mask"))
    from onnxruntime.quantization.matmul_nbits_quantizer import MatMulNBitsQuantizer

    quantizer = MatMulNBitsQuantizer(onnx.load(path), block_size=32, is_symmetric=False)
    quantizer.process()
    quantizer.model.save_model_to_file(str(_path("decoder.nbits")))
    return _path("decoder.nbits")


def test_decoder_over_its_cache(device_info: DeviceInfo) -> None:
    """A prompt, then two tokens over the keys and values of what came before; one row was padded from the left."""
    path = _rewritten(_decoder(), Level.ORT_ENABLE_EXTENDED)
    assert {"GroupQueryAttention", "SkipSimplifiedLayerNormalization", "MatMulNBits"} <= _kinds(path)
    cache = [np.zeros((2, GROUPS, 0, SIZE), np.float32)] * 2
    for length, total in ((5, 5), (1, 6), (1, 7)):
        mask = np.ones((2, total), np.int64)
        mask[1, : total - 5] = 0
        feeds = {"ids": ints(2, length, low=0, high=WORDS, seed=total), "mask": mask}
        found = _agree(path, {**feeds, "old_k": cache[0], "old_v": cache[1]}, device_info.id)
        cache = [found["k"], found["v"]]
