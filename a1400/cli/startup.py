"""How long a model takes to its first answer, measured in fresh processes: with an empty cache, then a filled one.

``python -m a1400.cli.startup SPEC.json`` is the child: it prints one line of JSON.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from a1400.cli.save import save_npz

_TIMEOUT = 900


@dataclass(frozen=True)
class Start:
    """Seconds of one start and the process's peak memory in bytes; ``error`` says what went wrong instead."""

    imports: float = 0.0
    load: float = 0.0
    first_run: float = 0.0
    peak_memory: int = 0
    error: str | None = None


def measure_starts(
    model: Path,
    feeds: Mapping[str, np.ndarray],
    device: str,
    disable: Sequence[str],
    threads: int,
    onnxruntime: bool,
    precision: str = "fp32",
) -> dict[str, Start]:
    """Cold and warm start of a1400 (empty, then filled kernel cache), and ONNX Runtime's where asked for."""
    with tempfile.TemporaryDirectory(prefix="a1400-start-") as folder:
        arrays = Path(folder, "feeds.npz")
        save_npz(arrays, [feeds])
        cache = Path(folder, "cache")
        environment = dict(os.environ, A1400_CACHE_DIR=str(cache), CUPY_CACHE_DIR=str(cache / "cupy"))
        job = {
            "model": str(model),
            "feeds": str(arrays),
            "device": device,
            "disable": list(disable),
            "precision": precision,
            "threads": threads,
        }
        kinds = {"a1400, cold cache": "a1400", "a1400, warm cache": "a1400"}
        if onnxruntime:
            kinds["ONNX Runtime"] = "onnxruntime"
        return {name: _in_child({**job, "engine": engine}, environment) for name, engine in kinds.items()}


def _in_child(job: Mapping[str, Any], environment: dict[str, str]) -> Start:
    import a1400

    # The child must import this very copy, installed or not.
    parent = str(Path(a1400.__file__).resolve().parent.parent)
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, (parent, environment.get("PYTHONPATH"))))
    command = [sys.executable, "-m", "a1400.cli.startup", json.dumps(job)]
    try:
        child = subprocess.run(
            command, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=_TIMEOUT
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return Start(error=f"no answer within {_TIMEOUT} seconds")
    for line in reversed(child.stdout.splitlines()):  # drivers may print too
        try:
            return Start(**json.loads(line))
        except (ValueError, TypeError):
            continue
    words = child.stderr.strip().splitlines()
    return Start(error=words[-1][:200] if words else f"the process ended with status {child.returncode}")


def _peak_memory() -> int:
    """This process's largest resident size so far, in bytes; 0 where the system does not tell."""
    try:
        with contextlib.suppress(FileNotFoundError):  # not ru_maxrss: on Linux it starts from the parent's
            for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
                if line.startswith("VmHWM:"):
                    return int(line.split()[1]) * 1024
        import resource
    except ImportError:  # Windows
        return 0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def start(job: Mapping[str, Any]) -> Start:
    """Import, load, run once: in this process, which should have done nothing before."""
    with np.load(job["feeds"]) as archive:
        feeds = {name: archive[name] for name in archive.files}
    begin = time.perf_counter()
    if job["engine"] == "onnxruntime":
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = job["threads"]
        options.log_severity_level = 3
        imported = time.perf_counter()
        session = onnxruntime.InferenceSession(job["model"], options, providers=["CPUExecutionProvider"])
        loaded = time.perf_counter()
        session.run(None, feeds)
    else:
        from a1400 import load

        imported = time.perf_counter()
        model = load(job["model"], device=job["device"], disable=tuple(job["disable"]), precision=job["precision"])
        loaded = time.perf_counter()
        model.run(feeds)
    done = time.perf_counter()
    return Start(imported - begin, loaded - imported, done - loaded, _peak_memory())


if __name__ == "__main__":
    print(json.dumps(asdict(start(json.loads(sys.argv[1])))), flush=True)
