"""The table of translators: one function for each ATen operator, by overload."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

#: takes the context and the operator's arguments, tensors as :class:`~a1400.graph.tensor.Tensor`; gives what it returns
Translator = Callable[..., Any]

_TABLE: dict[Any, Translator] = {}


def translates(*names: str) -> Callable[[Translator], Translator]:
    """Register a translator for the operators of ``torch.ops.aten`` called ``names``: ``add.Tensor``, or ``relu``."""

    def register(function: Translator) -> Translator:
        for name in names:
            packet, _, overload = name.partition(".")
            enter(getattr(getattr(torch.ops.aten, packet), overload or "default"), function)
        return function

    return register


def enter(target: Any, function: Translator) -> None:
    """Register a translator for any target of a call in an FX graph."""
    if target in _TABLE:
        raise ValueError(f"{target} is registered twice")
    _TABLE[target] = function


def find(target: Any) -> Translator | None:
    """The translator of a target, or None."""
    return _TABLE.get(target)


def supported() -> set[Any]:
    """Every target that has a translator."""
    return set(_TABLE)
