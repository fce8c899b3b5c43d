"""Which variant of ``gemm`` and which tile a CUDA device takes for a product.

Large tiles multiply faster, small ones leave fewer multiprocessors idle: of the settings below the one with the least
work on the busiest multiprocessor wins, work being counted in the time that the largest warp tile needs for it.  The
speeds are estimates from the kernels' limits (bytes of shared memory and second-level cache per product); rows of the
tuning tables, which are measured, come before them.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np

from a1400.backends.base import DeviceInfo
from a1400.errors import KernelArgumentError
from a1400.kernels.gemm_tensor import tiles
from a1400.kernels.spec import KernelSpec, Scalars, Variant


@dataclass(frozen=True)
class Setting:
    """A tile: tunables that differ from the defaults, and its speed relative to 128 x 128 by warp products.

    ``line`` is the tile's depth in bytes, where it is not the default: small tiles that are 128 bytes deep have as much
    on its way from memory as large ones.
    """

    tunables: Mapping[str, int]
    speed: float
    line: int = 0

    def for_type(self, dtype: np.dtype) -> dict[str, int]:
        """The tunables for factors of ``dtype``."""
        return {**self.tunables, **({"BK": self.line // dtype.itemsize} if self.line else {})}


_WARP = (
    Setting({"BM": 128, "BN": 128}, 1.0),
    Setting({"BM": 64, "BN": 64}, 0.6, 128),
    Setting({"BM": 32, "BN": 32, "WM": 2, "WN": 1}, 0.3, 128),
    Setting({"BM": 16, "BN": 64, "WM": 1, "WN": 4}, 0.3, 128),
    Setting({"BM": 16, "BN": 32, "WM": 1, "WN": 2}, 0.2, 128),
)
_GROUP = (Setting({"BM": 128, "BN": 256}, 1.6), Setting({"BM": 128, "BN": 128}, 1.3))
_ANY = (
    Setting({"BM": 64, "BN": 64}, 0.4),
    Setting({"BM": 32, "BN": 32, "WM": 2, "WN": 1}, 0.2),
    Setting({"BM": 16, "BN": 64, "WM": 1, "WN": 4}, 0.2),
)


def settings(variant: Variant) -> tuple[Setting, ...]:
    """The settings worth trying of a tensor-core variant; none for others."""
    if variant.name.startswith("hopper"):
        return _GROUP
    if variant.name in ("tensor_any", "tf32_any"):
        return _ANY
    return _WARP if variant.name.startswith(("tensor", "tf32")) else ()


def plan_product(
    spec: KernelSpec, info: DeviceInfo, types: Mapping[str, np.dtype], scalars: Scalars,
    slots: Collection[str] = (), allow: Collection[str] = (),
) -> tuple[Variant, dict[str, int]]:  # fmt: skip
    """The variant and tunables for a call; for what has no tensor cores it is the spec's own choice and no tunables.

    Raises :class:`KernelArgumentError` where nothing fits.
    """
    first = spec.choose(info, types, scalars, slots, allow)
    best: tuple[float, Variant, dict[str, int]] | None = None
    for variant in spec.executable(info, types) if settings(first) else ():
        if not variant.supports(scalars) or set(variant.plain) & set(slots):
            continue
        if variant.precision and variant.precision not in allow:
            continue
        for setting in settings(variant):
            tunables = setting.for_type(types["TA"])
            try:
                fitted = variant.fit(info, types, scalars, tunables)
            except KernelArgumentError:
                continue
            if fitted is None:
                continue
            area = fitted["BM"] * fitted["BN"]
            work = -(-tiles(scalars, fitted) // max(1, info.compute_units)) * area / setting.speed
            if best is None or work < best[0]:
                if "GROUPS" in fitted:
                    tunables["GROUPS"] = max(1, info.compute_units)
                best = (work, variant, tunables)
    return (best[1], best[2]) if best else (first, {})
