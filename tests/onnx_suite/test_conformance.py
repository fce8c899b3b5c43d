"""ONNX's test-suite: every case passes, or stands in known_failures.txt with its reason and fails."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import version

import numpy as np
import pytest

from a1400 import onnx_backend
from a1400.backends.base import DeviceInfo
from tests.kernels.coverage import takes_all
from tests.onnx_suite import few, known, quiet, runner

#: the release whose cases known_failures.txt is about
ONNX = "1.23.2"
#: 2,024 of operators and small models, and 9 ImageNet models
CASES, REAL = 2033, 9
PARTS = 4


def check(device: str, part: int, names: Sequence[str] | None, cases: int, real: bool = True) -> None:
    """A part of ``cases`` cases, those of ``names`` or all, passes but for what is known."""
    if version("onnx") != ONNX:
        pytest.skip(f"the list of known failures is for onnx {ONNX}, not {version('onnx')}")
    results = runner.run(device, part=(part, PARTS), names=names, real=real)
    assert len(results) == len(range(part, cases, PARTS))
    surprises = [*known.surprises(results), *quiet.surprises(results)]
    assert not surprises, f"{len(surprises)} surprises:\n" + "\n".join(surprises)


@pytest.mark.parametrize("part", range(PARTS))
def test_the_suite(device_info: DeviceInfo, part: int) -> None:
    names = None if takes_all(repeats=False) else few.read(device_info.kind)
    check(device_info.id, part, names, CASES if names is None else len(names))


def test_a_sequence_that_the_suite_cannot_compare(device_info: DeviceInfo) -> None:
    """``loop16_seq_none``: the suite asks for the length of an array without axes, and so no answer passes there."""
    import onnx.backend.test.case.node.loop  # noqa: F401  what it defines goes into the list
    from onnx.backend.test.case.node import _NodeTestCases

    (case,) = (case for case in _NodeTestCases if case.name == "test_loop16_seq_none")
    inputs, (expected,) = case.data_sets[0]
    (got,) = onnx_backend.prepare(case.model, device_info.id).run(inputs)
    assert len(got) == len(expected) == 6
    for have, want in zip(got, expected):
        assert (have.dtype, have.shape) == (want.dtype, want.shape)
        np.testing.assert_array_equal(have, want)


def test_every_exclusion_has_a_reason() -> None:
    listed = known.read()
    assert all(listed.values())
    assert sum(reason == known.RANDOM for reason in listed.values()) == 10


def test_the_few_cases_pass() -> None:
    for kind in ("cpu", "gpu"):
        assert len(few.read(kind)) > 100
        assert not set(few.read(kind)) & set(known.read())
