"""What a device can do at best: operations per second and bytes per second, measured with our own kernels.

The figures are kept per device and driver in the cache folder, with the date; :func:`roofline` measures when there are
none.  The model is that of Williams, Waterman and Patterson ("Roofline: an insightful visual performance model for
multicore architectures", 2009), with a bandwidth that depends on how many bytes a launch moves, so that what fits a
cache is held against the cache.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from a1400 import config, dtypes
from a1400.backends.base import Device, DeviceInfo
from a1400.io.files import write_whole
from a1400.kernels.spec import KernelCall

_FORMAT = 1
_LARGEST_FILE = 1 << 20


@dataclass(frozen=True)
class Roofline:
    """Peaks of one device: ``flops`` by unit (``f32``, ``f64``, ``f16``, ``bf16``, ``tf32``) in operations per second,
    ``bandwidth`` as (bytes that a launch moves, bytes per second), smallest first; ``date`` is when it was measured.
    """

    device: str
    date: str
    flops: Mapping[str, float]
    bandwidth: tuple[tuple[int, float], ...]

    def flop_rate(self, unit: str = "f32") -> float:
        """The peak of a unit; float32's for one that was not measured."""
        return self.flops.get(unit) or self.flops["f32"]

    def byte_rate(self, nbytes: float) -> float:
        """The best bandwidth of launches that move at least so much (beyond the largest measured: the largest's)."""
        rates = [rate for size, rate in self.bandwidth if size >= nbytes]
        return max(rates, default=self.bandwidth[-1][1])

    def seconds(
        self, flops: float, nbytes: float, unit: str = "f32", weights: float = 0.0, footprint: float = 0.0
    ) -> float:
        """The least time for so many operations and bytes.

        ``weights`` of the bytes were last read a whole run ago: a run that touches ``footprint`` bytes has driven them
        out of every smaller cache, however little this launch moves.
        """
        near, far = (nbytes - weights) / self.byte_rate(nbytes), weights / self.byte_rate(max(nbytes, footprint))
        return max(flops / self.flop_rate(unit), near + far)

    def unit(self, call: KernelCall) -> str:
        """Which peak counts for a call: that of the precision it rounds to, else of the type it reads."""
        kind = call.types.get("TA", call.types.get("T"))
        name = call.variant.precision or (dtypes.short(kind) if kind is not None else "f32")
        return name if name in self.flops else "f32"

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return {
            "format": _FORMAT, "device": self.device, "date": self.date, "flops": dict(self.flops),
            "bandwidth": [list(pair) for pair in self.bandwidth],
        }  # fmt: skip


def roofline(device: Device, again: bool = False) -> Roofline:
    """The device's peaks from the cache folder; measured (some seconds) when not there, or ``again``.

    What is measured again only raises what was known: a peak is what was reached once, and a busy machine hides it.
    """
    from a1400.profile.calibrate import calibrate

    path = _path(device.info)
    known = _load(path, device.info)
    if known is not None and not again:
        return known
    flops, bandwidth = calibrate(device)
    if known is not None:
        flops = {unit: max(rate, known.flops.get(unit, 0.0)) for unit, rate in flops.items()}
        rates = dict(known.bandwidth)
        bandwidth = tuple((size, max(rate, rates.get(size, 0.0))) for size, rate in bandwidth)
    date = datetime.now(timezone.utc).isoformat(timespec="seconds")
    found = Roofline(_key(device.info), date, flops, bandwidth)
    _store(path, found)
    return found


def _key(info: DeviceInfo) -> str:
    """Device, driver, and how much of the device there is for this process."""
    return f"{info.key}|{info.compute_units}"


def _path(info: DeviceInfo) -> Path:
    return config.cache_dir() / f"roofline-{hashlib.sha256(_key(info).encode()).hexdigest()[:16]}.json"


def _load(path: Path, info: DeviceInfo) -> Roofline | None:
    """What the file says if it is whole and of this device, else None."""
    try:
        if not path.is_file() or path.stat().st_size > _LARGEST_FILE:
            return None
        return _parse(json.loads(path.read_bytes()), info)
    except (OSError, ValueError, RecursionError):
        return None


def _parse(document: Any, info: DeviceInfo) -> Roofline | None:
    if not isinstance(document, dict) or document.get("format") != _FORMAT or document.get("device") != _key(info):
        return None
    flops, bandwidth, date = document.get("flops"), document.get("bandwidth"), document.get("date")
    if not isinstance(flops, dict) or not isinstance(bandwidth, list) or not isinstance(date, str) or not bandwidth:
        return None
    pairs = [p for p in bandwidth if isinstance(p, list) and len(p) == 2 and all(map(_is_rate, p))]
    if "f32" not in flops or not all(map(_is_rate, flops.values())) or len(pairs) != len(bandwidth):
        return None
    return Roofline(_key(info), date, flops, tuple(sorted((int(size), float(rate)) for size, rate in pairs)))


def _is_rate(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value) and value > 0


def _store(path: Path, found: Roofline) -> None:
    """Write whole or not at all; a folder that cannot be written costs a measurement next time, nothing else."""
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, json.dumps(found.to_dict()))
