"""``python -m tests.onnx_suite.report docs/conformance.md``: run ONNX's suite and write down what passes.

``--device`` says where (default: the best), ``--workers`` how many processes at once, ``--prune`` takes the cases that
pass out of known_failures.txt, ``--json FILE`` also writes every result.
"""

from __future__ import annotations

import argparse
import json
import time
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path

from tests.onnx_suite import known, runner
from tests.onnx_suite.runner import Result

#: cases of the first four kinds that others pass, measured in the same way with onnx 1.23.2
OTHERS = {"NumPy reference of onnx": 2008, "ONNX Runtime": 1848, "OpenVINO": 1619, "tinygrad": 1493}
KINDS = {
    "Node": "node", "Simple": "simple", "PyTorchConverted": "pytorch-converted", "PyTorchOperator": "pytorch-operator",
    "Real": "real: ImageNet models with constant weights",
}  # fmt: skip


def main() -> None:
    """Read the command line, run, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("page", type=Path)
    parser.add_argument("--device", default="")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--prune", action="store_true")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    began = time.perf_counter()
    results = runner.run(options.device, options.workers)
    seconds = time.perf_counter() - began
    from a1400.backends.registry import find

    info = find(None, options.device or None)
    if options.prune:
        known.prune(results)
    options.page.write_text(page(results, f"{info.name} ({info.platform})"))
    if options.json:
        options.json.write_text(json.dumps([asdict(r) for r in results], indent=0))
    passed = sum(r.status == "passed" for r in results)
    print(f"{passed} of {len(results)} pass, {seconds:.0f} s with {options.workers} workers")
    print("\n".join(known.surprises(results)))


def page(results: Sequence[Result], device: str) -> str:
    """The page as Markdown."""
    passed = {r.name for r in results if r.status == "passed"}
    total = len(results)
    lines = [
        "# Conformance", "",
        f"ONNX's own test-suite (`onnx.backend.test`, onnx {version('onnx')}) over `a1400.onnx_backend` on {device}.",
        "This page is written by `python -m tests.onnx_suite.report docs/conformance.md`.", "",
        f"**{len(passed)} of {total} cases pass.**", "",
        "| kind | cases | pass |", "| --- | ---: | ---: |",
    ]  # fmt: skip
    kinds = Counter(r.kind for r in results)
    good = Counter(r.kind for r in results if r.name in passed)
    lines += [f"| {text} | {kinds[kind]} | {good[kind]} |" for kind, text in KINDS.items()]
    quiet = sum(r.launches == 0 for r in results if r.name in passed)
    lines += [
        "", f"Of the cases that pass, {len(passed) - quiet} launch kernels; the answers of the other {quiet} are "
        "constants, shapes, strings or whole inputs, or were computed while the model was traced.",
        "", "The cases but those models, elsewhere:", "", "| engine | pass |", "| --- | ---: |",
    ]  # fmt: skip
    table = {**OTHERS, "a1400": len(passed) - good["Real"]}
    lines += [f"| {name} | {count} |" for name, count in sorted(table.items(), key=lambda e: -e[1])]
    listed = known.read()
    failing: dict[str, list[str]] = defaultdict(list)
    for result in results:
        if result.name not in passed:
            failing[listed.get(result.name, "not listed")].append(result.name.removeprefix("test_"))
    lines += ["", "## What does not pass"]
    for reason, names in sorted(failing.items(), key=lambda e: (e[0] != known.RANDOM, -len(e[1]))):
        lines += ["", f"{reason[0].upper()}{reason[1:]} ({len(names)}):", "", ", ".join(f"`{n}`" for n in names) + "."]
    lines += [
        "", "The expected output of the cases under \"random stream\" is one particular NumPy random stream; no other "
        "implementation can give it.",
    ]  # fmt: skip
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
