"""A training step on the CPU in several engines, side by side in one run; ``benchmarks/README.md`` says how.

    python benchmarks/train.py [--tasks tutorial_cnn,transformer] [--engines a1400-intel,torch] [--rounds 9] [--quick]

Each engine starts from the same weights and batch, in a process of its own with the same number of threads; the losses
of its first three steps are compared with PyTorch's.  Prints Markdown and writes
``benchmarks/results/train_<device>.json`` and ``.md``.  Exit status: 0 all is well, 1 an engine failed or gave a wrong
loss, 2 the command line is wrong.
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path
from typing import Annotated, Any

import typer

ROOT = Path(__file__).resolve().parent.parent
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))

from benchmarks.common.document import slug, surroundings, versions, write, write_text  # noqa: E402
from benchmarks.cpu import processor  # noqa: E402
from benchmarks.cpu_parts import measure  # noqa: E402
from benchmarks.cpu_parts.engines import cpu_devices, missing  # noqa: E402
from benchmarks.train_parts import report, step_memory  # noqa: E402
from benchmarks.train_parts.engines import BASE, ENGINES  # noqa: E402
from benchmarks.train_parts.tasks import TASKS, Task  # noqa: E402
from benchmarks.train_parts.tasks import write as write_task  # noqa: E402
from benchmarks.zoo.build import Built  # noqa: E402

_PACKAGES = ("a1400", "intel-opencl-rt", "jax", "keras", "numpy", "pyopencl", "tensorflow", "tinygrad", "torch")


def chosen(text: str | None, there: list[str], usual: list[str]) -> list[str]:
    """The names in ``text``; raises for one that is not ``there``."""
    wanted = usual if text is None else there if text == "all" else [n.strip() for n in text.split(",") if n.strip()]
    if unknown := [name for name in wanted if name not in there]:
        raise typer.BadParameter(f"there is no {', '.join(unknown)}; there are {', '.join(there)}")
    return wanted


def main(
    tasks: Annotated[str | None, typer.Option(help=f"With commas: {', '.join(TASKS)}.")] = None,
    engines: Annotated[str | None, typer.Option(help="With commas, or all (default: all but the slow ones).")] = None,
    rounds: Annotated[int | None, typer.Option(min=1, help="Turns of each engine (default: 9, quick 3).")] = None,
    threads: Annotated[int | None, typer.Option(min=1, help="Threads of each engine (default: all cores).")] = None,
    quick: Annotated[bool, typer.Option("--quick", help="Few rounds; no start-up and no memory.")] = False,
    output: Annotated[Path | None, typer.Option(help="The JSON; the Markdown lies beside it.")] = None,
) -> None:
    """Compare training steps."""
    wanted = chosen(engines, [e.name for e in ENGINES], [e.name for e in ENGINES if not e.slow])
    names = chosen(tasks, list(TASKS), list(TASKS))
    devices = cpu_devices()
    device = processor(devices)
    path = output or ROOT / f"benchmarks/results/train_{slug(device)}.json"
    takers = []
    for engine in ENGINES:
        if engine.name in wanted:
            if why := missing(engine, devices):
                print(f"{engine.title} is left out: {why}", flush=True)
            else:
                takers.append(engine)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    plan = measure.Plan(rounds or (3 if quick else 9), min(threads or cores, cores), seconds=0.5, starts=not quick,
                        budget=60.0, base=(BASE, "PyTorch eager"))  # fmt: skip
    document: dict[str, Any] = {
        "facts": {"device": device, "threads": plan.threads, "versions": versions(_PACKAGES), **surroundings()},
        "tasks": {},
    }
    with tempfile.TemporaryDirectory(prefix="a1400-train-") as folder:
        for name in names:
            print(f"{name}:", flush=True)
            built = prepared(TASKS[name], Path(folder))
            row = measure.model(built, takers, plan, show=lambda text: print(text, flush=True))
            if not quick:
                row["step_memory"] = {e.name: step_memory.measured(name, built.path, e) for e in takers
                                      if e.name in step_memory.KINDS}  # fmt: skip
            document["tasks"][name] = row
            write(report.finish(document), path)
    text = report.markdown(document)
    write_text(text, path.with_suffix(".md"))
    print(f"\n{text}\nwritten to {path}")
    raise typer.Exit(1 if document["failures"] else 0)


def prepared(task: Task, folder: Path) -> Built:
    """The task's numbers on disk, as the machinery that measures models takes them."""
    path = folder / f"{task.name}.npz"
    write_task(task, path)
    return Built(task.name, task.title, path, task.flops, 0)


if __name__ == "__main__":
    typer.run(main)
