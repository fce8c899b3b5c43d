"""The walk of a recurrent layer's gradient: one launch for all steps and directions."""

from __future__ import annotations

import numpy as np

from a1400.engine.lowering import Lowering, lowers
from a1400.graph.graph import Node, Value
from a1400.kernels import recurrent_gradient as kernel
from a1400.kernels.recurrent import ACTIVATIONS
from a1400.ops.registry import wide_dtype


@lowers("recurrent_gradient")
def _recurrent_gradient(lw: Lowering, node: Node) -> None:
    given: list[Value | None] = [*node.inputs, *[None] * (9 - len(node.inputs))]
    pre, r, h, dy, lengths, c0, peepholes, dhn, dcn = given
    assert pre is not None and r is not None and h is not None and dy is not None
    attrs, lstm, (directions, steps, batch, hidden) = node.attrs, node.attrs["kind"] == "lstm", h.shape
    results = [lw.result(value) for value in node.outputs]
    if results[0].size == 0:
        return
    optional: dict[str, Value | None] = {"c0": c0, "peep": peepholes, "dhn": dhn, "dcn": dcn}
    nothing, one = lw.constant(np.zeros(1, pre.dtype)), lw.constant(np.zeros(1, np.int32))
    views = {name: lw.dense(value) for name, value in {"pre": pre, "r": r, "h": h, "dy": dy}.items()}
    views |= {name: nothing if value is None else lw.dense(value) for name, value in optional.items()}
    views |= {"dpre": results[0], "dh0": results[1], "lens": one if lengths is None else lw.dense(lengths)}
    wide = wide_dtype(pre.dtype)
    views["state"] = lw.temporary((directions, batch, 2, hidden), wide)
    for i, name in enumerate(("dc0", "c")):
        views[name] = results[2 + i] if lstm else lw.temporary((1,), pre.dtype)
    scalars = kernel.scalars(
        attrs["kind"], steps, batch, hidden, D=directions, has_lens=int(lengths is not None),
        reverse={"forward": 0, "reverse": 1}.get(attrs["direction"], 2),
        linear=int(not lstm and pre.shape[3] == 4 * hidden), clip=float(attrs.get("clip") or 0.0),
        input_forget=int(bool(attrs.get("input_forget"))),
        **{f"has_{name}": int(value is not None) for name, value in optional.items()},
    )  # fmt: skip
    for letter, (act, alpha, beta) in zip("fgh", attrs["activations"]):
        scalars |= {f"act_{letter}": ACTIVATIONS.index(act.lower()), f"alpha_{letter}": alpha, f"beta_{letter}": beta}
    buffers = {name: lw.bind(view) for name, view in views.items()}
    lw.launch("recurrent_gradient", {"T": pre.dtype, "ACC": wide}, buffers, scalars)
