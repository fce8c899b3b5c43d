"""``precision``: store float32 tensors as half or bfloat16 between kernels; the last pass, after fusion.

Only storage narrows.  Kernels read half types into float registers, and what they compute - sums of products, fused
expressions, softmax, statistics - stays float32.  Expressions read narrowed operands through a widening cast and end
in a narrowing one, so a stored tensor is rounded once and nothing inside an expression is.  Inputs and outputs of the
model keep their dtypes, integers and other floating types are untouched.

:mod:`a1400.optimizer.precision_rules` says which tensors stay float32.  Constants are rounded once per model (through
the memo); those that would overflow or vanish stay float32, and so do small ones that only take part in expressions
(biases, scales): they cost nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from a1400 import dtypes
from a1400.graph.graph import Node, Value
from a1400.kernels.expr import Expr, arg, cast, substitute, substitute_all, topological
from a1400.ops import OPS
from a1400.ops.pointwise import expressions
from a1400.optimizer.memo import constant
from a1400.optimizer.precision_rules import (
    BITS,
    F32,
    MOVEMENT,
    RUNNING,
    RUNNING_OPS,
    STATISTICS,
    expressions_of,
    finite_limits,
    kept,
)
from a1400.optimizer.rewriter import Context
from a1400.optimizer.slots import EPILOGUE_OPS

#: what ``precision`` may be
PRECISIONS = ("fp32", "tf32", "fp16", "bf16")
#: of these, the ones that narrow storage, and to what
NARROW = {"fp16": np.dtype(np.float16), "bf16": dtypes.bfloat16}

#: constants up to this many bytes stay float32 where only expressions read them
SMALL = 64 * 1024

WEIGHTS = "weights beyond the type's range"
READ_AS_IT_IS = "moves or resamples a float32 input"

#: inputs that a kernel reads as one type; the others (scale, bias, mask, grid ...) have types of their own.
#: "all", or positions; ops that are not here have their first input alone.
_ONE_TYPE: dict[str, Any] = {
    "matmul": "all", "matmul_joined": "all", "conv": "all", "conv_transpose": "all", "recurrent": "all",
    "concat": "all", "attention": (0, 1, 2), "attention_gradient": (0, 1, 2, 3, 4), "scatter_elements": (0, 2),
    "scatter_nd": (0, 2), "layer_norm_gradient": (0, 1), "rms_norm_gradient": (0, 1), "softmax_gradient": "all",
    "log_softmax_gradient": "all", "channel_sums": (0, 1), "softmax_cross_entropy": "all",
    "ctc_gradient": (0, 4, 5), "conv_filter_gradient": "all", "pool_gradient": "all", "grid_sample_gradient": (0, 1),
    "roi_align_gradient": (0, 1),
}  # fmt: skip
#: products: their operands are narrowed even where they lie in memory as float32
_PRODUCTS = frozenset({
    "matmul", "matmul_joined", "matmul_nbits", "conv", "conv_transpose", "conv_filter_gradient", "recurrent",
    "attention", "attention_gradient",
})  # fmt: skip
#: ops with an EPILOGUE slot whose kernel stores the type it reads
_SAME_OUT = frozenset({"resize"})


@dataclass
class Narrowing:
    """What became of the float32 tensors: counts, and what stayed float32 by reason, named by model node.

    ``values``: tensors made at run time that are stored narrow; ``weights``: constants rounded; ``bytes_saved``: by
    both, before any reuse of memory; ``casts``: launches that only convert.  Small constants that only expressions read
    stay float32 and are not listed.
    """

    dtype: str
    values: int = 0
    weights: int = 0
    casts: int = 0
    bytes_saved: int = 0
    kept: dict[str, list[str]] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return dict(vars(self))

    def __str__(self) -> str:
        stay = Counter({reason: len(names) for reason, names in self.kept.items()})
        text = f"{self.values} tensors and {self.weights} weights stored as {self.dtype}, {self.casts} casts"
        if stay:
            text += f"; {sum(stay.values())} stay float32: " + ", ".join(f"{n} {r}" for r, n in stay.most_common())
        return text


def narrow_storage(ctx: Context, narrow: np.dtype) -> Narrowing:
    """Rewrite ``ctx.graph`` in place so that its float32 tensors are stored as ``narrow`` where the rules allow it."""
    return _Narrower(ctx, narrow).run()


class _Narrower:
    def __init__(self, ctx: Context, narrow: np.dtype) -> None:
        self.ctx, self.graph, self.narrow = ctx, ctx.graph, narrow
        self.smallest, self.largest = finite_limits(narrow)
        _as_expressions(ctx.graph.nodes)
        self.reasons, self.exact_nodes = kept(ctx.graph, narrow)
        self.nodes: list[Node] = []
        self.narrowed: dict[int, Value] = {}  # run-time values that were float32 and are stored narrow now
        self.other_forms: dict[tuple[int, np.dtype], Value] = {}
        self.constants: dict[int, Value] = {}
        self.result = Narrowing(str(narrow))

    def run(self) -> Narrowing:
        """Walk the nodes in order; each finds its operands as they are stored by then."""
        for node in self.graph.nodes:
            if any(self.ours(v) for v in (*node.inputs, *node.outputs)):
                self._visit(node)
            self.nodes.append(node)
        for name, value in self.graph.outputs.items():
            if id(value) in self.narrowed:  # its kernel stores what it reads
                self.graph.outputs[name] = self.form(value, F32, value.producer)
        self.graph.nodes = self.nodes
        self.graph.remove_dead()
        return self.result

    # ---- values --------------------------------------------------------------------------------------
    def ours(self, value: Value | None) -> bool:
        """True for what is, or was, a float32 tensor."""
        return value is not None and (value.dtype == F32 or id(value) in self.narrowed)

    def form(self, value: Value, dtype: np.dtype, reader: Node | None) -> Value:
        """``value`` in ``dtype``: as it is, rounded once per model when constant, or through a cast in front of us."""
        if value.dtype == dtype:
            return value
        if value.data is not None:
            return self._rounded(value)
        found = self.other_forms.get((id(value), dtype))
        if found is None:
            maker = value.producer or reader
            node = Node("cast", [value], {"to": dtype}, maker.sources if maker else ())
            found = Value(value.shape, dtype, producer=node)
            node.outputs = [found]
            self.nodes.append(node)
            self.other_forms[(id(value), dtype)] = found
            self.result.casts += 1
        return found

    def _rounded(self, value: Value) -> Value:
        data = value.data
        assert data is not None
        found = self.constants.get(id(data))
        if found is None or found.shape != value.shape:
            key = ("store", dtypes.short(self.narrow))
            (array,) = self.ctx.memo.derive(key, [data], lambda: [round_array(data, self.narrow)])
            found = self.constants[id(data)] = constant(self.ctx.memo, array, name=value.name)
            self.result.weights += 1
            self.result.bytes_saved += value.nbytes - found.nbytes
        return found

    def fits(self, value: Value) -> bool:
        """Whether a constant neither overflows nor vanishes in the narrow type."""
        assert value.data is not None
        data = self.ctx.memo.canonical(value.data)
        key = ("fits", dtypes.short(self.narrow), id(data))
        if key not in self.ctx.memo.table:
            self.ctx.memo.table[key] = _fits(data, self.smallest, self.largest)
        return bool(self.ctx.memo.table[key])

    def operand(self, value: Value | None, reader: Node) -> Value | None:
        """What an expression, or an input of a type of its own, reads for ``value``."""
        if value is None or value.data is None or value.dtype != F32 or value.nbytes <= SMALL or not self.fits(value):
            return value
        return self.form(value, self.narrow, reader)

    def store(self, value: Value, dtype: np.dtype, reason: str) -> None:
        """Note how a node's result is stored; ``reason`` says why when it stays float32."""
        if dtype == self.narrow:
            value.dtype = dtype
            self.narrowed[id(value)] = value
            if not _is_view(value):
                self.result.values += 1
                self.result.bytes_saved += value.nbytes
        elif dtype == F32 and not _is_view(value):
            sources = value.producer.sources if value.producer else ()
            self.result.kept.setdefault(reason, []).append(sources[-1] if sources else "")

    def wanted(self, value: Value) -> np.dtype:
        """How a result should be stored where its kernel can."""
        return F32 if id(value) in self.reasons else self.narrow

    # ---- nodes ---------------------------------------------------------------------------------------
    def _visit(self, node: Node) -> None:
        if OPS[node.op].pointwise:
            self._pointwise(node)
            return
        pro, epi = int(node.attrs.get("prologue_inputs", 0)), int(node.attrs.get("epilogue_inputs", 0))
        count = len(node.inputs) - pro - epi
        own, before, after = node.inputs[:count], node.inputs[count : count + pro], node.inputs[count + pro :]
        computed, reason = self._type(node, own)
        places = _places(node.op, count)
        own = [
            self.form(v, computed, node) if v is not None and i in places and self.ours(v) else self.operand(v, node)
            for i, v in enumerate(own)
        ]
        before = [self.operand(v, node) for v in before]
        after = [self.operand(v, node) for v in after]
        given = own[0].dtype if own[0] is not None else computed
        if (prologue := node.attrs.get("prologue")) is not None:
            node.attrs = {**node.attrs, "prologue": _widened([prologue], [own[0], *before])[0]}
            given = prologue.dtype
        node.inputs = [*own, *before, *after]
        if node.op in EPILOGUE_OPS and node.output.dtype == F32:
            stored = computed if node.op in _SAME_OUT else self.wanted(node.output)
            self._epilogue(node, given, stored, after)
            self.store(node.output, stored, self.reasons.get(id(node.output), reason))
            return
        if node.op in EPILOGUE_OPS and "epilogue" in node.attrs:
            self._epilogue(node, given, node.output.dtype, after)
            return
        for value in node.outputs:
            if value.dtype == F32:
                why = self.reasons.get(id(value), reason)
                self.store(value, F32 if why == STATISTICS else computed, why)

    def _pointwise(self, node: Node) -> None:
        inputs = [self.operand(v, node) for v in node.inputs]
        exprs = _widened(expressions(node.attrs), inputs)
        for i, value in enumerate(node.outputs):
            if value.dtype == F32:
                stored = self.wanted(value)
                exprs[i] = cast(exprs[i], stored)
                self.store(value, stored, self.reasons.get(id(value), ""))
        node.inputs, node.attrs = inputs, {**node.attrs, "expr": exprs[0]}
        if len(exprs) > 1:
            node.attrs["more"] = tuple(exprs[1:])

    def _epilogue(self, node: Node, given: np.dtype, stored: np.dtype, extras: Sequence[Value | None]) -> None:
        """Give the node an epilogue from ``given`` (the op's own type) to ``stored``, around the one it has."""
        expr = node.attrs.get("epilogue")
        if expr is None:
            if given == stored:
                return
            expr = cast(arg(0, given), stored)
        else:
            own = _operand_type(expr, 0)
            if own is not None and own != given:
                expr = substitute(expr, {0: cast(arg(0, given), own)})
            expr = cast(_widened([expr], [None, *extras])[0], stored)
        node.attrs = {**node.attrs, "epilogue": expr, "epilogue_inputs": len(extras)}

    def _type(self, node: Node, own: Sequence[Value | None]) -> tuple[np.dtype, str]:
        """The type in which the node's kernel reads its operands, and why it is float32 if it is."""
        typed = [v for i, v in enumerate(own) if i in _places(node.op, len(own)) and v is not None and self.ours(v)]
        known, made = [v for v in typed if v.data is not None], [v for v in typed if v.data is None]
        if not typed:
            return self.narrow, ""
        if id(node) in self.exact_nodes:
            return F32, self.reasons.get(id(node.output), "")
        if node.op in RUNNING_OPS:
            return F32, RUNNING
        if node.op == "bitcast":
            return F32, BITS
        if not all(self.fits(v) for v in known):
            self.result.kept.setdefault(WEIGHTS, []).append(node.sources[0] if node.sources else "")
            return F32, WEIGHTS
        if node.op in _PRODUCTS:
            return self.narrow, ""
        if node.op in MOVEMENT and id(node.output) in self.reasons:
            return F32, self.reasons[id(node.output)]
        if made and all(v.dtype == F32 for v in made):
            return F32, READ_AS_IT_IS
        return self.narrow, ""


def _as_expressions(nodes: Sequence[Node]) -> None:
    """Give elementwise nodes that fusion did not see the form of those that it did."""
    for node in nodes:
        if OPS[node.op].pointwise and node.op != "pointwise":
            labels = {k: v for k, v in node.attrs.items() if k in ("label", "labels")}
            node.attrs = {"expr": expressions_of(node)[0], **labels}
            node.op = "pointwise"


def _places(op: str, count: int) -> range | tuple[int, ...]:
    places = _ONE_TYPE.get(op, (0,))
    return range(count) if places == "all" else places


def _is_view(value: Value) -> bool:
    return value.producer is not None and OPS[value.producer.op].view


def _operand_type(expr: Expr, number: int) -> np.dtype | None:
    return next((e.dtype for e in topological([expr]) if e.op == "arg" and e.value == number), None)


def _widened(exprs: Sequence[Expr], operands: Sequence[Value | None]) -> list[Expr]:
    """``exprs`` reading their operands as they are stored now."""
    changes = {}
    for number, value in enumerate(operands):
        before = next((found for e in exprs if (found := _operand_type(e, number)) is not None), None)
        if value is not None and before is not None and before != value.dtype:
            changes[number] = cast(arg(number, value.dtype), before)
    return substitute_all(exprs, changes) if changes else list(exprs)


def round_array(data: np.ndarray, narrow: np.dtype) -> np.ndarray:
    """``data`` rounded to a half type, to nearest even; contiguous."""
    with np.errstate(over="ignore"):
        return np.ascontiguousarray(data).astype(narrow)


def _fits(data: np.ndarray, smallest: float, largest: float) -> bool:
    if not data.size:
        return True
    with np.errstate(invalid="ignore"):
        top = max(float(data.max()), -float(data.min()))
    if not np.isfinite(top):
        finite = np.abs(data[np.isfinite(data)])
        top = float(finite.max()) if finite.size else 0.0
    return top == 0.0 or smallest <= top <= largest
