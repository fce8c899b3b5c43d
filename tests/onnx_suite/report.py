"""``python -m tests.onnx_suite.report docs/conformance.md``: run ONNX's suite and write down what passes.

``--device`` says where: ``intel``, ``pocl``, ``cuda-on-host`` (these three are the default), or any device by its id or
a part of its name; ``--workers`` how many processes at once.  With ``--keep FOLDER`` the results are kept there, and
those of devices that are not run this time taken from there.  Without a page it only tells.

``--newer FOLDER`` tries another build of onnx besides, such as ``pip install --no-deps --target FOLDER onnx-weekly``
puts there: the page tells what does not pass then, and nothing fails for it.

``--prune`` takes the cases that pass everywhere out of known_failures.txt, ``--few`` chooses the cases of few_cases.txt
anew.
"""

from __future__ import annotations

import argparse
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path

from tests.onnx_suite import few, known, quiet, targets
from tests.onnx_suite.runner import Result
from tests.onnx_suite.targets import TARGETS

#: cases of the first four kinds that others pass, measured in the same way with onnx 1.23.2
OTHERS = {"NumPy reference of onnx": 2008, "ONNX Runtime": 1848, "OpenVINO": 1619, "tinygrad": 1493}
KINDS = {
    "Node": "node", "Simple": "simple", "PyTorchConverted": "pytorch-converted", "PyTorchOperator": "pytorch-operator",
    "Real": "real: ImageNet models with constant weights",
}  # fmt: skip
#: the devices whose programs few_cases.txt covers, by their kind
FEW = {"cpu": "pocl", "gpu": "cuda-on-host"}


def main() -> None:
    """Read the command line, run, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("page", type=Path, nargs="?")
    parser.add_argument("--device", action="append", metavar="DEVICE")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--keep", type=Path, metavar="FOLDER")
    parser.add_argument("--newer", type=Path, metavar="FOLDER")
    parser.add_argument("--prune", action="store_true")
    parser.add_argument("--few", action="store_true")
    options = parser.parse_args()
    asked = options.device or list(TARGETS)
    found: dict[str, list[Result]] = {}
    for name in dict.fromkeys([*TARGETS, *asked]):
        if name in asked:
            found[name] = _run(name, options.workers)
            if options.keep:
                targets.save(options.keep, name, found[name])
        elif options.keep and (kept := targets.saved(options.keep, name)):
            found[name] = kept
    everything = [result for results in found.values() for result in results]
    if options.prune:
        known.prune(everything)
    if options.few:
        missing = sorted(set(FEW.values()) - set(found))
        if missing:
            parser.error(f"--few needs the results of {' and '.join(missing)}: name them, or keep them with --keep")
        few.write({kind: few.choose(found[name]) for kind, name in FEW.items()})
    if options.page:
        titled = {targets.target(name).title: results for name, results in found.items()}
        newer = _newer(options.newer, options.workers) if options.newer else []
        options.page.write_text("\n".join([*page(titled), *newer]) + "\n")


def _run(name: str, workers: int) -> list[Result]:
    began = time.perf_counter()
    results = targets.target(name).run(workers)
    passed = sum(r.status == "passed" for r in results)
    seconds = time.perf_counter() - began
    print(f"{name}: {passed} of {len(results)} pass, {seconds:.0f} s with {workers} workers")
    print("".join(f"{line}\n" for line in known.surprises(results)), end="", flush=True)
    return results


def _newer(folder: Path, workers: int) -> list[str]:
    """Lines about the suite of the build of onnx in ``folder``, run on Intel's runtime."""
    (info,) = folder.glob("onnx*.dist-info")
    build = " ".join(info.name.removesuffix(".dist-info").rsplit("-", 1)).replace("_", "-")
    results = targets.newer(folder).run(workers)
    listed = known.read()
    failing = [r.name for r in results if r.status != "passed" and r.name not in listed]
    passed = sum(r.status == "passed" and listed.get(r.name) != known.RANDOM for r in results)
    lines = ["", "## Newer onnx", "", f"Of the {len(results)} cases of {build}, {passed} pass."]
    if failing:
        lines += ["", f"Besides those above, these do not ({len(failing)}):", "", _listing(failing)]
    return lines


def page(found: Mapping[str, Sequence[Result]]) -> list[str]:
    """The page as lines of Markdown, of results by the device's title; the first device is the one told about."""
    first, results = next(iter(found.items()))
    listed = known.read()
    # what a random stream is expected to give may come by chance
    lucky = {name for name, reason in listed.items() if reason == known.RANDOM}
    passed = {title: {r.name for r in of if r.status == "passed"} - lucky for title, of in found.items()}
    good = Counter(r.kind for r in results if r.name in passed[first])
    lines = [
        "# Conformance", "",
        f"ONNX's own test-suite (`onnx.backend.test`, onnx {version('onnx')}) over `a1400.onnx_backend`.",
        "This page is written by `python -m tests.onnx_suite.report docs/conformance.md`.", "",
        f"**{len(passed[first])} of {len(results)} cases pass.**", "",
        *_table(found, passed), "",
        *(f"- {title}: {of[0].device}" for title, of in found.items() if of), "",
    ]  # fmt: skip
    if "CUDA sources on the host" in found:
        lines += [
            "The CUDA sources are compiled by g++ and run on the CPU, each case with the threads of a block in two "
            "orders (tests/cuda_on_host); the ImageNet models take too long there.", "",
        ]  # fmt: skip
    launching = {r.name for r in results if r.launches and r.name in passed[first]}
    lines += [
        f"Of the cases that pass, {len(launching)} launch kernels; the other {len(passed[first]) - len(launching)} "
        f"give {' or '.join(f'{why} ({len(names)})' for why, names in quiet.QUIET.items())} "
        "(tests/onnx_suite/quiet.py). Where each operator's work is done stands beside its translator, and "
        "tests/onnx_suite/test_placement.py asserts it.",
        *_differences(found, passed, first),
        "", "The cases but those models, elsewhere:", "", "| engine | pass |", "| --- | ---: |",
    ]  # fmt: skip
    table = {**OTHERS, "a1400": len(passed[first]) - good["Real"]}
    lines += [f"| {name} | {count} |" for name, count in sorted(table.items(), key=lambda e: -e[1])]
    failing: dict[str, list[str]] = defaultdict(list)
    for result in results:
        if result.name not in passed[first]:
            failing[listed.get(result.name, "not listed")].append(result.name)
    lines += ["", "## What does not pass"]
    for reason, names in sorted(failing.items(), key=lambda e: (e[0] != known.RANDOM, -len(e[1]))):
        lines += ["", f"{reason[0].upper()}{reason[1:]} ({len(names)}):", "", _listing(names)]
    lines += [
        "", "The expected output of the cases under \"random stream\" is one particular NumPy random stream; no other "
        "implementation can give it. The answer of `loop16_seq_none`, whose length the suite cannot ask for, is right: "
        "tests/onnx_suite/test_conformance.py compares it.",
    ]  # fmt: skip
    return lines


def _table(found: Mapping[str, Sequence[Result]], passed: Mapping[str, set[str]]) -> list[str]:
    """Cases that pass, by kind and device."""
    lines = [f"| kind | cases | {' | '.join(found)} |", f"| --- | ---: |{' ---: |' * len(found)}"]
    cases = Counter(r.kind for r in {r.name: r for of in found.values() for r in of}.values())
    for kind, text in KINDS.items():
        counts = []
        for title, of in found.items():
            run = [r.name for r in of if r.kind == kind]
            counts.append(str(len(passed[title].intersection(run))) if run else "not run")
        lines.append(f"| {text} | {cases[kind]} | {' | '.join(counts)} |")
    return lines


def _differences(found: Mapping[str, Sequence[Result]], passed: Mapping[str, set[str]], first: str) -> list[str]:
    """Which cases pass on the first device and not on another, or the other way round."""
    lines = []
    for title, of in found.items():
        if title == first:
            continue
        run = {r.name for r in of}
        lost = sorted((passed[first] & run) - passed[title])
        more = sorted(passed[title] - passed[first])
        if lost:
            lines += ["", f"They pass on {first}, not on {title} ({len(lost)}): {_listing(lost)}"]
        if more:
            lines += ["", f"They pass on {title}, not on {first} ({len(more)}): {_listing(more)}"]
        if not lost and not more:
            lines += ["", f"{title}: the same cases pass."]
    return lines


def _listing(names: Iterable[str]) -> str:
    return ", ".join(f"`{name.removeprefix('test_')}`" for name in names) + "."


if __name__ == "__main__":
    main()
