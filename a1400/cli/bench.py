"""``a1400 bench``: speed, start-up and answers against ONNX Runtime, measured side by side."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from a1400.cli.common import (
    BackendOption,
    DeviceOption,
    DimOption,
    DisableOption,
    InputOption,
    JsonOption,
    ModelArgument,
    PrecisionOption,
    ShapeOption,
    device_json,
    note,
    parse_dims,
    parse_shapes,
    print_json,
    show,
    size_text,
    table,
    time_text,
    working,
)
from a1400.cli.startup import Start, measure_starts
from a1400.cli.turns import Speed, measure

Feeds = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Difference:
    """How far one output is from ONNX Runtime's: the largest difference, alone and by the largest magnitude there."""

    output: str
    largest: float | None
    relative: float | None


def bench(
    model: ModelArgument,
    input: InputOption = None,
    seconds: Annotated[float, typer.Option("--seconds", min=0.1, help="Time for each engine's measured runs.")] = 3.0,
    rounds: Annotated[
        int | None, typer.Option("--rounds", min=1, help="Exact number of measured runs instead.")
    ] = None,
    threads: Annotated[
        int | None,
        typer.Option("--threads", min=1, max=1024, help="ONNX Runtime's threads (default: all cores, as OpenCL uses)."),
    ] = None,
    start: Annotated[bool, typer.Option(help="Also measure cold and warm start in processes of their own.")] = True,
    dim: DimOption = None,
    shape: ShapeOption = None,
    disable: DisableOption = None,
    precision: PrecisionOption = None,
    backend: BackendOption = None,
    device: DeviceOption = None,
    json: JsonOption = False,
) -> None:
    """Measure MODEL: median and spread, beside ONNX Runtime's where it is installed, with outputs compared.

    The two engines take turns, so that what else the machine does falls on both alike, with a rest before each turn:
    ONNX Runtime's threads stay busy for a while after a run. On a GPU, ONNX Runtime's figures are still the CPU's.
    """
    import a1400
    from a1400.cli.inputs import Reading, check_names, gather

    dims, shapes = parse_dims(dim), parse_shapes(shape)
    with working(f"loading {model.name}"):
        loaded = a1400.load(str(model), backend, device, disable=tuple(disable or ()), precision=precision)
    check_names(loaded.inputs, dims, shapes)
    given = gather(loaded.inputs, input or (), Reading.of(loaded), dims, shapes)
    feeds = given.feeds[0].arrays
    notes = list(given.notes)

    with working(f"compiling {model.name} for {loaded.device.name}"):
        outputs = loaded.run(feeds)
    engines: dict[str, Callable[[], Any]] = {"a1400": lambda: loaded.run(feeds)}
    differences: list[Difference] = []
    count = threads or _cores()
    if find_spec("onnxruntime") is None:
        notes.append("ONNX Runtime is not installed (pip install onnxruntime): nothing to compare with")
    else:
        with working(f"loading {model.name} in ONNX Runtime"):
            try:
                session = _session(model, count)
                expected = session.run(list(outputs), dict(feeds))
                engines["onnxruntime"] = lambda: session.run(None, dict(feeds))
                differences = [difference(name, outputs[name], theirs) for name, theirs in zip(outputs, expected)]
            except Exception as error:  # whatever ONNX Runtime refuses is no reason to stop measuring a1400
                notes.append(f"ONNX Runtime cannot run this model: {str(error).splitlines()[0][:200]}")
    with working("measuring"):
        speeds = measure(engines, seconds, rounds)
    starts: dict[str, Start] = {}
    if start:
        with working("measuring cold and warm start"):
            starts = measure_starts(
                model, feeds, loaded.device.id, disable or (), count, "onnxruntime" in engines, loaded.precision
            )

    if json:
        print_json(
            {
                "model": str(model),
                "device": device_json(loaded.device),
                "precision": loaded.precision,
                "threads": count,
                "speed": {name: asdict(speed) for name, speed in speeds.items()},
                "ratio": _ratio(speeds),
                "differences": [asdict(row) for row in differences],
                "start": {name: asdict(one) for name, one in starts.items()},
                "notes": notes,
            }
        )
        return
    for text in notes:
        note(f"note: {text}")
    asked = "" if loaded.precision == "fp32" else f", {loaded.precision}"
    show(f"{model} on {loaded.device.name} ({loaded.device.id}, {loaded.device.platform}){asked}", "")
    _show_speeds(speeds, count)
    _show_differences(differences)
    _show_starts(starts)


def _cores() -> int:
    import os

    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not on Linux
        return os.cpu_count() or 1


def _session(model: Path, threads: int) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])


def difference(name: str, ours: np.ndarray, theirs: Any) -> Difference:
    """Compare one output; None where shapes or kinds differ so that no number can tell."""
    theirs = np.asarray(theirs)
    if ours.shape != theirs.shape or theirs.dtype.kind in "OUS":
        return Difference(name, None, None)
    if not ours.size:
        return Difference(name, 0.0, 0.0)
    a, b = ours.astype(np.float64), theirs.astype(np.float64)
    same = (a == b) | (np.isnan(a) & np.isnan(b))  # equal infinities and NaN in the same places agree
    with np.errstate(invalid="ignore"):
        apart = np.where(same, 0.0, np.abs(a - b))
    largest = float(np.inf if np.isnan(apart).any() else apart.max())
    finite = np.abs(b[np.isfinite(b)])
    scale = float(finite.max()) if finite.size and finite.max() > 0 else 1.0
    return Difference(name, largest, largest / scale)


def _ratio(speeds: Mapping[str, Speed]) -> float | None:
    """ONNX Runtime's median by a1400's: above 1, a1400 is faster."""
    if "onnxruntime" not in speeds:
        return None
    return speeds["onnxruntime"].median / speeds["a1400"].median


def _show_speeds(speeds: Mapping[str, Speed], threads: int) -> None:
    rows = table("", "engine", "median", "middle half", "best", "runs", right=["median", "best", "runs"])
    names = {"onnxruntime": f"ONNX Runtime (CPU, {threads} threads)"}
    for name, speed in speeds.items():
        spread = f"{time_text(speed.low_quartile)} .. {time_text(speed.high_quartile)}"
        rows.add_row(names.get(name, name), time_text(speed.median), spread, time_text(speed.best), str(speed.runs))
    show(rows)
    ratio = _ratio(speeds)
    if ratio is not None:
        show(f"a1400 is {ratio:.2f} times as fast as ONNX Runtime")


def _show_differences(differences: list[Difference]) -> None:
    if not differences:
        return
    rows = table("", "output", "largest difference", "relative to largest value", right=["largest difference"])
    for row in differences:
        if row.largest is None or row.relative is None:
            rows.add_row(row.output, "shapes differ", "")
        else:
            rows.add_row(row.output, f"{row.largest:.3g}", f"{row.relative:.3g}")
    show("", rows)


def _show_starts(starts: Mapping[str, Start]) -> None:
    if not starts:
        return
    rows = table("", "start", "import", "load", "first run", "together", "peak memory",
                 right=["import", "load", "first run", "together", "peak memory"])  # fmt: skip
    for name, one in starts.items():
        if one.error is not None:
            rows.add_row(name, "-", "-", "-", "-", one.error)
            continue
        parts = (one.imports, one.load, one.first_run)
        rows.add_row(name, *map(time_text, parts), time_text(sum(parts)), size_text(one.peak_memory))
    show("", rows)
