"""Operators of ONNX Runtime's own domain, one node each, against ONNX Runtime."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from a1400.errors import A1400Error
from tests.frontends.building import bools, check, f32, i64, ints, one_node, ours, runtime

I32 = np.int32


def _check(
    op: str, inputs: list[Any], constants: Any = (), outputs: int = 1, atol: float = 1e-5, **attrs: Any
) -> None:
    model, feeds = one_node(op, inputs, constants, outputs, domain="com.microsoft", **attrs)
    check(model, feeds, atol=atol)


@pytest.mark.parametrize("alpha", [1.0, 0.3])
@pytest.mark.parametrize("flags", [(0, 0), (1, 0), (0, 1), (1, 1)])
@pytest.mark.parametrize("batch", [(0, 0), (1, 0), (0, 1), (1, 1)])
def test_fused_matmul(alpha: float, flags: tuple[int, int], batch: tuple[int, int]) -> None:
    def operand(rows: int, columns: int, turned: int, batched: int) -> np.ndarray:
        rows, columns = (columns, rows) if turned else (rows, columns)
        return f32(rows, 2, 3, columns) if batched else f32(2, 3, rows, columns)

    a, b = operand(4, 5, flags[0], batch[0]), operand(5, 6, flags[1], batch[1])
    attrs: dict[str, Any] = dict(zip(("transA", "transB", "transBatchA", "transBatchB"), (*flags, *batch)))
    _check("FusedMatMul", [a, b], alpha=alpha, **attrs)


def test_products_with_an_activation() -> None:
    _check("TransposeMatMul", [f32(2, 4, 3), f32(2, 4, 5)], transA=1, alpha=0.5)
    activations: dict[str, dict[str, float]] = {
        "Relu": {}, "Tanh": {}, "LeakyRelu": {"alpha": 0.2}, "HardSigmoid": {"alpha": 0.3, "beta": 0.4},
        "Elu": {"alpha": 0.7}, "Selu": {"alpha": 1.5, "gamma": 1.1},
    }  # fmt: skip
    for name, parameters in activations.items():
        more: dict[str, Any] = {f"activation_{n}": v for n, v in parameters.items()}
        _check("FusedGemm", [f32(3, 4), f32(5, 4), f32(5)], transB=1, alpha=0.5, beta=2.0, activation=name, **more)


@pytest.mark.parametrize(
    ("name", "params"),
    [("Relu", ()), ("Tanh", ()), ("Sigmoid", ()), ("LeakyRelu", (0.2,)), ("Clip", (-1.0, 1.5)),
     ("HardSigmoid", (0.3, 0.4))],
)  # fmt: skip
def test_fused_convolution(name: str, params: tuple[float, ...]) -> None:
    x, w, b = f32(2, 3, 7, 6), f32(4, 3, 3, 3), f32(4)
    attrs: dict[str, Any] = {"pads": [1, 1, 1, 1], "activation": name}
    if params:
        attrs["activation_params"] = list(params)
    _check("FusedConv", [x, w, b], [1, 2], **attrs)
    if name == "Relu":
        _check("FusedConv", [x, w, b, f32(2, 4, 7, 6)], [1, 2], **attrs)


def test_activations() -> None:
    x, b = f32(2, 3, 8), f32(8)
    _check("Gelu", [x])
    _check("BiasGelu", [x, b])
    _check("FastGelu", [x])
    _check("FastGelu", [x, b])
    _check("QuickGelu", [x])
    _check("QuickGelu", [x], alpha=1.0)


def test_normalisations() -> None:
    x, skip, g, b = f32(2, 3, 8), f32(2, 3, 8, seed=1), f32(8), f32(8, seed=1)
    _check("SkipLayerNormalization", [x, skip, g, b], epsilon=1e-5)
    _check("SkipLayerNormalization", [x, skip[:1], g, b, f32(8, seed=2)])
    _check("SkipLayerNormalization", [x, skip[0], g])
    model, feeds = one_node("SkipLayerNormalization", [x, skip, g, b], outputs=4, domain="com.microsoft")
    model.graph.node[0].output[1] = model.graph.node[0].output[2] = ""
    del model.graph.output[1:3]
    check(model, feeds)
    _check("SkipSimplifiedLayerNormalization", [x, skip, g, b])
    _check("SkipSimplifiedLayerNormalization", [x, skip, g], epsilon=1e-5)
    check(*one_node("SimplifiedLayerNormalization", [x, g], epsilon=1e-5))


def test_embeddings() -> None:
    ids, segments = ints(2, 5, low=0, high=9, dtype=I32), ints(2, 5, low=0, high=2, dtype=I32)
    words, places, types, g, b = f32(9, 8), f32(6, 8), f32(2, 8), f32(8), f32(8, seed=1)
    mask = np.array([[1, 1, 1, 0, 0], [1, 1, 1, 1, 1]], I32)
    _check("EmbedLayerNormalization", [ids, segments, words, places, types, g, b, mask], range(2, 7), outputs=2)
    where = ints(2, 5, low=0, high=6, dtype=I32)
    _check("EmbedLayerNormalization", [ids, None, words, places, None, g, b, None, where], [2, 3, 5, 6], outputs=3)


def _attention(count: int = 2, size: int = 4, batch: int = 2, length: int = 5, width: int = 6) -> list[Any]:
    hidden = count * size
    return [f32(batch, length, width), f32(width, 3 * hidden, low=-0.5, high=0.5), f32(3 * hidden)]


ATTENTION_MASKS = {
    "none": None,
    "keys": np.array([[1, 1, 1, 0, 0], [0, 0, 1, 1, 1]], I32),
    "pairs": bools(2, 5, 5).astype(I32),
    "ends": np.array([3, 5], I32),
    "ends and starts": np.array([4, 5, 0, 2], I32),
}


@pytest.mark.parametrize("causal", [0, 1])
@pytest.mark.parametrize("mask", ATTENTION_MASKS)
def test_attention(mask: str, causal: int) -> None:
    # where a row sees nothing, the scores less 10000 that are left have few digits in f32
    _check("Attention", [*_attention(), ATTENTION_MASKS[mask]], num_heads=2, unidirectional=causal, atol=1e-3)


def test_attention_with_a_past_and_a_bias() -> None:
    past, mask = f32(2, 2, 2, 3, 4), np.ones((2, 8), I32)
    mask[0, :2] = 0
    _check("Attention", [*_attention(), mask, past], outputs=2, num_heads=2, unidirectional=1)
    _check("Attention", [*_attention(), None, None, f32(2, 2, 5, 5)], num_heads=2, scale=0.3)
    _check("Attention", [*_attention(), None, None, f32(1, 2, 5, 5)], num_heads=2, mask_filter_value=-50.0)
    x, w, b = _attention()
    _check("Attention", [x, w[:, :22], b[:22], ATTENTION_MASKS["keys"]], num_heads=2, qkv_hidden_sizes=[8, 8, 6])


def test_multi_head_attention() -> None:
    q, k, v = f32(2, 5, 8), f32(2, 7, 8), f32(2, 7, 6)
    mask = np.ones((2, 7), I32)
    mask[1, 4:] = 0
    _check("MultiHeadAttention", [q, k, v], num_heads=2)
    _check("MultiHeadAttention", [q, k, v, f32(22), mask], num_heads=2)
    _check("MultiHeadAttention", [q, k, v, None, np.array([7, 3], I32)], num_heads=2, scale=0.4)
    _check("MultiHeadAttention", [q, k, v, None, bools(2, 5, 7).astype(I32), f32(1, 2, 5, 7)], num_heads=2)
    _check("MultiHeadAttention", [q, q, q, f32(24)], num_heads=2, unidirectional=1)
    past = [f32(2, 2, 3, 4), f32(2, 2, 3, 4, seed=1)]
    _check("MultiHeadAttention", [q, q, q, None, None, None, *past], outputs=3, num_heads=2, unidirectional=1)
    _check("MultiHeadAttention", [q, f32(2, 2, 7, 4), f32(2, 2, 7, 4, seed=1)], num_heads=2)
    _check("MultiHeadAttention", [q, f32(2, 2, 7, 4), f32(2, 2, 7, 4, seed=1), f32(24)], num_heads=2)
    model, feeds = one_node("MultiHeadAttention", [q, k, f32(2, 7, 8)], outputs=4, domain="com.microsoft", num_heads=2)
    model.graph.output[3].type.tensor_type.elem_type = 1
    check(model, feeds)


def test_packed_multi_head_attention() -> None:
    """Forms that ONNX Runtime takes on GPUs only, against the same numbers apart."""
    qkv, bias = f32(2, 5, 2, 3, 4), f32(24)
    rows = [qkv[:, :, :, i].reshape(2, 5, 8) for i in range(3)]
    for packed, apart in (([qkv], rows), ([rows[0], qkv[:, :, :, 1:]], rows), ([qkv, None, None, bias], [*rows, bias])):
        model, feeds = one_node("MultiHeadAttention", packed, domain="com.microsoft", num_heads=2)
        wanted = runtime(*one_node("MultiHeadAttention", apart, domain="com.microsoft", num_heads=2))
        check(model, feeds, by=lambda *_, wanted=wanted: wanted)


def test_attention_of_one_token() -> None:
    """Over a cache that it is written into, over its own keys, and over another sequence's."""
    new, mask = [f32(2, 1, 8, seed=i) for i in range(3)], np.array([[1, 1, 1, 1], [0, 1, 1, 1]], I32)
    cache, past = [f32(2, 2, 6, 4), f32(2, 2, 6, 4, seed=1)], np.array([3], I32)
    op, attrs = "DecoderMaskedMultiHeadAttention", {"num_heads": 2, "past_present_share_buffer": 1}
    _check(op, [*new, None, None, *cache, past], outputs=3, **attrs)
    _check(op, [*new, mask, f32(2, 2, 1, 4), *cache, past, None, None, f32(24)], outputs=3, **attrs)
    _check(op, new, num_heads=2)
    _check(op, [new[0], *cache], num_heads=2)


@pytest.mark.parametrize("interleaved", [0, 1])
def test_rotary_embedding(interleaved: int) -> None:
    tables, places = [f32(9, 4), f32(9, 4, seed=1)], ints(2, 5, low=0, high=9)
    _check("RotaryEmbedding", [f32(2, 5, 16), places, *tables], interleaved=interleaved)
    _check("RotaryEmbedding", [f32(2, 3, 5, 8), i64(2), *tables], interleaved=interleaved)
    _check("RotaryEmbedding", [f32(2, 5, 24), places, *tables], interleaved=interleaved, num_heads=2,
           rotary_embedding_dim=8)  # fmt: skip


def _grouped(length: int, packed: bool = False, count: int = 4, groups: int = 2, size: int = 16) -> list[Any]:
    q, k, v = (f32(2, length, n * size, seed=i) for i, n in enumerate((count, groups, groups)))
    return [np.concatenate([q, k, v], 2), None, None] if packed else [q, k, v]


def _tables(size: int = 16) -> list[np.ndarray]:
    angle = np.arange(16)[:, None] / 10 ** np.arange(size // 2)
    return [np.cos(angle).astype(np.float32), np.sin(angle).astype(np.float32)]


GROUPED: dict[str, dict[str, Any]] = {
    "plain": {}, "rotary": {"do_rotary": 1}, "interleaved": {"do_rotary": 1, "rotary_interleaved": 1},
    "softcap": {"softcap": 2.0}, "window": {"local_window_size": 3, "scale": 0.3}, "smooth": {"smooth_softmax": 1},
}  # fmt: skip


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("kind", GROUPED)
def test_group_query_attention(kind: str, packed: bool) -> None:
    """A prompt, then a token over a cache that grows, then one over a cache of fixed size with rows of two lengths."""
    attrs = {"num_heads": 4, "kv_num_heads": 2, **GROUPED[kind]}
    tables = _tables() if "rotary" in str(attrs) else []
    total = np.array(6, I32)
    _check("GroupQueryAttention", [*_grouped(6, packed), None, None, np.array([5, 5], I32), total, *tables], [6],
           outputs=3, **attrs)  # fmt: skip
    past = [f32(2, 2, 5, 16, seed=5), f32(2, 2, 5, 16, seed=6)]
    _check("GroupQueryAttention", [*_grouped(1, packed), *past, np.array([5, 5], I32), total, *tables], [6],
           outputs=3, **attrs)  # fmt: skip
    past = [f32(2, 2, 9, 16, seed=5), f32(2, 2, 9, 16, seed=6)]
    _check("GroupQueryAttention", [*_grouped(1, packed), *past, np.array([5, 3], I32), total, *tables], [6],
           outputs=3, **attrs)  # fmt: skip


def test_group_query_attention_in_chunks() -> None:
    attrs = {"num_heads": 4, "kv_num_heads": 2, "do_rotary": 1}
    rows = [x[:1] for x in _grouped(3)]
    past = [f32(1, 2, 4, 16, seed=5), f32(1, 2, 4, 16, seed=6)]
    inputs = [*rows, *past, np.array([6], I32), np.array(7, I32), *_tables()]
    _check("GroupQueryAttention", inputs, [6], outputs=3, **attrs)
    _check("GroupQueryAttention", inputs, [5, 6], outputs=3, **attrs)
    _check("GroupQueryAttention", [*inputs, None, f32(1, 4, 3, 7)], [6], outputs=3, **attrs)
    _check("GroupQueryAttention", [*inputs, None, None, f32(4)], [6], outputs=3, **attrs)


def test_bias_softmax() -> None:
    x, rows, keys = f32(2, 3, 4, 5), f32(2, 1, 1, 5), f32(1, 1, 4, 5)
    for bias, inner in ((rows, 1), (keys, 0)):
        e = np.exp(x + bias)
        model, feeds = one_node("BiasSoftmax", [x, bias], domain="com.microsoft", axis=3, is_inner_broadcast=inner)
        check(model, feeds, by=lambda *_, e=e: [e / e.sum(-1, keepdims=True)])


def test_of_gpus_only() -> None:
    """Operators that ONNX Runtime has no CPU kernel for, against their definition."""
    x, bias, skip = f32(2, 3, 8), f32(8), f32(2, 3, 8, seed=1)
    _, right = np.split(runtime(*one_node("BiasGelu", [x, bias], domain="com.microsoft"))[0], 2, -1)
    image, scale, shift = f32(2, 4, 5, 6), f32(6), f32(6, seed=1)
    grouped = runtime(*one_node("GroupNormalization", [image.transpose(0, 3, 1, 2), scale, shift], opset=21,
                                num_groups=3))[0].transpose(0, 2, 3, 1)  # fmt: skip
    plain = {"groups": 3, "activation": 0}
    cases: list[tuple[str, list[Any], dict[str, Any], np.ndarray]] = [
        ("BiasAdd", [x, bias, skip], {}, x + bias + skip),
        ("BiasDropout", [x, bias, skip], {}, x + bias + skip),
        ("BiasSplitGelu", [x, bias], {}, (x + bias)[..., :4] * right),
        ("GroupNorm", [image, scale, shift], plain, grouped),
        ("GroupNorm", [image, scale, shift], {"groups": 3, "activation": 1}, grouped / (1 + np.exp(-grouped))),
        ("SkipGroupNorm", [image - 1, scale, shift, np.ones((2, 6), np.float32)], plain, grouped),
    ]
    for op, inputs, attrs, want in cases:
        model, feeds = one_node(op, inputs, domain="com.microsoft", **attrs)
        check(model, feeds, by=lambda *_, want=want: [want])


def test_older_forms() -> None:
    x, image = f32(2, 3, 4), f32(2, 3, 6, 5)
    _check("Trilu", [x, np.array(1, np.int64)], [1], upper=0)
    _check("Pad", [x, i64(0, 1, 0, 0, 0, 2), np.array([3], np.float32)], [1])
    _check("GatherND", [x, ints(5, 2, low=0, high=2)])
    _check("GridSample", [image, f32(2, 4, 4, 2, low=-1.2, high=1.2)], padding_mode="border")
    _check("NhwcMaxPool", [ints(2, 7, 6, 3, low=0, high=255, dtype=np.uint8)], kernel_shape=[3, 3], strides=[2, 2],
           pads=[1, 1, 1, 1])  # fmt: skip
    _check("ConvTransposeWithDynamicPads", [image, f32(3, 2, 3, 3), i64(1, 0, 1, 1), f32(2)], [1, 2, 3])
    _check("Range", [np.array(1, np.float32), np.array(6, np.float32)], [0, 1])
    _check("ExpandDims", [x, np.array(-1, I32)], [1])
    _check("SampleOp", [x])
    _check("MatMulInteger16", [ints(3, 4, dtype=np.int16), ints(4, 5, dtype=np.int16)])
    _check("UnfoldTensor", [x], dim=1, size=2, step=1)
    _check("Unique", [np.array([2, 1, 1, 3, 4, 3], np.float32)], [0], outputs=3)


def test_small_numerics() -> None:
    for metric in ("euclidean", "sqeuclidean"):
        _check("CDist", [f32(4, 6), f32(5, 6)], metric=metric, atol=1e-4)
    _check("Inverse", [f32(2, 5, 5)], atol=1e-3)
    for x in (ints(7, dtype=I32), ints(7), f32(7), f32(7).astype(np.float64)):
        _check("MurmurHash3", [x], seed=42)
    _check("MurmurHash3", [ints(7, dtype=I32)], positive=0)
    ids = np.array([[1, 2, 3, 1, 2], [4, 5, 6, 7, 8]])
    _check("NGramRepeatBlock", [ids, f32(2, 9)], ngram_size=3)
    boxes = np.array([[0.1, 0.2, 0.9, 0.7], [-0.3, 0.0, 1.2, 1.0], [0.8, 0.9, 0.1, 0.2]], np.float32)
    for mode in ("bilinear", "nearest"):
        crops = [f32(2, 3, 7, 6), boxes, np.array([0, 1, 1], I32), np.array([4, 1], I32)]
        _check("CropAndResize", crops, [3], mode=mode, extrapolation_value=0.5)


@pytest.mark.parametrize("both", [0, 1])
def test_relative_positions(both: int) -> None:
    """T5's own formula, over the table as the optimizer stores it: transposed under its old shape."""
    torch = pytest.importorskip("torch")
    from transformers.models.t5.modeling_t5 import T5Attention

    ahead = torch.arange(40)[None, :] - torch.arange(30)[:, None]
    places = T5Attention._relative_position_bucket(ahead, bool(both), 16, 20).numpy()
    table = f32(16, 3)
    inputs = [table.T.copy().reshape(16, 3), np.array(30), np.array(40)]
    model, feeds = one_node("RelativePositionBias", inputs, [1, 2], domain="com.microsoft", max_distance=20,
                            is_bidirectional=both)  # fmt: skip
    check(model, feeds, by=lambda *_: [table[places].transpose(2, 0, 1)[None]])


def test_of_gpus_only_small() -> None:
    """Operators without a CPU kernel in ONNX Runtime, against their definition."""
    x = ints(2, 3, 4, dtype=np.int8)
    cases: list[tuple[str, list[Any], dict[str, Any], np.ndarray]] = [
        ("ReduceSumInteger", [x], {"axes": [1], "keepdims": 0}, x.sum(1, dtype=I32)),
        ("MulInteger", [x, np.int8(2), x[0], np.int8(-1)], {}, (x.astype(I32) - 2) * (x[0].astype(I32) + 1)),
        ("IsAllFinite", [f32(3), np.array([np.inf], np.float32)], {}, np.array(False)),
        ("IsAllFinite", [f32(3), np.array([np.inf], np.float32)], {"isnan_only": 1}, np.array(True)),
        ("TorchEmbedding", [f32(5, 3), i64(4, 0)], {}, f32(5, 3)[[4, 0]]),
    ]
    for op, inputs, attrs, want in cases:
        model, feeds = one_node(op, inputs, domain="com.microsoft", **attrs)
        check(model, feeds, by=lambda *_, want=want: [want])


@pytest.mark.parametrize("bits", [2, 4, 8])
@pytest.mark.parametrize("zeros", [False, True])
def test_rows_of_a_quantised_table(bits: int, zeros: bool) -> None:
    each, blocks = 8 // bits, 3
    table = ints(9, 48 // each, low=0, high=256, dtype=np.uint8)
    inputs: list[Any] = [table, ints(2, 3, low=0, high=9), f32(9, blocks)]
    if zeros:
        inputs.append(ints(9, -(-blocks // each), low=0, high=256, dtype=np.uint8))
    _check("GatherBlockQuantized", inputs, [0, 2, 3][: 2 + zeros], bits=bits, block_size=16, quantize_axis=1)


def test_quantised_attention_and_embedding() -> None:
    x, w = ints(2, 5, 6, low=0, high=255, dtype=np.uint8), ints(6, 24, low=-99, high=99, dtype=np.int8)
    scales, zero, mask = [np.float32(0.02), f32(24, low=0.001, high=0.01)], np.uint8(120), np.array([5, 3], I32)
    inputs = [x, w, f32(24), *scales, mask, zero, np.zeros(24, np.int8)]
    _check("QAttention", inputs, [1, 2, 3, 4, 6, 7], num_heads=2, atol=1e-3)
    _check("QAttention", [*inputs[:5], None, zero, np.zeros(24, np.int8), f32(2, 2, 2, 3, 4)], outputs=2, num_heads=2,
           unidirectional=1, atol=1e-3)  # fmt: skip
    tables = [ints(n, 8, low=0, high=255, dtype=np.uint8) for n in (9, 6, 2)]
    affine = [ints(8, low=0, high=255, dtype=np.uint8, seed=i) for i in range(2)]
    tokens = [ints(2, 5, low=0, high=n, dtype=I32) for n in (9, 2)]
    parameters = [*[np.float32(0.01 * (i + 1)) for i in range(5)], *[np.uint8(100 + i) for i in range(5)]]
    mask = np.array([[1, 1, 1, 0, 0], [1, 1, 1, 1, 1]], I32)
    _check("QEmbedLayerNormalization", [*tokens, *tables, *affine, mask, *parameters], outputs=2)


def test_dynamically_quantised_lstm() -> None:
    """Close to ONNX Runtime, which also quantises the rows of each step."""
    x, w, r = f32(4, 2, 6), ints(2, 6, 20, low=-99, high=99, dtype=np.int8), ints(2, 5, 20, low=-99, dtype=np.int8)
    scales = [f32(2, 20, low=0.002, high=0.004), f32(2, low=0.002, high=0.004)]
    zeros = [np.zeros((2, 20), np.int8), np.zeros(2, np.int8)]
    inputs = [x, w, r, f32(2, 40), None, None, None, None, scales[0], zeros[0], scales[1], zeros[1]]
    _check("DynamicQuantizeLSTM", inputs, [1, 2, 3, 8, 9, 10, 11], outputs=3, hidden_size=5, direction="bidirectional",
           atol=2e-2)  # fmt: skip


def test_what_is_not_supported_says_what_to_do() -> None:
    x, w, b = _attention()
    past = [f32(2, 2, 5, 16), f32(2, 2, 5, 16, seed=1)]
    step = [*_grouped(1), *past, np.array([5, 5], I32), np.array(6, I32)]
    grouped: dict[str, Any] = {"num_heads": 4, "kv_num_heads": 2}
    cases: list[tuple[str, list[Any], dict[str, Any], str]] = [
        ("Attention", [x, w, b], {"num_heads": 2, "do_rotary": 1}, "without it"),
        ("Attention", [x, w, b, np.ones((2, 1, 5, 5), I32)], {"num_heads": 2}, r"write it as \[2, 5\] or \[2, 5, 5\]"),
        ("GroupQueryAttention", step, {**grouped, "k_quant_type": "PER_TENSOR"}, "keep the cache in floats"),
        ("GroupQueryAttention", step, {**grouped, "qk_output": 1}, "export the model without it"),
        ("CDist", [f32(2, 3), f32(4, 3)], {"metric": "jaccard"}, "'euclidean' and 'sqeuclidean' are"),
        ("FusedGemm", [f32(2, 3), f32(3, 4)], {"activation": "Mystery"}, "activation 'Mystery'"),
        ("FusedMatMul", [f32(2, 3), f32(3, 4)], {"transBatchA": 1}, "a batch of matrices"),
    ]
    for op, inputs, attrs, text in cases:
        model, feeds = one_node(op, inputs, range(6, len(inputs)), domain="com.microsoft", **attrs)
        with pytest.raises(A1400Error, match=text):
            ours(model, feeds)
