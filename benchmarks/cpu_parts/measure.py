"""One model in all engines: starts, then rounds in which the engines take turns, then figures."""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.cpu_parts.driver import EngineFailed, Worker
from benchmarks.cpu_parts.engines import BASE, PEAK, Engine
from benchmarks.zoo.build import Built

#: seconds of silence before a turn: ONNX Runtime's idle threads were seen spinning for 41 ms after a run
PAUSE = 0.08
#: outputs further than this from ONNX Runtime's, relative to its largest value, are wrong
TOLERANCE = 1e-3
_STARTS = ("imports", "load", "first_run", "peak_memory")


@dataclass(frozen=True)
class Plan:
    """How to measure.

    ``seconds``: least time of a turn; ``budget``: an engine's time for one model in all.

    ``starts``: measure cold and warm starts and memory; else engines keep what their own caches hold.
    ``base``: name and title of the engine that others are compared with.
    """

    rounds: int
    threads: int
    seconds: float = 0.06
    least: int = 3
    starts: bool = True
    budget: float = 30.0
    patience: float = 120.0
    base: tuple[str, str] = (BASE, "ONNX Runtime")


def model(
    built: Built, engines: Sequence[Engine], plan: Plan, reference: Path | None = None,
    show: Callable[[str], None] = print,
) -> dict[str, Any]:  # fmt: skip
    """The model's row: its facts, and a cell of figures - or a ``failure`` - for each engine."""
    cells: dict[str, dict[str, Any]] = {}
    row = {"title": built.title, "flops": built.flops, "weights": built.weights, "engines": cells}
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="a1400-cpu-")))
        workers: dict[str, Worker] = {}
        for engine in (*engines, PEAK):
            cell = cells[engine.name] = {}
            try:
                workers[engine.name] = stack.enter_context(_start(built, engine, plan, folder, cell))
            except EngineFailed as failed:
                cell["failure"] = str(failed)
                show(f"  {engine.title}: {failed}")
        judge(cells, folder, reference, plan.base)
        for name, cell in cells.items():
            if cell.get("failure") and name in workers:
                show(f"  {name}: {cell['failure']}")
                workers.pop(name).close()
        times = rounds(workers, cells, plan, show)
        for name, worker in workers.items():
            try:
                told = worker.end()
            except EngineFailed as failed:
                cells[name].setdefault("failure", str(failed))
            else:
                cells[name].update(told if plan.starts else {})
    figures(row, times, plan.base[0])
    return row


def _start(built: Built, engine: Engine, plan: Plan, folder: Path, cell: dict[str, Any]) -> Worker:
    """A cold start in a process that ends, then a warm one in the process that stays."""
    cache = folder / engine.name if plan.starts else None
    job = {"name": built.name, "path": str(built.path), "feeds": str(built.path.with_suffix(".npz")),
           "threads": plan.threads}  # fmt: skip
    for kind in ("cold", "warm") if plan.starts and engine is not PEAK else ("warm",):
        outputs = str(folder / f"{engine.name}.npz") if kind == "warm" else ""
        worker = Worker(engine, {**job, "outputs": outputs}, cache)
        try:
            told = worker.started()
            if plan.starts:
                cell.setdefault("start", {})[kind] = {key: told[key] for key in _STARTS}
            if kind == "warm":
                cell.update({k: v for k, v in told.items() if k not in _STARTS and v is not None})
                return worker
            worker.end()
        except BaseException:
            worker.close()
            raise
    raise AssertionError


# ---- turns --------------------------------------------------------------------------------------------
def rounds(
    workers: dict[str, Worker], cells: Mapping[str, dict[str, Any]], plan: Plan, show: Callable[[str], None]
) -> dict[str, dict[int, list[float]]]:
    """Seconds of every run by engine and round; the order alternates, and slow engines sit rounds out."""
    times: dict[str, dict[int, list[float]]] = {name: {} for name in workers}
    used = dict.fromkeys(workers, 0.0)
    for index in range(plan.rounds):
        for name in list(workers) if index % 2 == 0 else list(reversed(workers)):
            if times[name] and used[name] > plan.budget:
                continue
            time.sleep(PAUSE)
            begin = time.perf_counter()
            try:
                times[name][index] = workers[name].turn(plan.seconds, plan.least, plan.patience)
            except EngineFailed as failed:
                cells[name]["failure"] = str(failed)
                show(f"  {name}: {failed}")
                del workers[name]
            used[name] += time.perf_counter() - begin
    return times


# ---- answers ------------------------------------------------------------------------------------------
def judge(
    cells: Mapping[str, dict[str, Any]], folder: Path, reference: Path | None,
    base: tuple[str, str] = Plan.base,
) -> None:  # fmt: skip
    """Compare each engine's outputs with the base's and the reference's; one that is wrong has failed."""
    made = {name: _arrays(folder / f"{name}.npz") for name in cells if (folder / f"{name}.npz").exists()}
    true = _arrays(reference) if reference is not None else None
    for name, arrays in made.items():
        if name == PEAK.name:
            continue
        against = {"error_reference": true, "error": made.get(base[0]) if name != base[0] else None}
        for key, wanted in against.items():
            if wanted is None:
                continue
            worst = error(arrays, wanted)
            cells[name][key] = worst
            if not worst <= TOLERANCE:
                whose = "the float64 reference" if key == "error_reference" else base[1]
                cells[name]["failure"] = f"wrong answer: {worst:.1e} of the output's scale away from {whose}"


def _arrays(path: Path) -> list[np.ndarray]:
    with np.load(path) as archive:
        return [archive[key] for key in sorted(archive.files)]


def error(got: Sequence[np.ndarray], wanted: Sequence[np.ndarray]) -> float:
    """The largest difference of any output relative to the largest value wanted there; inf for other shapes or NaN."""
    if [a.shape for a in got] != [b.shape for b in wanted]:
        return float("inf")
    worst = 0.0
    for a, b in zip(got, wanted):
        if not a.size:
            continue
        scale = float(np.abs(b.astype(np.float64)).max()) or 1.0
        apart = float(np.abs(a.astype(np.float64) - b).max()) / scale
        worst = max(worst, apart if np.isfinite(apart) else float("inf"))
    return worst


# ---- figures ------------------------------------------------------------------------------------------
def figures(row: dict[str, Any], times: Mapping[str, Mapping[int, Sequence[float]]], base: str = BASE) -> None:
    """Add to each cell: median of the rounds' medians, quartiles, best, GFLOP/s, share of the peak, ratios.

    ``ratio`` is the base's time over the engine's: the median over the rounds that both ran in.
    """
    cells = row["engines"]
    by_round = {name: {i: statistics.median(runs) for i, runs in found.items()} for name, found in times.items()}
    for name, found in by_round.items():
        cell = cells[name]
        if cell.get("failure") or not found:
            continue
        medians = list(found.values())
        low, middle, high = (float(v) for v in np.percentile(medians, [25, 50, 75]))
        cell.update(median=middle, low=low, high=high, best=min(medians), rounds=medians,
                    runs=sum(len(runs) for runs in times[name].values()))  # fmt: skip
        cell["gflops"] = cell.get("flops", row["flops"]) / middle * 1e-9
    peak = cells.pop(PEAK.name, {})
    row["peak_gflops"] = peak.get("gflops")
    if peak.get("failure"):
        row["peak_failure"] = peak["failure"]
    for name, cell in cells.items():
        if "median" not in cell:
            continue
        if row["peak_gflops"]:
            cell["of_peak"] = cell["gflops"] / row["peak_gflops"]
        for other, theirs in cells.items():
            both = by_round[name].keys() & by_round.get(other, {}).keys()
            if other != name and "median" in theirs and both:
                ratios = [by_round[other][i] / by_round[name][i] for i in both]
                cell.setdefault("ratios", {})[other] = statistics.median(ratios)
    for cell in cells.values():
        if base in cell.get("ratios", {}):
            cell["ratio"] = cell["ratios"][base]
