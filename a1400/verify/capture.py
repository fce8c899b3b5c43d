"""One launch of a model taken out of its plan: program, geometry, and what its buffers hold when it starts."""

from __future__ import annotations

from typing import Any

import numpy as np

from a1400 import dtypes
from a1400.backends.base import Device
from a1400.engine.lowering import Launch
from a1400.graph.graph import Graph, Value
from a1400.kernels.check import data_of_call
from a1400.kernels.launches import HostBuffer, LaunchData
from a1400.kernels.spec import KernelCall
from a1400.memory.storage import Ref
from a1400.verify.reference import widen
from a1400.verify.stepper import Stepper
from a1400.verify.tracing import Traced

#: a launch with more data than this is not written down
_LARGEST = 256 << 20


def capture(
    traced: Traced, device: Device, graph: Graph, index: int, value: Value, expected: np.ndarray | None,
    tolerance: float,
) -> Any:  # fmt: skip
    """The launch that writes ``value`` of the graph's node ``index`` as a Repro; None where it cannot be taken alone.

    Without ``expected`` it is to be run ten times and compared with itself.
    """
    from a1400.verify.kernel_checks import RUNS
    from a1400.verify.repro import Repro

    own = dict(graph.outputs)
    graph.outputs = {"\0value": value}
    nodes, graph.nodes = graph.nodes, graph.nodes[: index + 1]
    try:
        stepper = Stepper(graph, None, device, traced.precision)
        place = _writer(stepper.plan.launches, value)
        if place is None:
            return None
        stepper.feed(traced.feeds)
        for number in range(place):
            stepper.step(number)
        data = take(stepper, stepper.plan.launches[place])
    finally:
        graph.outputs, graph.nodes = own, nodes
    if data is None:
        return None
    call = stepper.plan.launches[place].call
    repro = Repro(data, "repeat" if expected is None else "close", RUNS)
    if expected is not None:
        written = next(b for b in data.buffers() if b.role != "in" and b.array.size >= value.size)
        # the buffer is the value, dense; a tail that only aligns memory is nobody's
        written.array = written.array.reshape(-1)[: value.size].reshape(value.shape)
        repro.expected = {written.name: widen(expected).reshape(value.shape)}
        repro.tolerance = {written.name: (0.0, tolerance)}
    repro.facts = facts(call)
    return repro


def facts(call: KernelCall) -> dict[str, Any]:
    """What a repro file tells of a call beside its data."""
    return {
        "kernel": call.spec.name,
        "variant": call.variant.name,
        "types": {name: dtypes.short(dtype) for name, dtype in call.types.items()},
        "tunables": dict(call.tunables),
        "scalars": {name: float(v) if isinstance(v, float) else int(v) for name, v in call.scalars.items()},
        "slots": {name: code.key for name, code in call.slots.items()},
    }


def _writer(launches: list[Launch], value: Value) -> int | None:
    """The last launch that writes the output's own memory from its start, and no other buffer."""
    for place in range(len(launches) - 1, -1, -1):
        call = launches[place].call
        written = [call.buffers[p.name] for p in call.spec.params if p.kind in ("out", "inout")]
        ours = [r for r in written if isinstance(r, Ref) and r.storage.kind == "output" and r.offset == 0]
        if ours and len(written) == 1 and ours[0].nbytes == value.nbytes:
            return place
    return None


def take(stepper: Stepper, launch: Launch) -> LaunchData | None:
    """The launch with its data as it is now, all launches before it having run; None where that is too much."""
    taken = take_call(stepper, launch)
    return None if taken is None else data_of_call(taken, stepper.device.info.backend)


def take_call(stepper: Stepper, launch: Launch) -> KernelCall | None:
    """Like :func:`take`: the launch's call, its buffers as :class:`HostBuffer`."""
    call = launch.call
    roles = {p.name: p.kind for p in call.spec.params if p.kind != "scalar"}
    total = sum(r.nbytes for r in call.arguments() if isinstance(r, Ref))
    if total > _LARGEST:
        return None

    def host(ref: Any, name: str, role: str, dtype: np.dtype) -> HostBuffer:
        empty = np.zeros(ref.nbytes // dtype.itemsize, dtype)
        return HostBuffer(name, role, empty if role == "out" else stepper.read(ref, dtype))

    buffers = {}
    for p in call.spec.params:
        if p.name in roles:
            dtype = call.types[p.type] if p.type in call.types else dtypes.from_short(p.type)
            buffers[p.name] = host(call.buffers[p.name], p.name, roles[p.name], dtype)
    slots = {}
    for name, arguments in call.slot_arguments.items():
        operands = call.slots[name].operands
        slots[name] = tuple(
            a if operands[k].position
            else type(a)(host(a.buffer, f"{name}_p{k}", "in", operands[k].dtype), a.offset, a.strides)
            for k, a in enumerate(arguments)
        )
    return KernelCall(call.spec, call.variant, call.types, call.tunables, call.slots, buffers, call.scalars, slots)
