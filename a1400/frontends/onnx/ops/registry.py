"""The table of translators: (domain, op) to functions, each valid from an opset version on."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from a1400.frontends.onnx.context import Ctx

#: takes the node, adds primitive ops, returns the output or a tuple of outputs;
#: NotImplemented leaves this use of the op to the body that ONNX's schema gives it
Translator = Callable[["Ctx"], Any]

_TABLE: dict[tuple[str, str], list[tuple[int, Translator]]] = {}


def translates(*ops: str, since: int = 1, domain: str = "") -> Callable[[Translator], Translator]:
    """Register a translator for ``ops`` of ``domain`` from opset ``since`` until the next one registered."""

    def register(function: Translator) -> Translator:
        for op in ops:
            versions = _TABLE.setdefault((domain, op), [])
            if any(v == since for v, _ in versions):
                raise ValueError(f"{domain}::{op} since {since} is registered twice")
            versions.append((since, function))
            versions.sort(key=lambda entry: entry[0])
        return function

    return register


def find(domain: str, op: str, version: int) -> Translator | None:
    """The translator of ``op`` at opset ``version``, or None."""
    found = None
    for since, function in _TABLE.get((domain, op), ()):
        if since <= version:
            found = function
    return found


def supported() -> list[tuple[str, str, int]]:
    """Every (domain, op, since) with a translator, sorted."""
    return sorted((domain, op, since) for (domain, op), versions in _TABLE.items() for since, _ in versions)
