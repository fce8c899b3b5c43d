"""Gradients of recurrent layers: every cell and direction, lengths, initial and last states, peepholes, activations."""

from __future__ import annotations

from typing import Any

import numpy as np

from a1400.graph.tensor import Tensor
from tests.autodiff.cases import T, case, normal

_ACTS = {"lstm": [("sigmoid", 0.0, 0.0), ("tanh", 0.0, 0.0), ("tanh", 0.0, 0.0)], "rnn": [("tanh", 0.0, 0.0)]}
_ACTS["gru"] = _ACTS["lstm"][:2]
_GATES = {"lstm": 4, "gru": 3, "rnn": 1}


def _attrs(kind: str, hidden: int, direction: str, **more: Any) -> dict[str, Any]:
    count = 2 if direction == "bidirectional" else 1
    return {"kind": kind, "hidden": hidden, "direction": direction, "activations": _ACTS[kind] * count} | more


def _build(attrs: dict[str, Any], lengths: np.ndarray | None) -> Any:
    """A layer whose result is y with the last states beneath: inputs x, w, r, bias, h0, c0 (lstm), peepholes."""

    def build(x: Tensor, w: Tensor, r: Tensor, bias: Tensor, h0: Tensor, *rest: Tensor) -> Tensor:
        g = x.graph
        given = [x.value, w.value, r.value, bias.value, None if lengths is None else g.constant(lengths), h0.value]
        found = g.multi("recurrent", *given, *(t.value for t in rest), **attrs)
        y, *last = (Tensor(g, value) for value in found)
        return y.op("concat", *(s.reshape((1, *s.shape)) for s in last), axis=0)

    return build


def _torch(kind: str, both: bool) -> Any:
    """PyTorch's layer; its gates are i f g o and r z n, ONNX's i o f g and z r n."""
    order = {"lstm": (0, 2, 3, 1), "gru": (1, 0, 2), "rnn": (0,)}[kind]

    def turn(a: Any, hidden: int) -> Any:
        return a.reshape(_GATES[kind], hidden, *a.shape[1:])[list(order)].reshape(a.shape)

    def call(x: Any, w: Any, r: Any, bias: Any, h0: Any, *rest: Any) -> Any:
        hidden, size = r.shape[2], _GATES[kind] * r.shape[2]
        make = {"lstm": T().nn.LSTM, "gru": T().nn.GRU, "rnn": T().nn.RNN}[kind]
        layer = make(x.shape[2], hidden, bidirectional=both)
        weights = {}
        for d, suffix in zip(range(w.shape[0]), ("", "_reverse")):
            parts = {"weight_ih": w[d], "weight_hh": r[d], "bias_ih": bias[d, :size], "bias_hh": bias[d, size:]}
            weights |= {f"{name}_l0{suffix}": turn(part, hidden) for name, part in parts.items()}
        y, last = T().func.functional_call(layer.double(), weights, (x, (h0, rest[0]) if rest else h0))
        states = last if isinstance(last, tuple) else (last,)
        y = y.reshape(*y.shape[:2], w.shape[0], hidden).transpose(1, 2)
        return T().cat([y, *(s[None] for s in states)])

    return call


def _case(
    name: str, kind: str, direction: str = "forward", *, lengths: tuple[int, ...] = (), peepholes: bool = False,
    torch: bool = False, hidden: int = 3, **more: Any,
) -> None:  # fmt: skip
    steps, batch, size, count = 4, 2, 2, 2 if direction == "bidirectional" else 1
    attrs, gates = _attrs(kind, hidden, direction, **more), _GATES[kind]
    arrays = [normal(steps, batch, size), *(normal(count, gates * hidden, n) * 0.5 for n in (size, hidden))]
    arrays += [normal(count, 2 * gates * hidden) * 0.5, normal(count, batch, hidden)]
    arrays += [normal(count, batch, hidden)] if kind == "lstm" else []
    arrays += [normal(count, 3 * hidden) * 0.5] if peepholes else []
    build = _build(attrs, np.array(lengths, np.int32) if lengths else None)
    case(name, build, *arrays, torch=_torch(kind, count == 2) if torch else None)


_case("lstm", "lstm", torch=True)
_case("lstm_both", "lstm", "bidirectional", torch=True, hidden=2)
_case("lstm_peepholes", "lstm", "reverse", lengths=(4, 2), peepholes=True)
_case("lstm_coupled", "lstm", peepholes=True, input_forget=1, clip=1.5)
_case("gru", "gru", torch=True, linear_before_reset=1)
_case("gru_both", "gru", "bidirectional", torch=True, hidden=2, linear_before_reset=1)
_case("gru_reset_before", "gru", "bidirectional", lengths=(0, 3))
_case("rnn", "rnn", "reverse", lengths=(1, 4))
_case("rnn_two_activations", "rnn", "bidirectional", activations=[("tanh", 0.0, 0.0), ("sigmoid", 0.0, 0.0)])
_case("rnn_both", "rnn", "bidirectional", torch=True)
