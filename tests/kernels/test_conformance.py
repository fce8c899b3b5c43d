"""Every kernel spec's own cases, in every variant, on every device, against the spec's NumPy reference.

Variants that a device would not choose run too (a GPU variant on a CPU, a CPU variant with other tunables), as long
as the device can execute them; ``A1400_TEST_VARIANTS=own`` keeps to those for a device's own kind, and
``A1400_TEST_CASES`` says how many programs of each (see :mod:`tests.kernels.coverage`).  One test per spec and variant
reports every case that fails.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

import numpy as np
import pytest

from a1400.backends.base import Device
from a1400.errors import A1400Error
from a1400.kernels import load_all
from a1400.kernels.check import can_run, modes, prepare, run_prepared, uses_double
from a1400.kernels.spec import KernelSpec, Variant
from tests.kernels.coverage import Programs, case_call, takes_all

PAIRS = [(spec, variant) for spec in load_all().values() for variant in spec.variants]


def conform(spec: KernelSpec, variant: Variant, devices: Sequence[Device], repeats: bool = False) -> None:
    """Exact and random inputs, poisoned outputs, canaries: nothing may differ on any of the devices.

    They share a description, but for their names; ``repeats``: few programs will do.
    """
    info = devices[0].info
    programs = Programs(takes_all(repeats))
    ran, failures = 0, []
    for case in spec.cases():
        if not can_run(spec, variant, case, info):
            continue
        settings = []
        for tunables in (None, *variant.test_tunables):
            fitted = variant.fit(info, case.types, case.scalars, tunables)
            if fitted is not None and programs.takes(case_call(spec, variant, case, fitted)):
                settings.append(tunables)
        for exact in modes(spec, case) if settings else ():
            prepared = prepare(spec, case, exact)
            for tunables in settings:
                for device in devices:
                    ran += 1
                    where = f"{case.name} [{'exact' if exact else 'random'}{f', {dict(tunables)}' if tunables else ''}]"
                    if len(devices) > 1:
                        where += f" on {device.info.name}"
                    try:
                        findings = run_prepared(variant, prepared, device, tunables).findings
                    except A1400Error as error:
                        failures.append(f"{where}: {type(error).__name__}: {error}")
                        continue
                    failures += [f"{where}: {f.kind}: {f.message}" for f in findings]
    if not ran:
        pytest.skip(f"{info.name} cannot execute {spec.name}/{variant.name} in any of its cases")
    assert not failures, f"{len(failures)} findings in {ran} runs:\n" + "\n".join(failures)


@pytest.mark.parametrize(("spec", "variant"), PAIRS, ids=[f"{s.name}-{v.name}" for s, v in PAIRS])
def test_cases(spec: KernelSpec, variant: Variant, device: Device) -> None:
    foreign = variant.kind not in ("any", device.info.kind)
    if os.environ.get("A1400_TEST_VARIANTS") == "own" and foreign:
        pytest.skip(f"A1400_TEST_VARIANTS=own: this {device.info.kind} would not choose {variant.kind} variants")
    conform(spec, variant, [device], repeats=foreign)


@pytest.mark.parametrize("spec", load_all().values(), ids=list(load_all()))
def test_every_case_runs_somewhere(spec: KernelSpec, device: Device) -> None:
    """No case is out of reach of all variants on a device."""
    orphans = [
        case.name
        for case in spec.cases()
        if (device.info.fp64 or (not uses_double(case) and np.dtype(np.float64) not in case.types.values()))
        and not any(can_run(spec, v, case, device.info) for v in spec.variants)
    ]
    assert not orphans
