"""``python -m tests.onnx_sweep [OPERATOR ...]``: run the sweep and say what came of it.

``--cases 30`` how many of each operator, ``--case 17`` that one alone, ``--device`` an id (default: the best),
``--workers 2`` in as many processes, ``-v`` shows each case.  ``--page docs/sweep.md`` writes the table; with ``--keep
FILE`` of results of earlier runs too, in which this run's operators take the place of what they were.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict
from functools import partial
from multiprocessing import get_context
from pathlib import Path

from tests.onnx_sweep.case import sweeps
from tests.onnx_sweep.page import page
from tests.onnx_sweep.running import Outcome, run_cases


def main() -> int:
    """Read the command line, run, report; the exit status says whether all passed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("operators", nargs="*")
    parser.add_argument("--cases", type=int, default=30)
    parser.add_argument("--case", type=int)
    parser.add_argument("--device", default="")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--page", type=Path)
    parser.add_argument("--keep", type=Path)
    parser.add_argument("-v", "--verbose", action="store_true")
    options = parser.parse_args()
    declared = sweeps()
    unknown = sorted(set(options.operators) - set(declared))
    if unknown:
        parser.error(f"no sweep of {', '.join(unknown)}")
    from a1400.backends.registry import find

    info = find(None, options.device or None)
    numbers = range(options.cases) if options.case is None else [options.case]
    began = time.perf_counter()
    outcomes: list[Outcome] = []
    names = options.operators or list(declared)
    run = partial(run_cases, numbers=numbers, device=info.id)
    with ProcessPoolExecutor(options.workers, mp_context=get_context("spawn")) as pool:
        for name, found in zip(names, (pool.map if options.workers > 1 else map)(run, names)):
            _say(name, found, options.verbose)
            outcomes += found
    passed = sum(o.status == "passed" for o in outcomes)
    print(f"{passed} of {len(outcomes)} pass, {time.perf_counter() - began:.0f} s on {info.name} ({info.platform})")
    every = outcomes
    if options.keep:
        every = [o for o in _kept(options.keep) if o.operator not in names] + outcomes
        options.keep.write_text(json.dumps([asdict(o) for o in every]))
    if options.page:
        options.page.write_text(page(every, f"{info.name} ({info.platform})"))
    return 0 if passed == len(outcomes) else 1


def _kept(file: Path) -> list[Outcome]:
    return [Outcome(**entry) for entry in json.loads(file.read_text())] if file.exists() else []


def _say(name: str, found: Sequence[Outcome], every: bool) -> None:
    for outcome in found:
        if outcome.status != "passed" or every:
            print(f"{outcome.status.upper()} {name} --case {outcome.number} {outcome.what}")
        if outcome.text:
            print(f"    {outcome.text}")
    passed = [o.error for o in found if o.status == "passed"]
    seconds = sum(o.seconds for o in found)
    print(f"{name}: {len(passed)} of {len(found)}, error {max(passed, default=0.0):.2g}, {seconds:.1f} s", flush=True)


if __name__ == "__main__":
    sys.exit(main())
