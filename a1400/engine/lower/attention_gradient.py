"""The gradient of attention: one launch, or two, or the products it stands for; heads lie where attention allows."""

from __future__ import annotations

import numpy as np

from a1400.engine.lower.attention import composed_weights, places, repeated_heads, score_slot, sizes, unit_rows
from a1400.engine.lower.linear import Product, emit_product
from a1400.engine.lower.movement import merged_result
from a1400.engine.lowering import Lowering, lowers, split_inputs
from a1400.graph.graph import Node, Value
from a1400.kernels import attention_gradient as kernel
from a1400.kernels import expr as expressions
from a1400.kernels.gemm import accumulator
from a1400.kernels.spec import KernelSpec, Scalars
from a1400.memory.storage import View


@lowers("attention_gradient")
def _attention_gradient(lw: Lowering, node: Node) -> None:
    own, _, _ = split_inputs(node)
    views = dict(zip(("q", "k", "v", "o", "g"), (unit_rows(lw, value) for value in own[:5])))
    mask = own[5] if len(own) > 5 else None
    q, k, v = views["q"], views["k"], views["v"]
    wanted = [_is_read(lw, value) for value in node.outputs]
    results = dict(zip(("dq", "dk", "dv"), (merged_result(lw, value) for value in node.outputs)))
    scalars: dict[str, int | float] = sizes(node, q, k, v) | places(**views, **results) | {"whole": 0}
    scalars["whole"] = int(kernel.is_whole(lw.info, scalars) and any(wanted[1:]))
    types, single = {"T": q.dtype}, np.dtype(np.float32)
    needed = [kernel.KV_SPEC] if scalars["whole"] else [kernel.Q_SPEC, *[kernel.KV_SPEC] * any(wanted[1:])]
    if q.dtype not in kernel.Q_SPEC.types["T"] or not all(x.suits(lw.info, types, scalars) for x in needed):
        _composed(lw, node, views, mask, results)
        return
    score = score_slot(lw, mask, (*q.shape[:3], k.shape[2]))
    rows = lw.temporary((1,) if scalars["whole"] else (*q.shape[:2], 3, q.shape[2]), single)
    refs = {name: view.ref() for name, view in {**views, **results, "rows": rows}.items()}
    for spec in needed:
        lw.launch(
            spec.name, types, {p.name: refs[p.name] for p in spec.params if p.kind != "scalar"}, _own(spec, scalars),
            tunables=kernel.choose_tunables(spec, lw.info, q.dtype, scalars),
            slots={} if score is None else {"SCORE": score},
        )  # fmt: skip


def _is_read(lw: Lowering, value: Value) -> bool:
    return any(value is v for node in lw.graph.nodes for v in node.inputs) or any(
        value is v for v in lw.graph.outputs.values()
    )


def _own(spec: KernelSpec, scalars: Scalars) -> dict[str, int | float]:
    return {p.name: scalars[p.name] for p in spec.params if p.kind == "scalar"}


def _composed(lw: Lowering, node: Node, views: dict[str, View], mask: Value | None, results: dict[str, View]) -> None:
    """Weights p, then ds = p * (g v^T - delta), and dq = scale ds k, dk = scale ds^T q, dv = p^T g."""
    q, k, v, o, g = (views[name] for name in "qkvog")
    (b, h, s, _), hk = q.shape, k.shape[1]
    acc = accumulator(q.dtype)
    scale = expressions.apply("mul", expressions.arg(0, acc), expressions.const(float(node.attrs["scale"]), acc))

    def product(x: View, y: View, result: View, body: expressions.Expr, operands: list[Value | View]) -> None:
        epilogue = lw.slot(expressions.cast(body, result.dtype), operands, result.shape, [[0, 1], [2], [3]])
        emit_product(lw, Product(x, y, result, None, {"EPILOGUE": epilogue}))

    def by_keys(view: View) -> View:
        """[B,H,S,X] as [B,HK,S * H / HK,X]: all rows that a head of keys sees."""
        shape = (b, hk, h // hk * s, view.shape[3])
        merged = view.reshape(shape)
        merged = lw.dense_view(view).reshape(shape) if merged is None else merged
        assert merged is not None
        return merged

    weights = composed_weights(lw, node, q, k, mask)
    changes = lw.temporary(weights.shape, q.dtype)
    inner = expressions.apply("sub", expressions.arg(0, acc), expressions.arg(2, acc))
    body = expressions.apply("mul", expressions.cast(expressions.arg(1, q.dtype), acc), inner)
    columns = repeated_heads(lw, v, h).transpose((0, 1, 3, 2))
    product(g, columns, changes, body, [weights, _deltas(lw, g, o)])
    plain = expressions.arg(0, acc)
    product(changes, repeated_heads(lw, k, h), results["dq"], scale, [])
    product(by_keys(changes).transpose((0, 1, 3, 2)), by_keys(q), results["dk"], scale, [])
    product(by_keys(weights).transpose((0, 1, 3, 2)), by_keys(g), results["dv"], plain, [])


def _deltas(lw: Lowering, g: View, o: View) -> View:
    """The sum of g * o along each row, [B,H,S,1]: a product with ones, o multiplied on the way in."""
    (b, h, s, size), acc = g.shape, accumulator(g.dtype)
    rows, others = (lw.dense_view(view).reshape((b * h * s, size)) for view in (g, o))
    assert rows is not None and others is not None
    ones = np.ones((size, 1), g.dtype)
    result = lw.temporary((b * h * s, 1), acc)
    both = expressions.apply("mul", expressions.arg(0, g.dtype), expressions.arg(1, o.dtype))
    slots = {"PROLOGUE": lw.slot(both, [others], rows.shape, [[], [0], [1]])}
    emit_product(lw, Product(rows, lw.constant(ones), result, Value(ones.shape, g.dtype, data=ones), slots))
    shaped = result.reshape((b, h, s, 1))
    assert shaped is not None
    return shaped
