"""A slice of the sweep on each device, and that it leaves no operator out."""

from __future__ import annotations

import onnx
import pytest

from a1400.backends.base import Device
from tests.onnx_sweep.case import sweeps
from tests.onnx_sweep.left_out import LEFT_OUT
from tests.onnx_sweep.running import run_case

#: operator i runs case (FIRST + i) % 30 here, so that all types and opsets come; all: ``python -m tests.onnx_sweep``
FIRST = 0
#: operators are shared out among as many tests, which several processes may run
PARTS = 4


def test_every_operator_is_swept_or_left_out_with_a_reason() -> None:
    schemas = {s.name: s for s in onnx.defs.get_all_schemas() if s.domain == ""}
    newest = {name for name, schema in schemas.items() if not schema.deprecated}
    swept = {name for name, sweep in sweeps().items() if not sweep.domain}
    assert newest <= swept | set(LEFT_OUT), sorted(newest - swept - set(LEFT_OUT))
    assert not swept & set(LEFT_OUT)
    assert all(LEFT_OUT.values())


@pytest.mark.parametrize("part", range(PARTS))
def test_a_case_of_each_operator(device: Device, part: int) -> None:
    pytest.importorskip("onnxruntime", reason="ONNX Runtime is what the sweep compares with")
    declared = list(enumerate(sweeps().values(), FIRST))[part::PARTS]
    outcomes = [run_case(sweep, number % 30, device) for number, sweep in declared]
    wrong = [
        f"python -m tests.onnx_sweep {o.operator} --case {o.number}: {o.text}" for o in outcomes if o.status != "passed"
    ]
    assert not wrong, "\n".join(wrong)
