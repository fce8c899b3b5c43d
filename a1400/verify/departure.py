"""Where a model's answer departs: the first node, in order, whose value is wrong though those it reads are right.

The graph is the one that failed, after the optimizer, with every node's value added to the outputs, so that the very
kernels that failed run again; each value is compared with the float64 reference of the same graph.  Where nothing
departs there, either the optimizer changed the answer (then the two references differ, and leaving out one pass after
the other tells which) or the failure hides when all values are kept (memory that is shared wrongly, say): then the
graph before the optimizer is tried, and the passes are left out one by one on the device.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from a1400 import dtypes
from a1400.backends.base import Device
from a1400.graph.graph import Graph, Node, Value
from a1400.kernels.accuracy import compare, figures
from a1400.optimizer import PASSES
from a1400.verify.capture import capture
from a1400.verify.reference import evaluate_wide
from a1400.verify.repro import Repro
from a1400.verify.stepper import Stepper
from a1400.verify.tracing import TOLERANCE, Traced

#: bytes of intermediate values that are kept as outputs of one run
_AT_ONCE = 1 << 30


@dataclass
class Departure:
    """What was found: the model's node(s), one sentence, figures, and the launch itself where it could be captured."""

    node: str
    message: str
    error: float | None = None
    ulps: float | None = None
    launch: Repro | None = None


@dataclass
class _Place:
    """One value that departs: its node's position, the node, and what differs."""

    index: int
    node: Node
    value: Value
    message: str
    error: float | None
    ulps: float | None


def first_departure(traced: Traced, device: Device, tolerance: float, kind: str) -> Departure | None:
    """The first node whose value is off by more than ``tolerance``; None where it cannot be said."""
    graph, _ = traced.optimised(device)
    reference = evaluate_wide(graph, traced.feeds, [v for n in graph.nodes for v in n.outputs])

    def judge(value: Value, got: np.ndarray) -> tuple[str, float | None, float | None]:
        return _off(value, got, reference[id(value)], tolerance, kind)

    found = _search(traced, device, graph, judge)
    if found is not None:
        return _tell(traced, device, *found, expected=reference, tolerance=tolerance, kind=kind)
    if blamed := _passes_that_change(traced, device, tolerance):
        return Departure("", f"the optimizer changes the answer: not with pass {' or '.join(blamed)} left out")
    plain = traced.graph()
    reference = evaluate_wide(plain, traced.feeds, [v for n in plain.nodes for v in n.outputs])
    found = _search(traced, device, plain, judge)
    if found is not None:
        return _tell(traced, device, *found, expected=reference, tolerance=tolerance, kind=kind)
    blamed = [name for name in PASSES if name not in traced.disable and _cured(traced, device, name, tolerance)]
    cure = f"it also disappears without pass {' or '.join(blamed)}" if blamed else "no single pass is to blame"
    return Departure("", f"every node is right when all intermediate values are kept; {cure}")


def first_change(traced: Traced, device: Device, runs: int) -> Departure | None:
    """The first node whose value is not the same bits in each of ``runs`` runs; None where all are."""
    graph, _ = traced.optimised(device)
    seen: dict[int, bytes] = {}

    def judge(value: Value, got: np.ndarray) -> tuple[str, float | None, float | None]:
        before = seen.setdefault(id(value), got.tobytes())
        return ("" if before == got.tobytes() else "differs between runs", None, None)

    found = _search(traced, device, graph, judge, runs)
    return None if found is None else _tell(traced, device, *found)


def _off(
    value: Value, got: np.ndarray, expected: np.ndarray, tolerance: float, kind: str
) -> tuple[str, float | None, float | None]:
    """What is wrong with one value, and its figures; a type finer than the model's coarsest is judged as that."""
    if not dtypes.is_float(value.dtype):
        return compare(got, expected, (0.0, 0.0), exact=True), *figures(got, expected)
    own = TOLERANCE[dtypes.short(value.dtype)]
    message = compare(got, expected, (0.0, max(tolerance, own)), exact=False)
    return message, *figures(got, expected)


def _search(
    traced: Traced, device: Device, graph: Graph,
    judge: Callable[[Value, np.ndarray], tuple[str, float | None, float | None]], runs: int = 1,
) -> tuple[Graph, _Place, Stepper] | None:  # fmt: skip
    """Run ``graph`` with its values as outputs, a part at a time; the first that ``judge`` refuses."""
    order = [(i, node, v) for i, node in enumerate(graph.nodes) for v in node.outputs]
    own = dict(graph.outputs)
    for part in _parts(order):
        graph.outputs = {**own, **{f"\0{k}": v for k, (_, _, v) in enumerate(part)}}
        try:
            made = Stepper(graph, None, device, traced.precision)
            for _ in range(runs):
                outputs = made.run(traced.feeds)
                for k, (index, node, value) in enumerate(part):
                    message, error, ulps = judge(value, outputs[f"\0{k}"])
                    if message:
                        return graph, _Place(index, node, value, message, error, ulps), made
        finally:
            graph.outputs = dict(own)
    return None


def _parts(order: Sequence[tuple[int, Node, Value]]) -> list[list[tuple[int, Node, Value]]]:
    parts: list[list[tuple[int, Node, Value]]] = [[]]
    size = 0
    for item in order:
        if parts[-1] and size + item[2].nbytes > _AT_ONCE:
            parts.append([])
            size = 0
        parts[-1].append(item)
        size += item[2].nbytes
    return parts


def _tell(
    traced: Traced, device: Device, graph: Graph, place: _Place, made: Stepper,
    expected: Mapping[int, np.ndarray] | None = None, tolerance: float = 0.0, kind: str = "f32",
) -> Departure:  # fmt: skip
    node = place.node
    sources = node.sources or ("(made by the optimizer)",)
    launches = [x for x in made.plan.launches if x.sources == node.sources and x.op == node.op]
    kernels = dict.fromkeys(f"{x.call.spec.name}/{x.call.variant.name}" for x in launches)
    what = f"the first node that departs is {' + '.join(sources)} ({node.op}"
    what += f", {' then '.join(kernels)})" if kernels else ")"
    figure = "" if place.error is None else f", error {place.error:.2g} of its scale, {place.ulps:.3g} ULPs"
    launch = None
    if launches:
        want = None if expected is None else expected[id(place.value)]
        own = TOLERANCE[dtypes.short(place.value.dtype)] if dtypes.is_float(place.value.dtype) else 0.0
        launch = capture(traced, device, graph, place.index, place.value, want, max(tolerance, own))
    return Departure(" + ".join(sources), f"{what}: {place.message}{figure}", place.error, place.ulps, launch)


def _passes_that_change(traced: Traced, device: Device, tolerance: float) -> list[str]:
    """Passes without which the optimised graph's reference agrees with the model's; empty where it agrees anyway."""
    plain = traced.graph()
    right = evaluate_wide(plain, traced.feeds)
    wanted = {name: right[id(v)] for name, v in plain.outputs.items()}

    def agrees(disable: Sequence[str]) -> bool:
        graph, _ = traced.optimised(device, disable)
        values = evaluate_wide(graph, traced.feeds)
        return all(figures(values[id(v)], wanted[name])[0] <= tolerance for name, v in graph.outputs.items())

    if agrees(traced.disable):
        return []
    return [name for name in PASSES if agrees((*traced.disable, name))] or ["(no single one)"]


def _cured(traced: Traced, device: Device, name: str, tolerance: float) -> bool:
    """Whether the device agrees with the reference when the pass ``name`` is left out."""
    graph, report = traced.optimised(device, (*traced.disable, name))
    values = evaluate_wide(graph, traced.feeds)
    got = Stepper(graph, report, device, traced.precision).run(traced.feeds)
    return all(figures(got[n], values[id(v)])[0] <= tolerance for n, v in graph.outputs.items())
