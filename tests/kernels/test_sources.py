"""The kernel folders and the specs agree: both languages, no orphans, no tunable that nothing reads."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from a1400.kernels import load_all
from a1400.kernels.source import kernel_root, program_text, source_path, unused_tunables
from a1400.kernels.spec import KernelCall, KernelSpec

SPECS = list(load_all().values())
SUFFIX = {"opencl": ".cl", "cuda": ".cu"}
PRELUDES = {"prelude.clh", "prelude.cuh", "cpu/vectors.clh"}


def _files(folder: str) -> dict[str, Path]:
    root = kernel_root() / folder
    return {str(p.relative_to(root)): p for p in root.rglob("*") if p.is_file()}


@pytest.mark.parametrize("spec", SPECS, ids=lambda s: s.name)
def test_every_spec_has_a_source_in_both_languages(spec: KernelSpec) -> None:
    for language in SUFFIX:
        variants = [v for v in spec.variants if language in v.backends]
        assert variants, f"{spec.name} has no variant for {language}"
        for variant in variants:
            assert source_path(spec, variant, language).is_file(), (spec.name, variant.name, language)


@pytest.mark.parametrize("spec", SPECS, ids=lambda s: s.name)
def test_every_tunable_is_read_by_each_source(spec: KernelSpec) -> None:
    unused = {
        (variant.name, language): names
        for variant in spec.variants
        for language in variant.backends
        if (names := unused_tunables(spec, variant, language))
    }
    assert not unused


@pytest.mark.parametrize("spec", SPECS, ids=lambda s: s.name)
def test_names_and_cases_are_sound(spec: KernelSpec) -> None:
    assert len({v.name for v in spec.variants}) == len(spec.variants)
    names = [c.name for c in spec.cases()]
    assert names, "a spec without cases is never tested"
    assert len(set(names)) == len(names), "two cases of one name cannot be told apart"
    for variant in spec.variants:
        for tunables in (None, *variant.test_tunables):
            variant.settings(tunables)
        for tunable in variant.tunables:
            assert tunable.default in tunable.values, (variant.name, tunable.name)


def test_no_source_is_without_a_spec() -> None:
    for language, suffix in SUFFIX.items():
        known = {
            str(source_path(s, v, language).relative_to(kernel_root() / f"kernels_{language}"))
            for s in SPECS
            for v in s.variants
            if language in v.backends
        }
        orphans = {name for name in _files(f"kernels_{language}") if name not in known | PRELUDES}
        assert not {n for n in orphans if n.endswith(suffix)}, "sources that no variant uses"
        assert not {n for n in orphans if not n.endswith((suffix, "h"))}, "files that are neither source nor header"


def test_sources_pair_up_at_top_level() -> None:
    """But for those of variants that only CUDA has."""
    alone = {v.source for s in SPECS for v in s.variants if v.backends == ("cuda",)}
    opencl = {n.removesuffix(".cl") for n in _files("kernels_opencl") if n.endswith(".cl") and "/" not in n}
    cuda = {n.removesuffix(".cu") for n in _files("kernels_cuda") if n.endswith(".cu") and "/" not in n}
    assert opencl == cuda - alone
    assert alone <= cuda


def test_every_common_header_is_included() -> None:
    texts = [p.read_text() for f in ("kernels_opencl", "kernels_cuda", "kernels_common") for p in _files(f).values()]
    included = {name for text in texts for name in re.findall(r'^#include "common/([^"]+)"', text, flags=re.M)}
    assert set(_files("kernels_common")) == included


@pytest.mark.parametrize("language", SUFFIX)
def test_compilers_are_told_the_group_size(language: str) -> None:
    """So that they use no more registers than a launch of that size leaves each work-item."""
    spec = load_all()["gather"]
    case, variant = next(iter(spec.cases())), spec.variant("gpu")
    scalars = dict(case.scalars)
    call = KernelCall(spec, variant, dict(case.types), variant.settings({"GROUP": 128}), {}, {}, scalars, {})
    told = {"opencl": "reqd_work_group_size(128, 1, 1)", "cuda": "__launch_bounds__(128)"}[language]
    assert told in program_text(call, language)
