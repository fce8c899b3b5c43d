"""How each op works on the base of a transposed operand: see ``layout.py``.

A rule gives True when it has dealt with the node; False leaves it to :meth:`Layout.keep`.  In all of them operand
``x = transpose(base, perm)``, so axis ``i`` of x is axis ``perm[i]`` of the base.
"""

from __future__ import annotations

from collections.abc import Callable

from a1400.graph.graph import Node, Value
from a1400.optimizer.layout import Layout, Perm
from a1400.optimizer.permutation import permuted, remap_axes, reshape_permuted
from a1400.optimizer.shape_folding import compose, inverse, is_identity

LayoutRule = Callable[[Layout, Node], bool]


def _first(node: Node) -> Value:
    value = node.inputs[0]
    assert value is not None
    return value


def _transpose(state: Layout, node: Node) -> bool:
    x = _first(node)
    base, perm = state.described(x)
    sources = tuple(dict.fromkeys((*state.sources(x), *node.sources)))
    state.describe(node.output, base, compose(perm, node.attrs["perm"]), sources)
    return True


def _same_layout(state: Layout, node: Node) -> tuple[list[Value | None], Perm] | None:
    """All operands brought into the cheapest common layout; None when that is the plain one."""
    out = node.output
    perm = state.choose([v for v in node.inputs if v is not None], out)
    if is_identity(perm):
        return None
    return [None if v is None else state.in_layout(v, perm) for v in node.inputs], perm


def _pointwise(state: Layout, node: Node) -> bool:
    found = _same_layout(state, node)
    if found is None:
        return False
    inputs, perm = found
    state.emit(node, inputs, dict(node.attrs), [permuted(node.output.shape, inverse(perm))], [perm])
    return True


def _concat(state: Layout, node: Node) -> bool:
    found = _same_layout(state, node)
    if found is None:
        return False
    inputs, perm = found
    attrs = {**node.attrs, "axis": perm[node.attrs["axis"]]}
    state.emit(node, inputs, attrs, [permuted(node.output.shape, inverse(perm))], [perm])
    return True


def _per_axis(*keys: str) -> LayoutRule:
    """Ops whose attributes ``keys`` have one entry per axis and whose further operands are scalars."""

    def rule(state: Layout, node: Node) -> bool:
        base, perm = state.described(_first(node))
        attrs = dict(node.attrs)
        for key in keys:
            attrs[key] = remap_axes(perm, attrs[key])
        inputs = [base, *(None if v is None else state.real(v) for v in node.inputs[1:])]
        state.emit(node, inputs, attrs, [remap_axes(perm, node.output.shape)], [perm])
        return True

    return rule


def _along_axis(state: Layout, node: Node) -> bool:
    """Ops along one axis that keep the rank: softmax, scans, top-k."""
    base, perm = state.described(_first(node))
    attrs = {**node.attrs, "axis": perm[node.attrs["axis"]]}
    shapes = [remap_axes(perm, o.shape) for o in node.outputs]
    inputs = [base, *(None if v is None else state.real(v) for v in node.inputs[1:])]
    state.emit(node, inputs, attrs, shapes, [perm] * len(shapes))
    return True


def _reduce(state: Layout, node: Node) -> bool:
    base, perm = state.described(_first(node))
    attrs = dict(node.attrs)
    axes = attrs["axes"] if node.op == "reduce" else (attrs["axis"],)
    new_axes = tuple(sorted(perm[a] for a in axes))
    if node.op == "reduce":
        attrs["axes"] = new_axes
    else:
        attrs["axis"] = new_axes[0]
    if attrs["keepdims"]:
        state.emit(node, [base], attrs, [remap_axes(perm, node.output.shape)], [perm])
        return True
    left = [d for d in range(base.rank) if d not in new_axes]
    result = tuple(left.index(perm[i]) for i in range(base.rank) if i not in axes)
    state.emit(node, [base], attrs, [tuple(base.shape[d] for d in left)], [result])
    return True


def _reshape(state: Layout, node: Node) -> bool:
    x = _first(node)
    base, perm = state.described(x)
    found = reshape_permuted(base.shape, perm, node.output.shape)
    if found is None:
        return False
    shape, result = found
    sources = tuple(dict.fromkeys((*state.sources(x), *node.sources)))
    state.describe(node.output, state.reshape(base, shape, sources), result, sources)
    return True


def _expand(state: Layout, node: Node) -> bool:
    """Expand the base where the transpose is undone later; else transpose first, while there is less to move."""
    base, perm = state.described(_first(node))
    out = node.output
    missing = out.rank - base.rank
    full = (*range(missing), *(p + missing for p in perm))
    wanted = state.wishes.get(id(out), set())
    if not any(is_identity(compose(full, wish)) for wish in wanted):
        return False
    shape = permuted(out.shape, inverse(full))
    inputs: list[Value | None] = [state.reshape(base, (1,) * missing + base.shape)]
    state.emit(node, inputs, {**node.attrs, "shape": shape}, [shape], [full])
    return True


def _gather(state: Layout, node: Node) -> bool:
    x, index = node.inputs
    assert x is not None and index is not None
    base, perm = state.described(x)
    axis, picked = node.attrs["axis"], state.real(index)
    at = perm[axis]

    def labels(order: list[int], where: int) -> list[tuple[str, int]]:
        result: list[tuple[str, int]] = []
        for d in order:
            result += [("index", j) for j in range(picked.rank)] if d == where else [("axis", d)]
        return result

    before, after = labels(list(range(base.rank)), at), labels(list(perm), at)
    shape = (*base.shape[:at], *picked.shape, *base.shape[at + 1 :])
    result = tuple(before.index(label) for label in after)
    state.emit(node, [base, picked], {**node.attrs, "axis": at}, [shape], [result])
    return True


def _row_norm(state: Layout, node: Node) -> bool:
    """Layer and RMS normalisation stay over trailing axes: fine when those do not move."""
    base, perm = state.described(_first(node))
    if any(perm[i] != i for i in range(node.attrs["axis"], base.rank)):
        return False
    inputs = [base, *(None if v is None else state.real(v) for v in node.inputs[1:])]
    state.emit(node, inputs, dict(node.attrs), [base.shape], [perm])
    return True


RULES: dict[str, LayoutRule] = {
    "transpose": _transpose,
    "pointwise": _pointwise,
    "concat": _concat,
    "slice": _per_axis("starts", "shape", "steps"),
    "pad": _per_axis("low", "high"),
    "softmax": _along_axis,
    "log_softmax": _along_axis,
    "cumulate": _along_axis,
    "topk": _along_axis,
    "reduce": _reduce,
    "arg_reduce": _reduce,
    "reshape": _reshape,
    "expand": _expand,
    "gather": _gather,
    "layer_norm": _row_norm,
    "rms_norm": _row_norm,
}
