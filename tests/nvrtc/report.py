"""Write what each CUDA program takes: ``python -m tests.nvrtc.report benchmarks/results/cuda_resources.md``.

One row per program of the test models (default tunables): registers, bytes of shared memory (declared, and asked for
at launch), spills and stack on each architecture, and how many blocks the registers and the shared memory let a
multiprocessor hold.
"""

from __future__ import annotations

import sys
from math import prod
from pathlib import Path

from a1400 import dtypes
from a1400.kernels.spec import KernelCall
from tests.models.export import NAMES
from tests.nvrtc.cases import text
from tests.nvrtc.compiler import ARCHITECTURES, Usage, compile_all, known, nvrtc
from tests.nvrtc.models import PRECISIONS, model_calls

_REGISTERS = 65536  # of a multiprocessor
_MOST_THREADS = {"sm_75": 1024, "sm_80": 2048, "sm_86": 1536, "sm_89": 1536, "sm_90a": 2048, "sm_100": 2048}
_SHARED_KIB = {"sm_75": 64, "sm_80": 164, "sm_86": 100, "sm_89": 100, "sm_90a": 228, "sm_100": 228}


def blocks(architecture: str, usage: Usage, threads: int, shared: int) -> int:
    """Blocks that a multiprocessor holds at once, by registers (taken in units of 8), threads and shared memory."""
    registers = -(-max(usage.registers, 1) // 8) * 8
    by_shared = _SHARED_KIB[architecture] * 1024 // (shared + 1024)
    return min(32, _REGISTERS // (registers * threads), _MOST_THREADS[architecture] // threads, by_shared)


def row(made: KernelCall, architecture: str, usage: Usage) -> str:
    """A row of the table."""
    threads = prod(made.geometry()[1])
    shared = usage.shared + made.dynamic_bytes
    types = " ".join(dtypes.short(t) for t in made.types.values())
    slots = " ".join(sorted(made.slots)).lower()
    cells = (
        f"{made.spec.name}/{made.variant.name}", types, slots, architecture, threads, usage.registers, shared,
        usage.spills, usage.stack, blocks(architecture, usage, threads, shared),
    )  # fmt: skip
    return "| " + " | ".join(str(c) for c in cells) + " |"


def main() -> None:
    """Compile and write."""
    calls: dict[tuple[str, str], KernelCall] = {}
    for architecture in filter(known, ARCHITECTURES):
        for name in NAMES:
            for precision in PRECISIONS:
                for made in model_calls(name, architecture, precision):
                    calls.setdefault((text(made), architecture), made)
    answers = compile_all(calls)
    rows = [row(made, a, done.usage) for ((_, a), made), done in zip(calls.items(), answers, strict=True)]
    head = [
        "# What the CUDA programs of the test models take",
        "",
        f"Machine code by NVRTC {'.'.join(map(str, nvrtc().getVersion()))}; written by `python -m tests.nvrtc.report`.",
        "Shared memory, spills (stores and loads) and stack in bytes; blocks: how many a multiprocessor holds at once.",
        "",
        "| kernel/variant | types | slots | architecture | threads | registers | shared | spills | stack | blocks |",
        "| --- | --- | --- | --- | --: | --: | --: | --: | --: | --: |",
    ]
    Path(sys.argv[1]).write_text("\n".join([*head, *sorted(set(rows))]) + "\n")


if __name__ == "__main__":
    main()
