"""``batch_norm_folding``: per-channel factors and shifts around a linear op become part of its weights and one bias.

After conv / conv_transpose / matmul with constant weights, a chain of ``mul``, ``add``, ``sub``, ``div`` by constants
that vary along the channel only is folded: the factors into the weights, the shifts into a single ``add``.  A chain
before the op is folded too, where padding does not interfere: padding inserts zeros *after* the chain, so a shift can
only be folded when nothing is padded; a factor always can.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from a1400 import dtypes
from a1400.graph.graph import Node, Value
from a1400.ops import OPS
from a1400.optimizer.rewriter import Context, Rewriter, merge_sources
from a1400.optimizer.scalars import split_constant
from a1400.optimizer.slots import EPILOGUE_OPS

_STEPS = ("mul", "add", "sub", "div")
_LINEAR = ("conv", "conv_transpose", "matmul")


@dataclass
class _Chain:
    """``value * scale + shift`` with float64 vectors (or scalars) along ``axis`` of the value."""

    scale: np.ndarray
    shift: np.ndarray
    arrays: tuple[np.ndarray, ...]
    key: tuple[object, ...]
    sources: tuple[str, ...]
    nodes: int = 0
    factors: bool = False


def _empty() -> _Chain:
    return _Chain(np.ones(()), np.zeros(()), (), (), ())


def _channel_vector(node: Node, x: Value, axis: int) -> tuple[np.ndarray, np.ndarray, int] | None:
    """(array, its elements along ``axis``, operand position) when the other operand varies along ``axis`` only."""
    found = split_constant(node)
    if found is None or found[0] is not x or node.output.shape != x.shape or node.output.dtype != x.dtype:
        return None
    array = found[1].data
    assert array is not None
    at = axis - (x.rank - array.ndim)
    if array.size != 1 and (at < 0 or array.size != array.shape[at]):
        return None
    return array, array.astype(np.float64).reshape(() if array.size == 1 else -1), found[2]


def _step(chain: _Chain, node: Node, x: Value, axis: int) -> _Chain | None:
    """The chain with ``node`` after it; None when the node does not fit."""
    if node.op not in _STEPS:
        return None
    found = _channel_vector(node, x, axis)
    if found is None:
        return None
    array, c, position = found
    scale, shift = chain.scale, chain.shift
    if node.op == "div":
        if position == 0 or np.any(c == 0):
            return None
        scale, shift = scale / c, shift / c
    elif node.op == "mul":
        scale, shift = scale * c, shift * c
    elif node.op == "add":
        shift = shift + c
    elif position == 1:
        shift = shift - c
    else:
        scale, shift = -scale, c - shift
    factors = chain.factors or node.op in ("mul", "div") or (node.op == "sub" and position == 0)
    key = (*chain.key, node.op, position)
    sources = merge_sources(chain.sources, node.sources)
    return _Chain(scale, shift, (*chain.arrays, array), key, sources, chain.nodes + 1, factors)


class _Folder:
    def __init__(self, ctx: Context) -> None:
        self.ctx, self.walk = ctx, Rewriter(ctx)
        self.users = ctx.graph.users()
        self.outputs = {id(v) for v in ctx.graph.outputs.values()}
        self.taken: set[int] = set()

    def run(self) -> None:
        for node in self.walk.graph.nodes:
            if id(node) in self.taken:
                continue
            if not (node.op in _LINEAR and self.fold(node)):
                node.inputs = [None if v is None else self.walk.value(v) for v in node.inputs]
                self.walk.nodes.append(node)
        self.walk.finish()

    def only_user(self, value: Value) -> Node | None:
        """The one node that reads ``value``."""
        readers = self.users.get(id(value), [])
        return readers[0] if len(readers) == 1 and id(value) not in self.outputs else None

    def fold(self, node: Node) -> bool:
        x, w = node.inputs
        assert x is not None and w is not None
        if w.data is None or not dtypes.is_float(w.dtype) or (node.op == "matmul" and (w.rank != 2 or x.rank < 2)):
            return False
        value, transpose, after, members = self.chain_after(node)
        start, before = self.chain_before(node, x)
        if not after.factors and not before.nodes and after.nodes < 2:
            return False
        # bias and factors, computed once per model
        arrays = [w.data, *before.arrays, *after.arrays]
        key = ("fold linear", node.op, node.attrs.get("groups"), before.key, after.key)
        made = self.ctx.memo.derive(key, arrays, lambda: _folded(node, w.data, before, after))  # type: ignore[arg-type]
        weights, bias = made
        sources = merge_sources(before.sources, node.sources, transpose.sources if transpose else (), after.sources)
        new_w = self.walk.constant(weights) if weights.size else w
        result = self.walk.op(node.op, self.walk.value(start), new_w, sources=sources, **node.attrs)
        axis = result.rank - 1
        if transpose is not None:
            perm = transpose.attrs["perm"]
            result = self.walk.op("transpose", result, perm=perm, sources=transpose.sources)
            axis = perm.index(axis)
        if bias.size:
            shaped = bias.reshape(-1, *[1] * (result.rank - 1 - axis)) if bias.ndim else bias
            result = self.walk.op("add", result, self.walk.constant(shaped), sources=sources)
        self.walk.redirect(value, result)
        self.taken.update(id(m) for m in members)
        self.ctx.count(before.nodes + after.nodes)
        return True

    def chain_after(self, node: Node) -> tuple[Value, Node | None, _Chain, list[Node]]:
        """(last value, transpose passed, chain, nodes of the chain) behind ``node``."""
        value, chain, axis = node.output, _empty(), node.output.rank - 1
        transpose: Node | None = None
        members: list[Node] = []
        while True:
            user = self.only_user(value)
            if user is None:
                break
            if user.op == "transpose" and transpose is None and not chain.nodes:
                transpose, axis = user, user.attrs["perm"].index(axis)
                value = user.output
                continue
            longer = _step(chain, user, value, axis)
            if longer is None:
                break
            chain, value = longer, user.output
            members.append(user)
        if not chain.nodes:
            return node.output, None, chain, []
        if transpose is not None:
            members.append(transpose)
        return value, transpose, chain, members

    def chain_before(self, node: Node, x: Value) -> tuple[Value, _Chain]:
        """(first value, chain) in front of ``node``."""
        padded = node.op == "conv_transpose" or any(node.attrs.get("low", ())) or any(node.attrs.get("high", ()))
        found: list[Node] = []
        value, axis = x, x.rank - 1
        while value.producer is not None and self.only_user(value) is not None:
            step = value.producer
            # what a linear op before has taken already is its own
            constant = split_constant(step) if step.op in _STEPS and id(step) not in self.taken else None
            if constant is None or (padded and step.op not in ("mul", "div")):
                break
            if _step(_empty(), step, constant[0], axis) is None:
                break
            found.append(step)
            value = constant[0]
        # where the chain can end up in a kernel's epilogue it costs nothing, and the weights need not be copied
        if value.producer is not None and (OPS[value.producer.op].pointwise or value.producer.op in EPILOGUE_OPS):
            return x, _empty()
        chain = _empty()
        for step in reversed(found):
            inner = split_constant(step)
            assert inner is not None
            longer = _step(chain, step, inner[0], axis)
            assert longer is not None
            chain = longer
        return value, chain


def _folded(node: Node, w: np.ndarray, before: _Chain, after: _Chain) -> list[np.ndarray]:
    """(weights, bias) with both chains folded in; an empty array stands for "unchanged" and "none"."""
    groups = int(node.attrs.get("groups", 1))
    work = np.float64 if w.dtype == np.float64 else np.float32
    weights, bias = w.astype(work, copy=False), np.zeros(())

    if before.nodes and np.any(before.shift):
        shift = np.broadcast_to(before.shift, (_input_channels(node, w),))
        if node.op == "matmul":
            bias = shift @ weights
        else:  # conv: sum over the taps and this group's input channels
            taps = weights.reshape(groups, w.shape[0] // groups, w.shape[1], -1).astype(np.float64).sum(axis=3)
            bias = np.einsum("goc,gc->go", taps, shift.reshape(groups, -1)).reshape(-1)
    if before.factors:
        weights = weights * _input_factor(node, w, before.scale, groups).astype(work)
    if after.factors:
        weights = weights * _output_factor(node, w, after.scale, groups).astype(work)
    bias = bias * after.scale + after.shift
    channels = w.shape[1] * groups if node.op == "conv_transpose" else w.shape[0 if node.op == "conv" else 1]
    none = np.zeros(0, w.dtype)
    changed = before.factors or after.factors
    return [
        weights.astype(w.dtype) if changed else none,
        np.broadcast_to(bias, (channels,)).astype(w.dtype) if np.any(bias) else none,
    ]


def _input_channels(node: Node, w: np.ndarray) -> int:
    return int(w.shape[1]) * int(node.attrs["groups"]) if node.op == "conv" else int(w.shape[0])


def _input_factor(node: Node, w: np.ndarray, scale: np.ndarray, groups: int) -> np.ndarray:
    """``scale`` per input channel in a shape that broadcasts against the weights."""
    if not scale.ndim:
        return scale
    tail = [1] * (w.ndim - 2)
    if node.op == "conv":  # w[OC, C/groups, ...]: output channel o belongs to group o // (OC / groups)
        return np.repeat(scale.reshape(groups, -1), w.shape[0] // groups, axis=0).reshape(w.shape[0], -1, *tail)
    return scale.reshape(-1, 1, *tail)


def _output_factor(node: Node, w: np.ndarray, scale: np.ndarray, groups: int) -> np.ndarray:
    """``scale`` per output channel in a shape that broadcasts against the weights."""
    if not scale.ndim:
        return scale
    tail = [1] * (w.ndim - 2)
    if node.op == "conv":
        return scale.reshape(-1, 1, *tail)
    if node.op == "conv_transpose":  # w[C, OC/groups, ...]: input channel c belongs to group c // (C / groups)
        return np.repeat(scale.reshape(groups, -1), w.shape[0] // groups, axis=0).reshape(w.shape[0], -1, *tail)
    return scale.reshape(1, -1)


def batch_norm_folding(ctx: Context) -> None:
    """Fold per-channel products and sums around convolutions and matrix products into weights and a bias."""
    _Folder(ctx).run()
