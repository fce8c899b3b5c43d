"""Control flow that is decided while tracing: branches taken, loops unrolled."""

from __future__ import annotations

import numpy as np

from a1400.errors import GraphError
from a1400.frontends.onnx.context import Ctx, Item
from a1400.frontends.onnx.ops.logic import select
from a1400.frontends.onnx.ops.registry import translates
from a1400.graph.graph import Value

#: iterations that are still worth unrolling
_MAX_TRIPS = 4096


@translates("If")
def branch(c: Ctx) -> object:
    """The branch of a constant condition; else both, where that is a selection between tensors of one shape."""
    condition = c[0]
    if condition.data is not None:
        chosen = c.subgraph("then_branch" if bool(condition.data.reshape(-1)[0]) else "else_branch")
        return tuple(c.tracer.subgraph(chosen, c.tracer.scope, c.frame))
    scope = c.tracer.scope
    branches = [c.tracer.subgraph(c.subgraph(n), scope, c.frame) for n in ("then_branch", "else_branch")]
    results = []
    for yes, no in zip(*branches):
        same = isinstance(yes, Value) and isinstance(no, Value) and (yes.shape, yes.dtype) == (no.shape, no.dtype)
        if not same:
            c.need(0, "which branch to take (they give different shapes)")
        assert isinstance(yes, Value) and isinstance(no, Value)
        results.append(select(c, c.reshape(condition, ()), yes, no))
    return tuple(results)


def _truth(c: Ctx, item: Item, what: str) -> bool:
    if not isinstance(item, Value):
        raise GraphError(f"{what} is not a tensor")
    return bool(c.need_value(item, what).reshape(-1)[0])


def _stack(c: Ctx, parts: list[Value], axis: int = 0) -> Value:
    rows = [c.reshape(p, (*p.shape[:axis], 1, *p.shape[axis:])) for p in parts]
    return c.concat(rows, axis)


@translates("Loop")
def loop(c: Ctx) -> object:
    """Unrolled: the trip count and the condition must be known while tracing."""
    body, scope = c.subgraph("body"), c.tracer.scope
    trips = _MAX_TRIPS + 1 if c.opt(0) is None else int(c.need_scalar(0, "the number of iterations"))
    going = c.opt(1) is None or _truth(c, c[1], "the loop's condition")
    state = list(c.inputs[2:])
    scans: list[list[Value]] = [[] for _ in range(len(body.outputs) - 1 - len(state))]
    i = 0
    while going and i < trips:
        if i >= _MAX_TRIPS:
            raise c.unsupported(f"a loop of more than {_MAX_TRIPS} iterations is not supported")
        arguments = [c.const(np.array(i, np.int64)), c.const(np.array(True)), *state]
        condition, *results = c.tracer.subgraph(body, scope, c.frame, arguments)
        state = results[: len(state)]
        for list_, value in zip(scans, results[len(state) :]):
            if not isinstance(value, Value):
                raise GraphError("a loop collects tensors only")
            list_.append(value)
        i += 1
        if i < trips:
            going = _truth(c, condition, "the loop's condition")
    if i == 0 and scans:
        raise c.unsupported("a loop with no iterations that collects outputs is not supported")
    return (*state, *(_stack(c, s) for s in scans))


@translates("Scan", since=9)
def scan(c: Ctx) -> object:
    """Unrolled over the scanned axis."""
    body, scope = c.subgraph("body"), c.tracer.scope
    count = c.integer("num_scan_inputs")
    state: list[Item] = list(c.inputs[: len(c) - count])
    sources = [c[i] for i in range(len(c) - count, len(c))]
    outputs = len(body.outputs) - len(state)
    in_axes, out_axes = c.ints("scan_input_axes") or (0,) * count, c.ints("scan_output_axes") or (0,) * outputs
    in_back = c.ints("scan_input_directions") or (0,) * count
    out_back = c.ints("scan_output_directions") or (0,) * outputs
    axes = [c.axis(a, x.rank) for a, x in zip(in_axes, sources)]
    steps = {x.shape[a] for a, x in zip(axes, sources)}
    if len(steps) != 1:
        raise GraphError(f"scanned axes have different sizes {sorted(steps)}")
    total = steps.pop()
    if not 0 < total <= _MAX_TRIPS:
        raise c.unsupported(f"a scan over {total} steps is not supported")
    scans: list[list[Value]] = [[] for _ in range(outputs)]
    for t in range(total):
        pieces = []
        for x, a, back in zip(sources, axes, in_back):
            piece = c.slice(x, a, total - 1 - t if back else t, 1)
            pieces.append(c.reshape(piece, (*x.shape[:a], *x.shape[a + 1 :])))
        results = c.tracer.subgraph(body, scope, c.frame, [*state, *pieces])
        state = results[: len(state)]
        for list_, value in zip(scans, results[len(state) :]):
            if not isinstance(value, Value):
                raise GraphError("a scan collects tensors only")
            list_.append(value)
    stacked = []
    for list_, axis, back in zip(scans, out_axes, out_back):
        ordered = list_[::-1] if back else list_
        stacked.append(_stack(c, ordered, c.axis(axis, ordered[0].rank + 1)))
    return (*state, *stacked)
