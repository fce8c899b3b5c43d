"""The distinct CUDA programs of the specs' cases."""

from __future__ import annotations

from collections.abc import Iterator

from a1400.backends.base import DeviceInfo
from a1400.kernels.check import can_run
from a1400.kernels.source import program_text
from a1400.kernels.spec import KernelCall, KernelSpec, Variant
from tests.kernels.coverage import case_call
from tests.nvrtc.compiler import ARCHITECTURES, device


def case_calls(spec: KernelSpec, variant: Variant, info: DeviceInfo) -> Iterator[KernelCall]:
    """One call for each distinct program of the variant's cases; of further tunable settings, the first case's."""
    seen: set[object] = set()
    for tunables in (None, *variant.test_tunables):
        for case in spec.cases():
            if not can_run(spec, variant, case, info):
                continue
            fitted = variant.fit(info, case.types, case.scalars, tunables)
            if fitted is None:
                continue
            made = case_call(spec, variant, case, fitted)
            if made.program_key not in seen:
                seen.add(made.program_key)
                yield made
                if tunables is not None:
                    break


def architectures(spec: KernelSpec, variant: Variant) -> list[str]:
    """Those whose devices can run some case of the variant."""
    return [a for a in ARCHITECTURES if next(case_calls(spec, variant, device(a)), None) is not None]


def text(made: KernelCall) -> str:
    """The call's CUDA program."""
    return program_text(made, "cuda")
