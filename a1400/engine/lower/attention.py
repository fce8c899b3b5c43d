"""Attention: heads are read and written through strides, so head splits and merges around it cost nothing."""

from __future__ import annotations

import numpy as np

from a1400.engine.lower.linear import Product, emit_product
from a1400.engine.lower.movement import merged_result
from a1400.engine.lower.slots import Filled
from a1400.engine.lowering import Lowering, lowers, split_inputs
from a1400.graph.graph import Node, Value
from a1400.kernels import expr as expressions
from a1400.kernels.attention import choose_tunables
from a1400.kernels.gemm import accumulator
from a1400.kernels.spec import REGISTRY
from a1400.memory.storage import View


@lowers("attention")
def _attention(lw: Lowering, node: Node) -> None:
    own, _, _ = split_inputs(node)
    q, k, v = (unit_rows(lw, value) for value in own[:3])
    mask = own[3] if len(own) > 3 else None
    target = merged_result(lw, node.output)
    if target.size == 0:
        return
    scalars = sizes(node, q, k, v) | places(q=q, k=k, v=v, o=target)
    spec = REGISTRY["attention"]
    if q.dtype not in spec.types["T"] or not spec.suits(lw.info, {"T": q.dtype}, scalars):
        _composed(lw, node, q, k, v, mask, target)
        return
    slots = {}
    if (score := score_slot(lw, mask, (*q.shape[:3], k.shape[2]))) is not None:
        slots["SCORE"] = score
    buffers = {"q": q.ref(), "k": k.ref(), "v": v.ref(), "o": target.ref()}
    tunables = choose_tunables(lw.info, q.dtype, scalars)
    lw.launch("attention", {"T": q.dtype}, buffers, scalars, tunables=tunables, slots=slots)


def sizes(node: Node, q: View, k: View, v: View) -> dict[str, int | float]:
    """Scalars that say how large an attention is, and of what kind."""
    b, h, s, d = q.shape
    return {
        "B": b, "H": h, "HK": k.shape[1], "S": s, "T_len": k.shape[2], "D": d, "DV": v.shape[3],
        "causal": int(bool(node.attrs["causal"])), "causal_offset": int(node.attrs["causal_offset"]),
        "scale": float(node.attrs["scale"]),
    }  # fmt: skip


def places(**views: View) -> dict[str, int | float]:
    """Scalars that say where each buffer's heads lie; the step along a row's axis is ``_t`` for keys and values."""
    result: dict[str, int | float] = {}
    for name, view in views.items():
        steps = ("b", "h", "t" if name.endswith(("k", "v")) else "s")
        result[f"{name}_off"] = view.offset
        result |= {f"{name}_{step}": stride for step, stride in zip(steps, view.strides)}
    return result


def unit_rows(lw: Lowering, value: Value | None) -> View:
    """The value with contiguous last dimension; any other stride stays."""
    assert value is not None
    view = lw.view(value)
    return view if view.strides[-1] == 1 or view.shape[-1] == 1 else lw.dense_view(view)


def score_slot(lw: Lowering, mask: Value | None, shape: tuple[int, ...]) -> Filled | None:
    """The mask as an expression on the scores; the slot's coordinates are (b, h, query, key)."""
    if mask is None:
        return None
    value = expressions.arg(0, np.dtype(np.float32))
    operand = expressions.arg(1, mask.dtype)
    if mask.dtype == np.bool_:
        body = expressions.apply("where", operand, value, expressions.const(-np.inf, np.dtype(np.float32)))
    else:
        body = expressions.apply("add", value, expressions.cast(operand, np.dtype(np.float32)))
    return lw.slot(body, [mask], shape, [[0], [1], [2], [3]])


def _composed(lw: Lowering, node: Node, q: View, k: View, v: View, mask: Value | None, target: View) -> None:
    """scores = q k^T, softmax, product with v: for large heads, float64, devices whose work-groups are too small."""
    weights = composed_weights(lw, node, q, k, mask)
    out = target
    if target.strides[-1] != 1:
        out = lw.temporary(target.shape, target.dtype)
    emit_product(lw, Product(weights, repeated_heads(lw, v, q.shape[1]), out, None, {}))
    if out is not target:
        lw.copy(out, target)


def repeated_heads(lw: Lowering, view: View, heads: int) -> View:
    """Keys or values with one of ``heads`` heads for each head of queries."""
    b, keys, *rest = view.shape
    st, group = view.strides, heads // keys
    wide = View(view.storage, view.dtype, (b, keys, group, *rest), (st[0], st[1], 0, *st[2:]), view.offset)
    flat = wide.reshape((b, heads, *rest))
    if flat is None:
        copy = lw.temporary(wide.shape, wide.dtype)
        lw.copy(wide, copy)
        flat = copy.reshape((b, heads, *rest))
    assert flat is not None
    return flat


def composed_weights(lw: Lowering, node: Node, q: View, k: View, mask: Value | None) -> View:
    """softmax of the scores, [B,H,S,T]; zeros in a row that sees no key."""
    from a1400.engine.lower.reduction import emit_softmax

    (b, h, s, _), t = q.shape, k.shape[2]
    acc = accumulator(q.dtype)
    scores = lw.temporary((b, h, s, t), acc)
    score = expressions.apply("mul", expressions.arg(0, acc), expressions.const(float(node.attrs["scale"]), acc))
    hidden = expressions.const(-np.inf, acc)
    operands: list[Value | View] = []
    seen: list[expressions.Expr] = []
    if mask is not None:
        operand = expressions.arg(1, mask.dtype)
        if mask.dtype != np.bool_:
            added = expressions.cast(operand, acc)
            score, operand = expressions.apply("add", score, added), expressions.apply("ne", added, hidden)
        operands.append(mask)
        seen.append(operand)
    if node.attrs["causal"]:
        offset = int(node.attrs["causal_offset"])
        operands.append(lw.constant(np.arange(t)[None, :] <= np.arange(s)[:, None] + offset))
        seen.append(expressions.arg(len(operands), np.dtype(np.bool_)))
    weight = expressions.arg(0, acc)  # where a row hides every key, the softmax is NaN, and zeros are wanted
    for condition in seen:
        score = expressions.apply("where", condition, score, hidden)
        weight = expressions.apply("where", condition, weight, expressions.const(0.0, acc))
    epilogue = lw.slot(score, operands, (b, h, s, t), [[0, 1], [2], [3]])
    keys = repeated_heads(lw, k, h).transpose((0, 1, 3, 2))
    emit_product(lw, Product(q, keys, scores, None, {"EPILOGUE": epilogue}))
    weights = lw.temporary((b, h, s, t), q.dtype)
    kept = lw.slot(expressions.cast(weight, q.dtype), operands, (b, h, s, t), [[0, 1, 2], [3]])
    emit_softmax(lw, "softmax", scores, weights, {"EPILOGUE": kept} if seen else None)
    return weights
