"""Every CUDA program of the specs' cases compiles: each variant for every architecture that can run it, all of its
programs for one; hot kernels keep everything in registers."""

from __future__ import annotations

import pytest

from a1400.kernels import load_all
from a1400.kernels.spec import KernelSpec, Variant
from tests.nvrtc.cases import architectures, case_calls, text
from tests.nvrtc.compiler import compile_all, device, known

PAIRS = [(s, v) for s in load_all().values() for v in s.variants if "cuda" in v.backends]
IDS = [f"{s.name}-{v.name}" for s, v in PAIRS]
#: kernels where a spill costs what makes them fast
HOT = ("attention", "conv", "conv_depthwise", "gemm", "layer_norm", "pointwise_1", "softmax", "transpose")


@pytest.mark.parametrize(("spec", "variant"), PAIRS, ids=IDS)
def test_every_program_compiles(spec: KernelSpec, variant: Variant) -> None:
    """Without a warning, ptxas's own included."""
    able = architectures(spec, variant)
    assert able, "no architecture can run a case of this variant"
    able = [a for a in able if known(a)]
    jobs = [(text(next(case_calls(spec, variant, device(a)))), a) for a in able]
    # of the older ones, sm_80: it has all but Hopper's instructions
    full = "sm_80" if "sm_80" in able else able[0]
    jobs += [(text(made), full) for made in case_calls(spec, variant, device(full))]
    found = [f"{a}: {w}" for (_, a), done in zip(jobs, compile_all(jobs), strict=True) for w in done.warnings]
    assert not found, "\n".join(found)


@pytest.mark.parametrize(("spec", "variant"), PAIRS, ids=IDS)
def test_hot_kernels_do_not_spill(spec: KernelSpec, variant: Variant) -> None:
    """With default tunables, on every architecture."""
    if spec.name not in HOT or variant.kind != "gpu":
        return  # nothing is promised of the others; the report lists them
    spilled = []
    for architecture in filter(known, architectures(spec, variant)):
        info = device(architecture)
        calls = [c for c in case_calls(spec, variant, info) if c.tunables == variant.fit(info, c.types, c.scalars)]
        for made, done in zip(calls, compile_all([(text(c), architecture) for c in calls]), strict=True):
            if done.usage.spills:
                types = ", ".join(f"{k}={t}" for k, t in made.types.items())
                spilled.append(f"{architecture} {types} {sorted(made.slots)}: {done.usage}")
    assert not spilled, "\n".join(spilled)
