"""``a1400 tune``: search the kernels' tunables for a model on a device, and keep what is faster."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from a1400.cli.common import (
    DimOption,
    DisableOption,
    InputOption,
    JsonOption,
    KernelOption,
    PluginOption,
    PrecisionOption,
    ShapeOption,
    UsageError,
    console,
    note,
    parse_dims,
    parse_shapes,
    print_json,
    show,
    table,
    time_text,
    working,
)

if TYPE_CHECKING:
    from a1400.backends.base import DeviceInfo
    from a1400.tuning.table import Row
    from a1400.tuning.tuner.campaign import Watcher
    from a1400.tuning.tuner.results import CallFound, Trial, Tuning
    from a1400.verify.find import Found

_QUIET = 10.0  # seconds without a word where there is no terminal
_LEVELS = ("key", "vendor", "kind")


def tune(
    model: Annotated[Path | None, typer.Argument(metavar="[MODEL]", help="The model: an ONNX file.")] = None,
    input: InputOption = None,
    dim: DimOption = None,
    shape: ShapeOption = None,
    disable: DisableOption = None,
    precision: PrecisionOption = None,
    device: Annotated[
        str | None, typer.Option("--device", help="Id such as opencl:0, or part of a device's name; default: the best.")
    ] = None,
    kernel: KernelOption = None,
    budget: Annotated[float, typer.Option("--budget", min=1, help="Seconds for the search.")] = 300.0,
    strategy: Annotated[
        str, typer.Option("--strategy", help="auto, or one of kernel_tuner's, such as brute_force or random_sample.")
    ] = "auto",
    all_shapes: Annotated[
        bool, typer.Option("--all-shapes", help="Also search calls that take less than 1 % of the time.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would be searched, and stop.")] = False,
    timeout: Annotated[
        float, typer.Option("--timeout", min=1, help="Seconds that one setting may take, compiling included.")
    ] = 60.0,
    crashes: Annotated[
        int, typer.Option("--crashes", min=1, help="Stop after so many settings that end their process.")
    ] = 20,
    plugin: PluginOption = None,
    show_rows: Annotated[bool, typer.Option("--show", help="List the rows of the tables instead.")] = False,
    forget: Annotated[bool, typer.Option("--forget", help="Take rows out of your table instead.")] = False,
    export: Annotated[
        Path | None, typer.Option("--export", metavar="FILE", help="Add your table's rows to another table instead.")
    ] = None,
    level: Annotated[
        str, typer.Option("--for", metavar="LEVEL", help="With --export: devices of the same key, vendor or kind.")
    ] = "kind",
    json: JsonOption = False,
) -> None:
    """Search the tunables of MODEL's kernels on a device and keep what is faster in the table of your cache folder.

    The search runs in a process of its own, so that a setting on which the driver's compiler hangs or aborts is only
    left out. Every setting's output is checked before it is timed. --show, --forget and --export (with --device and
    --kernel) work on the table instead and need no MODEL.
    """
    others = [name for name, given in (("--show", show_rows), ("--forget", forget), ("--export", export)) if given]
    if len(others) > 1:
        raise UsageError(f"{others[0]} and {others[1]} do not go together")
    if others and model is not None:
        raise UsageError(f"{others[0]} takes no MODEL")
    if export is not None and level not in _LEVELS:
        raise UsageError(f"--for wants {', '.join(_LEVELS)}, not {level!r}")
    if plugin:
        from a1400.verify.worker import load_plugins

        load_plugins(plugin)  # here too: their kernels' declarations are asked
    if others:
        patterns = tuple(kernel or ())
        if show_rows:
            _show_rows(device, patterns, json)
        elif forget:
            _forget(device, patterns, json)
        elif export is not None:
            _export(export, level, device, patterns, json)
        return
    if model is None:
        raise UsageError("name a MODEL to tune, or give --show, --forget or --export")

    from a1400.tuning.tuner.campaign import Campaign, Options
    from a1400.tuning.tuner.search import check_strategy
    from a1400.verify.models import Settings, prepare_model

    if not dry_run:
        check_strategy(strategy)
    settings = Settings(0, parse_dims(dim), parse_shapes(shape), tuple(disable or ()), precision)
    with working(f"reading {model.name}"):
        asked = prepare_model(model, input or (), settings)
    for text in asked.notes:
        note(text)
    options = Options(budget, strategy, tuple(kernel or ()), all_shapes, dry_run, timeout, crashes, tuple(plugin or ()))
    found = _device(device, options.plugins, timeout)
    with _watching(found) as watcher:
        tuning = Campaign(asked, found, options, watcher).go()
    if json:
        print_json(asdict(tuning))
    else:
        _present(tuning, dry_run)


def _device(wanted: str | None, plugins: Sequence[str], timeout: float) -> Found:
    """The device to tune for, the best where none is named; no driver is loaded into this process."""
    from a1400 import config
    from a1400.backends.registry import preference
    from a1400.errors import BackendNotFoundError
    from a1400.verify.find import find_devices, select

    with working("looking for devices"):
        devices = find_devices(plugins, timeout)
    asked = wanted or config.device_from_environment() or ""
    fitting = sorted(select(devices.found, [asked]), key=lambda f: preference(f.info))
    if not fitting:
        there = "; ".join(f"{f.info.id} = {f.info.name} ({f.info.platform})" for f in devices.found) or "none"
        why = " ".join([*devices.problems, *(run.problem for run in devices.broken)])
        raise BackendNotFoundError(f"there is no device {asked!r}; devices here: {there}. {why}".strip())
    return fitting[0]


# ---- tables -----------------------------------------------------------------------------------------
def _chosen(rows: Sequence[Row], device: str | None, patterns: Sequence[str]) -> list[Row]:
    """Rows whose kernel matches and whose device is named: its id, or part of what the row calls it."""
    info = _info(device)
    text = (device or "").lower()

    def fits(row: Row) -> bool:
        named = info is not None and row.names(info) and row.level == 0
        return (not device or named or text in " ".join(row.device.values()).lower()) and (
            not patterns or any(fnmatchcase(row.kernel, p) for p in patterns)
        )

    return [row for row in rows if fits(row)]


def _info(device: str | None) -> DeviceInfo | None:
    from a1400.backends.registry import find
    from a1400.errors import BackendNotFoundError

    try:
        return find(None, device) if device else None
    except BackendNotFoundError:
        return None


def _show_rows(device: str | None, patterns: Sequence[str], json: bool) -> None:
    from a1400.tuning.choice import shipped_table, user_path, user_table
    from a1400.tuning.store import row_json
    from a1400.tuning.tuner.results import setting_text

    tables = {"yours": user_table().rows, "shipped": shipped_table().rows}
    chosen = [(name, row) for name, rows in tables.items() for row in _chosen(rows, device, patterns)]
    if json:
        print_json({"table": str(user_path()), "rows": [{"of": name, **row_json(row)} for name, row in chosen]})
        return
    if not chosen:
        show(f"there are no such rows in {user_path()} or among the shipped ones")
        return
    listed = table("", "table", "device", "kernel", "types", "for", "tunables", "measured")
    for name, row in chosen:
        sizes = " ".join(f"{n}={_range_text(low, high)}" for n, (low, high) in row.scalars.items())
        listed.add_row(
            name, " ".join(row.device.values()) or "any", f"{row.kernel}/{row.variant}", " ".join(row.types.values()),
            sizes or "all sizes", setting_text(row.tunables), row.source,
        )  # fmt: skip
    show(listed)


def _range_text(low: float, high: float) -> str:
    return f"{low:g}" if low == high else f"{low:g}..{high:g}"


def _forget(device: str | None, patterns: Sequence[str], json: bool) -> None:
    from a1400.tuning import store
    from a1400.tuning.choice import user_path

    change = store.forget(user_path(), lambda row: bool(_chosen([row], device, patterns)))
    if json:
        print_json({"table": str(user_path()), "removed": change.removed, "left": len(change.rows)})
        return
    for text in change.notes:
        note(text)
    show(f"{change.removed} rows removed, {len(change.rows)} left in {user_path()}")


def _export(path: Path, level: str, device: str | None, patterns: Sequence[str], json: bool) -> None:
    from a1400.backends.registry import list_devices
    from a1400.tuning import store
    from a1400.tuning.choice import user_table

    infos = list_devices()
    made, strange = [], 0
    for row in _chosen(user_table().rows, device, patterns):
        info = next((i for i in infos if row.names(i)), None)
        if info is None and level != "key":
            strange += 1  # nobody here knows of which vendor and kind that device was
        else:
            made.append(row if info is None else store.widened(row, level, info))
    change = store.merge(path, made)
    if json:
        print_json({"table": str(path), "added": change.added, "left_out": strange})
        return
    for text in change.notes:
        note(text)
    if strange:
        note(f"{strange} rows of devices that are not here were left out (--for key exports them as they are)")
    show(f"{change.added} rows added to {path}, which holds {len(change.rows)} now")


# ---- what was found ---------------------------------------------------------------------------------
def _present(tuning: Tuning, dry: bool) -> None:
    from a1400.kernels import load_all
    from a1400.tuning.space import bound_scalars
    from a1400.tuning.tuner.results import setting_text

    kernels = load_all()
    show(f"{tuning.model} on {tuning.device_name} ({tuning.device}), search strategy {tuning.strategy}", "")
    columns = ["kernel", "for", "times", "share", "settings", "default"]
    if not dry:
        columns += ["best", "gain", "tried", "rejected"]
    listed = table("", *columns, "remark", right=("times", "share", "settings", "gain", "tried", "rejected"))
    for call in tuning.calls:
        bound = bound_scalars(kernels[call.kernel], call.scalars)
        sizes = " ".join(f"{n}={v}" for n, v in bound.items() if v > 1)  # ones and zeros say little
        cells = [
            f"{call.kernel}/{call.variant}", sizes, str(call.count), f"{call.share:.1%}", str(call.space),
            setting_text(call.default),
        ]  # fmt: skip
        if not dry:
            gain = f"{call.gain:.2f}x" if call.improved else ""
            best = setting_text(call.best) if call.improved else ""
            cells += [best, gain, str(call.tried or ""), str(len(call.rejected) or "")]
        listed.add_row(*cells, call.note)
    show(listed)
    if dry:
        return
    for call in tuning.calls:
        for trial in call.rejected:
            note(f"{trial.outcome}: {call.kernel}/{call.variant} with {setting_text(trial.tunables)}: {trial.message}")
    for text in tuning.notes:
        note(text)
    show("")
    if (whole := tuning.whole) is not None:
        show(
            f"the whole model: {time_text(whole.before)} before, {time_text(whole.after)} after "
            f"({whole.before / whole.after:.3f}x), {whole.programs_before} programs before, "
            f"{whole.programs_after} after, outputs differ by {whole.difference:.1g} of their scale"
        )
    show(f"{tuning.added} rows written to {tuning.table}" if tuning.kept else "no row was written")


class _Lines:
    """Looks on where there is no terminal: a line for each call and one now and then."""

    def __init__(self, found: Found) -> None:
        self._found, self._told = found, time.monotonic()

    def planned(self, tuning: Tuning, calls: Sequence[CallFound]) -> None:
        note(f"{self._found.info.id} ({self._found.info.name}): {len(calls)} of {len(tuning.calls)} kinds of calls ...")

    def trial(self, call: CallFound, trial: Trial) -> None:
        if time.monotonic() - self._told > _QUIET:
            self._told = time.monotonic()
            note(f"  {call.kernel}/{call.variant} ...")

    def done(self, call: CallFound) -> None:
        self._told = time.monotonic()
        gain = f"{call.gain:.2f}x" if call.improved else "nothing better"
        note(f"  {call.kernel}/{call.variant}, {call.share:.1%} of the time: {call.note or gain}")


class _Bar:
    """Looks on with a progress bar over the calls' shares of the time."""

    def __init__(self, progress: Any) -> None:
        self._progress, self._task, self._tried = progress, None, 0

    def planned(self, tuning: Tuning, calls: Sequence[CallFound]) -> None:
        self._task = self._progress.add_task("tuning", total=sum(call.share for call in calls) or 1.0)

    def trial(self, call: CallFound, trial: Trial) -> None:
        self._tried += 1
        if self._task is not None:
            text = f"{call.kernel}/{call.variant}: {self._tried} settings"
            self._progress.update(self._task, description=text)

    def done(self, call: CallFound) -> None:
        if self._task is not None:
            self._progress.update(self._task, advance=call.share)


@contextmanager
def _watching(found: Found) -> Iterator[Watcher]:
    if sys.stderr is None or not sys.stderr.isatty():
        yield _Lines(found)
        return
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}", markup=False), BarColumn(), TaskProgressColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console(stderr=True), transient=True) as progress:
        yield _Bar(progress)
