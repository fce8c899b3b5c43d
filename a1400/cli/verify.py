"""``a1400 verify``: the same answer on every device - the kernels' own cases, a model, or a failure of before."""

from __future__ import annotations

import json as json_module
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from a1400.cli.common import (
    DimOption,
    DisableOption,
    KernelOption,
    PluginOption,
    ShapeOption,
    UsageError,
    console,
    note,
    parse_dims,
    parse_shapes,
    plain,
    working,
)

if TYPE_CHECKING:
    from a1400.verify.campaign import Options, Watcher
    from a1400.verify.find import Devices, Found
    from a1400.verify.results import Report, Result


_QUIET = 30.0  # seconds without a word where there is no terminal


def verify(
    model: Annotated[
        Path | None, typer.Argument(metavar="[MODEL]", help="An ONNX file; without it, the kernels' own cases.")
    ] = None,
    input: Annotated[
        list[str] | None,
        typer.Option("--input", "-i", metavar="[NAME=]FILE", help="With MODEL: .npy, .npz, pictures; else random."),
    ] = None,
    seed: Annotated[int, typer.Option("--seed", min=0, help="With MODEL: seed of random inputs.")] = 0,
    dim: DimOption = None,
    shape: ShapeOption = None,
    disable: DisableOption = None,
    precision: Annotated[
        str | None, typer.Option("--precision", help="With MODEL: fp32, tf32, fp16 or bf16, as for a1400.load.")
    ] = None,
    device: Annotated[
        list[str] | None,
        typer.Option("--device", help="Only devices with this id, backend or part of a name; may be repeated."),
    ] = None,
    kernel: KernelOption = None,
    mode: Annotated[
        list[str] | None, typer.Option("--mode", help="Only exact, close or repeat; may be repeated.")
    ] = None,
    quick: Annotated[bool, typer.Option("--quick", help="Only the first two cases of each kernel's variants.")] = False,
    repro: Annotated[
        Path | None, typer.Option("--repro", metavar="FILE", help="Run the failure in this file again, nothing else.")
    ] = None,
    repro_dir: Annotated[
        Path, typer.Option("--repro-dir", metavar="FOLDER", help="Where each failure is written to a file.")
    ] = Path("a1400-repro"),
    timeout: Annotated[
        float, typer.Option("--timeout", min=1, help="Seconds that one check may take, compiling included.")
    ] = 120.0,
    crashes: Annotated[
        int, typer.Option("--crashes", min=1, help="Give a device up after so many crashes and hangs.")
    ] = 20,
    plugin: PluginOption = None,
    json: Annotated[
        str | None, typer.Option("--json", metavar="FILE", help="Write all results as JSON (- for stdout).")
    ] = None,
    html: Annotated[Path | None, typer.Option("--html", metavar="FILE", help="Write one page of HTML.")] = None,
) -> None:
    """Run every kernel's cases (or MODEL) on every device and compare with float64.

    Each driver runs in a process of its own, so one that crashes or hangs is a finding. Three modes: exact (small
    integers, bit-equal), close (within the type's tolerance), repeat (ten runs, bit-equal). The exit status is 0 when
    everything passed on at least one device, 1 when something was found, 2 for a mistake in the command line.
    """
    from a1400.verify.campaign import Options, verify_kernels
    from a1400.verify.results import MODES

    wrong = [m for m in mode or () if m not in MODES]
    if wrong:
        raise UsageError(f"--mode wants {', '.join(MODES)}, not {wrong[0]!r}")
    only_model = {"--input": input, "--dim": dim, "--shape": shape, "--disable": disable, "--precision": precision}
    for name, value in only_model.items():
        if value and model is None:
            raise UsageError(f"{name} needs a MODEL")
    if model is not None and (kernel or quick):
        raise UsageError(f"{'--kernel' if kernel else '--quick'} is for the kernels' own cases, not for a MODEL")
    if repro is not None and (kernel or mode or quick):
        raise UsageError("--repro runs what its file says: leave out --kernel, --mode and --quick")
    options = Options(
        tuple(plugin or ()), tuple(kernel or ()), tuple(m for m in MODES if m in (mode or MODES)), quick, timeout,
        crashes, repro_dir,
    )  # fmt: skip

    if repro is not None:
        report = _again(repro, model, device, options)
    elif model is not None:
        from a1400.verify.models import Settings

        settings = Settings(seed, parse_dims(dim), parse_shapes(shape), tuple(disable or ()), precision)
        report = _model(model, input or (), settings, device, options)
    else:
        devices = _devices(options, device)
        with _watching() as watcher:
            report = verify_kernels(devices.found, options, watcher)
        report.runs += devices.broken
    _present(report, json, html)
    if not report.passed:
        raise typer.Exit(1)


def _devices(options: Options, wanted: Sequence[str] | None) -> Devices:
    """The devices to run on; a usage error where a name fits none."""
    from a1400.errors import BackendNotFoundError
    from a1400.verify.find import find_devices, select

    with working("looking for devices"):
        devices = find_devices(options.plugins, options.timeout)
    if not devices.found and not devices.broken:
        raise BackendNotFoundError("there are no devices at all. " + " ".join(devices.problems))
    broken = [run for run in devices.broken if any(w.strip().lower() in run.name.lower() for w in wanted or ())]
    for name in wanted or ():
        if not select(devices.found, [name]) and not any(name.strip().lower() in run.name.lower() for run in broken):
            there = "; ".join(f"{f.info.id} = {f.info.name} ({f.info.platform})" for f in devices.found)
            raise UsageError(f"there is no device {name!r}; devices here: {there or 'none'}")
    if wanted:
        devices.found, devices.broken = select(devices.found, wanted), broken
    return devices


def _model(
    path: Path, items: Sequence[str], settings: Any, device: Sequence[str] | None, options: Options
) -> Report:  # fmt: skip
    from a1400.verify.models import prepare_model, verify_model

    with working(f"reading {path.name}"):
        asked = prepare_model(path, items, settings)
    for text in asked.notes:
        note(text)
    devices = _devices(options, device)
    with _watching() as watcher:
        report = verify_model(asked, devices.found, options, watcher)
    report.runs += devices.broken
    return report


def _again(file: Path, model: Path | None, device: Sequence[str] | None, options: Options) -> Report:
    from a1400.verify.again import run_again, where_to_run
    from a1400.verify.repro import read

    content = read(file)
    devices = _devices(options, device)
    chosen = where_to_run(content, devices.found, bool(device))
    with _watching() as watcher:
        return run_again(file, content, model, chosen, options, watcher)


def _present(report: Report, json: str | None, html: Path | None) -> None:
    from a1400.errors import InputError
    from a1400.verify.table import print_report

    if json != "-":
        print_report(console(), report)
        for text in (*report.notes, *(f"{run.id}: {text}" for run in report.runs for text in run.notes)):
            note(text)
    try:
        if json is not None:
            # strict JSON: an infinite error is null
            text = json_module.dumps(plain(json_module.loads(report.to_json())), indent=1, allow_nan=False)
            if json == "-":
                typer.echo(text)
            else:
                Path(json).write_text(text + "\n", encoding="utf-8")
        if html is not None:
            from a1400.verify.html import write_html

            write_html(report, html)
    except OSError as error:
        raise InputError(f"the report cannot be written: {error.strerror} ({error.filename})") from None


class _Lines:
    """Looks on where there is no terminal: a line a device, a line a failure, and one now and then in between."""

    def __init__(self) -> None:
        self._done, self._total, self._told = 0, 0, time.monotonic()

    def device(self, found: Found, total: int) -> None:
        self._done, self._total, self._told = 0, total, time.monotonic()
        note(f"{found.info.id} ({found.info.name}, {found.info.platform}): {total} checks ...")

    def step(self, result: Result | None) -> None:
        self._done += 1
        if time.monotonic() - self._told > _QUIET:
            self._told = time.monotonic()
            note(f"  {self._done} of {self._total}")
        if result is not None and not result.passed:
            note(f"  {result.outcome}: {result.subject} {result.variant} {result.case} [{result.mode}]")


class _Bar:
    """Looks on with a progress bar."""

    def __init__(self, progress: Any) -> None:
        self._progress, self._task, self._failed, self._name = progress, None, 0, ""

    def device(self, found: Found, total: int) -> None:
        if self._task is not None:
            self._progress.remove_task(self._task)
        self._failed, self._name = 0, f"{found.info.id} ({found.info.platform})"
        self._task = self._progress.add_task(self._name, total=total)

    def step(self, result: Result | None) -> None:
        if self._task is None:
            return
        self._failed += result is not None and not result.passed
        text = f"{self._name}: {result.subject if result else ''}"
        self._progress.update(
            self._task, advance=1, description=text + (f", {self._failed} failed" if self._failed else "")
        )


@contextmanager
def _watching() -> Iterator[Watcher]:
    if sys.stderr is None or not sys.stderr.isatty():
        yield _Lines()
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console(stderr=True), transient=True) as progress:
        yield _Bar(progress)
