"""NVRTC (from pip: ``nvidia-cuda-nvrtc``, and CuPy's binding to it), down to machine code: ptxas checks inline
assembly, and tells how many registers a kernel takes and what it spills."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from typing import Any

import pytest

from a1400.backends.base import DeviceInfo

#: Turing, Ampere (data centre, consumer), Ada, Hopper with its own instructions, Blackwell; with the shared memory
#: in KiB that a block may ask for by size
SHARED_KIB = {"sm_75": 64, "sm_80": 163, "sm_86": 99, "sm_89": 99, "sm_90a": 227, "sm_100": 227}
ARCHITECTURES = tuple(SHARED_KIB)
#: architectures whose instructions, as far as the kernels use them, are another one's; limits differ
SAME_CODE = {"sm_86": "sm_80", "sm_89": "sm_80"}


@cache
def nvrtc() -> Any:
    """CuPy's binding to NVRTC, or a skip that says how to get it."""
    try:
        from cupy_backends.cuda.libs import nvrtc as binding

        binding.getVersion()
    except Exception as error:  # a missing library shows up in several ways
        pytest.skip(f"NVRTC cannot be loaded ({error}): pip install cupy-cuda13x nvidia-cuda-nvrtc")
    return binding


def known(architecture: str) -> bool:
    """Whether this NVRTC compiles for ``architecture``."""
    number = int(re.sub(r"\D", "", architecture))
    return number in {int(n) for n in nvrtc().getSupportedArchs()}


def device(architecture: str) -> DeviceInfo:
    """A device of an architecture, as the CUDA backend would describe it."""
    return DeviceInfo(
        backend="cuda", index=0, name=f"a GPU of {architecture}", vendor="NVIDIA", platform="NVIDIA CUDA",
        driver="13.0",
        kind="gpu", memory=16 << 30, max_allocation=16 << 30, local_memory=48 << 10, compute_units=100,
        max_group_size=1024, alignment=256, fp16=True, fp64=True, subgroups=True, integer_dot=True,
        unified_memory=False, extensions=frozenset({architecture.rstrip("a")}),
        dynamic_local_memory=SHARED_KIB[architecture] << 10,
    )  # fmt: skip


@dataclass(frozen=True)
class Usage:
    """What one kernel takes on one architecture: registers of a thread, bytes otherwise.

    ``shared`` is what the kernel declares; what a launch asks for by size comes on top.
    """

    registers: int
    stack: int
    spill_stores: int
    spill_loads: int
    shared: int

    @property
    def spills(self) -> int:
        """Bytes that a thread stores and loads because registers ran out."""
        return self.spill_stores + self.spill_loads


@dataclass(frozen=True)
class Compiled:
    """NVRTC's answer: warnings that mean something is wrong, and the entry's usage."""

    warnings: tuple[str, ...]
    usage: Usage


@cache
def compile_cuda(source: str, architecture: str) -> Compiled:
    """Machine code of ``source``; raises ``AssertionError`` with the log if there is none."""
    binding = nvrtc()
    program = binding.createProgram(source, "kernel.cu", (), ())
    try:
        try:
            binding.compileProgram(program, (f"-arch={architecture}", "-Xptxas=-v"))
        except binding.NVRTCError:
            raise AssertionError(f"{architecture}:\n{binding.getProgramLog(program)}") from None
        log = str(binding.getProgramLog(program))
    finally:
        binding.destroyProgram(program)
    return Compiled(tuple(warnings(log)), usage(log))


def warnings(log: str) -> list[str]:
    """Warnings of the compiler and of ptxas; an unused function (177) or variable (550) means nothing, since one
    source serves programs that need it and programs that do not."""
    return [
        line
        for line in log.splitlines()
        if re.search(r"warning #(?!177-D|550-D)", line) or re.search(r"ptxas.*\bwarning\b", line, re.I)
    ]


def usage(log: str) -> Usage:
    """The entry's line of ``ptxas -v``; functions that were not inlined add their stack and spills."""

    def numbers(pattern: str) -> list[int]:
        return [int(n) for n in re.findall(pattern, log)]

    return Usage(
        max(numbers(r"Used (\d+) registers"), default=0),
        sum(numbers(r"(\d+) bytes stack frame")),
        sum(numbers(r"(\d+) bytes spill stores")),
        sum(numbers(r"(\d+) bytes spill loads")),
        max(numbers(r"(\d+) bytes smem"), default=0),
    )


def compile_all(jobs: Iterable[tuple[str, str]]) -> list[Compiled]:
    """Answers to (source, architecture) pairs, on as many threads as there are cores."""
    nvrtc()
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return list(pool.map(lambda job: compile_cuda(*job), jobs))
