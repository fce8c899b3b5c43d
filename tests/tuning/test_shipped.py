"""Every row of the shipped table runs its kernel's cases on every device that can execute it."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from a1400.backends.base import Device
from a1400.kernels import load_all
from a1400.kernels.check import can_run, modes, run_case
from a1400.tuning.choice import shipped_table
from a1400.tuning.table import Row

ROWS = shipped_table().rows
#: one that is always there, so that what runs the rows is tested while none is shipped
SAMPLE = Row("layer_norm", "team", {"LANES": 64, "TEAMS": 2}, "a sample for this test")


def settings() -> Mapping[str, Row]:
    """One row for each distinct setting."""
    found: dict[str, Row] = {}
    for row in (SAMPLE, *ROWS):
        found.setdefault(f"{row.kernel}-{row.variant}-{dict(sorted(row.tunables.items()))}", row)
    return found


@pytest.mark.parametrize("row", settings().values(), ids=list(settings()))
def test_a_shipped_row_computes_its_kernels_cases(row: Row, device: Device) -> None:
    spec = load_all()[row.kernel]
    variant = spec.variant(row.variant)
    ran = 0
    for case in spec.cases():
        if not can_run(spec, variant, case, device.info):
            continue
        if variant.fit(device.info, case.types, case.scalars, row.tunables) is None:
            continue
        for exact in modes(spec, case):
            ran += 1
            findings = run_case(spec, variant, case, device, exact, row.tunables)
            assert not findings, f"{case.name}: {findings[0].message}"
    if not ran:
        pytest.skip(f"{device.info.name} cannot execute {spec.name}/{variant.name} with {dict(row.tunables)}")


def test_no_two_shipped_rows_are_for_the_same_calls() -> None:
    keys = [(r.kernel, r.variant, str(r.device), str(r.types), str(r.scalars)) for r in ROWS]
    assert len(set(keys)) == len(keys)


def test_shipped_rows_name_classes_and_say_where_they_were_measured() -> None:
    for row in ROWS:
        assert row.level > 0, f"{row} names one device and driver; such rows belong into a user's table"
        assert "against" in row.source, row
