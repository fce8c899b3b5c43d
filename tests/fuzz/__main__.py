"""python -m tests.fuzz --minutes 30 --seed 1: a long run, its counts, its findings in tests/fuzz/regressions."""

from __future__ import annotations

import argparse
import functools
import sys
from pathlib import Path

from tests.fuzz.campaign import REGRESSIONS, long_run
from tests.fuzz.case import Case
from tests.fuzz.runner import Runner
from tests.fuzz.seeds import made, node_cases


def main() -> int:
    """Run; 1 when there are findings."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--seed", type=int, default=1, help="of the first hundred cases")
    parser.add_argument("--device", default="", help="such as opencl:0; default: the best")
    parser.add_argument("--seeds", choices=("made", "nodes", "all"), default="all", help="which valid models to mutate")
    parser.add_argument("--again", metavar="FILE", help="run a regression file instead")
    parser.add_argument("--folder", type=Path, default=REGRESSIONS, help="where findings go")
    options = parser.parse_args()
    with Runner(options.device) as runner:
        if options.again:
            outcome = runner.run(Case.from_json(Path(options.again).read_text()))
            print(outcome)
            return bool(outcome.finding)
        # made ones as often as ONNX's, of which there are many more
        nodes = node_cases() if options.seeds != "made" else []
        own = made() * max(len(nodes) // len(made()), 1) if options.seeds != "nodes" else []
        tell = functools.partial(print, flush=True)
        report = long_run(runner, [*own, *nodes], options.minutes, options.seed, tell, options.folder)
    print(report)
    return bool(report.findings)


if __name__ == "__main__":
    sys.exit(main())
