"""Which tensors stay float32 when a model's tensors are stored as half or bfloat16, and why.

The rules look at the graph that fusion left and name values; :mod:`a1400.optimizer.precision` acts on them:

* what the caller gets, and what is ranked (``argmax``, top-k) or summed up along an axis (cumulative sums);
* what becomes integers, angles or sampling coordinates: a rounded position is another position.  This reaches back
  through elementwise work, movement and small products to where the numbers come from;
* what is made from integers of 16 bits or more: half types cannot count that far;
* sums over an axis, and statistics that training needs: they may be large, and there are few of them;
* what holds finite constants beyond the type's range (masks of ``-3.4e38``), and what is computed from that;
* for ``float16`` only: results of ``exp``, powers, squares and reciprocals, which leave its range (65504) easily;
* single numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Collection

import ml_dtypes
import numpy as np

from a1400 import dtypes
from a1400.graph.graph import Graph, Node, Value
from a1400.kernels.expr import Expr, apply, arg, cast, const, topological
from a1400.ops import OPS
from a1400.ops.pointwise import expressions
from a1400.optimizer.scalars import uniform

F32 = np.dtype(np.float32)

OUTPUT = "model output"
RANKED = "ranked by argmax or top-k"
RUNNING = "cumulative sum"
BITS = "read as bits"
INTEGERS = "becomes integers"
ANGLES = "argument of sin, cos or tan"
COORDINATES = "sampling coordinates"
COUNTED = "made from integers"
SUMMED = "sum over an axis"
CONSTANTS = "constants beyond the type's range"
GROWTH = "exp, power or reciprocal"
SINGLE = "one number"
STATISTICS = "statistics and sums of training"

#: every later rounding would be another position: these reasons reach back to where the numbers come from
_EXACT = frozenset({INTEGERS, ANGLES, COORDINATES})
#: ops that only move elements
MOVEMENT = frozenset({
    "reshape", "transpose", "expand", "slice", "pad", "concat", "gather", "gather_elements", "gather_nd",
    "scatter_elements", "scatter_nd", "stop_gradient",
})  # fmt: skip
#: ops whose result has numbers as large as what they read
_SPREADING = MOVEMENT | {"log_softmax", "reduce", "pool", "resize"}
#: of those that move, those whose result is as large as what they read
_WHOLE = frozenset({"reshape", "transpose", "expand", "pad", "concat", "stop_gradient"})
#: ops that give statistics, or sums over many rows: from which result on
_STATISTICS = {
    "channel_statistics": 0, "channel_sums": 0, "softmax_cross_entropy": 0, "layer_norm_gradient": 1,
    "rms_norm_gradient": 1, "conv_filter_gradient": 0,
}  # fmt: skip
#: ops that add up along an axis, each result on the one before
RUNNING_OPS = frozenset({"cumulate", "ctc", "ctc_gradient"})
#: products over so few terms compute positions rather than features
_SMALL_PRODUCT = 16
_SUMS = frozenset({"sum", "prod", "l1", "l2", "sum_square", "log_sum"})
_GROWING = frozenset({"exp", "pow", "reciprocal", "rsqrt", "sinh", "cosh", "tan"})
#: functions of a large number that are not large
_TAME = frozenset({
    "exp", "log", "sigmoid", "tanh", "erf", "sin", "cos", "tan", "asin", "acos", "atan", "atan2", "sign", "reciprocal",
    "rsqrt",
})  # fmt: skip


def finite_limits(narrow: np.dtype) -> tuple[float, float]:
    """(smallest normal, largest finite) magnitude of a half type."""
    limits = ml_dtypes.finfo(narrow)
    return float(limits.smallest_normal), float(limits.max)


def expressions_of(node: Node) -> tuple[Expr, ...]:
    """An elementwise node, fused or not, as expressions over its inputs: one for each result."""
    if node.op == "pointwise":
        return expressions(node.attrs)
    numbers: dict[int, int] = {}
    operands = []
    for i, v in enumerate(node.inputs):
        assert v is not None
        number = uniform(v) if v.size == 1 else None
        operands.append(arg(numbers.setdefault(id(v), i), v.dtype) if number is None else const(number, v.dtype))
    return (cast(operands[0], node.attrs["to"]) if node.op == "cast" else apply(node.op, *operands),)


def sink(expr: Expr) -> dict[int, str]:
    """Operands whose exact value decides: operand -> reason."""
    found: dict[int, str] = {}
    for node in topological([expr]):
        reason = None
        if node.op == "cast" and dtypes.is_int(node.dtype) and dtypes.is_float(node.args[0].dtype):
            reason = INTEGERS
        elif node.op in ("sin", "cos", "tan"):
            reason = ANGLES
        if reason is not None:
            for leaf in topological([node]):
                if leaf.op == "arg" and isinstance(leaf.value, int):
                    found.setdefault(leaf.value, reason)
    return found


def holds_large(expr: Expr, limit: float, operands: Collection[int]) -> bool:
    """Whether a result may be a finite number beyond ``limit``: a constant is, or one of ``operands`` may be."""
    large: dict[int, bool] = {}
    for node in topological([expr]):
        parts = [large[id(a)] for a in node.args]
        if node.op == "arg":
            result = node.value in operands
        elif node.op == "const":
            result = dtypes.is_float(node.dtype) and _beyond(node, limit)
        elif not dtypes.is_float(node.dtype) or node.op in _TAME:
            result = False
        elif node.op in ("min", "max"):
            # a bound that no half value reaches takes part in nothing
            sign = 1 if node.op == "min" else -1
            idle = [a.op == "const" and _beyond(a, limit) and sign * float(a.value or 0) > 0 for a in node.args]
            result = any(p and not i for p, i in zip(parts, idle, strict=True))
        elif node.op == "div":
            result = parts[0]
        else:
            result = any(parts[1:] if node.op == "where" else parts)
        large[id(node)] = result
    return large[id(expr)]


def _beyond(constant: Expr, limit: float) -> bool:
    value = float(constant.value or 0)
    return bool(np.isfinite(value)) and abs(value) > limit


def grows(expr: Expr) -> bool:
    """Whether the expression ends in a function that leaves the range of float16 easily (but for constant factors)."""
    while True:
        varying = [a for a in expr.args if a.op != "const"]
        scaled = expr.op in ("add", "sub", "mul") or (expr.op == "div" and expr.args[1].op == "const")
        plain = expr.op in ("cast", "neg", "abs") and dtypes.is_float(expr.args[0].dtype)
        if len(varying) != 1 or not (scaled or plain):
            break
        expr = varying[0]
    square = expr.op == "mul" and expr.args[0] == expr.args[1]
    # 1 / x is written both ways
    inverse = expr.op == "div" and expr.args[0].op == "const"
    return square or inverse or expr.op in _GROWING


def counted(expr: Expr) -> bool:
    """Whether numbers come from integers of 16 bits or more."""
    return any(
        e.op == "cast" and dtypes.is_float(e.dtype) and dtypes.is_int(e.args[0].dtype)
        and e.args[0].dtype.itemsize > 1
        for e in topological([expr])
    )  # fmt: skip


def kept(graph: Graph, narrow: np.dtype) -> tuple[dict[int, str], set[int]]:
    """Values (by ``id``) that should stay float32 -> reason, and nodes (by ``id``) that should compute on float32."""
    reasons = _from_ranges(graph, narrow)
    exact_nodes: set[int] = set()
    for value in graph.outputs.values():
        reasons[id(value)] = OUTPUT
    for node in reversed(graph.nodes):
        _from_readers(node, reasons, exact_nodes)
    return reasons, exact_nodes


def _keep(reasons: dict[int, str], value: Value | None, reason: str) -> None:
    # an exact reason is worth more than any other: it reaches further
    if value is not None and value.dtype == F32 and (id(value) not in reasons or reason in _EXACT):
        reasons[id(value)] = reason


def _from_ranges(graph: Graph, narrow: np.dtype) -> dict[int, str]:
    """The rules that look at what makes a value, in order of computation."""
    _, limit = finite_limits(narrow)
    half = narrow == np.dtype(np.float16)
    reasons: dict[int, str] = {}
    large: set[int] = set()

    def is_large(value: Value | None) -> bool:
        if value is None or value.dtype != F32:
            return False
        if value.data is not None:
            return value.nbytes <= 1 << 20 and exceeds(value.data, limit)
        return id(value) in large

    made = ((node, value, expr) for node in graph.nodes for value, expr in _results(node))
    for node, value, expr in made:
        if value.dtype != F32:
            continue
        prologue = node.attrs.get("prologue")
        result = node.op in _SPREADING and _reads_large(node, is_large, limit)
        if value.size == 1:
            reasons[id(value)] = SINGLE
        if node.op == "reduce" and (node.attrs["kind"] in _SUMS or (half and prologue is not None and grows(prologue))):
            reasons[id(value)] = SUMMED
        if expr is not None:
            operands = {i for i, v in enumerate(_operands(node)) if is_large(v)} | ({0} if result else set())
            result = holds_large(expr, limit, operands)
        if result:
            large.add(id(value))
            if node.op not in MOVEMENT:  # those store what they read
                reasons[id(value)] = CONSTANTS
        elif expr is not None and counted(expr):
            reasons[id(value)] = COUNTED
        elif expr is not None and half and grows(expr):
            reasons[id(value)] = GROWTH
    return reasons


def _reads_large(node: Node, is_large: Callable[[Value | None], bool], limit: float) -> bool:
    """Whether what the op itself works on may hold finite numbers beyond ``limit``."""
    own, before, _ = _inputs(node)
    prologue = node.attrs.get("prologue")
    if prologue is None:
        return any(is_large(v) for v in own)
    return holds_large(prologue, limit, {i for i, v in enumerate([own[0], *before]) if is_large(v)})


def _inputs(node: Node) -> tuple[list[Value | None], list[Value | None], list[Value | None]]:
    """A node's inputs: its own, those of its prologue, those of its epilogue."""
    before, after = int(node.attrs.get("prologue_inputs", 0)), int(node.attrs.get("epilogue_inputs", 0))
    own = len(node.inputs) - before - after
    return node.inputs[:own], node.inputs[own : own + before], node.inputs[own + before :]


def _results(node: Node) -> list[tuple[Value, Expr | None]]:
    """Results and the expressions that make them; their operands are :func:`_operands`."""
    if OPS[node.op].pointwise:
        return list(zip(node.outputs, expressions_of(node), strict=True))
    return [(node.output, node.attrs.get("epilogue"))]


def _operands(node: Node) -> list[Value | None]:
    """What the operands of the last expression stand for; None for the op's own value."""
    return node.inputs if OPS[node.op].pointwise else [None, *_inputs(node)[2]]


def _from_readers(node: Node, reasons: dict[int, str], exact_nodes: set[int]) -> None:
    """The rules that look at who reads a value; nodes come last first."""
    wanted = reasons.get(id(node.output)) if node.output.dtype == F32 else None
    if OPS[node.op].pointwise:
        for output, expr in zip(node.outputs, expressions_of(node), strict=True):
            for number, reason in sink(expr).items():
                _keep(reasons, node.inputs[number], reason)
            exact = reasons.get(id(output)) if output.dtype == F32 else None
            if exact in _EXACT:
                for value in node.inputs:
                    _keep(reasons, value, exact)
        return
    own, before, _ = _inputs(node)
    if (prologue := node.attrs.get("prologue")) is not None:
        for number, reason in sink(prologue).items():
            _keep(reasons, [own[0], *before][number], reason)
    if (epilogue := node.attrs.get("epilogue")) is not None:
        for number, reason in sink(epilogue).items():
            _keep(reasons, _operands(node)[number], reason)
            wanted = reason if number == 0 else wanted
    if (first := _STATISTICS.get(node.op)) is not None:
        reasons.update((id(value), STATISTICS) for value in node.outputs[first:] if value.dtype == F32)
        if node.op == "channel_sums":
            _keep(reasons, own[2], STATISTICS)
    if node.op in ("grid_sample", "roi_align"):
        _keep(reasons, own[1], COORDINATES)
    elif node.op in ("grid_sample_gradient", "roi_align_gradient"):
        _keep(reasons, own[2], COORDINATES)
    elif node.op in ("non_max_suppression", "pairwise_coupling"):
        for value in own:
            _keep(reasons, value, COORDINATES)
    elif node.op in ("arg_reduce", "topk"):
        _keep(reasons, own[0], RANKED)
    elif node.op == "bitcast":
        _keep(reasons, own[0], BITS)
    elif node.op in RUNNING_OPS:
        for value in (own[0], *node.outputs):
            _keep(reasons, value, RUNNING)
    elif node.op == "matmul" and wanted in _EXACT and own[0] is not None and own[0].shape[-1] <= _SMALL_PRODUCT:
        exact_nodes.add(id(node))
        for value in own:
            _keep(reasons, value, wanted)
    elif (wanted in _EXACT and node.op in MOVEMENT) or (wanted in (OUTPUT, RANKED, RUNNING) and node.op in _WHOLE):
        for value in own:
            _keep(reasons, value, wanted)


def exceeds(data: np.ndarray, limit: float) -> bool:
    """Whether a float array has finite numbers beyond ``limit``."""
    magnitude = np.abs(data)
    with np.errstate(invalid="ignore"):
        return bool(np.any((magnitude > limit) & np.isfinite(magnitude)))
