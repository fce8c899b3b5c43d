"""What users may choose: ``torch.compile(model, backend="a1400", options={...})``."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, fields
from typing import Any

from a1400 import config
from a1400.backends.base import Device
from a1400.errors import InputError

_PRECISIONS = ("fp32", "tf32", "fp16", "bf16")


@dataclass(frozen=True)
class Options:
    """``backend``, ``device``, ``precision`` and ``disable`` are as for :func:`a1400.load`, the environment's included.

    ``fallback="torch"`` leaves operators that are not supported to PyTorch, each named in a warning once; without it
    they are an error.  ``max_plans`` bounds how many shapes one graph of dynamic shapes is planned for at a time.
    """

    backend: str | None = None
    device: str | int | None = None
    precision: str | None = None
    fallback: str | None = None
    disable: Collection[str] = ()
    max_plans: int = 16

    def __post_init__(self) -> None:
        if self.fallback not in (None, "torch"):
            raise InputError(f"the option fallback is None or 'torch', not {self.fallback!r}")
        if self.precision not in (None, *_PRECISIONS):
            raise InputError(f"the option precision is one of {', '.join(_PRECISIONS)}, not {self.precision!r}")
        if self.max_plans < 1:
            raise InputError(f"the option max_plans is at least 1, not {self.max_plans}")

    @classmethod
    def read(cls, given: Mapping[str, Any] | None) -> Options:
        """From what a user gave; raises :class:`InputError` for an option that does not exist."""
        names = [f.name for f in fields(cls)]
        for name in given or {}:
            if name not in names:
                raise InputError(f"there is no option {name!r}; the options are {', '.join(names)}")
        return cls(**(given or {}))

    def open(self) -> Device:
        """The device chosen."""
        from a1400.backends.registry import choose

        return choose(self.backend, self.device)

    @property
    def chosen_precision(self) -> str:
        """That of the options, the environment or fp32."""
        return self.precision or config.precision_from_environment() or "fp32"
