"""Which row counts for a call: the narrowest that names the device and covers the call."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Iterable, Mapping
from functools import lru_cache
from importlib import resources
from pathlib import Path

import numpy as np

from a1400 import config
from a1400.backends.base import DeviceInfo
from a1400.errors import KernelArgumentError
from a1400.kernels import load_all
from a1400.kernels.spec import KernelSpec, Scalars, Variant
from a1400.tuning.table import Row, Table, parse

FILE_NAME = "tuning.json"
_LARGEST_FILE = 16 << 20
_Index = dict[tuple[str, str], tuple[Row, ...]]
_lock = threading.Lock()
_user: tuple[object, Table, _Index] | None = None


@lru_cache(maxsize=1)
def shipped_table() -> Table:
    """The table that comes with the package."""
    return parse(resources.files("a1400.tuning").joinpath("table.json").read_bytes(), "of a1400", load_all())


def user_path() -> Path:
    """Where the user's own table lies, if there is one."""
    return config.cache_dir() / FILE_NAME


def user_table() -> Table:
    """The user's table as it is now, read again when the file has changed.

    A file that is damaged, or rows that no kernel can take, are left out: each is told once as a warning.
    """
    return _current()[1]


def _current() -> tuple[object, Table, _Index]:
    global _user
    path = user_path()
    with _lock:
        state = _state(path)
        if _user is None or _user[0] != (path, state):
            table = Table() if state is None else _read(path)
            for problem in table.problems:
                warnings.warn(f"{problem}; it is ignored", stacklevel=2)
            _user = ((path, state), table, _index((*table.rows, *shipped_table().rows)))
        return _user


def _state(path: Path) -> tuple[int, int] | None:
    """Changes when the file does; None without a file."""
    try:
        found = path.stat()
    except (OSError, ValueError):
        return None
    return found.st_mtime_ns, found.st_size


def _read(path: Path) -> Table:
    try:
        if not path.is_file() or path.stat().st_size > _LARGEST_FILE:
            return Table(problems=(f"the tuning table {path} is no file of at most {_LARGEST_FILE >> 20} MiB",))
        text = path.read_bytes()
    except OSError as error:
        return Table(problems=(f"the tuning table {path} cannot be read ({error.strerror})",))
    return parse(text, str(path), load_all())


def _index(given: Iterable[Row]) -> _Index:
    """Rows by kernel and variant: narrow devices first, then those with more conditions, then as they came."""
    result: dict[tuple[str, str], list[Row]] = {}
    for row in sorted(given, key=lambda r: (r.level, -len(r.types) - len(r.scalars))):
        result.setdefault((row.kernel, row.variant), []).append(row)
    return {key: tuple(value) for key, value in result.items()}


def rows() -> list[Row]:
    """Every row in use, the user's first."""
    return [*user_table().rows, *shipped_table().rows]


def lookup(
    info: DeviceInfo, spec: KernelSpec, variant: Variant, types: Mapping[str, np.dtype], scalars: Scalars
) -> Mapping[str, int]:
    """Tunables for a call on ``info``; empty where no row covers it, or none whose work-groups ``info`` can hold.

    Rows for the exact device and driver come before rows for vendor and class, those before rows for a class, and those
    before rows for any device; among equals, more conditions come first, then the user's rows.
    """
    for row in _current()[2].get((spec.name, variant.name), ()):
        if row.names(info) and row.covers(types, scalars) and _fits(variant, info, types, scalars, row.tunables):
            return row.tunables
    return {}


def settle(
    info: DeviceInfo, spec: KernelSpec, variant: Variant, types: Mapping[str, np.dtype], scalars: Scalars,
    given: Mapping[str, int],
) -> Mapping[str, int]:  # fmt: skip
    """What a row says laid over the tunables ``given``; the row alone where the two do not fit together."""
    row = lookup(info, spec, variant, types, scalars)
    if not row or not given:
        return row or given
    both = {**given, **row}
    return both if _fits(variant, info, types, scalars, both) else row


def _fits(
    variant: Variant, info: DeviceInfo, types: Mapping[str, np.dtype], scalars: Scalars, tunables: Mapping[str, int]
) -> bool:
    try:
        return variant.fit(info, types, scalars, tunables) is not None
    except KernelArgumentError:  # rows outlive the declarations they were checked against
        return False


def settings_to_verify(spec: KernelSpec, variant: Variant, info: DeviceInfo) -> list[dict[str, int]]:
    """Each distinct setting that a verification of ``variant`` runs: the defaults (empty), the spec's further settings
    for tests, and those of all rows of the tables, whichever device they were measured on.

    ``info`` only decides what comes first: rows in use on that device stand before those of other devices.
    """
    found = _current()[2].get((spec.name, variant.name), ())
    table = sorted(found, key=lambda row: not row.names(info))
    result: list[dict[str, int]] = []
    for setting in ({}, *variant.test_tunables, *(row.tunables for row in table)):
        if dict(setting) not in result:
            result.append(dict(setting))
    return result
