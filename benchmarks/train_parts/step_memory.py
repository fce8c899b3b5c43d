"""What a training step asks of memory by itself, runtimes and imports left aside: ``python -m ... JOB`` prints bytes.

a1400's figure is planned: the states, the constants and the arena of the step's program.  PyTorch's is the allocator's
peak during the third step as its profiler records it, with what lived before: parameters, gradients, the optimizer's
slots.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.common.document import ROOT
from benchmarks.cpu_parts.engines import Engine
from benchmarks.train_parts.engines import BASE, TRAINER
from benchmarks.train_parts.tasks import EPSILON, RATE, read


def measured(name: str, feeds: Path, engine: Engine) -> int | None:
    """Bytes of task ``name`` in ``engine``, one of :data:`KINDS`, from a process of its own; None if it failed."""
    job = json.dumps({"name": name, "feeds": str(feeds), "engine": engine.name})
    command = [sys.executable, "-m", "benchmarks.train_parts.step_memory", job]
    environment = {**os.environ, **({"A1400_OPENCL_PLATFORMS": engine.platform} if engine.platform else {})}
    try:
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300)
        return int(done.stdout.split()[-1])
    except (subprocess.TimeoutExpired, ValueError, IndexError):
        return None


def ours(name: str, x: np.ndarray, y: np.ndarray, weights: dict[str, np.ndarray]) -> int:
    """States, constants and arena of a step with ``a1400.Trainer``."""
    import a1400
    from a1400.train.losses import SparseCategoricalCrossentropy
    from a1400.train.optimizers import Adam
    from benchmarks.train_parts import own_networks

    loss = SparseCategoricalCrossentropy(from_logits=True)
    trainer = a1400.Trainer(own_networks.build(name, weights), loss, Adam(RATE))
    trainer.train_on_batch(x, y)
    plan = trainer.runner.memory()
    return plan.arena + plan.weights + plan.states


def torch_eager(name: str, x: np.ndarray, y: np.ndarray, weights: dict[str, np.ndarray]) -> int:
    """The allocator's peak."""
    import torch
    from torch.profiler import ProfilerActivity, profile

    from benchmarks.train_parts import torch_networks

    network = torch_networks.build(name, weights)
    optimizer = torch.optim.Adam(network.parameters(), RATE, eps=EPSILON, fused=True)
    inputs, targets = torch.from_numpy(np.array(x)), torch.from_numpy(y.astype(np.int64))

    def step() -> None:
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(network(inputs), targets).backward()
        optimizer.step()

    for _ in range(2):
        step()
    lives = [*network.parameters()] + [p.grad for p in network.parameters() if p.grad is not None]
    lives += [s for state in optimizer.state.values() for s in state.values()]
    held = sum(t.nbytes for t in lives)
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as found:
        step()
    events = [e for e in found.profiler.kineto_results.events() if e.name() == "[memory]"]
    now = most = 0
    for event in sorted(events, key=lambda e: e.start_ns()):
        now += event.nbytes()
        most = max(most, now)
    return held + most


KINDS = {TRAINER: ours, BASE: torch_eager}


def main() -> None:
    """Print the bytes of the job in the first argument."""
    job: dict[str, Any] = json.loads(sys.argv[1])
    with np.load(job["feeds"]) as archive:
        x, y, weights = read({name: archive[name] for name in archive.files})
    print(KINDS[job["engine"]](job["name"], x, y, weights))


if __name__ == "__main__":
    main()
