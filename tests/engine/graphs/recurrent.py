"""LSTM, GRU and RNN."""

from __future__ import annotations

from typing import Any

import numpy as np

from a1400.graph import Graph
from tests.engine.graphs.base import GRAPHS, Build, Feeds, f32


def _recurrent_of(kind: str, direction: str, options: bool) -> None:
    def builder(g: Graph) -> Feeds:
        b = Build(g)
        gates, acts = {"lstm": (4, ["Sigmoid", "Tanh", "Tanh"]), "gru": (3, ["Sigmoid", "Tanh"]), "rnn": (1, ["Tanh"])}[
            kind
        ]
        d, t, n, i, h = 2 if direction == "bidirectional" else 1, 6, 3, 10, 20
        x = b.input(f32(t, n, i))
        w, r, bias = b.const(f32(d, gates * h, i)), b.const(f32(d, gates * h, h)), b.const(f32(d, 2 * gates * h))
        lens = b.input(np.array([6, 2, 4], np.int32)) if options else None
        h0 = b.input(f32(d, n, h)) if options else None
        c0 = b.input(f32(d, n, h)) if options and kind == "lstm" else None
        p = b.const(f32(d, 3 * h)) if options and kind == "lstm" else None
        attrs = {
            "kind": kind,
            "hidden": h,
            "direction": direction,
            "activations": [(a, 0.0, 0.0) for a in acts] * d,
            "clip": 0.6 if options else 0.0,
            "input_forget": False,
            "linear_before_reset": options,
        }
        return b.out(*g.multi("recurrent", x, w, r, bias, lens, h0, c0, p, **attrs))

    GRAPHS[f"{kind}_{direction}{'_options' if options else ''}"] = builder


for _kind in ("lstm", "gru", "rnn"):
    _recurrent_of(_kind, "forward", False)
    _recurrent_of(_kind, "bidirectional", True)
    _recurrent_of(_kind, "reverse", False)


def _tied(kind: str) -> None:
    """Two layers of the same weights, told apart by biases, peepholes and the place of the reset gate alone."""

    def builder(g: Graph) -> Feeds:
        b = Build(g)
        gates, acts = {"lstm": (4, ["Sigmoid", "Tanh", "Tanh"]), "gru": (3, ["Sigmoid", "Tanh"]), "rnn": (1, ["Tanh"])}[
            kind
        ]
        t, n, i, h = 4, 2, 10, 20
        x, w, r = b.input(f32(t, n, i)), b.const(f32(1, gates * h, i)), b.const(f32(1, gates * h, h))
        shared, other = b.const(f32(1, 2 * gates * h)), b.const(f32(1, 2 * gates * h))
        bias: tuple[Any, ...] = (shared, other, shared, shared)
        peep = [b.const(f32(1, 3 * h)) if kind == "lstm" else None for _ in bias]
        outputs: list[Any] = []
        for index in range(len(bias)):
            attrs = {
                "kind": kind,
                "hidden": h,
                "direction": "forward",
                "activations": [(a, 0.0, 0.0) for a in acts],
                "clip": 0.0,
                "input_forget": False,
                "linear_before_reset": index == 2,
            }
            outputs += g.multi("recurrent", x, w, r, bias[index], None, None, None, peep[index], **attrs)
        return b.out(*outputs)

    GRAPHS[f"{kind}_tied"] = builder


for _kind in ("lstm", "gru", "rnn"):
    _tied(_kind)
