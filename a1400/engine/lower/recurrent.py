"""LSTM, GRU and RNN: one product makes all input projections, then the recurrent kernel walks the time steps."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from a1400.engine.lower.linear import Product, emit_product, uses_packed
from a1400.engine.lower.movement import merged_result
from a1400.engine.lower.pointwise import emit_pointwise
from a1400.engine.lowering import Lowering, lowers
from a1400.graph.graph import Node, Value
from a1400.kernels import expr as expressions
from a1400.kernels import recurrent as kernel
from a1400.kernels.gemm_pack import pack_b
from a1400.memory.storage import Ref, View
from a1400.ops.recurrent import GATES
from a1400.ops.registry import wide_dtype


def _flipped(weights: np.ndarray) -> np.ndarray:
    """[D, gates * H, I] as one product's [I, D * gates * H]."""
    return weights.reshape(-1, weights.shape[-1]).T


def _flipped_and_packed(weights: np.ndarray) -> np.ndarray:
    """:func:`_flipped` for the packed product: found by the weights, so that all plans share one array."""
    return pack_b(_flipped(weights))


def _pack(gates: int, part: slice, recurrence: np.ndarray) -> np.ndarray:
    return np.stack([kernel.pack(one, gates) for one in recurrence[part]])


@dataclass(frozen=True)
class _Layer:
    """A node and what all its directions share."""

    node: Node
    name: str
    steps: int
    batch: int
    hidden: int
    xw: View  # [T * B, D * gates * H]
    y: View  # [T, D, B, H], any strides but the last
    apart: Callable[[slice], View]  # directions -> [D, H]: see _biases

    @property
    def linear(self) -> bool:
        """A gru whose candidate applies the reset gate behind the product."""
        return self.name == "gru" and bool(self.node.attrs.get("linear_before_reset"))


@lowers("recurrent")
def _recurrent(lw: Lowering, node: Node) -> None:
    x, w, r, bias = (*node.inputs, None)[:4]
    assert x is not None and w is not None and r is not None
    attrs: dict[str, Any] = node.attrs
    name, hidden, directions = attrs["kind"], int(attrs["hidden"]), w.shape[0]
    y = merged_result(lw, node.outputs[0])
    for state in node.outputs[1:]:
        lw.result(state)
    if y.size == 0:
        return
    linear = name == "gru" and bool(attrs.get("linear_before_reset"))
    total, apart = _biases(lw, w, bias, GATES[name], hidden, linear)
    layer = _Layer(node, name, x.shape[0], x.shape[1], hidden, _input_product(lw, x, w, total), y, apart)
    for part in _together(attrs, directions):
        _walk(lw, layer, part)


def _walk(lw: Lowering, layer: _Layer, part: slice) -> None:
    """Launch the steps of the directions ``part``, which have the same activations."""
    _, w, r, _, lengths, h0, c0, peepholes = (*layer.node.inputs, *[None] * 5)[:8]
    assert w is not None and r is not None
    attrs, name, batch, hidden, y = layer.node.attrs, layer.name, layer.batch, layer.hidden, layer.y
    gates, dtype = GATES[name], layer.xw.dtype
    first, count = part.start, part.stop - part.start
    backward = {"forward": 0, "reverse": 1}.get(attrs["direction"], 2) >> first
    nothing, state_at = lw.constant(np.zeros(1, dtype)), first * batch * hidden
    given: dict[str, int | float] = {
        "D": count, "reverse": backward, "clip": float(attrs.get("clip") or 0.0), "xw_off": first * gates * hidden,
        "xw_t": batch * layer.xw.shape[1], "xw_b": layer.xw.shape[1],
        "y_off": y.offset + first * y.strides[1], "y_t": y.strides[0], "y_d": y.strides[1], "y_b": y.strides[2],
    }  # fmt: skip
    buffers = {
        "xw": layer.xw.ref(), "r": _recurrence(lw, r, gates, part).ref(),
        "lens": lw.constant(np.zeros(1, np.int32)).ref(), "y": y.ref(),
    }  # fmt: skip
    if lengths is not None:
        given["has_lens"], buffers["lens"] = 1, lw.dense(lengths).ref()
    inputs = {"h0": h0, "c0": c0} if name == "lstm" else {"h0": h0}
    for key, value in inputs.items():
        buffers[key] = nothing.ref()
        if value is not None:
            view = lw.dense(value)
            buffers[key] = view.ref()
            given |= {f"has_{key}": 1, f"{key}_off": view.offset + state_at}
    for key, value in zip(("hn", "cn"), layer.node.outputs[1:]):
        view = lw.view(value)
        buffers[key] = view.ref()
        given[f"{key}_off"] = view.offset + state_at
    if name == "lstm":
        buffers["peep"] = nothing.ref() if peepholes is None else lw.bind(_directions(lw, peepholes, part))
        given |= {"has_peep": int(peepholes is not None), "input_forget": int(bool(attrs.get("input_forget")))}
    if name == "gru":
        buffers["rbh"] = lw.bind(layer.apart(part))
        given["linear_before_reset"] = int(layer.linear)
    if name != "rnn":
        rows = (batch, hidden) if name == "lstm" else (batch, 2, hidden)
        buffers["state"] = lw.temporary((count, *rows), wide_dtype(dtype)).ref()
    per = len(attrs["activations"]) // w.shape[0]
    letters = {"lstm": "fgh", "gru": "fg", "rnn": "f"}[name]
    for letter, (act, alpha, beta) in zip(letters, attrs["activations"][first * per : (first + 1) * per], strict=True):
        given |= {f"act_{letter}": kernel.ACTIVATIONS.index(act.lower()), f"alpha_{letter}": alpha}
        given[f"beta_{letter}"] = beta
    _launch(lw, layer, buffers, kernel.scalars(name, layer.steps, batch, hidden, **given))


def _launch(lw: Lowering, layer: _Layer, buffers: dict[str, Ref], scalars: dict[str, int | float]) -> None:
    """All steps, in the way that is fastest on the device."""
    name, count = layer.name, int(scalars["D"])
    types = kernel.accumulated(name, layer.xw.dtype)
    way = kernel.choose_way(name, layer.steps, layer.batch, layer.hidden, count, lw.info)
    words = np.dtype(np.int32)
    if way == "team" and types["T"].itemsize < 8:  # whose variant has vectors of 32 bits
        members = min(lw.info.compute_units, kernel.MOST_MEMBERS)
        sync = lw.temporary((kernel.sync_size(count, layer.batch, members),), words)
        lw.copy(lw.constant(np.zeros(1, words)).expand(sync.shape), sync)
        lw.launch(
            name, types, {**buffers, "sync": sync.ref()}, scalars, variant="cpu_team", tunables={"MEMBERS": members}
        )
        return
    buffers = {**buffers, "sync": lw.temporary((1,), words).ref()}
    if way != "step":
        lw.launch(name, types, buffers, scalars)
        return
    for t in range(layer.steps):
        for phase in (0, 1) if name == "gru" and not layer.linear else (2,):
            extra = {"phase": phase} if name == "gru" else {}
            lw.launch(name, types, buffers, {**scalars, "step_begin": t, "step_end": t + 1, **extra})


def _directions(lw: Lowering, value: Value, part: slice) -> View:
    """The directions ``part`` of weights [D, ...], so that :meth:`Lowering.bind` takes them."""
    if value.is_constant:
        return lw.packed(value, ("directions", part.start, part.stop), lambda held: held[part])
    return lw.dense_view(_along(lw.view(value), 0, part.start, part.stop))


def _along(view: View, axis: int, start: int, stop: int) -> View:
    """``start`` to ``stop`` of one axis."""
    starts, shape = [0] * len(view.shape), list(view.shape)
    starts[axis], shape[axis] = start, stop - start
    return view.slice(tuple(starts), tuple(shape), (1,) * len(shape))


def _recurrence(lw: Lowering, r: Value, gates: int, part: slice) -> View:
    """Recurrent weights of the directions ``part`` as the kernels want them: on the device where they are computed."""
    if r.is_constant:
        return lw.packed(r, ("recurrent_r", part.start, part.stop), partial(_pack, gates, part))
    hidden, units = r.shape[-1], kernel.UNITS
    count, full = part.stop - part.start, hidden // units
    packed = lw.temporary((count, -(-hidden // units), hidden, gates, units), r.dtype)
    source = lw.contiguous(r).reshape((r.shape[0], gates, hidden, hidden))
    assert source is not None
    source = _along(source, 0, part.start, part.stop)
    if full:
        blocks = _along(source, 2, 0, full * units).reshape((count, gates, full, units, hidden))
        assert blocks is not None
        lw.copy(blocks.transpose((0, 2, 4, 1, 3)), _along(packed, 1, 0, full))
    if full * units < hidden:
        last = _along(packed, 1, full, full + 1)
        lw.copy(lw.constant(np.zeros(1, r.dtype)).expand(last.shape), last)
        rest = _along(source, 2, full * units, hidden).reshape((count, gates, 1, hidden - full * units, hidden))
        assert rest is not None
        lw.copy(rest.transpose((0, 2, 4, 1, 3)), _along(last, 4, 0, hidden - full * units))
    return packed


def _biases(
    lw: Lowering, w: Value, bias: Value | None, gates: int, hidden: int, linear: bool
) -> tuple[View, Callable[[slice], View]]:
    """What the input product adds, [D * gates * H], and what stays with the recurrent one: directions -> [D, H].

    With ``linear`` the candidate's recurrent bias is multiplied by the reset gate: it stays apart.
    """
    directions, dtype = w.shape[0], w.dtype
    none = np.zeros((directions, hidden), dtype)
    if bias is None:
        return lw.constant(np.zeros(directions * gates * hidden, dtype)), lambda part: lw.constant(none[part])
    if bias.is_constant:

        def make(which: str, part: slice, array: np.ndarray) -> np.ndarray:
            both = array.reshape(directions, 2, gates * hidden).copy()
            apart = none
            if linear:
                apart = both[:, 1, 2 * hidden :].copy()
                both[:, 1, 2 * hidden :] = 0
            return apart[part] if which == "apart" else (both[:, 0] + both[:, 1]).reshape(-1)

        def packed(which: str, part: slice) -> View:
            key = ("recurrent_bias", which, gates, hidden, linear, part.start, part.stop)
            return lw.packed(bias, key, partial(make, which, part))

        return packed("total", slice(0, directions)), partial(packed, "apart")
    both = lw.contiguous(bias).reshape((directions, 2, gates * hidden))
    assert both is not None
    given, own = (_along(both, 1, i, i + 1).reshape((directions, gates * hidden)) for i in (0, 1))
    total = lw.temporary((directions, gates * hidden), dtype)
    assert given is not None and own is not None
    added = 2 * hidden if linear else gates * hidden
    sums = expressions.apply("add", expressions.arg(0, dtype), expressions.arg(1, dtype))
    emit_pointwise(lw, sums, [_along(given, 1, 0, added), _along(own, 1, 0, added)], _along(total, 1, 0, added))
    flat = total.reshape((directions * gates * hidden,))
    assert flat is not None
    if not linear:
        return flat, lambda part: lw.constant(none[part])
    lw.copy(_along(given, 1, added, gates * hidden), _along(total, 1, added, gates * hidden))
    return flat, lambda part: lw.dense_view(_along(_along(own, 1, added, gates * hidden), 0, part.start, part.stop))


def _input_product(lw: Lowering, x: Value, w: Value, bias: View) -> View:
    """X W^T + bias of all times and directions, [T * B, D * gates * H]."""
    steps, batch, size = x.shape
    view = lw.dense(x)
    rows = View(view.storage, view.dtype, (steps * batch, size), (size, 1), view.offset)
    xw = lw.temporary((steps * batch, w.shape[0] * w.shape[1]), x.dtype)
    body = expressions.apply("add", expressions.arg(0, x.dtype), expressions.arg(1, x.dtype))
    slots = {"EPILOGUE": lw.slot(body, [bias], xw.shape, [[], [0], [1]])}
    if not w.is_constant:
        matrix = lw.contiguous(w).reshape((xw.shape[1], size))
        assert matrix is not None
        emit_product(lw, Product(rows, matrix.transpose((1, 0)), xw, None, slots))
        return xw
    if uses_packed(lw, x.dtype):
        packed = lw.packed(w, ("recurrent_w_packed",), _flipped_and_packed)
        matrix = View(packed.storage, packed.dtype, (size, xw.shape[1]), (xw.shape[1], 1))
        emit_product(lw, Product(rows, matrix, xw, None, slots), packed=packed)
        return xw
    flipped = lw.packed(w, ("recurrent_w",), _flipped)
    constant = Value(flipped.shape, x.dtype, data=flipped.storage.array)
    emit_product(lw, Product(rows, flipped, xw, constant, slots))
    return xw


def _together(attrs: Mapping[str, Any], directions: int) -> list[slice]:
    """Directions that one launch may take: all of them where their activations are the same."""
    per = len(attrs["activations"]) // directions
    kinds = [attrs["activations"][d * per : (d + 1) * per] for d in range(directions)]
    same = all(tuple(map(tuple, k)) == tuple(map(tuple, kinds[0])) for k in kinds)
    return [slice(0, directions)] if same else [slice(d, d + 1) for d in range(directions)]
