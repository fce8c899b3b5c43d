"""``a1400 run``: run a model on files, pictures or random numbers, and show what comes out."""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from a1400.cli import labels as classes
from a1400.cli.common import (
    BackendOption,
    DeviceOption,
    DimOption,
    DisableOption,
    JsonOption,
    MemoryOption,
    ModelArgument,
    PrecisionOption,
    ShapeOption,
    UsageError,
    device_json,
    note,
    parse_dims,
    parse_shapes,
    parse_size,
    print_json,
    shape_text,
    show,
    table,
    time_text,
    working,
)
from a1400.cli.save import save_npz


@dataclass(frozen=True)
class Result:
    """What came out for one input: its label, outputs by name, and the best classes where scores are known."""

    label: str
    outputs: dict[str, np.ndarray]
    best: list[classes.Guess]


def run(
    model: ModelArgument,
    files: Annotated[
        list[str] | None,
        typer.Argument(metavar="[FILE]...", help="More files for --input, so that --input *.png works."),
    ] = None,
    input: Annotated[
        list[str] | None,
        typer.Option("--input", "-i", metavar="[NAME=]FILE", help=".npy, .npz, picture, folder of pictures, .wav."),
    ] = None,
    random: Annotated[bool, typer.Option("--random", help="Fill inputs without a file with random numbers.")] = False,
    labels: Annotated[
        Path | None, typer.Option("--labels", help="Class names, one a line (default: labels.txt beside the model).")
    ] = None,
    top: Annotated[int, typer.Option("--top", min=1, help="How many classes to show.")] = 3,
    save: Annotated[Path | None, typer.Option("--save", metavar="OUT.npz", help="Write all outputs here.")] = None,
    repeat: Annotated[int, typer.Option("--repeat", min=0, help="Timed runs after the first.")] = 5,
    batch: Annotated[int, typer.Option("--batch", min=1, help="Pictures per run.")] = 1,
    resize: Annotated[
        str | None, typer.Option("--resize", metavar="HxW", help="Size for pictures (default: the model's).")
    ] = None,
    fit: Annotated[str, typer.Option("--fit", help="Pictures of other proportions: crop, stretch or pad.")] = "crop",
    mean: Annotated[
        str | None, typer.Option("--mean", help="Subtracted after scaling: one number or one a channel, with commas.")
    ] = None,
    std: Annotated[str | None, typer.Option("--std", help="Divides after that, in the same form.")] = None,
    scale: Annotated[
        float | None, typer.Option("--scale", help="Multiplies pixels of 0..255 (default 1/255 for float inputs).")
    ] = None,
    layout: Annotated[
        str | None, typer.Option("--layout", help="NCHW, NHWC, CHW, HWC, NHW or HW (default: by the input's shape).")
    ] = None,
    channels: Annotated[
        str | None, typer.Option("--channels", help="gray, rgb, bgr or rgba (default: by the input's shape).")
    ] = None,
    dim: DimOption = None,
    shape: ShapeOption = None,
    disable: DisableOption = None,
    precision: PrecisionOption = None,
    memory_limit: MemoryOption = None,
    backend: BackendOption = None,
    device: DeviceOption = None,
    json: JsonOption = False,
) -> None:
    """Run MODEL and print its outputs, the device and the time.

    Without --input, inputs are random. A picture is resized to the model's input and scaled to 0..1, then --mean and
    --std apply, e.g. --mean 0.485,0.456,0.406 --std 0.229,0.224,0.225 for a model trained on ImageNet.
    """
    from a1400.cli import inputs as reading

    picture_options = {
        "size": _size(resize),
        "fit": fit,
        "mean": _numbers(mean, "--mean"),
        "std": _numbers(std, "--std"),
        "scale": scale,
        "layout": layout,
        "channels": channels,
    }
    dims, shapes, limit = parse_dims(dim), parse_shapes(shape), parse_size(memory_limit)
    names = classes.find_labels(labels, model)

    import a1400
    from a1400.engine.structures import flat

    start = time.perf_counter()
    with working(f"loading {model.name}"):
        loaded = a1400.load(
            str(model), backend, device, disable=tuple(disable or ()), memory_limit=limit, precision=precision
        )
    load_seconds = time.perf_counter() - start
    reading.check_names(loaded.inputs, dims, shapes)
    items = [*(input or ()), *(files or ())]
    if not items and labels is None:
        names = None  # the class of random numbers is nobody's question
    how = reading.Reading.of(loaded, picture_options)
    given = reading.gather(loaded.inputs, items, how, dims, shapes, random, batch)

    results: list[Result] = []
    times: list[float] = []
    with working(f"compiling and running {model.name} on {loaded.device.name}"):
        for feed in given.feeds:
            start = time.perf_counter()
            outputs = flat(loaded.run(feed.arrays))
            times.append(time.perf_counter() - start)
            results.extend(_results(feed.labels, feed.stacked, outputs, names, top))
        for _ in range(repeat):
            start = time.perf_counter()
            loaded.run(given.feeds[0].arrays)
            times.append(time.perf_counter() - start)
    if labels is not None and names and not any(result.best for result in results):
        raise UsageError(f"no output has {len(names)} classes, as the label file {labels} has lines")
    if save is not None:
        given.notes += save_npz(save, [result.outputs for result in results])

    seconds = {"load": load_seconds, "first": times[0], "median": _median(times), "runs": len(times)}
    if json:
        print_json(
            {
                "model": str(model),
                "device": device_json(loaded.device),
                "precision": loaded.precision,
                "seconds": seconds,
                "notes": given.notes,
                "saved": None if save is None else str(save),
                "results": [_result_json(result) for result in results],
            }
        )
        return
    for text in given.notes:
        note(f"note: {text}")
    _show(results, names)
    if save is not None:
        show(f"saved  {save}")
    asked = "" if loaded.precision == "fp32" else f", {loaded.precision}"
    show(f"device {loaded.device.name} ({loaded.device.id}, {loaded.device.platform}){asked}")
    later = f", then {time_text(seconds['median'])} a run (median of {len(times) - 1})" if len(times) > 1 else ""
    show(f"time   {time_text(load_seconds)} to load, {time_text(times[0])} for the first run{later}")


def _median(times: Sequence[float]) -> float:
    """Median of the runs after the first, which compiles; of the first where it is the only one."""
    return statistics.median(times[1:] or times)


def _size(text: str | None) -> tuple[int, int] | None:
    if text is None:
        return None
    height, _, width = text.lower().partition("x")
    try:
        return int(height), int(width or height)
    except ValueError:
        raise UsageError(f"--resize wants HxW such as 224x224, not {text!r}") from None


def _numbers(text: str | None, option: str) -> tuple[float, ...] | None:
    if text is None:
        return None
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        raise UsageError(f"{option} wants numbers with commas between them, not {text!r}") from None


def _results(
    rows: Sequence[str], stacked: int, outputs: dict[str, np.ndarray], names: Sequence[str] | None, top: int
) -> list[Result]:
    """Cut the outputs of a batch of ``stacked`` pictures into one result per entry of ``rows``; fillers are dropped."""
    parts = [outputs]
    if stacked > 1:
        if all(array.ndim and array.shape[0] == stacked for array in outputs.values()):
            parts = [{name: array[k : k + 1] for name, array in outputs.items()} for k in range(len(rows))]
        else:  # an output that is not per picture: the batch stays one result
            rows = [", ".join(rows)]
    results = []
    for row, part in zip(rows, parts):
        scores = classes.scores_of(part, names)
        table_of = part[scores] if scores is not None else None
        guesses = []
        if table_of is not None and (names or table_of.shape[0] == 1):
            guesses = classes.best(table_of[0] if table_of.ndim > 1 else table_of, names, top)
        results.append(Result(row, part, guesses))
    return results


def _statistics(array: np.ndarray) -> dict[str, Any]:
    """Smallest, largest and mean of the finite values, and how many are not finite."""
    values = array.astype(np.float64) if array.dtype.kind not in "OUS" else np.empty(0)
    finite = values[np.isfinite(values)]
    if not finite.size:
        return {"min": None, "max": None, "mean": None, "not_finite": int(values.size)}
    found = {"min": float(finite.min()), "max": float(finite.max()), "mean": float(finite.mean())}
    return {**found, "not_finite": int(values.size - finite.size)}


def _result_json(result: Result) -> dict[str, Any]:
    outputs = {
        name: {"shape": array.shape, "dtype": str(array.dtype), **_statistics(array)}
        for name, array in result.outputs.items()
    }
    return {"input": result.label, "outputs": outputs, "top": [asdict(guess) for guess in result.best]}


def _show(results: Sequence[Result], names: Sequence[str] | None) -> None:
    if any(result.best for result in results) and (names or len(results) > 1):
        rows = table("", "input", "class", "share", "next")
        for result in results:
            winner, *others = [(guess.label or str(guess.index), f"{100 * guess.share:.1f} %") for guess in result.best]
            rows.add_row(result.label, *winner, ", ".join(f"{label} ({share})" for label, share in others))
        show(rows, "")
    rows = table("", "output", "dtype", "shape", "min", "max", "mean", "", right=["min", "max", "mean"])
    for name, first in results[0].outputs.items():
        arrays = [result.outputs[name] for result in results]
        same = {array.shape for array in arrays} == {first.shape}
        found = _statistics(first if len(arrays) == 1 else np.concatenate([a.reshape(-1) for a in arrays]))
        numbers = ["-" if found[key] is None else f"{found[key]:.6g}" for key in ("min", "max", "mean")]
        shown = shape_text(first.shape) if same else "various"
        times = f" ({len(arrays)} times)" if len(arrays) > 1 else ""
        alarm = f"{found['not_finite']} values are NaN or infinite" if found["not_finite"] else ""
        rows.add_row(name, str(first.dtype), shown + times, *numbers, alarm)
    show(rows)
