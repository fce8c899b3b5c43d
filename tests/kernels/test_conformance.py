"""Every kernel spec's own cases, in every variant, on every device, against the spec's NumPy reference.

Variants that a device would not choose run too (a GPU variant on a CPU, a CPU variant with other tunables), as long
as the device can execute them; ``A1400_TEST_VARIANTS=own`` keeps to those for a device's own kind.  One test per spec
and variant reports every case that fails.
"""

from __future__ import annotations

import os

import numpy as np
import pytest

from a1400.backends.base import Device
from a1400.errors import A1400Error
from a1400.kernels import load_all
from a1400.kernels.check import can_run, modes, run_case, uses_double
from a1400.kernels.spec import KernelSpec, Variant

PAIRS = [(spec, variant) for spec in load_all().values() for variant in spec.variants]


@pytest.mark.parametrize(("spec", "variant"), PAIRS, ids=[f"{s.name}-{v.name}" for s, v in PAIRS])
def test_cases(spec: KernelSpec, variant: Variant, device: Device) -> None:
    """Exact and random inputs, poisoned outputs, canaries: nothing may differ."""
    if os.environ.get("A1400_TEST_VARIANTS") == "own" and variant.kind not in ("any", device.info.kind):
        pytest.skip(f"A1400_TEST_VARIANTS=own: this {device.info.kind} would not choose {variant.kind} variants")
    ran, failures = 0, []
    for case in spec.cases():
        if not can_run(spec, variant, case, device.info):
            continue
        for exact in modes(spec, case):
            for tunables in (None, *variant.test_tunables):
                if variant.fit(device.info, case.types, case.scalars, tunables) is None:
                    continue
                ran += 1
                where = f"{case.name} [{'exact' if exact else 'random'}{f', {dict(tunables)}' if tunables else ''}]"
                try:
                    findings = run_case(spec, variant, case, device, exact, tunables)
                except A1400Error as error:
                    failures.append(f"{where}: {type(error).__name__}: {error}")
                    continue
                failures += [f"{where}: {f.kind}: {f.message}" for f in findings]
    if not ran:
        pytest.skip(f"{device.info.name} cannot execute {spec.name}/{variant.name} in any of its cases")
    assert not failures, f"{len(failures)} findings in {ran} runs:\n" + "\n".join(failures)


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
