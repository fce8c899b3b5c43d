"""``a1400 profile``: where a model's time goes, launch by launch, against what the device can do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from a1400.cli.common import (
    BackendOption,
    DimOption,
    DisableOption,
    InputOption,
    JsonOption,
    ModelArgument,
    PrecisionOption,
    ShapeOption,
    UsageError,
    note,
    parse_dims,
    parse_shapes,
    print_json,
    shape_text,
    show,
    size_text,
    table,
    time_text,
    working,
)
from a1400.errors import InputError

if TYPE_CHECKING:
    from a1400.profile import Group, LaunchProfile, Profile

_GROUPS = ("launch", "kernel", "op", "node")


def profile(
    model: ModelArgument,
    input: InputOption = None,
    runs: Annotated[int, typer.Option("--runs", min=1, help="Profiled runs, and as many plain ones.")] = 20,
    warmup: Annotated[int, typer.Option("--warmup", min=0, help="Runs of each kind before.")] = 3,
    by: Annotated[str, typer.Option("--by", metavar="WHAT", help="Rows of the table: launch, kernel, op, node.")] = "",
    top: Annotated[int, typer.Option("--top", min=0, help="Most rows of a table; 0 for all.")] = 30,
    trace: Annotated[
        Path | None, typer.Option("--trace", metavar="FILE", help="Write a trace for Perfetto or chrome://tracing.")
    ] = None,
    html: Annotated[Path | None, typer.Option("--html", metavar="FILE", help="Write one page of HTML.")] = None,
    calibrate: Annotated[bool, typer.Option("--calibrate", help="Measure the device's peaks again.")] = False,
    dim: DimOption = None,
    shape: ShapeOption = None,
    disable: DisableOption = None,
    precision: PrecisionOption = None,
    backend: BackendOption = None,
    device: Annotated[
        list[str] | None,
        typer.Option("--device", help="Index, id such as opencl:0, or part of the device's name; may be repeated."),
    ] = None,
    json: JsonOption = False,
) -> None:
    """Time every launch of MODEL on the device: GFLOP/s, GB/s, share of the roofline, and where the rest goes.

    The roofline is what the device reaches in a short measurement with a1400's own kernels, kept in the cache folder.
    """
    import a1400
    from a1400.cli.inputs import Reading, check_names, gather

    if by and by not in _GROUPS:
        raise UsageError(f"--by wants one of {', '.join(_GROUPS)}, not {by!r}")
    dims, shapes = parse_dims(dim), parse_shapes(shape)
    found: list[Profile] = []
    notes: list[str] = []
    wanted: str | None
    for wanted in device or [None]:  # type: ignore[list-item]
        with working(f"loading {model.name}"):
            loaded = a1400.load(str(model), backend, wanted, disable=tuple(disable or ()), precision=precision)
        check_names(loaded.inputs, dims, shapes)
        given = gather(loaded.inputs, input or (), Reading.of(loaded), dims, shapes)
        notes += [text for text in given.notes if text not in notes]
        with working(f"compiling {model.name} for {loaded.device.name}"):
            loaded.prepare(given.feeds[0].arrays)
        with working(f"profiling {model.name} on {loaded.device.name}"):
            one = loaded.profile(given.feeds[0].arrays, runs, warmup, calibrate)
        found.append(replace(one, model=model.name))
    _write(found, trace, html)
    if json:
        print_json({"model": str(model), "notes": notes, "profiles": [one.to_dict() for one in found]})
    else:
        for text in notes:
            note(f"note: {text}")
        for number, one in enumerate(found):
            if number:
                show("")
            _present(str(model), one, by, top)


def _write(found: Sequence[Profile], trace: Path | None, html: Path | None) -> None:
    from a1400.profile.html import write_html
    from a1400.profile.trace import write_trace

    for path, write in ((trace, write_trace), (html, write_html)):
        if path is None:
            continue
        try:
            write(found, path)
        except OSError as error:
            raise InputError(f"cannot write {path}: {error.strerror}") from None
        note(f"note: wrote {path}")


def _present(model: str, found: Profile, by: str, top: int) -> None:
    info = found.device
    asked = "" if found.precision == "fp32" else f", {found.precision}"
    show(f"{model} on {info.name} ({info.id}, {info.platform}){asked}")
    show(", ".join(f"{name} {shape_text(shape)}" for name, shape in found.shapes.items()))
    _show_peaks(found)
    show("")
    if by in ("", "launch"):
        _show_launches(found, top)
    if by != "launch":
        groups = {"node": found.by_node, "op": found.by_op}.get(by, found.by_kernel)()
        show("")
        _show_groups(by or "kernel", groups, found, top)
    show("")
    _show_phases(found)


def _show_peaks(found: Profile) -> None:
    peaks = found.roofline
    flops = ", ".join(f"{unit} {rate / 1e9:,.0f} GFLOP/s" for unit, rate in peaks.flops.items())
    near, far = max(rate for _, rate in peaks.bandwidth), peaks.bandwidth[-1][1]
    show(
        f"peaks measured {peaks.date[:10]}: {flops}; {near / 1e9:,.0f} GB/s from cache, "
        f"{far / 1e9:,.0f} GB/s beyond {size_text(peaks.bandwidth[-1][0])}"
    )


_FIGURES = ("time", "share", "GFLOP", "GFLOP/s", "MB", "GB/s", "of roof")


def _figures(row: LaunchProfile | Group, total: float) -> list[str]:
    return [
        time_text(row.seconds),
        f"{row.seconds / total:.1%}" if total else "-",
        f"{row.flops / 1e9:.3g}",
        f"{row.flop_rate / 1e9:.1f}",
        f"{row.bytes / 1e6:.3g}",
        f"{row.byte_rate / 1e9:.1f}",
        f"{row.share:.0%}",
    ]


def _show_launches(found: Profile, top: int) -> None:
    columns = ("#", *_FIGURES, "gap", "kernel", "sizes", "nodes")
    rows = table("", *columns, right=columns[: len(_FIGURES) + 2])
    total = found.total
    order = sorted(found.launches, key=lambda x: -x.seconds)
    shown = order[:top] if top else order
    for x in shown:
        rows.add_row(str(x.index), *_figures(x, total.seconds), time_text(x.gap), x.kernel, _sizes(x), _short(x.label))
    if len(order) > len(shown):
        rest = sum(x.seconds for x in order[len(shown) :])
        share = f"{rest / total.seconds:.1%}" if total.seconds else "-"
        more = f"{len(order) - len(shown)} more (--top 0 shows all)"
        rows.add_row("", time_text(rest), share, *[""] * (len(_FIGURES) - 1), more, "", "")
    rows.add_row("", *_figures(total, total.seconds), time_text(total.gap), f"{total.launches} launches", "", "")
    show(rows)


def _show_groups(what: str, groups: Sequence[Group], found: Profile, top: int) -> None:
    columns = ("launches", *_FIGURES, "gaps", what)
    rows = table("", *columns, right=columns[:-1])
    total = found.total.seconds
    for group in groups[:top] if top else groups:
        name = _short(group.name)
        rows.add_row(str(group.launches), *_figures(group, total), time_text(group.gap), name)
    show(rows)


def _show_phases(found: Profile) -> None:
    from a1400.profile.result import PHASES

    rows = table("", "where the time goes", "time", "share", "what it is", right=["time", "share"])
    whole = found.profiled.median
    for name, text in PHASES.items():
        seconds = found.phases[name]
        rows.add_row(name, time_text(seconds), f"{seconds / whole:.1%}", text)
    show(rows, "")
    plain, profiled = found.plain, found.profiled
    spread = f"{time_text(plain.low_quartile)} .. {time_text(plain.high_quartile)}"
    show(
        f"a run takes {time_text(plain.median)} (middle half {spread}, {found.runs} runs), a profiled one "
        f"{time_text(profiled.median)}: profiling costs {found.cost:+.1%}"
    )


def _sizes(launch: LaunchProfile) -> str:
    """The sizes that say most: scalars whose names are in capitals, but those that are 1."""
    named = {k: v for k, v in launch.scalars.items() if (k.isupper() or k in ("rows", "cols", "n")) or _is_extent(k)}
    kinds = "/".join(dict.fromkeys(launch.types.values()))
    return f"{kinds} " + " ".join(f"{k}{v}" if not k[-1].isdigit() else f"{v}" for k, v in named.items() if v != 1)


def _is_extent(name: str) -> bool:
    return name[0] == "n" and name[1:].isdigit()


def _short(text: str, most: int = 60) -> str:
    return text if len(text) <= most else text[: most - 3] + "..."
