"""LayerNorm and RMSNorm from their arithmetic.

LayerNorm: ``d = x - mean(x)``; ``d / sqrt(mean(d * d) + eps)``, as a division or a product with ``rsqrt``;
RMSNorm: ``x / sqrt(mean(x * x) + eps)``.  Scale and bias that follow are taken in as operands.  (Powers have become
products before, ``1 / sqrt`` has become ``rsqrt``.)
"""

from __future__ import annotations

from a1400.graph.graph import Node, Value
from a1400.optimizer.recognition.match import either_way, is_single, made_by, operand, plus_number, without_reshape
from a1400.optimizer.rewriter import Rewriter, merge_sources


def _squares_behind(value: Value) -> tuple[Value, tuple[int, ...], float, tuple[str, ...]] | None:
    """(v, axes, eps, sources) when ``value = mean(v * v, axes) + eps`` with the axes kept."""
    shifted = plus_number(value)
    if shifted is None or shifted[1] <= 0:
        return None
    mean = made_by(shifted[0], "reduce") or made_by(without_reshape(shifted[0]), "reduce")
    if mean is None or mean.attrs["kind"] != "mean" or not mean.attrs["axes"]:
        return None
    square = made_by(operand(mean), "mul")
    if square is None or square.inputs[0] is not square.inputs[1]:
        return None
    v = operand(square)
    if shifted[0].shape != _kept(v, mean.attrs["axes"]):
        return None
    add = value.producer
    assert add is not None
    return v, mean.attrs["axes"], shifted[1], merge_sources(square.sources, mean.sources, add.sources)


def _kept(v: Value, axes: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(1 if d in axes else n for d, n in enumerate(v.shape))


def _normalised(node: Node) -> tuple[Value, tuple[int, ...], float, tuple[str, ...]] | None:
    """(v, axes, eps, sources) when the node computes ``v / sqrt(mean(v * v, axes) + eps)``."""
    pairs = [(operand(node, 0), operand(node, 1))] if node.op == "div" else list(either_way(node))
    for v, scale in pairs:
        root = made_by(scale, "sqrt" if node.op == "div" else "rsqrt")
        if root is None or not is_single(v.dtype):
            continue
        found = _squares_behind(operand(root))
        if found is not None and found[0] is v:
            return v, found[1], found[2], merge_sources(found[3], root.sources, node.sources)
    return None


def _mean_removed(v: Value, axes: tuple[int, ...]) -> tuple[Value, tuple[str, ...]] | None:
    """(x, sources) when ``v = x - mean(x, axes)``."""
    node = made_by(v, "sub")
    if node is None:
        return None
    x, m = operand(node, 0), operand(node, 1)
    mean = made_by(m, "reduce") or made_by(without_reshape(m), "reduce")
    if mean is None or mean.attrs["kind"] != "mean" or mean.attrs["axes"] != axes:
        return None
    if mean.inputs[0] is not x or m.shape != _kept(x, axes):
        return None
    return x, merge_sources(mean.sources, node.sources)


def _emit(
    walk: Rewriter, op: str, x: Value, axes: tuple[int, ...], eps: float, sources: tuple[str, ...]
) -> Value | None:
    rank = x.rank
    if axes == tuple(range(axes[0], rank)):
        return walk.op(op, x, axis=axes[0], eps=eps, sources=sources)
    if len(axes) > 1:
        return None
    # an axis in the middle (channels of a channels-first image): layout makes the transposes meet their inverses
    perm = (*(d for d in range(rank) if d != axes[0]), axes[0])
    back = (*range(axes[0]), rank - 1, *range(axes[0], rank - 1))
    last = walk.op("transpose", x, perm=perm, sources=sources)
    return walk.op("transpose", walk.op(op, last, axis=rank - 1, eps=eps, sources=sources), perm=back, sources=sources)


def recognise_layer_norm(walk: Rewriter, node: Node) -> Value | None:
    """LayerNorm without scale and bias, from its last division or product."""
    found = _normalised(node)
    if found is None:
        return None
    v, axes, eps, sources = found
    centred = _mean_removed(v, axes)
    if centred is None:
        return None
    return _emit(walk, "layer_norm", centred[0], axes, eps, merge_sources(centred[1], sources))


def recognise_rms_norm(walk: Rewriter, node: Node) -> Value | None:
    """RMSNorm without scale, from its last division or product."""
    found = _normalised(node)
    return _emit(walk, "rms_norm", *found) if found is not None else None


def _parameter(walk: Rewriter, value: Value, shape: tuple[int, ...], sources: tuple[str, ...]) -> Value | None:
    """``value`` in exactly ``shape`` when it only lacks or has leading dimensions of size 1."""
    if value.size == 1 and value.data is None:
        return None
    stripped = tuple(value.shape[max(0, value.rank - len(shape)) :])
    if stripped != shape or value.size != _size(shape):
        return None
    return walk.op("reshape", value, shape=shape, sources=sources) if value.shape != shape else value


def _size(shape: tuple[int, ...]) -> int:
    result = 1
    for n in shape:
        result *= n
    return result


def _parameters_shape(norm: Node) -> tuple[int, ...]:
    return norm.output.shape[-1:] if norm.op == "group_norm" else norm.output.shape[norm.attrs["axis"] :]


def absorb_scale(walk: Rewriter, node: Node) -> Value | None:
    """A product with one number per normalised element becomes the normalisation's scale."""
    for y, w in either_way(node):
        norm = made_by(y, "layer_norm", "rms_norm", "group_norm")
        if norm is None or any(v is not None for v in norm.inputs[1:]) or not walk.single_use(y):
            continue
        if y.shape != node.output.shape or w.dtype != y.dtype:
            continue
        sources = merge_sources(norm.sources, node.sources)
        scale = _parameter(walk, w, _parameters_shape(norm), node.sources)
        if scale is not None:
            return walk.op(norm.op, operand(norm), scale, sources=sources, **norm.attrs)
    return None


def absorb_bias(walk: Rewriter, node: Node) -> Value | None:
    """A sum with one number per normalised element becomes the normalisation's bias."""
    for y, b in either_way(node):
        norm = made_by(y, "layer_norm", "group_norm")
        if norm is None or (len(norm.inputs) > 2 and norm.inputs[2] is not None) or not walk.single_use(y):
            continue
        if y.shape != node.output.shape or b.dtype != y.dtype:
            continue
        bias = _parameter(walk, b, _parameters_shape(norm), node.sources)
        if bias is not None:
            scale = norm.inputs[1] if len(norm.inputs) > 1 else None
            sources = merge_sources(norm.sources, node.sources)
            return walk.op(norm.op, operand(norm), scale, bias, sources=sources, **norm.attrs)
    return None
