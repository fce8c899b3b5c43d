"""Reverse accumulation: walk the graph backwards once, and append the gradients' nodes to the same graph.

Griewank and Walther, *Evaluating Derivatives* (2008), chapter 3.  Contributions to one value are added in the reverse
order of its readers, so the same graph always gives the same sums in the same order.
"""

from __future__ import annotations

from collections.abc import Sequence

from a1400.autodiff.local import Local, local_functions
from a1400.errors import GradientError, GraphError
from a1400.graph.graph import Graph, Node, Value
from a1400.graph.tensor import Tensor
from a1400.ops import OPS
from a1400.ops.registry import Backward, is_real


def gradients(
    graph: Graph, of: Value, with_respect_to: Sequence[Value], seed: Value | None = None,
    nodes: Sequence[Node] | None = None,
) -> list[Value | None]:  # fmt: skip
    """Append the gradients of ``of`` to ``graph`` and return one for each value in ``with_respect_to``.

    ``of`` is floating and has one element, unless ``seed`` (its shape and dtype) is the gradient that comes in; without
    it, 1.  ``nodes`` are those to walk through (all of them).  A gradient has its value's shape and dtype; it is None
    where ``of`` does not depend on the value, or only
    through steps (comparisons, rounding, indices).  Raises :class:`GradientError` when the way leads through an op
    without a gradient, naming the model's node, and :class:`GraphError` for an ``of`` or ``seed`` that does not fit.
    """
    for value in (of, *with_respect_to):
        if not is_real(value.dtype):
            raise GraphError(f"{value} has no gradient: only floating-point tensors have")
    if seed is None and of.size != 1:
        raise GraphError(f"the gradient of {of} needs a seed: only a scalar does without")
    if seed is not None and (seed.shape, seed.dtype) != (of.shape, of.dtype):
        raise GraphError(f"the seed {seed} does not have the shape and dtype of {of}")
    forward = list(graph.nodes if nodes is None else nodes)
    reached = _reached(forward, with_respect_to)
    found: dict[int, Tensor] = {}
    if id(of) in reached:
        start = graph.constant(1, of.dtype) if seed is None else seed
        found[id(of)] = Tensor(graph, start).expand(of.shape)
    functions = local_functions(forward, reached, {id(v) for v in (of, *with_respect_to)})
    ends = {id(f.nodes[-1]): f for f in functions}
    inside = {id(n) for f in functions for n in f.nodes}
    source = graph.source
    try:
        for node in reversed(forward):
            trained = any(v is not None and id(v) in reached for v in node.inputs)
            function = ends.get(id(node))
            if function is not None and id(function.result) in found:
                graph.source = node.sources
                _through(graph, function, found, reached)
            elif id(node) not in inside and trained and any(id(o) in found for o in node.outputs):
                graph.source = node.sources
                _step(graph, node, found, reached)
    finally:
        graph.source = source
    return [found[id(v)].value if id(v) in found else None for v in with_respect_to]


def _reached(nodes: Sequence[Node], start: Sequence[Value]) -> set[int]:
    """The values (by ``id``) that depend on ``start``, those included."""
    reached = {id(v) for v in start}
    for node in nodes:
        if any(v is not None and id(v) in reached for v in node.inputs):
            reached.update(id(o) for o in node.outputs)
    return reached


def _through(graph: Graph, function: Local, found: dict[int, Tensor], reached: set[int]) -> None:
    """Add what a function of one tensor passes on: its derivative, which is marked to be kept, times what comes in."""
    result, source = function.result, function.source
    inner = {id(result): Tensor(graph, graph.constant(1, result.dtype)).expand(result.shape)}
    for node in reversed(function.nodes):
        if id(node.output) in inner:
            _step(graph, node, inner, reached)
    derivative = inner.get(id(source))
    if derivative is None:
        return
    if derivative.value.producer is not None:
        derivative.value.producer.attrs["kept"] = True
    part, before = found[id(result)] * derivative, found.get(id(source))
    found[id(source)] = part if before is None else before + part


def _step(graph: Graph, node: Node, found: dict[int, Tensor], reached: set[int]) -> None:
    """Add what ``node`` passes on to the gradients of its inputs."""
    definition = OPS[node.op]
    if definition.stepwise:
        return
    if definition.gradient is None or "prologue" in node.attrs or "epilogue" in node.attrs:
        names = ", ".join(node.sources) or "the graph"
        raise GradientError(f"{names}: the operation {node.op!r} has no gradient, so nothing before it can be trained")
    inputs = [None if v is None else Tensor(graph, v) for v in node.inputs]
    outputs = [Tensor(graph, v) for v in node.outputs]
    coming = [found.get(id(v)) for v in node.outputs]
    wanted = tuple(v is not None and id(v) in reached for v in node.inputs)
    given = definition.gradient(Backward(node.op, graph, node.attrs, inputs, outputs, coming, wanted))
    if len(given) != len(inputs):
        raise GraphError(f"the gradient of {node.op} gives {len(given)} results for {len(inputs)} inputs")
    for value, part, want in zip(node.inputs, given, wanted):
        if value is None or part is None or not want or not is_real(value.dtype):
            continue
        part = part.sum_to(value.shape)
        if part.dtype != value.dtype:
            raise GraphError(f"the gradient of {node.op} for {value} has dtype {part.dtype}")
        before = found.get(id(value))
        found[id(value)] = part if before is None else before + part
