"""Rows of a tuning table and the text they are read from, which is believed only where it fits the kernels' specs.

A table is a JSON document ``{"format": 1, "rows": [...]}``; a row looks like this::

    {"device": {"vendor": "NVIDIA", "kind": "gpu"}, "kernel": "gemm_packed", "variant": "cpu",
     "types": {"TA": "f32"}, "scalars": {"M": [1, 64], "K": [1024, null]}, "tunables": {"MR": 8},
     "source": "1.9 ms against 2.3 ms with the defaults; Example CPU, driver 3.1, 2025-05-01"}

``device`` is ``{"key": ...}`` (exactly :attr:`DeviceInfo.key`, so device and driver), ``{"vendor": ..., "kind": ...}``
(the vendor's name holds that text), ``{"kind": ...}`` or ``{}`` (any device); each may name a ``backend`` too.
``types`` and ``scalars`` (inclusive ranges, null for no bound) are optional.  ``source`` says where the figure came
from.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from a1400 import dtypes
from a1400.backends.base import DeviceInfo
from a1400.errors import KernelArgumentError
from a1400.kernels.spec import KernelSpec, Scalars, Variant

FORMAT = 1
#: ways to name devices, from the narrowest to the widest
LEVELS = (("key",), ("vendor", "kind"), ("kind",), ())
_FIELDS = {"device", "kernel", "variant", "types", "scalars", "tunables", "source"}
_NEEDED = ("kernel", "variant", "tunables", "source")
Range = tuple[float, float]


@dataclass(frozen=True)
class Row:
    """One measured setting: ``tunables`` of a kernel's variant, on which devices, and for which calls."""

    kernel: str
    variant: str
    tunables: Mapping[str, int]
    source: str
    device: Mapping[str, str] = field(default_factory=dict)
    types: Mapping[str, str] = field(default_factory=dict)
    scalars: Mapping[str, Range] = field(default_factory=dict)

    @property
    def level(self) -> int:
        """Index into :data:`LEVELS`: 0 names one device and driver, 3 any device."""
        return LEVELS.index(tuple(name for name in ("key", "vendor", "kind") if name in self.device))

    def names(self, info: DeviceInfo) -> bool:
        """Whether ``info`` is among the row's devices."""
        d = self.device
        return (
            d.get("key", info.key) == info.key
            and d.get("backend", info.backend) == info.backend
            and d.get("kind", info.kind) == info.kind
            and d.get("vendor", "").lower() in info.vendor.lower()
        )

    def covers(self, types: Mapping[str, np.dtype], scalars: Scalars) -> bool:
        """Whether a call with these dtypes and scalars is among the row's."""
        return all(dtypes.short(types[name]) == short for name, short in self.types.items()) and all(
            low <= scalars[name] <= high for name, (low, high) in self.scalars.items()
        )


@dataclass(frozen=True)
class Table:
    """What a file holds: rows that can be used, and one sentence for each that cannot."""

    rows: tuple[Row, ...] = ()
    problems: tuple[str, ...] = ()


def parse(text: str | bytes, where: str, kernels: Mapping[str, KernelSpec]) -> Table:
    """Read a table; ``where`` names it in messages.  Never raises: what does not fit becomes a problem."""
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        return Table(problems=(f"the tuning table {where} is not JSON ({' '.join(str(error).split())[:120]})",))
    known = isinstance(document, dict) and document.get("format") == FORMAT
    items = document.get("rows") if known else None
    if not isinstance(items, list):
        return Table(problems=(f'the tuning table {where} lacks "format": {FORMAT} or "rows": [...]',))
    rows, problems = [], []
    for index, item in enumerate(items):
        try:
            rows.append(_row(item, kernels))
        except _Refused as refused:
            problems.append(f"row {index} of the tuning table {where} is refused: {refused}")
    return Table(tuple(rows), tuple(problems))


class _Refused(Exception):
    """Why a row cannot be used."""


def _row(item: Any, kernels: Mapping[str, KernelSpec]) -> Row:
    if not isinstance(item, dict):
        raise _Refused("it is not an object")
    if missing := [name for name in _NEEDED if name not in item]:
        raise _Refused(f"it lacks {', '.join(missing)}")
    if unknown := sorted(set(item) - _FIELDS):
        raise _Refused(f"it has the unknown field {_shown(unknown[0])}")
    source = item["source"]
    if not isinstance(source, str) or not source.strip():
        raise _Refused("source must say where the figure came from")
    spec = kernels.get(item["kernel"]) if isinstance(item["kernel"], str) else None
    if spec is None:
        raise _Refused(f"there is no kernel {_shown(item['kernel'])}")
    variant = next((v for v in spec.variants if v.name == item["variant"]), None)
    if variant is None:
        names = ", ".join(v.name for v in spec.variants)
        raise _Refused(f"kernel {spec.name} has no variant {_shown(item['variant'])}; it has {names}")
    return Row(
        spec.name, variant.name, _tunables(item["tunables"], spec, variant), source,
        _device(item.get("device", {})), _types(item.get("types", {}), spec), _ranges(item.get("scalars", {}), spec),
    )  # fmt: skip


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."


def _object(value: Any, name: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise _Refused(f"{name} must be an object")
    return value


def _tunables(value: Any, spec: KernelSpec, variant: Variant) -> dict[str, int]:
    given = _object(value, "tunables")
    where = f"kernel {spec.name}/{variant.name}"
    declared = {t.name: t for t in variant.tunables}
    if not given:
        raise _Refused("it sets no tunable")
    for name, number in given.items():
        if name not in declared:
            raise _Refused(f"{where} has no tunable {_shown(name)}; it has {', '.join(declared) or 'none'}")
        if not declared[name].searched:
            raise _Refused(f"{where} decides {name} by itself")
        allowed = sorted({*declared[name].values, declared[name].default})
        if isinstance(number, bool) or not isinstance(number, int) or number not in allowed:
            raise _Refused(f"{where} takes {name} as one of {allowed}, not {_shown(number)}")
    try:
        variant.settings(given)
    except KernelArgumentError as error:
        raise _Refused(str(error)) from None
    return given


def _device(value: Any) -> dict[str, str]:
    given = _object(value, "device")
    if not all(isinstance(part, str) and part for part in given.values()):
        raise _Refused("device must name its parts as texts")
    if tuple(name for name in ("key", "vendor", "kind") if name in given) not in LEVELS:
        raise _Refused("device must name a key, a vendor and a kind, a kind, or nothing")
    if unknown := sorted(set(given) - {"key", "vendor", "kind", "backend"}):
        raise _Refused(f"device has the unknown part {_shown(unknown[0])}")
    if given.get("kind", "cpu") not in ("cpu", "gpu") or given.get("backend", "cuda") not in ("cuda", "opencl"):
        raise _Refused("device has a kind other than cpu and gpu, or a backend other than cuda and opencl")
    return given


def _types(value: Any, spec: KernelSpec) -> dict[str, str]:
    given = _object(value, "types")
    for name, short in given.items():
        if name not in spec.types:
            raise _Refused(f"kernel {spec.name} has no dtype variable {_shown(name)}; it has {', '.join(spec.types)}")
        allowed = [dtypes.short(t) for t in spec.types[name]]
        if short not in allowed:
            raise _Refused(f"kernel {spec.name} takes {name} as one of {', '.join(allowed)}, not {_shown(short)}")
    return given


def _ranges(value: Any, spec: KernelSpec) -> dict[str, Range]:
    declared = [p.name for p in spec.params if p.kind == "scalar"]
    result = {}
    for name, bounds in _object(value, "scalars").items():
        if name not in declared:
            raise _Refused(f"kernel {spec.name} has no scalar {_shown(name)}; it has {', '.join(declared)}")
        if not isinstance(bounds, list) or len(bounds) != 2 or not all(map(_is_bound, bounds)):
            raise _Refused(f"the range of {name} must be [lowest, highest] with null for no bound")
        low = -math.inf if bounds[0] is None else bounds[0]
        high = math.inf if bounds[1] is None else bounds[1]
        if low > high:
            raise _Refused(f"the range of {name} is empty")
        result[name] = (low, high)
    return result


def _is_bound(value: Any) -> bool:
    if isinstance(value, bool):
        return False
    return value is None or isinstance(value, int) or (isinstance(value, float) and math.isfinite(value))
