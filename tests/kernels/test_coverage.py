"""A few of a variant's programs have between them what all have."""

from __future__ import annotations

import pytest

from a1400.kernels import load_all
from a1400.kernels.spec import KernelSpec
from tests.kernels.coverage import SETTING, case_call, chosen, features, takes_all

SPECS = load_all()


@pytest.mark.parametrize("spec", SPECS.values(), ids=list(SPECS))
def test_few_programs_bring_everything_once(spec: KernelSpec) -> None:
    for variant in spec.variants:
        calls = [
            case_call(spec, variant, case, dict(tunables) if tunables else None)
            for case in spec.cases()
            if variant.supports(case.scalars)
            for tunables in (None, *variant.test_tunables)
        ]
        few = list(chosen(calls, every=False))
        assert {f for made in few for f in features(made)} == {f for made in calls for f in features(made)}
        assert list(chosen(calls, every=True)) == calls


def test_a_program_that_is_left_out_brings_nothing_new() -> None:
    spec = SPECS["gemm"]
    variant = spec.variant("simple")
    calls = [case_call(spec, variant, case, None) for case in spec.cases() if variant.supports(case.scalars)]
    few = list(chosen(calls, every=False))
    programs, all_programs = ({made.program_key for made in some} for some in (few, calls))
    assert programs < all_programs
    assert [made for made in calls if made.program_key in programs] == few  # each with all of its cases


def test_what_the_setting_means(monkeypatch: pytest.MonkeyPatch) -> None:
    meant = {"": (True, False), "few": (False, False), "all": (True, True)}
    for value, (first, repeated) in meant.items():
        monkeypatch.setenv(SETTING, value)
        assert (takes_all(False), takes_all(True)) == (first, repeated)
    monkeypatch.setenv(SETTING, "some")
    with pytest.raises(ValueError, match="'all' or 'few'"):
        takes_all(False)
