"""Many threads on one model for a while: every answer right, memory flat.

    python benchmarks/threads.py MODEL.onnx [--threads 8] [--seconds 60] [--device opencl:0]

Each thread feeds inputs of its own (the batch, if dynamic, differs between threads) and compares every answer with the
one that a single-threaded run gave.  Resident memory is sampled each second; the report says by how much it grew after
the first quarter.
"""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

import a1400


def resident() -> int:
    """Resident bytes of this process."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    return 0


def feeds_of(model: a1400.Model, seed: int) -> dict[str, np.ndarray]:
    """Random inputs; unknown leading dimensions follow the seed, others are 1."""
    rng = np.random.default_rng(seed)
    feeds = {}
    for name, info in model.inputs.items():
        sizes = enumerate(info.shape or ())
        shape = tuple(d if isinstance(d, int) else (1 + seed % 3 if i == 0 else 16) for i, d in sizes)
        floating = np.issubdtype(info.dtype, np.floating)
        feeds[name] = (rng.standard_normal(shape) if floating else rng.integers(0, 2, shape)).astype(info.dtype)
    return feeds


def main(
    model: Path,
    threads: Annotated[int, typer.Option()] = 8,
    seconds: Annotated[float, typer.Option()] = 60.0,
    device: Annotated[str | None, typer.Option()] = None,
) -> None:
    """Run the stress and exit with status 1 if an answer was wrong or memory grew by more than 5 %."""
    loaded = a1400.load(model, device=device)
    work = [feeds_of(loaded, i) for i in range(threads)]
    wanted = [loaded.run(f) for f in work]
    counts, wrong = [0] * threads, [0] * threads
    stop = time.monotonic() + seconds

    def run(i: int) -> None:
        while time.monotonic() < stop:
            got = loaded.run(work[i])
            counts[i] += 1
            wrong[i] += any(not np.array_equal(got[n], wanted[i][n], equal_nan=True) for n in got)

    workers = [threading.Thread(target=run, args=(i,)) for i in range(threads)]
    for w in workers:
        w.start()
    samples = []
    while time.monotonic() < stop:
        time.sleep(min(1.0, seconds / 20))
        samples.append(resident())
    for w in workers:
        w.join()
    settled, last = samples[len(samples) // 4], samples[-1]
    growth = last / settled - 1
    runs = f"{sum(counts)} runs by {threads} threads in {seconds:.0f} s on {loaded.device.name}"
    print(f"{runs}: {sum(wrong)} wrong answers")
    start, end = settled / 2**20, last / 2**20
    print(f"resident memory {start:.1f} MiB after a quarter, {end:.1f} MiB at the end ({growth:+.1%})")
    if sum(wrong) or growth > 0.05:
        raise typer.Exit(1)


if __name__ == "__main__":
    typer.run(main)
