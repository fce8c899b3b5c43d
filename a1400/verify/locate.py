"""Which node of a model ends its process: compile its programs and run its launches one by one, telling each before."""

from __future__ import annotations

from typing import Any

from a1400.backends.base import Device
from a1400.engine import lower  # noqa: F401 - registers the handlers
from a1400.engine.lowering import Launch, Lowering
from a1400.engine.weight_store import WeightStore
from a1400.kernels import load_all
from a1400.kernels.source import program_text
from a1400.verify.model_checks import traced_of
from a1400.verify.stepper import Stepper, allowed
from a1400.verify.worker import Tell


def locate(device: Device, job: dict[str, Any], tell: Tell) -> None:
    """A worker's task on feed ``job["feed"]``; the last ``at`` the parent hears names what was going on."""
    traced = traced_of(job, job["feed"])
    load_all()
    graph, report = traced.optimised(device)
    lowering = Lowering(graph, device.info, WeightStore(), allowed(traced.precision))
    lowering.run()
    seen = set()
    for launch in lowering.launches:
        call = launch.call
        if call.program_key not in seen:
            seen.add(call.program_key)
            _tell(tell, "compiling", launch)
            name = f"{call.spec.name}/{call.variant.name}"
            device.compile(name, program_text(call, device.info.backend), call.spec.name)
    graph, report = traced.optimised(device)  # lowering has marked the first one
    stepper = Stepper(graph, report, device, traced.precision)
    stepper.feed(traced.feeds)
    for number, launch in enumerate(stepper.plan.launches):
        _tell(tell, "running", launch)
        stepper.step(number)


def _tell(tell: Tell, doing: str, launch: Launch) -> None:
    name = f"{launch.call.spec.name}/{launch.call.variant.name}"
    node = " + ".join(launch.sources)
    tell({"at": f"{doing} {name} for {node or 'an output'} ({launch.op})", "node": node})
