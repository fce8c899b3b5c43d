"""``recurrent(kind=lstm|gru|rnn)``: ONNX's LSTM, GRU and RNN, whole sequences.

Inputs: x[T,B,I], w[D,G*H,I], r[D,G*H,H], bias[D,2*G*H]?, lengths[B]? (i32), h0[D,B,H]?, c0[D,B,H]? (lstm),
peepholes[D,3*H]? (lstm).  Attributes: ``hidden``, ``direction`` forward|reverse|bidirectional, ``activations`` (list of
(name, alpha, beta) for all directions), ``clip`` (0: none), ``input_forget``, ``linear_before_reset``.
Outputs: y[T,D,B,H], last h[D,B,H], and for lstm last c[D,B,H].  Gate order as ONNX: iofc, zrh.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from a1400.graph.graph import Value
from a1400.ops.registry import Result, op, require, widen

GATES = {"lstm": 4, "gru": 3, "rnn": 1}


def _infer(attrs: dict[str, Any], x: Value, w: Value, r: Value, *rest: Value | None) -> list[Result]:
    gates, hidden = GATES[attrs["kind"]], int(attrs["hidden"])
    directions = 2 if attrs["direction"] == "bidirectional" else 1
    t, b, size = x.shape
    require(
        w.shape == (directions, gates * hidden, size),
        f"{attrs['kind']} weights {list(w.shape)} do not fit {list(x.shape)}",
    )
    require(
        r.shape == (directions, gates * hidden, hidden),
        f"{attrs['kind']} recurrence weights {list(r.shape)} do not fit",
    )
    state = (directions, b, hidden)
    outputs: list[Result] = [((t, directions, b, hidden), x.dtype), (state, x.dtype)]
    return [*outputs, (state, x.dtype)] if attrs["kind"] == "lstm" else outputs


def activation(name: str, alpha: float, beta: float, x: np.ndarray) -> np.ndarray:
    """NumPy form of ONNX's recurrent activations."""
    table = {
        "sigmoid": lambda: 1 / (1 + np.exp(-x)),
        "tanh": lambda: np.tanh(x),
        "relu": lambda: np.maximum(x, 0),
        "affine": lambda: alpha * x + beta,
        "leakyrelu": lambda: np.where(x < 0, alpha * x, x),
        "thresholdedrelu": lambda: np.where(x >= alpha, x, 0),
        "scaledtanh": lambda: alpha * np.tanh(beta * x),
        "hardsigmoid": lambda: np.clip(alpha * x + beta, 0, 1),
        "elu": lambda: np.where(x < 0, alpha * (np.exp(np.minimum(x, 0)) - 1), x),
        "softsign": lambda: x / (1 + np.abs(x)),
        "softplus": lambda: np.logaddexp(x, 0),
    }
    return np.asarray(table[name.lower()]())


def _reference(attrs: dict[str, Any], x: np.ndarray, w: np.ndarray, r: np.ndarray, *rest: Any) -> Any:
    optional = [*rest, *[None] * (5 - len(rest))]
    bias, lengths, h0, c0, peepholes = optional
    kind, hidden, gates = attrs["kind"], attrs["hidden"], GATES[attrs["kind"]]
    steps, batch, _ = x.shape
    directions = w.shape[0]
    x64 = widen(x).astype(np.float64)
    y = np.zeros((steps, directions, batch, hidden))
    last_h, last_c = np.zeros((directions, batch, hidden)), np.zeros((directions, batch, hidden))
    per = len(attrs["activations"]) // directions
    clip = attrs.get("clip") or np.inf
    counts = np.full(batch, steps) if lengths is None else np.asarray(lengths)
    for d in range(directions):
        acts = attrs["activations"][d * per : (d + 1) * per]

        def act(i: int, v: np.ndarray, acts: Any = acts) -> np.ndarray:
            name, alpha, beta = acts[i]
            return activation(name, alpha, beta, np.clip(v, -clip, clip))

        backward = attrs["direction"] == "reverse" or d == 1
        b = np.zeros(2 * gates * hidden) if bias is None else widen(bias[d]).astype(np.float64)
        wb, rb = b[: gates * hidden], b[gates * hidden :]
        p = np.zeros(3 * hidden) if peepholes is None else widen(peepholes[d]).astype(np.float64)
        wd, rd = widen(w[d]).astype(np.float64), widen(r[d]).astype(np.float64)
        for n in range(batch):
            h = np.zeros(hidden) if h0 is None else widen(h0[d, n]).astype(np.float64)
            c = np.zeros(hidden) if c0 is None else widen(c0[d, n]).astype(np.float64)
            order = range(counts[n])
            for t in reversed(order) if backward else order:
                xw = wd @ x64[t, n] + wb
                if kind == "lstm":
                    i, o, f, g = np.split(xw + rd @ h + rb, 4)
                    pi, po, pf = np.split(p, 3)
                    i = act(0, i + pi * c)
                    f = 1 - i if attrs.get("input_forget") else act(0, f + pf * c)
                    c = f * c + i * act(1, g)
                    # clipping is for what the gates' activations see; the cell state goes unclipped, as in ONNX Runtime
                    name, alpha, beta = acts[2]
                    h = act(0, o + po * c) * activation(name, alpha, beta, c)
                elif kind == "gru":
                    hr = rd @ h
                    z = act(0, xw[:hidden] + hr[:hidden] + rb[:hidden])
                    q = act(0, xw[hidden : 2 * hidden] + hr[hidden : 2 * hidden] + rb[hidden : 2 * hidden])
                    if attrs.get("linear_before_reset"):
                        g = act(1, xw[2 * hidden :] + q * (hr[2 * hidden :] + rb[2 * hidden :]))
                    else:
                        g = act(1, xw[2 * hidden :] + rd[2 * hidden :] @ (q * h) + rb[2 * hidden :])
                    h = (1 - z) * g + z * h
                else:
                    h = act(0, xw + rd @ h + rb)
                y[t, d, n] = h
            last_h[d, n], last_c[d, n] = h, c
    results = [y, last_h, last_c] if kind == "lstm" else [y, last_h]
    return [a.astype(x.dtype) for a in results]


op("recurrent", "recurrent", _infer, _reference)
