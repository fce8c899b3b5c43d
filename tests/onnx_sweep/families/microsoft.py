"""Operators that ONNX Runtime's optimizers and quantizers write (domain com.microsoft)."""

from __future__ import annotations

import numpy as np

from tests.onnx_sweep.case import FUNCTION, SUMS, Draw, Node, Tolerance, sweep
from tests.onnx_sweep.families.convolution import Window, _channels
from tests.onnx_sweep.families.dense import _factor_sizes, _factors, zero_point
from tests.onnx_sweep.families.normalization import NORMAL

DOMAIN = "com.microsoft"
FLOAT = ("float",)
QUANTISED = Tolerance("a number between two bytes may go to either", rel=64.0, abs=64.0, steps=1)


@sweep("FusedMatMul", "TransposeMatMul", tolerance=SUMS, types=FLOAT, domain=DOMAIN)
def fused_matmul(draw: Draw) -> Node:
    m, k, n = _factor_sizes(draw, 400_000)
    batch = draw.shape(draw.integer(0, 2), 9, empty=0.0)
    attrs: dict[str, object] = {
        "transA": draw.integer(0, 1),
        "transB": draw.integer(0, 1),
        "alpha": draw.choose([1.0, 0.5]),
    }
    a = (*batch, k, m) if attrs["transA"] else (*batch, m, k)
    b = (*batch, n, k) if attrs["transB"] else (*batch, k, n)
    return Node([draw.values(a, -1, 1), draw.values(b, -1, 1)], attrs, constants=draw.fixed(1), scale=max(k, 1) ** 0.5)


_ACTIVATIONS = [("Relu", {}), ("LeakyRelu", {"alpha": 0.2}), ("Tanh", {}), ("Sigmoid", {})]


@sweep("FusedGemm", tolerance=SUMS, types=FLOAT, domain=DOMAIN)
def fused_gemm(draw: Draw) -> Node:
    m, k, n = (max(s, 1) for s in _factor_sizes(draw))
    name, more = draw.choose(_ACTIVATIONS)
    attrs: dict[str, object] = {"activation": name, **{f"activation_{n}": v for n, v in more.items()}}
    attrs["transB"] = draw.integer(0, 1)
    shapes = [(m, k), (n, k) if attrs["transB"] else (k, n), draw.choose([(n,), (m, n), (1, n)])]
    return Node([draw.values(s, -1, 1) for s in shapes], attrs, constants=draw.fixed(1, 2), scale=2 * k**0.5)


@sweep("FusedConv", tolerance=SUMS, types=FLOAT, domain=DOMAIN)
def fused_conv(draw: Draw) -> Node:
    window = Window(draw, 2, auto=False)
    groups, before, after = _channels(draw, window)
    name, more = draw.choose([*_ACTIVATIONS, ("Clip", {"min": 0.0, "max": 0.5})])
    attrs = window.attrs()
    attrs.update(group=groups, activation=name)
    if more:
        attrs["activation_params"] = [float(v) for v in more.values()]
    arrays = [
        draw.values((draw.integer(1, 2), groups * before, *window.sizes), -1, 1),
        draw.values((groups * after, before, *window.kernel), -1, 1), draw.values((groups * after,), -1, 1),
    ]  # fmt: skip
    return Node(arrays, attrs, constants=frozenset({1, 2}), scale=(before * float(np.prod(window.kernel))) ** 0.5)


@sweep("BiasGelu", "FastGelu", "QuickGelu", "Gelu", tolerance=FUNCTION, types=FLOAT, domain=DOMAIN)
def gelus(draw: Draw) -> Node:
    x = draw.values(draw.shape((1, 4), empty=0.0), -4, 4)
    name = draw.operator.rpartition(".")[2]
    bias = name == "BiasGelu" or (name == "FastGelu" and draw.chance(0.6))
    arrays = [x, draw.values(x.shape[-1:], -1, 1)] if bias else [x]
    # ONNX Runtime's own approximation of tanh is good to 4e-7
    return Node(arrays, {"alpha": 1.5} if name == "QuickGelu" and draw.chance(0.5) else {}, scale=16)


@sweep("SkipLayerNormalization", "SkipSimplifiedLayerNormalization", tolerance=NORMAL, types=FLOAT, domain=DOMAIN)
def skip_norms(draw: Draw) -> Node:
    batch, length, hidden = draw.integer(1, 3), draw.size(33), max(draw.size(257), 2)
    simple = "Simplified" in draw.operator
    x, skip = draw.values((batch, length, hidden)), draw.values((batch, length, hidden))
    arrays: list[np.ndarray | None] = [x, skip, draw.values((hidden,))]
    if not simple:
        arrays.append(draw.values((hidden,)) if draw.chance(0.7) else None)
    if draw.chance(0.5):
        arrays.append(draw.values((hidden,)))
    while arrays[-1] is None:
        arrays.pop()
    fixed = frozenset(i for i in range(2, len(arrays)) if arrays[i] is not None)
    if draw.chance(0.4):
        return Node(arrays, {"epsilon": 1e-3}, outputs=4, skip_outputs=frozenset({1, 2}), constants=fixed, scale=32)
    return Node(arrays, {"epsilon": 1e-3}, constants=fixed, scale=32)


PRODUCTS = Tolerance("products under a softmax", rel=64.0, abs=64.0)


@sweep("Attention", tolerance=PRODUCTS, types=FLOAT, domain=DOMAIN)
def attention(draw: Draw) -> Node:
    batch, length, heads, size = (
        draw.integer(1, 3),
        draw.size(65),
        draw.choose([1, 2, 4]),
        draw.choose([4, 8, 16, 17, 32]),
    )
    width, hidden = draw.choose([8, 31, 64]), heads * size
    arrays: list[np.ndarray | None] = [
        draw.values((batch, length, width), -1, 1), draw.values((width, 3 * hidden), -0.3, 0.3),
        draw.values((3 * hidden,), -0.3, 0.3),
    ]  # fmt: skip
    masks = [None, draw.rng.integers(1, length + 1, batch), draw.rng.random((batch, length)) < 0.8]
    mask = draw.choose(masks)
    if mask is not None:
        mask = np.asarray(mask).astype(np.int32)
        if mask.ndim == 2:
            mask[:, 0] = 1
        arrays.append(mask)
    attrs = {"num_heads": heads, "unidirectional": draw.choose([0, 0, 1])}
    return Node(arrays, attrs, constants=draw.fixed(1, 2, probability=0.8), scale=float(size**0.5))


@sweep("MultiHeadAttention", tolerance=PRODUCTS, types=FLOAT, domain=DOMAIN)
def multi_head(draw: Draw) -> Node:
    batch, heads, size = draw.integer(1, 3), draw.choose([1, 2, 4]), draw.choose([4, 8, 16, 17, 32])
    queries, keys = draw.size(65), draw.size(65)
    hidden, values = heads * size, heads * draw.choose([size, size, 8])
    arrays: list[np.ndarray | None] = [
        draw.values((batch, queries, hidden), -1, 1), draw.values((batch, keys, hidden), -1, 1),
        draw.values((batch, keys, values), -1, 1),
    ]  # fmt: skip
    bias = draw.chance(0.4)
    arrays.append(draw.values((2 * hidden + values,), -0.5, 0.5) if bias else None)
    padded = draw.chance(0.3)
    if padded:
        mask = (draw.rng.random((batch, keys)) < 0.8).astype(np.int32)
        mask[:, 0] = 1
        arrays.append(mask)
    if draw.chance(0.3):
        arrays += [None] * (5 - len(arrays)) + [draw.values((draw.choose([1, batch]), heads, queries, keys), -2, 2)]
    while arrays[-1] is None:
        arrays.pop()
    return Node(arrays, {"num_heads": heads, "scale": draw.choose([None, 0.25])}, scale=float(size**0.5))


@sweep("RotaryEmbedding", tolerance=SUMS, types=FLOAT, domain=DOMAIN)
def rotary(draw: Draw) -> Node:
    batch, heads, length, half = draw.integer(1, 3), draw.choose([1, 2, 5]), draw.size(33), draw.choose([2, 8, 16, 17])
    shape = (batch, length, heads * 2 * half) if draw.chance(0.5) else (batch, heads, length, 2 * half)
    at = draw.rng.integers(0, 20, (batch, length)) if draw.chance(0.6) else np.array([draw.integer(0, 5)])
    tables = [draw.values((length + 25, half), -1, 1) for _ in range(2)]
    attrs = {"interleaved": draw.integer(0, 1)}
    return Node([draw.values(shape, -1, 1), at.astype(np.int64), *tables], attrs, constants=frozenset({2, 3}))


@sweep("MatMulNBits", tolerance=SUMS, types=FLOAT, domain=DOMAIN)
def packed_matmul(draw: Draw) -> Node:
    rows, k, n, block = (
        draw.choose([1, 2, 7, 17, 33]),
        draw.choose([16, 31, 64, 129, 256]),
        draw.size(129),
        draw.choose([16, 32, 64]),
    )
    parts = -(-k // block)
    arrays: list[np.ndarray | None] = [
        draw.values((rows, k), -1, 1), draw.rng.integers(0, 256, (n, parts, block // 2)).astype(np.uint8),
        draw.rng.uniform(0.05, 0.2, (n * parts,)).astype(np.float32),
    ]  # fmt: skip
    if draw.chance(0.5):
        arrays.append(draw.rng.integers(0, 256, (n * -(-parts // 2),)).astype(np.uint8))
    attrs = {"K": k, "N": n, "bits": 4, "block_size": block, "accuracy_level": 1}
    return Node(arrays, attrs, constants=frozenset(range(1, len(arrays))), scale=2 * k**0.5)


def _quantised(draw: Draw, shape: tuple[int, ...]) -> list[np.ndarray]:
    """Numbers, their scale and their zero point."""
    return [draw.values(shape, -128, 255), np.float32(draw.rng.uniform(0.01, 0.05)), zero_point(draw, draw.dtype)]


@sweep("QLinearAdd", "QLinearMul", tolerance=QUANTISED, types=("uint8", "int8"), domain=DOMAIN)
def quantised_pair(draw: Draw) -> Node:
    shape = draw.shape((1, 4), empty=0.0)
    arrays = [*_quantised(draw, shape), *_quantised(draw, draw.broadcastable(shape)), *_quantised(draw, ())[1:]]
    return Node(arrays, constants=frozenset({1, 2, 4, 5, 6, 7}))


@sweep("QLinearSigmoid", "QLinearLeakyRelu", tolerance=QUANTISED, types=("uint8", "int8"), domain=DOMAIN)
def quantised_one(draw: Draw) -> Node:
    arrays = [*_quantised(draw, draw.shape((1, 4), empty=0.0)), np.float32(1 / 200), zero_point(draw, draw.dtype)]
    attrs = {"alpha": 0.2} if "Leaky" in draw.operator else {}
    return Node(arrays, attrs, constants=frozenset({1, 2, 3, 4}))


@sweep("QLinearGlobalAveragePool", tolerance=QUANTISED, types=("uint8", "int8"), domain=DOMAIN)
def quantised_mean(draw: Draw) -> Node:
    last = draw.integer(0, 1)
    shape = draw.shape(4, empty=0.0)
    arrays = [*_quantised(draw, shape), np.float32(0.02), zero_point(draw, draw.dtype)]
    return Node(arrays, {"channels_last": last}, constants=frozenset({1, 2, 3, 4}))


@sweep("QLinearConcat", tolerance=QUANTISED, types=("uint8", "int8"), domain=DOMAIN)
def quantised_concat(draw: Draw) -> Node:
    shape = list(draw.shape((1, 4), 4000, empty=0.0))
    axis = draw.axis(len(shape))
    arrays: list[np.ndarray] = [np.float32(0.03), zero_point(draw, draw.dtype)]
    for _ in range(draw.integer(1, 4)):
        shape[axis] = draw.choose([1, 3, 7, 16, 33])
        arrays += _quantised(draw, tuple(shape))
    fixed = frozenset(i for i in range(len(arrays)) if i < 2 or (i - 2) % 3)
    return Node(arrays, {"axis": axis}, constants=fixed)


@sweep("MatMulIntegerToFloat", tolerance=SUMS, types=("uint8", "int8"), domain=DOMAIN)
def integers_to_float(draw: Draw) -> Node:
    a, b, k = _factors(draw)
    while len(a) < 2 or len(b) != 2 or not k:
        a, b, k = _factors(draw)
    columns = (b[-1],) if draw.chance(0.5) else ()
    arrays: list[np.ndarray | None] = [
        draw.values(a, -128, 255), draw.values(b, -128, 127, dtype=np.int8), np.float32(0.02),
        draw.rng.uniform(0.01, 0.03, columns).astype(np.float32),
    ]  # fmt: skip
    if draw.chance(0.7):
        arrays.append(zero_point(draw, draw.dtype))
        if draw.chance(0.5):
            arrays.append(zero_point(draw, np.dtype(np.int8), columns))
    if draw.chance(0.5):
        arrays += [None] * (6 - len(arrays)) + [draw.values((b[-1],), -1, 1, dtype=np.float32)]
    fixed = frozenset(i for i in range(1, len(arrays)) if arrays[i] is not None)
    return Node(arrays, constants=fixed, scale=8 * k**0.5)
