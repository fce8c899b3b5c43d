"""a1400 on an NVIDIA GPU, tested and measured by one command; ``benchmarks/README.md`` says what the figures mean.

    python benchmarks/gpu.py [--only gemm,attention] [--minutes 20] [--quick] [--output FILE]

Runs the test suite on the GPU (and on NVIDIA's OpenCL), then measures products, convolutions, memory-bound kernels,
attention and whole models beside cuBLAS, PyTorch and ONNX Runtime.  Every answer is checked before it is timed.  Prints
tables and writes JSON to ``benchmarks/results/gpu_<device>.json``.  Exit status: 0 all is well, 1 something failed,
2 there is no GPU or the command line is wrong.
"""

from __future__ import annotations

import argparse
import math
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))

NO_GPU = 2


def arguments(given: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line."""
    from benchmarks.gpu_parts.parts import PARTS

    def parts(text: str) -> list[str]:
        names = [name.strip() for name in text.split(",") if name.strip()]
        if unknown := sorted(set(names) - set(PARTS)):
            raise argparse.ArgumentTypeError(f"there is no part {', '.join(unknown)}; the parts are {', '.join(PARTS)}")
        return names

    def positive(text: str) -> float:
        value = float(text)
        if not 0 < value < math.inf:
            raise argparse.ArgumentTypeError(f"must be a positive number, not {text}")
        return value

    parser = argparse.ArgumentParser(description="Test and measure a1400 on an NVIDIA GPU.")
    parser.add_argument("--only", type=parts, metavar="PARTS", help=f"parts to run, with commas: {', '.join(PARTS)}")
    parser.add_argument("--skip", type=parts, default=[], metavar="PARTS", help="parts to leave out")
    parser.add_argument("--minutes", type=positive, help="time for everything; what does not fit is left out and told")
    parser.add_argument("--seconds", type=positive, default=0.3, help="time for each engine's samples of a row")
    parser.add_argument("--quick", action="store_true", help="few shapes")
    parser.add_argument("--device", default="cuda:0", help="which GPU, as in `a1400 devices` (default: cuda:0)")
    parser.add_argument("--output", type=Path, help="where to write the JSON")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    parser.add_argument("--journal", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--deadline", type=float, default=math.inf, help=argparse.SUPPRESS)
    return parser.parse_args(given)


def chosen_parts(options: argparse.Namespace) -> list[str]:
    """Parts to run, in their order; the ceilings come along where figures need them."""
    from benchmarks.gpu_parts.parts import NEED_CEILINGS, ON_REQUEST, PARTS

    wanted = set(options.only or [name for name in PARTS if name not in ON_REQUEST])
    if wanted & set(NEED_CEILINGS):
        wanted.add("ceilings")
    return [name for name in PARTS if name in wanted - set(options.skip)]


def child(options: argparse.Namespace) -> int:
    """Measure one part in this process."""
    from benchmarks.gpu_parts.parts import Journal, open_bench, run

    bench = open_bench(options.device, options.seconds, options.quick)
    return run(options.child, bench, Journal(options.journal, options.child), options.deadline)


def main(given: Sequence[str] | None = None) -> int:
    """Run the parts one after the other; returns the exit status."""
    try:
        options = arguments(given)
        from rich.console import Console

        from a1400.backends import registry
        from benchmarks.common.document import slug, write
        from benchmarks.gpu_parts import machine, report, runner
    except ImportError as error:
        print(f"a package that this needs is not installed ({error}); `pip install .` brings it", file=sys.stderr)
        return NO_GPU
    if options.child:
        return child(options)
    backend = registry.all_backends()["cuda"]
    info = next((i for i in backend.devices() if i.id == options.device), None)
    if info is None:
        reasons = backend.problems() or [f"CUDA has {', '.join(i.id for i in backend.devices())}"]
        print(f"there is no NVIDIA GPU {options.device} here to measure: {reasons[0]}", file=sys.stderr)
        return NO_GPU

    begin = time.time()
    deadline = math.inf if options.minutes is None else begin + 60 * options.minutes
    path = options.output or ROOT / f"benchmarks/results/gpu_{slug(info.name)}.json"
    told = {key: getattr(options, key) for key in ("only", "skip", "minutes", "seconds", "quick", "device")}
    document: report.Document = {"facts": machine.facts(info), "options": told, "parts": {}}
    with tempfile.TemporaryDirectory() as folder:
        for part in chosen_parts(options):
            if time.time() >= deadline:
                document["parts"][part] = {"rows": [], "notes": ["left out whole: time was up"], "left_out": [part],
                                           "problems": []}  # fmt: skip
                print(f"{part}: left out, time is up", flush=True)
                continue
            print(f"{part}:", flush=True)
            journal = Path(folder) / f"{part}.jsonl"
            command = [sys.executable, str(Path(__file__).resolve()), "--child", part, "--journal", str(journal),
                       "--device", options.device, "--seconds", str(options.seconds), "--deadline", str(deadline),
                       *(["--quick"] if options.quick else [])]  # fmt: skip
            quiet = 6 * 3600.0 if part in ("tests", "opencl", "sanitizer") else runner.QUIET
            document["parts"][part] = runner.run_part(part, command, journal, deadline, quiet)
            write(report.finish(document), path)
    document["wall"] = time.time() - begin
    write(report.finish(document), path)
    report.show(document, Console(width=None if sys.stdout.isatty() else 200, highlight=False))
    print(f"written to {path}")
    return 1 if document["failures"] else 0


if __name__ == "__main__":
    sys.exit(main())
