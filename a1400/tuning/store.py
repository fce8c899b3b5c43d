"""Writing tables: merge, forget, export.  A reader sees the whole file of before or the whole file of after."""

from __future__ import annotations

import contextlib
import json
import math
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from a1400.backends.base import DeviceInfo
from a1400.errors import A1400Error
from a1400.kernels import load_all
from a1400.tuning.table import FORMAT, Row, Table, parse


@dataclass(frozen=True)
class Change:
    """What writing a table did: the rows in it now, how many it added and took away, and remarks."""

    rows: tuple[Row, ...]
    added: int
    removed: int
    notes: tuple[str, ...] = ()


def row_json(row: Row) -> dict[str, Any]:
    """A row as the table's JSON has it."""
    made: dict[str, Any] = {"device": dict(row.device), "kernel": row.kernel, "variant": row.variant}
    if row.types:
        made["types"] = dict(row.types)
    if row.scalars:
        made["scalars"] = {n: [_bound(low), _bound(high)] for n, (low, high) in row.scalars.items()}
    return {**made, "tunables": dict(row.tunables), "source": row.source}


def _bound(number: float) -> float | int | None:
    if math.isinf(number):
        return None
    return int(number) if float(number).is_integer() else number


def same_calls(a: Row, b: Row) -> bool:
    """Whether two rows are for exactly the same calls on the same devices."""
    return (a.kernel, a.variant, a.device, a.types, a.scalars) == (b.kernel, b.variant, b.device, b.types, b.scalars)


def merge(path: Path, new: Sequence[Row], gone: Sequence[Row] = ()) -> Change:
    """Put ``new`` before the rows of the file, in place of those for the same calls; take out those like ``gone``.

    A file that cannot be read as a table is kept beside it as ``NAME.damaged``.  Raises :class:`A1400Error` when the
    file cannot be written.
    """
    def change(old: tuple[Row, ...]) -> tuple[Row, ...]:
        kept = [row for row in old if not any(same_calls(row, other) for other in (*new, *gone))]
        return (*new, *kept)

    return _rewrite(path, change)


def forget(path: Path, wanted: Callable[[Row], bool]) -> Change:
    """Take the rows out of the file that ``wanted`` says; raises :class:`A1400Error` when it cannot be written."""
    return _rewrite(path, lambda old: tuple(row for row in old if not wanted(row)))


def write(path: Path, rows: Iterable[Row]) -> None:
    """Write a table of ``rows`` in one step; raises :class:`A1400Error` when that is not possible."""
    lines = ",\n".join("  " + json.dumps(row_json(row)) for row in rows)
    text = f'{{\n "format": {FORMAT},\n "rows": [{chr(10) + lines + chr(10) + " " if lines else ""}]\n}}\n'
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=".new-")
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
        os.replace(temporary, path)
    except OSError as error:
        if temporary is not None:
            with contextlib.suppress(OSError):
                os.unlink(temporary)
        raise A1400Error(f"the tuning table {path} cannot be written: {error.strerror}") from None


def widened(row: Row, level: str, info: DeviceInfo) -> Row:
    """A row of one device for others as well: ``vendor`` (its vendor's devices of its kind), ``kind``, or ``key``."""
    wider = {"vendor": {"vendor": info.vendor, "kind": info.kind}, "kind": {"kind": info.kind}}
    device = wider.get(level)
    return row if device is None else replace(row, device={**device, "backend": info.backend})


def _rewrite(path: Path, change: Callable[[tuple[Row, ...]], tuple[Row, ...]]) -> Change:
    with _alone(path):
        table = _table(path)
        notes = [f"{problem}; it was left out" for problem in table.problems]
        if table.problems and not table.rows and path.exists():
            aside = path.with_name(path.name + ".damaged")
            with contextlib.suppress(OSError):
                os.replace(path, aside)
                notes.append(f"what was there is kept as {aside}")
        after = change(table.rows)
        if after != table.rows or table.problems:
            write(path, after)
        added = sum(row not in table.rows for row in after)
        return Change(after, added, sum(row not in after for row in table.rows), tuple(notes))


def _table(path: Path) -> Table:
    try:
        text = path.read_bytes()
    except FileNotFoundError:
        return Table()
    except OSError as error:
        raise A1400Error(f"the tuning table {path} cannot be read: {error.strerror}") from None
    return parse(text, str(path), load_all())


@contextlib.contextmanager
def _alone(path: Path) -> Iterator[None]:
    """One process at a time reads, changes and writes; where files cannot be locked the last one wins."""
    try:
        import fcntl
    except ImportError:  # Windows
        yield
        return
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = open(path.with_name(path.name + ".lock"), "w")  # noqa: SIM115 - closed below
    except OSError as error:
        raise A1400Error(f"the tuning table {path} cannot be written: {error.strerror}") from None
    with lock:
        with contextlib.suppress(OSError):
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield
