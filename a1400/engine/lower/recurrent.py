"""LSTM, GRU and RNN: one product makes all input projections, then the recurrent kernel walks the time steps."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from a1400.engine.lower.linear import Product, emit_product
from a1400.engine.lowering import Lowering, lowers
from a1400.errors import UnsupportedOpError
from a1400.graph.graph import Node, Value
from a1400.kernels import expr as expressions
from a1400.kernels import recurrent as kernel
from a1400.memory.storage import View
from a1400.ops.recurrent import GATES


def _direction(value: Value | None, d: int) -> np.ndarray | None:
    if value is None:
        return None
    if value.data is None:
        raise UnsupportedOpError("recurrent weights computed at run time are not implemented")
    return value.data[d]


def _already(packed: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    """The packing function of an array that was packed beforehand."""
    return lambda _: packed


def _flipped(d: int, weights: np.ndarray) -> np.ndarray:
    return weights[d].T


def _pack(d: int, gates: int, recurrence: np.ndarray) -> np.ndarray:
    return kernel.pack(recurrence[d], gates)


@lowers("recurrent")
def _recurrent(lw: Lowering, node: Node) -> None:
    x, w, r, *rest = node.inputs
    assert x is not None and w is not None and r is not None
    rest += [None] * (5 - len(rest))
    bias, lengths, h0, c0, peepholes = rest
    attrs: dict[str, Any] = node.attrs
    name, hidden = attrs["kind"], int(attrs["hidden"])
    gates, (steps, batch, size) = GATES[name], x.shape
    directions = w.shape[0]
    outputs = [lw.result(v) for v in node.outputs]
    y, hn = outputs[0], outputs[1]
    cn = outputs[2] if name == "lstm" else None
    if y.size == 0:
        return
    view = lw.dense(x)
    rows = View(view.storage, view.dtype, (steps * batch, size), (size, 1), view.offset)
    nothing = lw.constant(np.zeros(1, x.dtype))
    no_lengths = lw.constant(np.zeros(1, np.int32))
    linear = name == "gru" and bool(attrs.get("linear_before_reset"))
    per = len(attrs["activations"]) // directions
    for d in range(directions):
        weights, recurrence = _direction(w, d), _direction(r, d)
        assert weights is not None and recurrence is not None
        b = _direction(bias, d)
        total = np.zeros(gates * hidden, x.dtype)
        recurrent_bias = np.zeros(hidden, x.dtype)
        if b is not None:
            both = b.reshape(2, gates * hidden)
            total = (both[0] + both[1]).astype(x.dtype)
            if linear:  # the candidate's recurrent bias is multiplied by the reset gate: it stays apart
                recurrent_bias = both[1, 2 * hidden :].copy()
                total[2 * hidden :] = both[0, 2 * hidden :]
        xw = lw.temporary((steps * batch, gates * hidden), x.dtype)
        # the same key for every plan: the transposed weights are one array per model
        flipped = lw.packed(w, ("recurrent_w", d), partial(_flipped, d))
        assert flipped.storage.array is not None
        constant = Value(flipped.shape, x.dtype, data=flipped.storage.array)
        body = expressions.apply("add", expressions.arg(0, x.dtype), expressions.arg(1, x.dtype))
        offset = lw.slot(body, [lw.packed(w, ("bias", d), _already(total))], xw.shape, [[], [0], [1]])
        emit_product(lw, Product(rows, flipped, xw, constant, {"EPILOGUE": offset}))
        packed = lw.packed(r, ("recurrent_r", d), partial(_pack, d, gates))
        y_strides = {"y_t": directions * batch * hidden, "y_b": hidden}
        backward = attrs["direction"] == "reverse" or d == 1
        given: dict[str, int | float] = {
            "reverse": int(backward), "has_lens": int(lengths is not None), "has_h0": int(h0 is not None),
            "clip": float(attrs.get("clip") or 0.0), "y_off": y.offset + d * batch * hidden, **y_strides,
            "hn_off": hn.offset + d * batch * hidden,
        }  # fmt: skip
        buffers = {
            "xw": xw.ref(), "r": packed.ref(), "lens": (lw.dense(lengths) if lengths else no_lengths).ref(),
            "h0": nothing.ref(), "y": y.ref(), "hn": hn.ref(),
        }  # fmt: skip
        if h0 is not None:
            state = lw.dense(h0)
            buffers["h0"] = state.ref()
            given["h0_off"] = state.offset + d * batch * hidden
        if name == "lstm":
            assert cn is not None
            buffers |= {"cn": cn.ref(), "c0": nothing.ref(), "peep": nothing.ref()}
            given |= {"cn_off": cn.offset + d * batch * hidden, "input_forget": int(bool(attrs.get("input_forget")))}
            if c0 is not None:
                cell = lw.dense(c0)
                buffers["c0"] = cell.ref()
                given |= {"has_c0": 1, "c0_off": cell.offset + d * batch * hidden}
            if peepholes is not None:
                p = _direction(peepholes, d)
                assert p is not None
                buffers["peep"] = lw.packed(w, ("peep", d), _already(p)).ref()
                given["has_peep"] = 1
            buffers["state"] = lw.temporary((batch, hidden), np.dtype(np.float32)).ref()
        if name == "gru":
            buffers["rbh"] = lw.packed(w, ("rbh", d), _already(recurrent_bias)).ref()
            buffers["state"] = lw.temporary((batch, 2, hidden), np.dtype(np.float32)).ref()
            given["linear_before_reset"] = int(linear)
        letters = {"lstm": "fgh", "gru": "fg", "rnn": "f"}[name]
        for letter, (act, alpha, beta) in zip(letters, attrs["activations"][d * per : (d + 1) * per], strict=True):
            given[f"act_{letter}"] = kernel.ACTIVATIONS.index(act.lower())
            given |= {f"alpha_{letter}": alpha, f"beta_{letter}": beta}
        scalars = kernel.scalars(name, steps, batch, hidden, **given)
        stepwise = kernel.choose_steps(name, steps, batch, hidden, lw.info)
        phases = (0, 1) if name == "gru" and not linear else (2,)
        if not stepwise:
            lw.launch(name, {"T": x.dtype}, buffers, scalars)
            continue
        for t in range(steps):
            for phase in phases:
                extra = {"phase": phase} if name == "gru" else {}
                lw.launch(name, {"T": x.dtype}, buffers, {**scalars, "step_begin": t, "step_end": t + 1, **extra})
