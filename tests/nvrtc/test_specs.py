"""Every CUDA program of the specs' cases compiles without a warning, and hot kernels keep everything in registers.

The programs of a variant take turns at the architectures that can run it, each of which compiles at least one;
``A1400_TEST_CASES=all`` compiles all of them for every one.
"""

from __future__ import annotations

import pytest

from a1400.kernels import load_all
from a1400.kernels.spec import KernelCall, KernelSpec, Variant
from tests.kernels.coverage import takes_all
from tests.nvrtc.cases import architectures, case_calls, text
from tests.nvrtc.compiler import SAME_CODE, compile_all, device, known

PAIRS = [(s, v) for s in load_all().values() for v in s.variants if "cuda" in v.backends]
IDS = [f"{s.name}-{v.name}" for s, v in PAIRS]
#: kernels where a spill costs what makes them fast
HOT = ("attention", "conv", "conv_depthwise", "gemm", "layer_norm", "pointwise_1", "softmax", "transpose")


def is_hot(spec: KernelSpec, variant: Variant) -> bool:
    """Whether registers must suffice; nothing is promised of the others, the report lists them."""
    return spec.name in HOT and variant.kind == "gpu"


def jobs(spec: KernelSpec, variant: Variant) -> dict[tuple[str, str], KernelCall]:
    """What to compile, by (text, architecture)."""
    able = architectures(spec, variant)
    assert able, "no architecture can run a case of this variant"
    found = {(text(c), a): c for a in able if known(a) for c in case_calls(spec, variant, device(a))}
    if takes_all(repeats=True):
        return found
    # not the same text for the same instructions
    distinct = {(t, a): made for (t, a), made in found.items() if (t, SAME_CODE.get(a)) not in found}
    wanted: dict[str, list[str]] = {}
    for t, a in distinct:
        wanted.setdefault(t, []).append(a)
    taken = [(t, on[turn % len(on)]) for turn, (t, on) in enumerate(wanted.items())]
    idle = {a for _, a in distinct} - {a for _, a in taken}
    taken += [next(job for job in distinct if job[1] == a) for a in sorted(idle)]
    return {job: distinct[job] for job in taken}


@pytest.mark.parametrize(("spec", "variant"), PAIRS, ids=IDS)
def test_every_program_compiles(spec: KernelSpec, variant: Variant) -> None:
    """Without a warning, ptxas's own included; with default tunables, hot kernels spill nothing."""
    found = jobs(spec, variant)
    problems = []
    for ((_, architecture), made), done in zip(found.items(), compile_all(found), strict=True):
        problems += [f"{architecture}: {w}" for w in done.warnings]
        default = variant.fit(device(architecture), made.types, made.scalars)
        if done.usage.spills and is_hot(spec, variant) and made.tunables == default:
            types = ", ".join(f"{k}={t}" for k, t in made.types.items())
            problems.append(f"{architecture} {types} {sorted(made.slots)}: {done.usage}")
    assert not problems, "\n".join(problems)
