"""``algebra``: arithmetic identities.

Floating division by a constant becomes multiplication by its reciprocal, which may differ in the last bit when the
reciprocal is not exact; every other rewrite of floats is exact but for the sign of zero and NaN payloads, or merges
two constants (one rounding less).  Integers are rewritten only where the result is the same bit for bit.
"""

from __future__ import annotations

import numpy as np

from a1400 import dtypes
from a1400.graph.graph import Node, Value
from a1400.optimizer.rewriter import Context, Rewriter, Rule, merge_sources
from a1400.optimizer.scalars import is_uniform, split_constant, uniform

_POWERS = {0.5: "sqrt", -1.0: "reciprocal", -0.5: "rsqrt"}


def _same(walk: Rewriter, node: Node, x: Value) -> Value:
    """``x`` in place of the node, expanded when the node broadcast it (its readers may broadcast it themselves)."""
    out = node.outputs[0]
    if x.shape == out.shape:
        return x
    return walk.op("reshape" if x.size == out.size else "expand", x, shape=out.shape, sources=node.sources)


def _logic(walk: Rewriter, node: Node) -> Value | None:
    """``and`` with true, ``or`` with false, and either with itself."""
    a, b = _operands(node)
    if a is b:
        return a
    neutral = node.op == "and"
    for x, y in ((a, b), (b, a)):
        if uniform(y) is neutral:
            return _same(walk, node, x)
    return None


def _operands(node: Node) -> tuple[Value, Value]:
    a, b = node.inputs
    assert a is not None and b is not None
    return a, b


def _add(walk: Rewriter, node: Node) -> Value | None:
    a, b = _operands(node)
    if is_uniform(b, 0):
        return _same(walk, node, a)
    if is_uniform(a, 0):
        return _same(walk, node, b)
    for x, y in ((a, b), (b, a)):
        if y.producer is not None and y.producer.op == "neg":
            return walk.op("sub", x, y.producer.inputs[0], sources=merge_sources(y.producer.sources, node.sources))
    return _merge_constants(walk, node, np.add)


def _sub(walk: Rewriter, node: Node) -> Value | None:
    a, b = _operands(node)
    if is_uniform(b, 0):
        return _same(walk, node, a)
    if is_uniform(a, 0) and a.dtype.kind != "u" and b.shape == node.outputs[0].shape:
        return walk.op("neg", b, sources=node.sources)
    if b.producer is not None and b.producer.op == "neg":
        return walk.op("add", a, b.producer.inputs[0], sources=merge_sources(b.producer.sources, node.sources))
    return None


def _mul(walk: Rewriter, node: Node) -> Value | None:
    a, b = _operands(node)
    if is_uniform(b, 1):
        return _same(walk, node, a)
    if is_uniform(a, 1):
        return _same(walk, node, b)
    return _merge_constants(walk, node, np.multiply)


def _merge_constants(walk: Rewriter, node: Node, ufunc: np.ufunc) -> Value | None:
    """``(x * c1) * c2`` is ``x * (c1 * c2)``, likewise sums, where nobody else reads the inner result."""
    found = split_constant(node)
    if found is None:
        return None
    x, outer, _ = found
    before = x.producer
    if before is None or before.op != node.op or not walk.single_use(x):
        return None
    inner = split_constant(before)
    if inner is None or inner[0].shape != x.shape or max(inner[1].size, outer.size) > 1 << 16:
        return None
    assert inner[1].data is not None and outer.data is not None
    both = np.broadcast_shapes(inner[1].shape, outer.shape)
    if int(np.prod(both)) > max(inner[1].size, outer.size):
        return None
    with np.errstate(all="ignore"):
        wide = np.float64 if dtypes.is_float(x.dtype) else x.dtype
        merged = ufunc(inner[1].data.astype(wide), outer.data.astype(wide)).astype(x.dtype)
    if dtypes.is_float(x.dtype) and not np.all(np.isfinite(merged.astype(np.float64))):
        return None
    return walk.op(node.op, inner[0], walk.constant(merged), sources=merge_sources(before.sources, node.sources))


def _div(walk: Rewriter, node: Node) -> Value | None:
    a, b = _operands(node)
    if is_uniform(b, 1):
        return _same(walk, node, a)
    if not dtypes.is_float(a.dtype):
        return None
    if b.data is not None and b.size <= 1 << 16:
        with np.errstate(all="ignore"):
            turned = 1 / b.data.astype(np.float64)
            rounded = turned.astype(b.dtype)
        tiny = float(np.finfo(np.float32).tiny) if b.dtype != np.float16 else 6.2e-5
        if np.all(np.isfinite(rounded.astype(np.float64))) and np.all(np.abs(turned) >= tiny):
            return walk.op("mul", a, walk.constant(rounded), sources=node.sources)
    if is_uniform(a, 1) and b.shape == node.outputs[0].shape:
        return walk.op("reciprocal", b, sources=node.sources)
    return None


def _pow(walk: Rewriter, node: Node) -> Value | None:
    x, exponent = _operands(node)
    number = uniform(exponent)
    if number is None or x.shape != node.outputs[0].shape:
        return None
    if number == 1:
        return x
    if number in (2, 3):
        square = walk.op("mul", x, x, sources=node.sources)
        return square if number == 2 else walk.op("mul", square, x, sources=node.sources)
    if number in _POWERS and dtypes.is_float(x.dtype):
        return walk.op(_POWERS[number], x, sources=node.sources)
    return None


def _reciprocal(walk: Rewriter, node: Node) -> Value | None:
    x = node.inputs[0]
    if x is not None and x.producer is not None and x.producer.op == "sqrt":
        return walk.op("rsqrt", x.producer.inputs[0], sources=merge_sources(x.producer.sources, node.sources))
    return None


def _lossless(a: np.dtype, b: np.dtype) -> bool:
    """True when every value of ``a`` is a value of ``b``."""
    if a == b or a == np.bool_:
        return True
    if dtypes.bfloat16 in (a, b):
        return a == dtypes.bfloat16 and b in (np.float32, np.float64)
    return bool(np.can_cast(a, b, "safe"))


def _cast(walk: Rewriter, node: Node) -> Value | None:
    x = node.inputs[0]
    before = x.producer if x is not None else None
    if x is None or before is None or before.op != "cast" or before.inputs[0] is None:
        return None
    source, target = before.inputs[0], node.outputs[0].dtype
    if not _lossless(source.dtype, x.dtype):
        return None
    if source.dtype == target:
        return source
    return walk.op("cast", source, to=target, sources=merge_sources(before.sources, node.sources))


def _involution(walk: Rewriter, node: Node) -> Value | None:
    x = node.inputs[0]
    if x is not None and x.producer is not None and x.producer.op == node.op:
        return x.producer.inputs[0]
    return None


def _not(walk: Rewriter, node: Node) -> Value | None:
    found = _involution(walk, node)
    x = node.inputs[0]
    if found is None and x is not None and x.producer is not None and x.producer.op in ("eq", "ne"):
        turned = "ne" if x.producer.op == "eq" else "eq"
        return walk.op(turned, *x.producer.inputs, sources=merge_sources(x.producer.sources, node.sources))
    return found


def _where(walk: Rewriter, node: Node) -> Value | None:
    condition, a, b = node.inputs
    assert condition is not None and a is not None and b is not None
    constant = uniform(condition)
    if constant is not None:
        return _same(walk, node, a if constant else b)
    if a is b:
        return _same(walk, node, a)
    if condition.producer is not None and condition.producer.op == "not":
        sources = merge_sources(condition.producer.sources, node.sources)
        return walk.op("where", condition.producer.inputs[0], b, a, sources=sources)
    return None


def _extremum(walk: Rewriter, node: Node) -> Value | None:
    a, b = _operands(node)
    if a is b:
        return a
    for x, y in ((a, b), (b, a)):
        # max(max(x, y), y)
        if x.producer is not None and x.producer.op == node.op and any(v is y for v in x.producer.inputs):
            return _same(walk, node, x)
    return _merge_constants(walk, node, np.maximum if node.op == "max" else np.minimum)


RULES: dict[str, tuple[Rule, ...]] = {
    "add": (_add,), "sub": (_sub,), "mul": (_mul,), "div": (_div,), "pow": (_pow,), "reciprocal": (_reciprocal,),
    "cast": (_cast,), "neg": (_involution,), "not": (_not,), "and": (_logic,), "or": (_logic,), "where": (_where,),
    "max": (_extremum,), "min": (_extremum,),
}  # fmt: skip


def algebra(ctx: Context) -> None:
    """Simplify arithmetic: neutral operands, small powers, divisions by constants, chains of casts, clips and masks."""
    Rewriter(ctx, RULES).run()
