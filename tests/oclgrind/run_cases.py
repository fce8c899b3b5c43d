"""Run kernel cases under oclgrind and fail on any invalid access, race or use of uninitialised memory.

    python tests/oclgrind/run_cases.py [--seconds N] [--cases N] [SPEC ...]

Every variant of every spec (or of those named) runs its smallest cases on oclgrind's simulated device, in a
child process whose log must stay empty; results are compared with the reference as in the conformance tests.
``--seconds`` bounds the whole run: the first case of each variant always runs, further ones while time is left.
Needs Debian's ``oclgrind`` (or a build of it) on the PATH.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # the parent process imports nothing of a1400
    from a1400.backends.base import Device
    from a1400.kernels.spec import Case, KernelSpec, Variant

ROOT = Path(__file__).resolve().parents[2]
# unoptimised: the optimiser makes instructions (freeze) that oclgrind 21.10 does not know
OPTIONS = ["--data-races", "--uninitialized", "--max-errors", "1000000", "--build-options", "-cl-opt-disable"]


def main() -> int:
    """Start the child under oclgrind and judge what it leaves behind."""
    arguments = parser().parse_args()
    if arguments.child:
        return child(arguments)
    oclgrind = shutil.which("oclgrind")
    if oclgrind is None:
        print("oclgrind is not on the PATH: apt-get install oclgrind")
        return 2
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "oclgrind.log"
        command = [oclgrind, *OPTIONS, "--log", str(log), sys.executable, __file__, "--child", "--log", str(log)]
        command += ["--seconds", str(arguments.seconds), "--cases", str(arguments.cases), *arguments.specs]
        environment = dict(os.environ, PYTHONPATH=os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]))
        environment.pop("A1400_OPENCL_PLATFORMS", None)
        return subprocess.run(command, env=environment, check=False).returncode


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    made.add_argument("specs", nargs="*", help="names of specs, or beginnings of them (default: all)")
    made.add_argument("--seconds", type=float, default=180, help="start no further case after this long")
    made.add_argument("--cases", type=int, default=4, help="at most so many cases per variant")
    made.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    made.add_argument("--log", help=argparse.SUPPRESS)
    return made


def child(arguments: argparse.Namespace) -> int:
    """Inside oclgrind: run the cases one by one and attribute each new line of the log to the case that made it."""
    from a1400.backends import registry
    from a1400.kernels import check

    check.CANARY = 0  # nothing behind a buffer: the first byte past its end is an invalid access
    began = time.monotonic()
    device = registry.choose("opencl", "oclgrind")
    log = Path(arguments.log)
    seen, failures, ran, left_out = 0, [], 0, 0
    for turn, spec, variant, case in schedule(device, arguments.specs, arguments.cases):
        if turn and time.monotonic() - began > arguments.seconds:
            left_out += 1
            continue
        where = f"{spec.name}/{variant.name}: {case.name}"
        start = time.monotonic()
        try:
            problems = [f.message for f in check.run_case(spec, variant, case, device, bool(spec.exact and case.exact))]
        except Exception as error:  # report it with its case and go on
            problems = [f"{type(error).__name__}: {error}"]
        took = time.monotonic() - start
        text = log.read_text(errors="replace") if log.exists() else ""
        if text[seen:].strip():
            problems += reports(text[seen:], mistaken(spec, variant))
        seen = len(text)
        ran += 1
        if problems:
            failures.append(where)
            text = "\n".join(problems)[:1500]
            print(f"FAILED {where}\n    " + text.replace("\n", "\n    "), flush=True)
        elif took > 5:
            print(f"slow   {where}: {took:.1f} s", flush=True)
    took = time.monotonic() - began
    print(f"{ran} cases in {took:.0f} s under oclgrind, {left_out} left out for time, {len(failures)} failed")
    return 1 if failures or not ran else 0


def mistaken(spec: KernelSpec, variant: Variant) -> list[str]:
    """Words of reports that say nothing about this source.

    oclgrind 21.10 takes the upper half of a vector (``v.hi``) for uninitialised: it compares shuffle indices with the
    length of the result, not of the operand.  And whatever two work-groups touch in one launch is a race to it, also
    where they wait for each other through atomics, as a team does; invalid accesses are still told of those.
    """
    from a1400.kernels.source import source_text

    text = source_text(spec, variant, "opencl")
    team = variant.name.endswith("_team") and "atomic_cmpxchg" in text
    return ["uninitialized"] * bool(re.search(r"\.hi\b", text)) + ["data race"] * team


def reports(text: str, mistaken: list[str]) -> list[str]:
    """Reports in a piece of log, without those whose headline holds one of the ``mistaken`` words."""
    found = []
    for block in re.split(r"\n(?=\S)", text):  # what belongs to a headline is indented
        headline = block.strip().partition("\n")[0]
        if headline and not any(word in headline.lower() for word in mistaken):
            found.append(block.strip())
    return found


def schedule(device: Device, names: list[str], limit: int) -> Iterator[tuple[int, KernelSpec, Variant, Case]]:
    """(turn, spec, variant, case): the smallest case of every variant first, then the second smallest ..."""
    from a1400.kernels import load_all

    rows = []
    for spec in load_all().values():
        if names and not any(spec.name.startswith(name) for name in names):
            continue
        cases = list(spec.cases())
        for variant in spec.variants:
            fits = [c for c in cases if variant in spec.executable(device.info, c.types)]
            fits = [c for c in fits if variant.supports(c.scalars)]
            fits.sort(key=lambda c, v=variant: effort(v, c))  # type: ignore[misc]
            # the very smallest often have one element: start where there is something to get wrong
            first = next((k for k, c in enumerate(fits) if effort(variant, c) >= 64), 0)
            rows += [(turn, spec, variant, c) for turn, c in enumerate(fits[first : first + limit])]
    yield from sorted(rows, key=lambda row: row[0])


def effort(variant: Variant, case: Case) -> int:
    """Rough count of what a simulator has to step through."""
    groups, size = variant.geometry(case.scalars, variant.settings())
    elements = sum(prod(a.shape) for a in case.arrays.values()) + sum(prod(s) for s, _ in case.outputs.values())
    elements += sum(a.size for _, operands in case.slots.values() for a, _, _ in operands if a is not None)
    return prod(groups) * prod(size) + elements


if __name__ == "__main__":
    sys.exit(main())
