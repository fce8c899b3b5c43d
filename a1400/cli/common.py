"""What every subcommand shares: shared options, errors as one line, progress, JSON."""

from __future__ import annotations

import functools
import json
import math
import os
import re
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, NoReturn

import numpy as np
import typer
from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.table import Table

from a1400.backends.base import DeviceInfo
from a1400.errors import A1400Error
from a1400.text import clean

ModelArgument = Annotated[Path, typer.Argument(metavar="MODEL", help="The model: an ONNX file.")]
BackendOption = Annotated[str | None, typer.Option("--backend", help="cuda or opencl; default: the best device's.")]
DeviceOption = Annotated[
    str | None, typer.Option("--device", help="Index, id such as opencl:0, or part of the device's name.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON document instead of text.")]
DimOption = Annotated[
    list[str] | None,
    typer.Option("--dim", metavar="NAME=N", help="Size of a symbolic dimension (default 1); may be repeated."),
]
ShapeOption = Annotated[
    list[str] | None,
    typer.Option("--shape", metavar="INPUT=1x3x224x224", help="Whole shape of an input; may be repeated."),
]
InputOption = Annotated[
    list[str] | None,
    typer.Option("--input", "-i", metavar="[NAME=]FILE", help=".npy, .npz or a picture; default: random numbers."),
]
DisableOption = Annotated[
    list[str] | None,
    typer.Option("--disable", metavar="PASS", help="Switch an optimizer pass off by name; may be repeated."),
]
KernelOption = Annotated[
    list[str] | None,
    typer.Option("--kernel", metavar="PATTERN", help="Only kernels so called (* and ? allowed); may be repeated."),
]
PluginOption = Annotated[
    list[str] | None,
    typer.Option("--plugin", metavar="MODULE", help="Import this first: it may add kernels or a backend."),
]
PrecisionOption = Annotated[
    str | None,
    typer.Option("--precision", metavar="NAME", help="fp32 (default), tf32, fp16 or bf16: how float32 is treated."),
]
MemoryOption = Annotated[
    str | None, typer.Option("--memory-limit", metavar="SIZE", help="Most device memory to use, such as 512MB or 2GB.")
]

# Wide enough for the tables where there is no terminal to ask: a pipe must not fold lines.
_PIPE_WIDTH = 200


class UsageError(Exception):
    """The command line cannot be understood as given; leads to exit status 2."""


class _Console(Console):
    """A console that shows control characters of names as escapes: a model's must not steer the terminal."""

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        for segment in super().render(renderable, options):
            if segment.control or segment.text.isprintable():
                yield segment
            else:
                text = "\n".join(clean(line) for line in segment.text.split("\n"))
                yield Segment(text, segment.style)


def console(stderr: bool = False) -> Console:
    """A console on stdout or stderr as they are now."""
    stream = sys.stderr if stderr else sys.stdout  # None where the shell has closed it (``>&-``): nobody reads then
    width = None if stream is not None and stream.isatty() else _PIPE_WIDTH
    file = stream or open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115 - lives as long as the console
    return _Console(file=file, width=width, highlight=False, markup=False, soft_wrap=True)


def table(title: str, *columns: str, right: Sequence[str] = ()) -> Table:
    """A plain table; the columns named in ``right`` are aligned right.  A header of empty names is left out."""
    made = Table(
        title=title or None,
        title_justify="left",
        box=None,
        pad_edge=False,
        padding=(0, 3, 0, 0),
        show_header=any(columns),
    )
    for name in columns:
        made.add_column(name, justify="right" if name in right else "left", no_wrap=name in right, overflow="fold")
    return made


def show(*parts: Any) -> None:
    """Print tables or lines of text on stdout."""
    out = console()
    for part in parts:
        with out.capture() as captured:
            out.print(part, soft_wrap=not isinstance(part, Table))
        # Tables pad their last column; nobody wants the blanks in a file.
        for line in captured.get().splitlines() or [""]:
            typer.echo(line.rstrip())


def note(text: str) -> None:
    """Print a remark for the person at the terminal, on stderr."""
    console(stderr=True).print(text)


def command(function: Callable[..., None]) -> Callable[..., None]:
    """Wrap a subcommand so that what goes wrong is one message and an exit status, never a traceback.

    Status 1: an :class:`A1400Error` or an unforeseen exception; 2: a usage error.  ``A1400_DEBUG=1`` shows tracebacks.
    """

    @functools.wraps(function)
    def wrapped(*arguments: Any, **options: Any) -> None:
        debug = os.environ.get("A1400_DEBUG", "") not in ("", "0")
        try:
            function(*arguments, **options)
        except UsageError as error:
            fail(str(error), 2)
        except A1400Error as error:
            if debug:
                raise
            fail(str(error))
        except KeyboardInterrupt:
            fail("interrupted", 130)
        except BrokenPipeError:
            # The reader (head, less) has left; say nothing, and keep the interpreter's last flush quiet too.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise typer.Exit(1) from None
        except (typer.Exit, typer.Abort):
            raise
        except MemoryError as error:
            if debug:
                raise
            fail(f"there is not enough memory; use smaller inputs ({error or 'no memory left'})")
        except Exception as error:
            if debug:
                raise
            words = " ".join(str(error).split())[:300]
            fail(f"unexpected {type(error).__name__}: {words} (A1400_DEBUG=1 shows where)")

    return wrapped


def fail(message: str, status: int = 1) -> NoReturn:
    """Print ``message`` on stderr and leave with ``status``."""
    typer.echo("a1400: " + "\n".join(clean(line) for line in message.split("\n")), err=True)
    raise typer.Exit(status)


@contextmanager
def working(what: str) -> Iterator[None]:
    """Show that ``what`` is going on if it takes longer than a second: a spinner on a terminal, else one line."""
    progress: list[Any] = []
    lock = threading.Lock()
    done = False

    def start() -> None:
        from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

        with lock:
            if done:
                return
            if sys.stderr is None:
                return
            if not sys.stderr.isatty():
                print(f"{what} ...", file=sys.stderr, flush=True)
                return
            shown = Progress(
                SpinnerColumn(),
                TextColumn("{task.description}", markup=False),
                TimeElapsedColumn(),
                console=console(stderr=True),
                transient=True,
            )
            shown.add_task(what, total=None)
            shown.start()
            progress.append(shown)

    timer = threading.Timer(1.0, start)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        with lock:
            done = True
        for shown in progress:
            shown.stop()


def print_json(document: Any) -> None:
    """Print ``document`` as strict JSON: NaN and infinities become null."""
    typer.echo(json.dumps(plain(document), indent=2, allow_nan=False))


def plain(value: Any) -> Any:
    """``value`` in JSON's own types: arrays and sets become lists, dtypes and paths text, NaN null."""
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, np.ndarray | np.generic):
        return plain(value.tolist())
    if isinstance(value, set | frozenset):
        return sorted(map(str, value))
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, str | int | bool):
        return value
    return str(value)


def device_json(info: DeviceInfo) -> dict[str, Any]:
    """A device as a JSON object, ``id`` first."""
    return {"id": info.id, **asdict(info)}


def parse_pairs(items: Sequence[str] | None, option: str) -> dict[str, str]:
    """``NAME=VALUE`` options as a dict; the last ``=`` divides, as names in models may hold one."""
    pairs = {}
    for item in items or ():
        name, equals, value = item.rpartition("=")
        if not equals or not name or not value:
            raise UsageError(f"{option} wants NAME=VALUE, not {item!r}")
        pairs[name] = value
    return pairs


def parse_dims(items: Sequence[str] | None) -> dict[str, int]:
    """``--dim batch=2`` options: name -> size."""
    dims = {}
    for name, value in parse_pairs(items, "--dim").items():
        if not re.fullmatch(r"\d{1,12}", value):
            raise UsageError(f"--dim {name} wants a whole number, not {value!r}")
        dims[name] = int(value)
    return dims


def parse_shapes(items: Sequence[str] | None) -> dict[str, tuple[int, ...]]:
    """``--shape x=1x3x224x224`` options (commas do as well): input name -> shape."""
    shapes: dict[str, tuple[int, ...]] = {}
    for name, value in parse_pairs(items, "--shape").items():
        if value in ("()", "scalar"):
            shapes[name] = ()
        elif re.fullmatch(r"\d{1,12}([x,]\d{1,12})*", value):
            shapes[name] = tuple(int(part) for part in re.split("[x,]", value))
        else:
            raise UsageError(f"--shape {name} wants sizes such as 1x3x224x224, not {value!r}")
    return shapes


_UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "ki": 2**10, "mi": 2**20, "gi": 2**30}


def parse_size(text: str | None) -> int | None:
    """``512MB``, ``2GiB`` or a plain number of bytes as bytes."""
    if text is None:
        return None
    found = re.fullmatch(r"(\d{1,15}(?:\.\d{1,15})?)\s*([kmg]i?)?b?", text.strip().lower())
    if not found:
        raise UsageError(f"--memory-limit wants a size such as 512MB or 2GB, not {text!r}")
    return int(float(found.group(1)) * _UNITS[found.group(2) or ""])


def size_text(nbytes: float) -> str:
    """Bytes for people: ``1.5 GB``."""
    for unit, power in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if nbytes >= power:
            return f"{nbytes / power:.3g} {unit}" if nbytes < 999.5 * power else f"{nbytes / power:.0f} {unit}"
    return f"{nbytes:.0f} B"


def time_text(seconds: float) -> str:
    """Seconds for people: ``1.23 s``, ``4.56 ms``, ``789 µs``."""
    if seconds >= 1:
        return f"{seconds:.2f} s"
    if seconds >= 1e-3:
        return f"{seconds * 1e3:.3g} ms"
    return f"{seconds * 1e6:.3g} µs"


def shape_text(shape: Sequence[int | str | None]) -> str:
    """A shape for people: ``batchx3x224x224``, as --shape takes it; a dimension without size or name is ``?``."""
    return "x".join("?" if d is None else str(d) for d in shape) or "scalar"
