"""Convolutions, pooling, normalisation, attention, recurrence and resampling as ONNX operators."""

from __future__ import annotations

import numpy as np

from a1400.export.onnx_writer import Emission, ExportError, emits
from a1400.graph.graph import Value


# ---- images ------------------------------------------------------------------------------------------
def _pads(e: Emission) -> list[int]:
    pads = [*e.attr("low"), *e.attr("high")]
    if min(pads, default=0) < 0:
        raise ExportError(f"{e.where}: {e.node.op} with negative padding is not written")
    return pads


@emits("conv")
def _conv(e: Emission) -> str:
    w, rank = e.writer, e.there(0).rank
    y = w.add(
        "Conv", w.channels_first(e.input(0), rank), e.input(1), strides=list(e.attr("strides")),
        dilations=list(e.attr("dilations")), pads=_pads(e), group=int(e.attr("groups")),
    )  # fmt: skip
    return w.channels_last(y, rank)


@emits("conv_transpose")
def _conv_transpose(e: Emission) -> str:
    w, rank = e.writer, e.there(0).rank
    y = w.add(
        "ConvTranspose", w.channels_first(e.input(0), rank), e.input(1), strides=list(e.attr("strides")),
        dilations=list(e.attr("dilations")), pads=_pads(e), output_padding=list(e.attr("output_padding")),
        group=int(e.attr("groups")),
    )  # fmt: skip
    return w.channels_last(y, rank)


@emits("pool")
def _pool(e: Emission) -> str:
    w, rank, kind = e.writer, e.there(0).rank, e.attr("kind")
    options = {
        "kernel_shape": list(e.attr("kernel")), "strides": list(e.attr("strides")), "pads": _pads(e),
        "dilations": list(e.attr("dilations")), "ceil_mode": _ceil_mode(e),
    }  # fmt: skip
    if kind == "average":
        options["count_include_pad"] = int(bool(e.attr("count_include_pad")))
    elif kind == "lp":
        options["p"] = int(e.attr("p", 2))
    operator = {"max": "MaxPool", "average": "AveragePool", "lp": "LpPool"}[kind]
    return w.channels_last(w.add(operator, w.channels_first(e.input(0), rank), **options), rank)


def _ceil_mode(e: Emission) -> int:
    """Whether the last window may reach beyond the padding: that is what makes the result larger."""
    table = zip(
        e.there(0).shape[1:-1], e.attr("kernel"), e.attr("strides"), e.attr("dilations"), e.attr("low"),
        e.attr("high"), e.attr("out"),
    )  # fmt: skip
    return int(any((n + lo + hi - (k - 1) * d - 1) // s + 1 < out for n, k, s, d, lo, hi, out in table))


@emits("resize")
def _resize(e: Emission) -> str:
    """Each axis is a product with the matrix of its weights: the very same sums, whatever mode they came from."""
    w, y, rank = e.writer, e.input(0), e.there(0).rank
    for axis, table in enumerate(e.attr("tables"), start=1):
        if table is None:
            continue
        index, weight = table
        if index.min(initial=0) < 0:
            raise ExportError(f"{e.where}: resizing beyond the edges is not written")
        matrix = np.zeros((index.shape[0], e.there(0).shape[axis]), np.float32)
        np.add.at(matrix, (np.arange(index.shape[0])[:, None], index), weight)
        order = [*(d for d in range(rank) if d != axis), axis]
        y = w.add("MatMul", w.add("Transpose", y, perm=order), w.constant(matrix.T))
        y = w.add("Transpose", y, perm=[order.index(d) for d in range(rank)])
    return y


@emits("grid_sample")
def _grid_sample(e: Emission) -> str:
    w, rank = e.writer, e.there(0).rank
    y = w.add(
        "GridSample", w.channels_first(e.input(0), rank), e.input(1), mode=e.attr("mode"),
        padding_mode=e.attr("padding"), align_corners=int(bool(e.attr("align_corners"))),
    )  # fmt: skip
    return w.channels_last(y, rank)


# ---- normalisation -----------------------------------------------------------------------------------
def _affine(e: Emission, y: str) -> str:
    if e.value(1) is not None:
        y = e.writer.add("Mul", y, e.input(1))
    return e.writer.add("Add", y, e.input(2)) if e.value(2) is not None else y


@emits("layer_norm")
def _layer_norm(e: Emission) -> str:
    x, axis = e.there(0), e.attr("axis")
    scale = e.input(1) if e.value(1) is not None else e.writer.constant(np.ones(x.shape[axis:], x.dtype))
    bias = [e.input(2)] if e.value(2) is not None else []
    return e.writer.add("LayerNormalization", e.input(0), scale, *bias, axis=axis, epsilon=float(e.attr("eps")))


@emits("rms_norm")
def _rms_norm(e: Emission) -> str:
    w, x = e.writer, e.input(0)
    axes = w.integers(range(e.attr("axis"), e.there(0).rank))
    return _affine(e, _divided(e, x, w.add("ReduceMean", w.add("Mul", x, x), axes, keepdims=1)))


def _divided(e: Emission, x: str, variance: str) -> str:
    w = e.writer
    return w.add("Div", x, w.add("Sqrt", w.add("Add", variance, w.scalar(float(e.attr("eps")), e.there(0)))))


@emits("group_norm")
def _group_norm(e: Emission) -> str:
    w, value, groups = e.writer, e.there(0), int(e.attr("groups"))
    twin = e.twin.inputs[0]
    assert twin is not None

    def split(v: Value) -> list[int]:
        return [v.shape[0], int(np.prod(v.shape[1:-1])), groups, v.shape[-1] // groups]

    axes = w.integers([1, 3])
    x = w.add("Reshape", e.input(0), w.sizes(split(value), split(twin)))
    centred = w.add("Sub", x, w.add("ReduceMean", x, axes, keepdims=1))
    y = _divided(e, centred, w.add("ReduceMean", w.add("Mul", centred, centred), axes, keepdims=1))
    return _affine(e, w.add("Reshape", y, e.shape()))


# ---- sequences ---------------------------------------------------------------------------------------
@emits("attention")
def _attention(e: Emission) -> str:
    w, q, k, mask = e.writer, e.there(0), e.there(1), e.value(3)
    group = q.shape[1] // k.shape[1]
    keys, values = (_heads(e, index, group) for index in (1, 2))
    scores = w.add("MatMul", e.input(0), w.add("Transpose", keys, perm=[0, 1, 3, 2]))
    scores = w.add("Mul", scores, w.scalar(float(e.attr("scale")), q))
    shown = ""
    if e.attr("causal"):
        rows, columns = np.arange(q.shape[2])[:, None], np.arange(k.shape[2])
        shown = w.constant(columns <= rows + int(e.attr("causal_offset", 0)))
    if mask is not None and mask.dtype == np.bool_:
        shown = w.add("And", shown, e.input(3)) if shown else e.input(3)
    elif mask is not None:
        scores = w.add("Add", scores, e.input(3))
    if not shown:
        return w.add("MatMul", w.add("Softmax", scores, axis=-1), values)
    scores = w.add("Where", shown, scores, w.scalar(-1e30, q))
    # a row that hides every key gives zeros
    weights = w.add("Where", shown, w.add("Softmax", scores, axis=-1), w.scalar(0, q))
    return w.add("MatMul", weights, values)


def _heads(e: Emission, index: int, group: int) -> str:
    """Keys or values with as many heads as the queries have."""
    if group == 1:
        return e.input(index)
    w = e.writer
    shapes = []
    for node in (e.node, e.twin):
        value = node.inputs[index]
        assert value is not None
        batch, heads, *rest = value.shape
        shapes.append(((batch, heads, group, *rest), (batch, heads * group, *rest)))
    wide = w.add("Unsqueeze", e.input(index), w.integers([2]))
    wide = w.add("Expand", wide, w.sizes(shapes[0][0], shapes[1][0]))
    return w.add("Reshape", wide, w.sizes(shapes[0][1], shapes[1][1]))


#: the op's activations: ONNX's name, and whether it takes an alpha and a beta
_ACTIVATIONS = {
    "affine": ("Affine", 2), "elu": ("Elu", 1), "hardsigmoid": ("HardSigmoid", 2), "leakyrelu": ("LeakyRelu", 1),
    "relu": ("Relu", 0), "scaledtanh": ("ScaledTanh", 2), "sigmoid": ("Sigmoid", 0), "softplus": ("Softplus", 0),
    "softsign": ("Softsign", 0), "tanh": ("Tanh", 0), "thresholdedrelu": ("ThresholdedRelu", 1),
}  # fmt: skip


@emits("recurrent")
def _recurrent(e: Emission) -> list[str]:
    kind = e.attr("kind")
    names, alphas, betas = [], [], []
    for name, alpha, beta in e.attr("activations"):
        written, count = _ACTIVATIONS[name.lower()]
        names.append(written)
        alphas += [float(alpha)] if count else []
        betas += [float(beta)] if count > 1 else []
    options = {"hidden_size": int(e.attr("hidden")), "direction": e.attr("direction"), "activations": names}
    if alphas:
        options["activation_alpha"] = alphas
    if betas:
        options["activation_beta"] = betas
    if e.attr("clip"):
        options["clip"] = float(e.attr("clip"))
    if kind == "lstm" and e.attr("input_forget"):
        options["input_forget"] = 1
    if kind == "gru":
        options["linear_before_reset"] = int(bool(e.attr("linear_before_reset")))
    inputs = e.inputs
    while inputs and not inputs[-1]:
        inputs.pop()
    return e.writer.several(kind.upper(), len(e.node.outputs), *inputs, **options)
