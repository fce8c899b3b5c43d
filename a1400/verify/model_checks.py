"""A model on one device: against the float64 reference, and ten times against itself."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np

import a1400
from a1400 import dtypes
from a1400.backends.base import Device
from a1400.engine.model import Model
from a1400.errors import A1400Error
from a1400.frontends.onnx import load_onnx
from a1400.kernels.accuracy import compare, figures
from a1400.kernels.launches import Finding
from a1400.verify import repro
from a1400.verify.arrays import load_arrays, save_arrays
from a1400.verify.departure import Departure, first_change, first_departure
from a1400.verify.judge import failed, judged
from a1400.verify.kernel_checks import RUNS
from a1400.verify.reference import evaluate_wide
from a1400.verify.results import PASS, Result
from a1400.verify.tracing import TOLERANCE, Traced, coarsest
from a1400.verify.worker import Tell, info_from_json


def traced_of(job: dict[str, Any], feed: int) -> Traced:
    """The job's model with one of its feeds."""
    arrays = load_arrays(Path(job["feeds"][feed]["file"]), job["feeds"][feed]["arrays"])
    return Traced(load_onnx(job["model"]), arrays, tuple(job["disable"]), job["precision"])


def make_reference(job: dict[str, Any], tell: Tell) -> None:
    """A worker's task, which needs no device: float64 outputs for every feed into files."""
    for number in range(len(job["feeds"])):
        start = time.perf_counter()
        traced = traced_of(job, number)
        graph = traced.graph()
        values = evaluate_wide(graph, traced.feeds, note=lambda node: tell({"at": node.op}))
        outputs = {name: values[id(v)] for name, v in graph.outputs.items()}
        meta = save_arrays(Path(job["feeds"][number]["expected_file"]), outputs)
        kind = coarsest(graph, job["precision"])
        seconds = time.perf_counter() - start
        tell({"reference": number, "arrays": meta, "kind": kind, "seconds": seconds, "nodes": len(graph.nodes)})


def blank(job: dict[str, Any], feed: int, mode: str) -> Result:
    """A model's result before anything was found."""
    return Result(job["subject"], "", job["feeds"][feed]["label"], mode, PASS)


def run_model(device: Device, job: dict[str, Any], tell: Tell) -> None:
    """A worker's task: for each feed the modes ``close`` and ``repeat``, from check ``job["start"]`` on."""
    info = info_from_json(job["info"])
    wanted = checks_of(job)
    tell({"total": len(wanted)})
    model: Model | None = None
    for number, (feed, mode) in enumerate(wanted):
        if number < job["start"]:
            continue
        result = blank(job, feed, mode)
        tell({"begin": number, "check": vars(result)})
        start = time.perf_counter()
        traced = traced_of(job, feed)
        departure = None
        try:
            if model is None:
                options = {"precision": job["precision"]} if job["precision"] else {}
                model = Model(traced.source, device, traced.disable, **options)
            result = _close(model, traced, job, feed, result) if mode == "close" else _repeat(model, traced, result)
            if not result.passed:
                tell({"at": f"looking for the first node of {job['subject']} that departs", "timeout": 3600})
                tolerance = TOLERANCE[job["kind"]]
                departure = (first_departure(traced, device, tolerance, job["kind"]) if mode == "close"
                             else first_change(traced, device, RUNS))  # fmt: skip
        except A1400Error as error:
            result = failed(result, error) if result.passed else _without_node(result, error)
        result.seconds = time.perf_counter() - start
        if not result.passed:
            _tell_departure(result, departure)
            content = _content(job, traced, feed, departure, result, info)
            result.repro = repro.write(Path(job["repro_dir"]), info, result, content)
        tell({"result": vars(result)})


def _close(model: Model, traced: Traced, job: dict[str, Any], feed: int, result: Result) -> Result:
    place = job["feeds"][feed]
    expected = load_arrays(Path(place["expected_file"]), place["expected"])
    tolerance = TOLERANCE[job["kind"]]
    findings, error, ulps = [], 0.0, 0.0
    for name, got in traced.run(model).items():
        off = figures(got, expected[name])
        error, ulps = max(error, off[0]), max(ulps, off[1])
        if message := compare(got, expected[name], (0.0, tolerance), exact=not dtypes.is_float(got.dtype)):
            findings.append(Finding("values", f"output {name}: {message}"))
    return judged(result, findings, error, ulps)


def _repeat(model: Model, traced: Traced, result: Result) -> Result:
    first = traced.run(model)
    for number in range(2, RUNS + 1):
        for name, got in traced.run(model).items():
            if got.tobytes() != first[name].tobytes():
                a, b = got.reshape(-1), first[name].reshape(-1)
                changed = int(np.count_nonzero(~((a == b) | ((a != a) & (b != b)))))
                text = f"output {name}: run {number} differs from run 1 in {changed} of {a.size} values"
                return judged(result, [Finding("repeat", text)], None, None)
    return judged(result, [], None, None)


def _without_node(result: Result, error: Exception) -> Result:
    result.message += f"; the first node that departs cannot be found: {' '.join(str(error).split())[:300]}"
    return result


def _tell_departure(result: Result, departure: Departure | None) -> None:
    if departure is None:
        return
    result.node = departure.node
    result.message = f"{departure.message}; {result.message}"
    if departure.error is not None:
        result.error, result.ulps = departure.error, departure.ulps


def model_facts(job: dict[str, Any], feed: int) -> dict[str, Any]:
    """What a repro file tells of the model that failed."""
    return {
        "model": job["subject"], "model_sha256": job["sha256"], "disable": job["disable"],
        "precision": job["precision"], "inputs": job["feeds"][feed]["origin"],
    }  # fmt: skip


def checks_of(job: dict[str, Any]) -> list[tuple[int, str]]:
    """(feed, mode) of every check, in order."""
    return [(feed, mode) for feed in range(len(job["feeds"])) for mode in ("close", "repeat") if mode in job["modes"]]


def _content(
    job: dict[str, Any], traced: Traced, feed: int, departure: Departure | None, result: Result, info: Any
) -> dict[str, Any]:
    """The launch of the departing node where it was captured; else the model's own name, sum and inputs."""
    facts = model_facts(job, feed)
    if departure is not None and departure.launch is not None:
        departure.launch.facts = {**facts, **departure.launch.facts}
        return repro.document(departure.launch, result, info, a1400.__version__)
    return repro.model_document(facts, traced.given, result, info, a1400.__version__)
