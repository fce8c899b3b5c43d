"""LSTM, GRU and RNN."""

from __future__ import annotations

import numpy as np

from a1400.errors import GraphError
from a1400.frontends.onnx.context import Ctx
from a1400.frontends.onnx.ops.registry import translates
from a1400.graph.graph import Value

_DEFAULTS = {"LSTM": ("Sigmoid", "Tanh", "Tanh"), "GRU": ("Sigmoid", "Tanh"), "RNN": ("Tanh",)}
#: activation -> default alpha, beta (None: takes none)
_PARAMETERS: dict[str, tuple[float | None, float | None]] = {
    "sigmoid": (None, None), "tanh": (None, None), "relu": (None, None), "softsign": (None, None),
    "softplus": (None, None), "affine": (1.0, 0.0), "leakyrelu": (0.01, None), "thresholdedrelu": (1.0, None),
    "scaledtanh": (1.0, 1.0), "hardsigmoid": (0.2, 0.5), "elu": (1.0, None),
}  # fmt: skip


def _activations(c: Ctx, directions: int) -> list[tuple[str, float, float]]:
    names = c.attr("activations", None, tuple) or _DEFAULTS[c.node.op] * directions
    if len(names) != len(_DEFAULTS[c.node.op]) * directions:
        raise GraphError(f"{len(names)} activations for {directions} directions of {c.node.op}")
    alphas, betas = list(c.floats("activation_alpha") or ()), list(c.floats("activation_beta") or ())
    result = []
    for name in names:
        if name.lower() not in _PARAMETERS:
            raise c.unsupported(f"activation {name!r} is not known")
        alpha, beta = _PARAMETERS[name.lower()]
        # the lists hold values only for the activations that take one, in order
        if alpha is not None and alphas:
            alpha = alphas.pop(0)
        if beta is not None and betas:
            beta = betas.pop(0)
        result.append((name.lower(), alpha or 0.0, beta or 0.0))
    return result


@translates("LSTM", "GRU", "RNN")
def recurrent(c: Ctx) -> object:
    """Whole sequences; ``layout=1`` has the batch first."""
    kind = c.node.op.lower()
    x, w, r = c[0], c[1], c[2]
    if x.rank != 3 or w.rank != 3 or r.rank != 3:
        raise GraphError(f"{c.node.op} needs x, w and r of rank 3, not {x.rank}, {w.rank} and {r.rank}")
    batch_first = c.flag("layout")
    direction = c.text("direction", "forward")
    if direction not in ("forward", "reverse", "bidirectional"):
        raise GraphError(f"unknown direction {direction!r}")
    directions = 2 if direction == "bidirectional" else 1
    hidden = c.integer("hidden_size", r.shape[-1])

    def swapped(v: Value | None) -> Value | None:
        return c.transpose(v, (1, 0, 2)) if v is not None and batch_first else v

    lengths = c.opt(4)
    optional = [
        c.opt(3),
        None if lengths is None else c.cast(lengths, np.int32),
        swapped(c.opt(5)),
        swapped(c.opt(6)) if kind == "lstm" else None,
        c.opt(7) if kind == "lstm" else None,
    ]
    while optional and optional[-1] is None:
        optional.pop()
    y, *states = c.multi(
        "recurrent", swapped(x), w, r, *optional, kind=kind, hidden=hidden, direction=direction,
        activations=_activations(c, directions), clip=c.number("clip", 0.0), input_forget=c.flag("input_forget"),
        linear_before_reset=c.flag("linear_before_reset"),
    )  # fmt: skip
    if not batch_first:
        return (y, *states)
    return (c.transpose(y, (2, 0, 1, 3)), *(c.transpose(s, (1, 0, 2)) for s in states))
