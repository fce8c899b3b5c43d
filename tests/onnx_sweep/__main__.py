"""``python -m tests.onnx_sweep [OPERATOR ...]``: run the sweep and write down what came of it.

``--cases 30`` how many of each operator, ``--case 17`` that one alone, ``--device`` an id (default: the best),
``--page docs/sweep.md`` writes the table, ``-v`` shows each case.
"""

from __future__ import annotations

import argparse
import faulthandler
import sys
import time
from pathlib import Path

from tests.onnx_sweep.case import sweeps
from tests.onnx_sweep.page import page
from tests.onnx_sweep.running import Outcome, run_case


def main() -> int:
    """Read the command line, run, report; the exit status says whether all passed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("operators", nargs="*")
    parser.add_argument("--cases", type=int, default=30)
    parser.add_argument("--case", type=int)
    parser.add_argument("--device", default="")
    parser.add_argument("--page", type=Path)
    parser.add_argument("-v", "--verbose", action="store_true")
    options = parser.parse_args()
    faulthandler.enable()
    declared = sweeps()
    unknown = sorted(set(options.operators) - set(declared))
    if unknown:
        parser.error(f"no sweep of {', '.join(unknown)}")
    from a1400.backends.registry import all_backends, find

    info = find(None, options.device or None)
    device = all_backends()[info.backend].open(info.index)
    outcomes: list[Outcome] = []
    began = time.perf_counter()
    for name in options.operators or declared:
        numbers = range(options.cases) if options.case is None else [options.case]
        print(f"{name} ...", file=sys.stderr, flush=True)
        found = []
        for number in numbers:
            found.append(run_case(declared[name], number, device))
            outcome = found[-1]
            if outcome.status != "passed" or options.verbose:
                print(f"{outcome.status.upper()} {name} --case {number} {outcome.what}\n    {outcome.text}", flush=True)
        outcomes += found
        passed = sum(o.status == "passed" for o in found)
        seconds = sum(o.seconds for o in found)
        worst = max((o.error for o in found if o.status == "passed"), default=0.0)
        print(f"{name}: {passed} of {len(found)}, error {worst:.2g}, {seconds:.1f} s", flush=True)
    passed = sum(o.status == "passed" for o in outcomes)
    print(f"{passed} of {len(outcomes)} pass, {time.perf_counter() - began:.0f} s on {info.name} ({info.platform})")
    if options.page:
        options.page.write_text(page(outcomes, f"{info.name} ({info.platform})"))
    return 0 if passed == len(outcomes) else 1


if __name__ == "__main__":
    sys.exit(main())
