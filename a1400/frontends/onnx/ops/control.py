"""Control flow that is decided while tracing: branches taken, loops unrolled."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from a1400.errors import GraphError, UnsupportedOpError
from a1400.frontends.errors import NeedsValue
from a1400.frontends.onnx.context import Ctx, Item
from a1400.frontends.onnx.definitions import GraphDef
from a1400.frontends.onnx.ops.logic import select
from a1400.frontends.onnx.ops.registry import CONTROL, translates
from a1400.graph.graph import Value

if TYPE_CHECKING:
    from a1400.frontends.onnx.trace import Scope

#: iterations that are still worth unrolling
_MAX_TRIPS = 4096


@translates("If", runs=CONTROL)
def branch(c: Ctx) -> object:
    """The branch of a constant condition; else both, where that is a selection between tensors of one shape."""
    condition = c[0]
    if condition.data is not None:
        chosen = c.subgraph("then_branch" if bool(condition.data.reshape(-1)[0]) else "else_branch")
        return tuple(c.tracer.subgraph(chosen, c.tracer.scope, c.inner))
    scope, results = c.tracer.scope, []
    for yes, no in _both(c, scope):
        if not isinstance(yes, Value) or not isinstance(no, Value) or (yes.shape, yes.dtype) != (no.shape, no.dtype):
            break
        results.append(select(c, c.reshape(condition, ()), yes, no))
    else:
        if results:
            return tuple(results)
    taken = bool(c.need(0, "which branch to take").reshape(-1)[0])
    return tuple(c.tracer.subgraph(c.subgraph("then_branch" if taken else "else_branch"), scope, c.inner))


def _both(c: Ctx, scope: Scope) -> list[tuple[Item, Item]]:
    """The outputs of both branches; none where only the one that is taken can be translated."""
    try:
        with c.tracer.unread():
            yes, no = (c.tracer.subgraph(c.subgraph(n), scope, c.inner) for n in ("then_branch", "else_branch"))
    except NeedsValue:
        raise
    except (GraphError, UnsupportedOpError):
        return []
    return list(zip(yes, no))


def _truth(c: Ctx, item: Item, what: str, keep: list[Item]) -> bool:
    if not isinstance(item, Value):
        raise GraphError(f"{what} is not a tensor")
    return bool(c.need_value(item, what, keep=keep).reshape(-1)[0])


def _stack(c: Ctx, parts: list[Value], axis: int = 0) -> Value:
    rows = [c.reshape(p, (*p.shape[:axis], 1, *p.shape[axis:])) for p in parts]
    return c.concat(rows, axis)


def _nothing(c: Ctx, body: GraphDef, state: list[Item]) -> list[Value]:
    """What a loop of no turns has collected: the body, translated once in vain, tells the shapes."""
    arguments = [c.const(np.array(0, np.int64)), c.const(np.array(True)), *state]
    with c.tracer.unread():
        results = c.tracer.subgraph(body, c.tracer.scope, c.inner, arguments)
    made = [value for value in results[1 + len(state) :] if isinstance(value, Value)]
    return [c.const(np.zeros((0, *value.shape), value.dtype)) for value in made]


@translates("Loop", runs=CONTROL)
def loop(c: Ctx) -> object:
    """Unrolled: the trip count and the condition must be known while tracing."""
    body, scope = c.subgraph("body"), c.tracer.scope
    trips = _MAX_TRIPS + 1 if c.opt(0) is None else int(c.need_scalar(0, "the number of iterations"))
    going = c.opt(1) is None or _truth(c, c[1], "the loop's condition", [])
    state = list(c.inputs[2:])
    scans: list[list[Value]] = [[] for _ in range(len(body.outputs) - 1 - len(state))]
    i = 0
    while going and i < trips:
        if i >= _MAX_TRIPS:
            raise c.unsupported(f"a loop of more than {_MAX_TRIPS} iterations is not supported")
        arguments = [c.tracer.number(i), c.const(np.array(True)), *state]
        condition, *results = c.tracer.subgraph(body, scope, c.inner, arguments)
        state = results[: len(state)]
        for list_, value in zip(scans, results[len(state) :]):
            if not isinstance(value, Value):
                raise GraphError("a loop collects tensors only")
            list_.append(value)
        i += 1
        if i < trips:
            going = _truth(c, condition, "the loop's condition", [*state, *scans])
    if i == 0 and scans:
        return (*state, *_nothing(c, body, state))
    return (*state, *(_stack(c, s) for s in scans))


def _picked(c: Ctx, x: Value, axis: int, at: int) -> Value:
    """One slice of ``x``, its axis gone."""
    return c.reshape(c.slice(x, axis, at, 1), (*x.shape[:axis], *x.shape[axis + 1 :]))


def _steps(
    c: Ctx, scope: Scope, state: list[Item], total: int, pieces: Callable[[int], list[Value]]
) -> tuple[list[Item], list[list[Value]]]:
    """The body run ``total`` times on ``pieces(t)``: the last state, and what each step gave."""
    body = c.subgraph("body")
    scans: list[list[Value]] = [[] for _ in range(len(body.outputs) - len(state))]
    for t in range(total):
        results = c.tracer.subgraph(body, scope, c.inner, [*state, *pieces(t)])
        state = results[: len(state)]
        for list_, value in zip(scans, results[len(state) :]):
            if not isinstance(value, Value):
                raise GraphError("a scan collects tensors only")
            list_.append(value)
    return state, scans


@translates("Scan", since=8, runs=CONTROL)
def batched_scan(c: Ctx) -> object:
    """The form of opset 8: axis 0 is a batch, axis 1 is scanned; behind an item's own length outputs are zero."""
    values, scope = [c[i] for i in range(1, len(c))], c.tracer.scope
    split = len(values) - c.integer("num_scan_inputs")
    backs = c.ints("directions") or (0,) * (len(values) - split)
    batches, steps = {v.shape[0] for v in values}, {v.shape[1] for v in values[split:]}
    if len(batches) != 1 or len(steps) != 1:
        raise GraphError(f"batches of {sorted(batches)} and scanned axes of {sorted(steps)} items do not go together")
    batch, longest = batches.pop(), steps.pop()
    lengths = (longest,) * batch if c.opt(0) is None else c.need_ints(0, "the lengths of the sequences")
    if not batch or len(lengths) != batch or not all(0 < n <= longest for n in lengths):
        raise c.unsupported(f"a scan of {batch} sequences over {list(lengths)} of {longest} steps is not supported")
    if sum(lengths) > _MAX_TRIPS:
        raise c.unsupported(f"a scan over {sum(lengths)} steps is not supported")
    rows: list[list[Value]] = []
    for b, length in enumerate(lengths):
        items = [_picked(c, v, 0, b) for v in values]

        def pieces(t: int, items: list[Value] = items, length: int = length) -> list[Value]:
            return [_picked(c, x, 0, length - 1 - t if back else t) for x, back in zip(items[split:], backs)]

        state, scans = _steps(c, scope, list(items[:split]), length, pieces)
        if not all(isinstance(item, Value) for item in state):
            raise GraphError("a scan of opset 8 keeps tensors only")
        stacked = [_padded(c, _stack(c, scan), longest) for scan in scans]
        rows.append([*(item for item in state if isinstance(item, Value)), *stacked])
    return tuple(_stack(c, list(column)) for column in zip(*rows))


def _padded(c: Ctx, x: Value, size: int) -> Value:
    """``x`` with zeros behind it up to ``size`` along axis 0."""
    if x.shape[0] == size:
        return x
    return c.concat([x, c.expand(c.scalar(0, x), (size - x.shape[0], *x.shape[1:]))], 0)


@translates("Scan", since=9, runs=CONTROL)
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

    def pieces(t: int) -> list[Value]:
        return [_picked(c, x, a, total - 1 - t if back else t) for x, a, back in zip(sources, axes, in_back)]

    state, scans = _steps(c, scope, state, total, pieces)
    stacked = []
    for list_, axis, back in zip(scans, out_axes, out_back):
        ordered = list_[::-1] if back else list_
        stacked.append(_stack(c, ordered, c.axis(axis, ordered[0].rank + 1)))
    return (*state, *stacked)
