"""The figures that the CPU default is held to, measured beside ONNX Runtime in one run.

    python benchmarks/targets.py [--device NAME] [--rounds 12] [--json FILE]

Products at 1024^3 and (128, 768, 3072) - with B a weight and with B an input -, ResNet-50 at batch 1 and BERT-base at
sequence 128, all through the public path: an ONNX file, ``a1400.load`` and ``run``.  The engines take turns (A B A B)
with the same number of threads.  Idle worker threads of either engine go on spinning for a while, so a turn is a pause,
one run that is not counted, and three that are.  A ratio is ONNX Runtime's median time over ours: more than 1 means
that we are faster.
Start-up is measured in child processes: an empty kernel cache (cold), then a filled one (warm).
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import onnx
import onnxruntime as ort
import typer
from onnx import TensorProto, helper, numpy_helper
from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import a1400
from tests.models.export import export


def product_model(path: Path, m: int, k: int, n: int, weight: bool) -> Path:
    """``y = a @ b`` with ``b`` a weight of the model or an input."""
    inputs = [helper.make_tensor_value_info("a", TensorProto.FLOAT, [m, k])]
    initializers = []
    if weight:
        b = np.random.default_rng(0).standard_normal((k, n)).astype(np.float32)
        initializers.append(numpy_helper.from_array(b, "b"))
    else:
        inputs.append(helper.make_tensor_value_info("b", TensorProto.FLOAT, [k, n]))
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["a", "b"], ["y"])], "product", inputs,
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [m, n])], initializers,
    )  # fmt: skip
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path)
    return path


def random_feeds(model: a1400.Model) -> dict[str, np.ndarray]:
    """Normal random floats of the model's (fixed) input shapes."""
    rng = np.random.default_rng(1)
    shapes = {n: [int(d or 1) for d in i.shape or ()] for n, i in model.inputs.items()}
    return {n: rng.standard_normal(shape).astype(np.float32) for n, shape in shapes.items()}


#: ONNX Runtime's idle worker threads were seen spinning for 41 ms after a run
PAUSE = 0.08


def turn(run: Callable[[], object], times: list[float]) -> None:
    """One engine's turn: wait until the other's threads are still, warm up, then time three runs."""
    time.sleep(PAUSE)
    run()
    for _ in range(3):
        begin = time.perf_counter()
        run()
        times.append(time.perf_counter() - begin)


def compare(path: Path, feeds: dict[str, np.ndarray] | None, device: str | None, rounds: int) -> dict[str, Any]:
    """Interleaved medians of both engines, and how far their answers differ, relative to the output's scale."""
    model = a1400.load(path, device=device)
    feeds = random_feeds(model) if feeds is None else feeds
    options = ort.SessionOptions()
    options.intra_op_num_threads = len(os.sched_getaffinity(0))
    session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    wanted, got = session.run(None, feeds), list(model.run(feeds).values())
    error = max(float(np.abs(g - w).max() / max(np.abs(w).max(), 1e-30)) for g, w in zip(got, wanted, strict=True))
    ours: list[float] = []
    theirs: list[float] = []
    for _ in range(rounds):
        turn(lambda: model.run(feeds), ours)
        turn(lambda: session.run(None, feeds), theirs)
    facts = model.explain().to_dict()
    return {
        "a1400_ms": statistics.median(ours) * 1e3, "onnxruntime_ms": statistics.median(theirs) * 1e3,
        "a1400_best_ms": min(ours) * 1e3, "onnxruntime_best_ms": min(theirs) * 1e3,
        "ratio": statistics.median(theirs) / statistics.median(ours), "error": error,
        "launches": facts["launches"], "programs": facts["programs"],
    }  # fmt: skip


_START = """
import json, sys, time
import numpy as np
import a1400
feeds = dict(np.load(sys.argv[2]))
begin = time.perf_counter()
model = a1400.load(sys.argv[1], device=sys.argv[3] or None)
model.run(feeds)
print(json.dumps(time.perf_counter() - begin))
"""


def start_up(path: Path, feeds: dict[str, np.ndarray], device: str | None) -> dict[str, float]:
    """Seconds from ``load`` to the first answer in a new process: without and with a kernel cache."""
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "feeds.npz"
        np.savez(data, **feeds)
        env = {**os.environ, "A1400_CACHE_DIR": f"{folder}/cache", "POCL_CACHE_DIR": f"{folder}/pocl"}
        times = []
        for _ in range(3):
            command = [sys.executable, "-c", _START, str(path), str(data), device or ""]
            root = Path(__file__).parents[1]
            done = subprocess.run(command, env=env, capture_output=True, text=True, check=True, cwd=root)
            times.append(float(done.stdout.strip().splitlines()[-1]))
    return {"cold_s": times[0], "warm_s": min(times[1:])}


def main(
    device: Annotated[str | None, typer.Option(help="as A1400_DEVICE")] = None,
    rounds: Annotated[int, typer.Option()] = 12,
    json_file: Annotated[Path | None, typer.Option("--json", help="write the figures there")] = None,
) -> None:
    """Measure and print."""
    results: dict[str, dict[str, Any]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for m, k, n in ((1024, 1024, 1024), (128, 768, 3072)):
            for weight in (True, False):
                name = f"product {m}x{k}x{n}, B {'weight' if weight else 'input'}"
                path = product_model(Path(folder) / f"{m}{weight}.onnx", m, k, n, weight)
                results[name] = compare(path, None, device, 2 * rounds)
                for engine in ("a1400", "onnxruntime"):
                    results[name][f"{engine}_gflops"] = 2e-6 * m * k * n / results[name][f"{engine}_ms"]
    for label, name in (("ResNet-50, batch 1", "resnet50"), ("BERT-base, sequence 128", "bert")):
        path, feeds = export(name, size="full")
        results[label] = {**compare(path, feeds, device, rounds), **start_up(path, feeds, device)}
    table = Table("", "a1400 ms", "ONNX Runtime ms", "ratio", "error", "launches", "programs", "cold s", "warm s")
    for name, r in results.items():
        start = [f"{r[k]:.2f}" if k in r else "" for k in ("cold_s", "warm_s")]
        table.add_row(
            name, f"{r['a1400_ms']:.2f}", f"{r['onnxruntime_ms']:.2f}", f"{r['ratio']:.2f}", f"{r['error']:.1e}",
            str(r["launches"]), str(r["programs"]), *start,
        )  # fmt: skip
    info = a1400.load(path, device=device).device
    Console(width=140).print(f"{info.name}, {info.platform}, driver {info.driver}", table)
    if json_file is not None:
        facts = {"device": info.name, "platform": info.platform, "driver": info.driver}
        facts["date"] = time.strftime("%Y-%m-%d")
        json_file.write_text(json.dumps({**facts, "results": results}, indent=1) + "\n")


if __name__ == "__main__":
    typer.run(main)
