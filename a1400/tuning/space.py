"""The settings that a search may try for one call: declared values that fit together and that a device can hold."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from itertools import product

import numpy as np

from a1400 import dtypes
from a1400.backends.base import DeviceInfo
from a1400.kernels.spec import KernelSpec, Scalars, Variant
from a1400.tuning.table import Range, Row


@dataclass(frozen=True)
class Space:
    """All tunables of ``variant`` that may take more than one value, for calls with these types and scalars.

    ``base`` are the tunables in use: those that are not searched keep their value.
    """

    spec: KernelSpec
    variant: Variant
    info: DeviceInfo
    types: Mapping[str, np.dtype]
    scalars: Scalars
    base: Mapping[str, int] = field(default_factory=dict)

    @cached_property
    def values(self) -> dict[str, tuple[int, ...]]:
        """Tunable -> the values that are declared for it; those with a single value or not searched are left out."""
        found = {t.name: tuple(sorted({*t.values, t.default})) for t in self.variant.tunables if t.searched}
        return {name: values for name, values in found.items() if len(values) > 1}

    @cached_property
    def _fixed(self) -> dict[str, int]:
        fixed = {t.name: t.default for t in self.variant.tunables if t.name not in self.values}
        return {name: self.base.get(name, default) for name, default in fixed.items()}

    def whole(self, setting: Mapping[str, int]) -> dict[str, int]:
        """The setting with the tunables that have no choice."""
        return {**self._fixed, **setting}

    def allows(self, setting: Mapping[str, int]) -> bool:
        """Whether a setting of all of :attr:`values` fits together, fits the device and is worth trying."""
        wanted = self.whole(setting)
        if not self.variant.constraint(wanted):
            return False
        fitted = self.variant.fit(self.info, self.types, self.scalars, wanted)
        return fitted == wanted and self.variant.worth(self.types, self.scalars, wanted)

    def settings(self) -> Iterator[dict[str, int]]:
        """Every setting that is allowed."""
        for values in product(*self.values.values()):
            setting = dict(zip(self.values, values))
            if self.allows(setting):
                yield setting

    @cached_property
    def size(self) -> int:
        """Number of settings; 0 where there is no tunable to choose."""
        return sum(1 for _ in self.settings()) if self.values else 0


def bound_scalars(spec: KernelSpec, scalars: Scalars) -> dict[str, int]:
    """The scalars of a call that a tuned setting is bound to: see :attr:`KernelSpec.sizes`."""
    whole = [p.name for p in spec.params if p.kind == "scalar" and p.type not in ("float", "double")]
    names = spec.sizes or [name for name in whole if not name.endswith("_off")]
    return {name: int(scalars[name]) for name in names}


def row_for(space: Space, setting: Mapping[str, int], source: str) -> Row:
    """The table's row that gives ``setting`` to calls such as the space's, on exactly its device and driver."""
    sizes: dict[str, Range] = {n: (v, v) for n, v in bound_scalars(space.spec, space.scalars).items()}
    types = {name: dtypes.short(dtype) for name, dtype in space.types.items()}
    chosen = {name: int(setting[name]) for name in space.values}
    return Row(space.spec.name, space.variant.name, chosen, source, {"key": space.info.key}, types, sizes)
