"""Engines on the CPU, side by side in one run; ``benchmarks/README.md`` says what the figures mean.

    python benchmarks/cpu.py [--models resnet18,bert_base] [--engines a1400-intel,onnxruntime] [--rounds 9] [--quick]

Each engine is a process of its own with the same number of threads; they take turns on one model after the other, and
their answers are compared.  Prints Markdown and writes ``benchmarks/results/cpu_<device>.json``, ``.md`` and ``.png``.
Exit status: 0 all is well, 1 an engine failed or gave a wrong answer, 2 the command line is wrong.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))

from benchmarks.common.document import slug, surroundings, versions, write, write_text  # noqa: E402
from benchmarks.cpu_parts import measure, report  # noqa: E402
from benchmarks.cpu_parts.engines import ENGINES, Engine, cpu_devices, missing  # noqa: E402
from benchmarks.zoo.names import NAMES  # noqa: E402

_PACKAGES = ("a1400", "intel-opencl-rt", "numpy", "onnxruntime", "openvino", "pyopencl", "tinygrad", "torch")


def arguments(given: Sequence[str] | None, engines: Sequence[Engine]) -> argparse.Namespace:
    """The command line."""

    def chosen(there: Sequence[str]) -> Any:
        def names(text: str) -> list[str]:
            wanted = [name.strip() for name in text.split(",") if name.strip()]
            if wanted == ["all"]:
                return list(there)
            if unknown := [name for name in wanted if name not in there]:
                raise argparse.ArgumentTypeError(f"there is no {', '.join(unknown)}; there are {', '.join(there)}")
            return wanted

        return names

    def positive(kind: Any) -> Any:
        def number(text: str) -> Any:
            value = kind(text)
            if not 0 < value < math.inf:
                raise argparse.ArgumentTypeError(f"must be a positive number, not {text}")
            return value

        return number

    parser = argparse.ArgumentParser(description="Compare engines on the CPU.")
    parser.add_argument("--models", type=chosen(list(NAMES)), default=list(NAMES), help="with commas (default: all)")
    parser.add_argument("--engines", type=chosen([e.name for e in engines]), metavar="ENGINES",
                        help=f"with commas, or all: {', '.join(e.name for e in engines)} (default: all but "
                        f"{', '.join(e.name for e in engines if e.slow)})")  # fmt: skip
    parser.add_argument("--rounds", type=positive(int), help="turns of each engine with a model (default: 9, quick 3)")
    parser.add_argument("--threads", type=positive(int), help="threads of each engine (default: all cores)")
    parser.add_argument("--minutes", type=positive(float), help="time for everything; models that do not fit are told")
    parser.add_argument("--quick", action="store_true", help="few, short rounds; no start-up and no memory")
    parser.add_argument("--reference", action="store_true", help="also compare with PyTorch in float64")
    parser.add_argument("--folder", type=Path, help="where the models lie (default: zoo in a1400's cache folder)")
    parser.add_argument("--output", type=Path, help="the JSON; the Markdown and the picture lie beside it")
    parser.add_argument("--update", action="store_true", help="keep models in the JSON that this run leaves alone")
    parser.add_argument("--show", action="store_true", help="measure nothing: print the JSON's tables and draw again")
    return parser.parse_args(given)


def main(given: Sequence[str] | None = None, engines: Sequence[Engine] = ENGINES) -> int:
    """Measure, print and write; returns the exit status."""
    options = arguments(given, engines)
    devices = cpu_devices()
    device = processor(devices)
    path = options.output or ROOT / f"benchmarks/results/cpu_{slug(device)}.json"
    old: dict[str, Any] = {}
    if (options.update or options.show) and path.exists():
        old = json.loads(path.read_text(encoding="utf-8"))
    if options.show:
        if not old:
            print(f"there is no {path} to show", file=sys.stderr)
            return 2
        return conclude(old, path)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    threads = min(options.threads or cores, cores)
    takers = []
    for engine in engines:
        if engine.name in (options.engines or [e.name for e in engines if not e.slow]):
            if why := missing(engine, devices):
                print(f"{engine.title} is left out: {why}", flush=True)
            else:
                takers.append(engine)
    if not takers:
        print("no engine is left to measure", file=sys.stderr)
        return 2
    drivers = {d["platform"]: d["driver"] for d in devices if "oclgrind" not in d["name"].lower()}
    facts = {"device": device, "threads": threads, "versions": {**drivers, **versions(_PACKAGES)}, **surroundings()}
    document: dict[str, Any] = {
        "facts": facts,
        "options": {k: v for k, v in vars(options).items() if k not in ("folder", "output")},
        "models": dict(old.get("models", {})), "left_out": [], "problems": [],
    }  # fmt: skip
    plan = measure.Plan(options.rounds or (3 if options.quick else 9), threads)
    if options.quick:
        plan = measure.Plan(plan.rounds, threads, seconds=0.03, starts=False, budget=10.0)
    deadline = math.inf if options.minutes is None else time.monotonic() + 60 * options.minutes
    for name in options.models:
        if time.monotonic() > deadline:
            document["left_out"].append(name)
            continue
        print(f"{name}:", flush=True)
        document["models"].pop(name, None)
        try:
            made = row(name, takers, plan, options)
        except (subprocess.CalledProcessError, OSError) as failed:
            why = (getattr(failed, "stderr", None) or str(failed)).strip().splitlines()[-1][:200]
            document["problems"].append(f"{name}: its files cannot be made here ({why})")
            print(f"  {document['problems'][-1]}", flush=True)
            continue
        document["models"][name] = {**made, "commit": facts.get("commit", ""), "date": facts["date"]}
        document["models"] = {n: document["models"][n] for n in NAMES if n in document["models"]}
        write(report.finish(document), path)
    return conclude(document, path)


def row(name: str, engines: Sequence[Engine], plan: measure.Plan, options: argparse.Namespace) -> dict[str, Any]:
    """Build the model where needed, and measure it."""
    from benchmarks.zoo.build import build
    from benchmarks.zoo.reference import in_child

    folder = ["--folder", str(options.folder)] if options.folder else []
    command = [sys.executable, "-m", "benchmarks.zoo", name, *folder]
    subprocess.run(command, check=True, cwd=ROOT, capture_output=True, text=True)  # PyTorch stays out of this process
    reference = in_child(name, options.folder) if options.reference else None
    made = measure.model(build(name, options.folder), engines, plan, reference, lambda text: print(text, flush=True))
    for engine in engines:
        cell = made["engines"][engine.name]
        if "median" in cell:
            beside = f", {cell['ratio']:.2f} of ONNX Runtime's speed" if "ratio" in cell else ""
            print(f"  {engine.title}: {cell['median'] * 1e3:.4g} ms, {cell['gflops']:.0f} GFLOP/s{beside}", flush=True)
    return made


def conclude(document: dict[str, Any], path: Path) -> int:
    """Write and print everything; returns the exit status."""
    report.finish(document)
    write(document, path)
    text = report.markdown(document)
    try:
        from benchmarks.cpu_parts.picture import draw

        draw(document, path.with_suffix(".png"))
        text += f"\n![speed beside ONNX Runtime]({path.stem}.png)\n"
    except ImportError as absent:
        print(f"no picture is drawn: {absent}", file=sys.stderr)
    write_text(text, path.with_suffix(".md"))
    print(f"\n{text}\nwritten to {path}")
    return 1 if document["failures"] else 0


def processor(devices: Sequence[dict[str, Any]]) -> str:
    """The processor's name: as the drivers say, else as the system does."""
    import platform

    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        return next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return devices[0]["name"] if devices else platform.processor() or platform.machine()


if __name__ == "__main__":
    sys.exit(main())
