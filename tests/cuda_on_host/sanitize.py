"""Runs conformance cases through the CUDA sources under AddressSanitizer and UndefinedBehaviorSanitizer.

``python -m tests.cuda_on_host.sanitize softmax-gpu conv-simple`` in a process that :func:`environment` describes; no
names: every variant; ``-``: those that its standard input names, a line each.  Each buffer has exactly its array's
bytes, each ``__shared__`` array a gap behind it.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from a1400.errors import A1400Error
from a1400.kernels import check
from a1400.kernels.check import can_run
from a1400.kernels.spec import Case, KernelSpec, Variant
from tests.cuda_on_host import compiler
from tests.cuda_on_host.backend import ORDERS, HostCudaBackend
from tests.kernels.coverage import case_call, takes_all
from tests.nvrtc.test_specs import IDS, PAIRS

FLAGS = "-fsanitize=address,undefined -fsanitize-recover=address,undefined -fsanitize-sections=cuda_shared -g1 -Og"
#: of one program
MOST_CASES = 2


@cache
def runtimes() -> list[str]:
    """Paths of the sanitizers' libraries; an empty list where the compiler has none."""
    command = compiler.compiler()
    if command is None:
        return []
    paths = [
        subprocess.run([command, f"-print-file-name={name}"], capture_output=True, text=True, check=True).stdout.strip()
        for name in ("libasan.so", "libubsan.so")
    ]
    return paths if all(Path(p).is_absolute() for p in paths) else []


def environment() -> dict[str, str]:
    """Environment of a process that runs sanitized programs."""
    return {
        **os.environ,
        "LD_PRELOAD": " ".join(runtimes()),
        # leaks are Python's; fibers leave their stacks' frames behind
        "ASAN_OPTIONS": "detect_leaks=0:detect_stack_use_after_return=0:halt_on_error=0",
        "A1400_CUDA_HOST_FLAGS": FLAGS,
    }


def chosen(spec: KernelSpec, variant: Variant, index: int) -> Iterator[Case]:
    """Cases for device ``index``, a few of each program: the first one, and in a source's last variant the last one."""
    info = HostCudaBackend().open(index).info
    programs: dict[object, list[Case]] = {}
    for case in spec.cases():
        if can_run(spec, variant, case, info):
            programs.setdefault(case_call(spec, variant, case, None).program_key, []).append(case)
    groups = list(programs.values())
    if not takes_all(repeats=True):
        of_one_source = [v for s, v in PAIRS if s is spec and v.source == variant.source]
        groups = groups[:1] + groups[1:][-1:] * (variant is of_one_source[-1])
    for cases in groups:
        count = min(len(cases), MOST_CASES)
        yield from (cases[i * (len(cases) - 1) // max(count - 1, 1)] for i in range(count))


def run(name: str) -> None:
    """Prints each case of variant ``name`` and each wrong result on stderr, where the sanitizers report too."""
    check.CANARY = 0
    number = IDS.index(name)
    spec, variant = PAIRS[number]
    index = ORDERS[number % len(ORDERS)]
    for case in chosen(spec, variant, index):
        print(f"CASE {case.name}", file=sys.stderr, flush=True)
        try:
            found = check.run_case(spec, variant, case, HostCudaBackend().open(index), exact=False)
        except A1400Error as error:
            print(f"ERROR: {error}", file=sys.stderr, flush=True)
            continue
        for finding in found:
            print(f"ERROR: {finding.kind}: {finding.message}", file=sys.stderr, flush=True)
    print("END", file=sys.stderr, flush=True)


def main(names: list[str]) -> None:
    """Runs the variants ``names``."""
    for name in (line.strip() for line in sys.stdin) if names == ["-"] else names or IDS:
        run(name)


if __name__ == "__main__":
    main(sys.argv[1:])
