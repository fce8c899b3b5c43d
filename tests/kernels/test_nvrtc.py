"""Every CUDA program compiles under NVRTC, with no GPU: all of them for one architecture, one per variant for all.

NVRTC comes from pip (``nvidia-cuda-nvrtc`` and CuPy's binding to it, both in the ``test`` extra).
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any

import pytest

from a1400.kernels import load_all
from a1400.kernels.source import program_text
from a1400.kernels.spec import Case, KernelCall, KernelSpec, SlotArgument, Variant, call

ARCHITECTURES = ("sm_75", "sm_80", "sm_86", "sm_90a")
PAIRS = [(s, v) for s in load_all().values() for v in s.variants if "cuda" in v.backends]
IDS = [f"{s.name}-{v.name}" for s, v in PAIRS]


@cache
def nvrtc() -> Any:
    """CuPy's binding to NVRTC, or a skip that says how to get it."""
    try:
        from cupy_backends.cuda.libs import nvrtc as binding

        binding.getVersion()
    except Exception as error:  # a missing library shows up in several ways
        pytest.skip(f"NVRTC cannot be loaded ({error}): pip install cupy-cuda13x nvidia-cuda-nvrtc")
    return binding


@cache
def compile_cuda(source: str, architecture: str) -> str:
    """NVRTC's log, warnings included; raises ``AssertionError`` with the log if it does not compile."""
    binding = nvrtc()
    program = binding.createProgram(source, "kernel.cu", (), ())
    try:
        try:
            binding.compileProgram(program, (f"-arch={architecture}",))
        except binding.NVRTCError:
            raise AssertionError(f"{architecture}:\n{binding.getProgramLog(program)}") from None
        return str(binding.getProgramLog(program)).strip()
    finally:
        binding.destroyProgram(program)


def case_call(spec: KernelSpec, variant: Variant, case: Case, tunables: dict[str, int] | None) -> KernelCall:
    """The case as a call with stand-ins for its buffers."""
    slots = {
        name: (code, [SlotArgument(None, offset, strides) for _, offset, strides in operands])
        for name, (code, operands) in case.slots.items()
    }
    buffers = {p.name: None for p in spec.params if p.kind != "scalar"}
    return call(spec, variant, case.types, buffers, case.scalars, tunables, slots)


def programs(spec: KernelSpec, variant: Variant) -> Iterator[str]:
    """Each distinct program text that the variant's cases need; of further tunable settings, the first case's."""
    seen: set[object] = set()
    for tunables in (None, *variant.test_tunables):
        for case in spec.cases():
            if not variant.supports(case.scalars):
                continue
            made = case_call(spec, variant, case, dict(tunables) if tunables else None)
            if made.program_key not in seen:
                seen.add(made.program_key)
                yield program_text(made, "cuda")
                if tunables is not None:
                    break


def warnings(log: str) -> list[str]:
    """NVRTC's warnings that mean something is wrong; an unused function (177) or variable (550) does not, since one
    source serves programs that need it and programs that do not."""
    return [line for line in log.splitlines() if re.search(r"warning #(?!177-D|550-D)", line)]


def compile_together(jobs: list[tuple[str, str]]) -> list[str]:
    """Warnings of all (source, architecture) pairs; NVRTC compiles on as many threads as there are cores."""
    nvrtc()
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        logs = list(pool.map(lambda job: compile_cuda(*job), jobs))
    return [line for log in logs for line in warnings(log)]


@pytest.mark.parametrize(("spec", "variant"), PAIRS, ids=IDS)
def test_first_program_compiles_for_every_architecture(spec: KernelSpec, variant: Variant) -> None:
    text = next(programs(spec, variant), None)
    assert text is not None, "no case fits this variant"
    found = compile_together([(text, architecture) for architecture in ARCHITECTURES])
    assert not found, "\n".join(found)


@pytest.mark.parametrize(("spec", "variant"), PAIRS, ids=IDS)
def test_every_program_compiles(spec: KernelSpec, variant: Variant) -> None:
    found = compile_together([(text, "sm_80") for text in programs(spec, variant)])
    assert not found, "\n".join(found)
